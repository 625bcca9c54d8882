"""The mathematics of one iteration: text, networks, choices, field, patterns, plasticity, and the state that they train.

Pure of the world: no file but the built-in text, no clock, no thread, no print, no global random generator.
"""
