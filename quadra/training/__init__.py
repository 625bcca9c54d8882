"""The one thread that owns the run: commands between two iterations, saves, and what everybody is shown.

Knows no browser and no terminal: they listen.
"""
