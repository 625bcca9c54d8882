"""Saved states as people list, name, load and move them, with their own texts and alert rules.

Reads and writes by `storage`; owns no thread and no run in memory.
"""
