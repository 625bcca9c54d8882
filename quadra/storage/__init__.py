"""Bytes on the disk: the formats of the three files, the state directory, and how a save becomes durable.

What a save writes, and in which order: `save_store`; its commit: `commit`. A save that is under way: `pending_save`, written
by `writer_process` or `writer_thread`. Reading one back: `saved_state`. Names and paths: `layout`; what is deleted: `reset`.
File operations that know nothing of saved states: `files`. Knows nothing of people's lists and names of saved states
(`states`), nor of the thread that trains (`training`).
"""
