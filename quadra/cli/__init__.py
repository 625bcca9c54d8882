"""The command line: `python -m quadra ...`, `quadramatrix ...`, `python app.py`, and what the terminal is told.

Each command is a thin layer over `states`, `reports` and `web`.
"""
