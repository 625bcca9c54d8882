"""The command line: `python -m quadra ...`, `quadramatrix ...`, `python app.py`, and their terminal output.

Each command is a thin layer over `states`, `reports` and `web`.
"""
