"""The release of this program: shown on the page, told to scripts, and written into every saved state."""

__version__ = "0.1.0"
