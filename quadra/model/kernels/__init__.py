"""The steps of an iteration as functions compiled for the CPU: neuron and surrogate gradient, networks, field.

They know arrays and numbers, and no tensors, settings or generators: `model.compiled_backend` calls them with the run's own
memory. Each module has a twin in torch: `model.neuron`, `model.spiking` (forward, backward), `model.field`.
"""
