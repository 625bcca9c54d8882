"""Files in general: durable writes, the lock, pickles and zip archives that are read without trust.

Knows nothing of what this program keeps in them.
"""
