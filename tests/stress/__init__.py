"""Long tests, run by hand: see each module's docstring for its command."""
