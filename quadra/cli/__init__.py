"""The command line: `python -m quadra ...`, and what the terminal is told.

Each command is a thin layer over `states`, `reports` and `web`.
"""
