"""The steps of an iteration as compiled functions of arrays and numbers, for the CPU.

They know no tensors, settings or generators: `model.compiled_backend` calls them with the run's own memory.
"""
