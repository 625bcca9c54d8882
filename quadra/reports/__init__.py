"""Saved states read, checked, proved, compared and printed.

Reads only; what it writes is a document for people.
"""
