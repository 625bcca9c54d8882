"""Backups: copies of saved states at a remote address, made while training goes on.

Saves on this machine's disk belong to `storage`.
"""
