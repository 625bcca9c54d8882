"""The mathematics of one iteration: text, networks, choices, field, patterns, plasticity, and the state that they train.

`engine` runs an iteration. Neuron and surrogate gradient: `neuron`, and compiled `kernels.neuron`. Networks: `spiking`.
Loss, reward and actions: `actions`. Not here: files (but the built-in text), clocks, threads, output, global random generators.
"""
