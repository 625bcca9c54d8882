"""Bytes on the disk: the formats of the three files, the state directory, and how a save becomes durable.

Knows nothing of people's lists and names of saved states (`states`), nor of the thread that trains (`training`).
"""
