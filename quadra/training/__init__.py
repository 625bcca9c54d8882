"""The one thread that owns the run: commands between two iterations, saves, and what everybody is shown.

A click arrives from `web.events`, is queued by `worker` and done by `operations` (initialize, start, stop, load, reset) or
`commands` (everything else). A load in full: `loading`. A save: `saving`. Browsers and terminal listen; nothing here knows them.
"""
