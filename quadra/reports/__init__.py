"""Saved states read, checked, proved, compared and printed.

Never changes a state directory: a report is a document of its own, and a proof trains copies in processes of its own.
"""
