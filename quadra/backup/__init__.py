"""The mirror of saved states at a remote place, made beside training.

Saves on this machine's disk are the matter of `storage`.
"""
