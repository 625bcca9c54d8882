"""How the documentation becomes a site: `python -m sphinx -W -b html docs docs/_build` builds it, strictly."""

from __future__ import annotations

project = "QuadraMatrix"
author = "the QuadraMatrix maintainers"
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "QuadraMatrix"
html_favicon = "../static/favicon.svg"
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]  # hosts of repositories draw such fences by themselves, Sphinx needs a directive
suppress_warnings = ["myst.xref_missing"]  # links out of docs/, to files of the repository; a test follows each of them
