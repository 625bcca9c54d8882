"""The spiking networks compiled for the CPU, backward: gradients and the Adam step in one pass over the parameters.

The surrogate gradient is in `kernels.neuron`. Adam is that of `model.adam`, which names its source; this module and
`model.torch_backend` pass the same tests. No buffer of gradients exists: each row is used as soon as it is known. Shapes and
`constants` as in `kernels.forward`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quadra.model.kernels.forward import (
    B1,
    B2,
    B3,
    BLOCK,
    HIDDEN,
    INPUTS,
    OUTPUTS,
    W1,
    W2,
    W3,
    add_products,
    add_rows,
    fill_outcome,
    fill_rates,
    traced,
)
from quadra.model.kernels.jit import ONE, TWO, ZERO, Doubles, Floats, Integers, Rows, compiled
from quadra.model.kernels.neuron import surrogate_backward


@compiled()
def adam(parameters: Floats, firsts: Floats, seconds: Floats, at: int, gradient: Floats, rule: Floats) -> Any:
    """One Adam step (`AdamRule`) for a row, read and written once; the result is not finite if a value of it is not."""
    p, m = parameters[at : at + gradient.size], firsts[at : at + gradient.size]
    v = seconds[at : at + gradient.size]
    one_minus_beta1, beta2, one_minus_beta2 = rule[0], rule[1], rule[2]
    correction, epsilon, step_size = rule[3], rule[4], rule[5]
    broken = ZERO
    for k in range(gradient.size):
        first = m[k] + one_minus_beta1 * (gradient[k] - m[k])
        second = beta2 * v[k] + one_minus_beta2 * (gradient[k] * gradient[k])
        value = p[k] - step_size * (first / (np.sqrt(second) * correction + epsilon))
        m[k], v[k], p[k] = first, second, value
        broken += (value - value) + (second - second)
    return broken


@compiled()
def learn_rows(
    p: Floats, m: Floats, v: Floats, rule: Floats, weight: int, bias: int, stride: int, width: int, g: Floats, layer:
    int, picked: Integers, spikes: Rows, counts: Rows,
) -> Any:  # fmt: skip
    """Adam on columns of a layer driven by spikes, given dL/di as `g`: (samples * T, width), flat.

    The gradient of a neuron's weights is the sum of dL/di over its spikes: one row, used at once and never stored.
    """
    steps, hidden = counts.shape[2], spikes.shape[3]
    fired, rows = np.zeros(hidden, np.int64), np.empty((hidden, picked.size * steps), np.int32)
    for i in range(picked.size):
        for t in range(steps):
            for k in range(counts[picked[i], layer, t]):
                j = spikes[picked[i], layer, t, k]
                rows[j, fired[j]] = i * steps + t
                fired[j] += 1
    row, broken = np.empty(width, np.float32), ZERO
    for j in range(hidden):
        row[:] = ZERO
        add_rows(row, g, 0, width, rows[j], fired[j])
        broken += adam(p, m, v, weight + j * stride, row, rule)
    row[:] = ZERO
    for i in range(picked.size * steps):
        for c in range(width):
            row[c] += g[i * width + c]
    return broken + adam(p, m, v, bias, row, rule)


@compiled()
def fill_rate_gradient(
    out: Floats, action: int, low: int, shown: Floats, b: int, scale: float, rate: Floats, mean: float,
    variance: float, constants: Floats,
) -> None:  # fmt: skip
    """dL/ds of the last layer's cells at any time step, for the share of one of B vectors in the loss; `scale`: the strength.

    dL/df' = 2 (f' - mean) / (n - 1) + sign(mean - 1/2) / n. For a rate that all cells share, the sum over them is
    -2 strength (1 - strength * r) v: the deviations from the mean add up to zero.
    """
    n, share = shown.shape[2], 1.0 / shown.shape[1]
    if action == 2:
        out[0] = -TWO * scale * (ONE - scale * rate[0]) * np.float32(share * variance)
        return
    vector, away = shown[0, b, low : low + out.size], shown[1, b, low : low + out.size]
    fill_outcome(out, action, vector, away, scale, rate)
    middle, steep = np.float32(mean), np.float32(2.0 * share / (n - 1))
    pull = np.float32(np.sign(mean - constants[3]) * share / n)
    for c in range(out.size):
        out[c] = ((out[c] - middle) * steep + pull) * (scale if action == 0 else scale * away[c])


@compiled()
def learn_last(
    action: int, net: Integers, p: Floats, m: Floats, v: Floats, rule: Floats, shown: Floats, scale: Floats, means:
    Doubles, variances: Doubles, picked: Integers, spikes: Rows, counts: Rows, constants: Floats, below: Floats,
) -> Any:  # fmt: skip
    """Adam on the last layer, block by block. Adds dL/ds of the spikes below to `below` (samples * T, H).

    A block's membranes are computed again: this is faster than storing them, and needs no memory.
    """
    outputs, steps, most, broken = net[OUTPUTS], counts.shape[2], min(BLOCK, net[OUTPUTS]), ZERO
    space, rates, rate_gradients = (
        np.empty(steps * most, np.float32),
        np.empty(most, np.float32),
        np.empty(most, np.float32),
    )
    gradients = np.empty(picked.size * steps * most, np.float32)
    for low in range(0, outputs, BLOCK):
        width = min(BLOCK, outputs - low)
        u, rate, spike_gradient = space[: steps * width].reshape((steps, width)), rates[:width], rate_gradients[:width]
        for i in range(picked.size):
            b = picked[i]
            strength = scale[b] if action == 0 else constants[3 + action]
            fill_rates(rate, u, net, p, low, spikes[b, 1], counts[b, 1], constants)
            fill_rate_gradient(spike_gradient, action, low, shown, b, strength, rate, means[b], variances[b], constants)
            g = gradients[i * steps * width : (i + 1) * steps * width].reshape((steps, width))
            for c in range(width):
                spike_gradient[c] /= np.float32(steps)
            for t in range(steps):
                g[t] = spike_gradient
            surrogate_backward(g, u, constants)
        add_products(below, gradients, 0, width, p, net[W3] + low, outputs, width)
        weight, bias = net[W3] + low, net[B3] + low
        broken += learn_rows(p, m, v, rule, weight, bias, outputs, width, gradients, 1, picked, spikes, counts)
    return broken


@compiled()
def learn_first(
    net: Integers, p: Floats, m: Floats, v: Floats, rule: Floats, shown: Floats, picked: Integers, g: Floats,
) -> Any:  # fmt: skip
    """Adam on the first layer, given dL/di summed over time, as its input is constant: `g` (samples, H)."""
    n, hidden, broken = net[INPUTS], net[HIDDEN], ZERO
    rows = np.empty(min(BLOCK, n), np.float32)
    for low in range(0, n, BLOCK):
        row = rows[: min(BLOCK, n - low)]
        for j in range(hidden):
            row[:] = ZERO
            for i in range(picked.size):
                x, factor = shown[picked[i], low : low + row.size], g[i, j]
                for c in range(row.size):
                    row[c] += factor * x[c]
            broken += adam(p, m, v, net[W1] + j * n + low, row, rule)
    bias = np.zeros(hidden, np.float32)
    for i in range(picked.size):
        bias += g[i]
    return broken + adam(p, m, v, net[B1], bias, rule)


@compiled(
    "f4(i8[:,::1],f4[::1],f4[::1],f4[::1],f4[::1],f4[:,:,::1],f4[::1],f8[:,::1],f4[::1],i4[::1],i4[:,:,:,::1],f4[::1],f8[:,:,::1],i8[::1])"
)
def learn(
    layout: Integers, p: Floats, m: Floats, v: Floats, rule: Floats, shown: Floats, scale: Floats, moments: Doubles,
    trace: Floats, spikes: Rows, counts: Rows, constants: Floats, found: Doubles, chosen: Integers,
) -> Any:  # fmt: skip
    """Backpropagates the mean loss of the chosen actions (B,), as evaluated last, and makes one Adam step.

    A network that no vector chose is stepped with a zero gradient. The result is not finite if some value is not.
    """
    batch, steps, broken = chosen.size, counts.shape[3], ZERO
    for action in range(3):
        net, count, picked = layout[action], counts[action], np.nonzero(chosen == action)[0]
        hidden = net[HIDDEN]
        u, s = traced(net, trace, batch, steps), traced(net, spikes, batch, steps)
        second = np.zeros((picked.size * steps, hidden), np.float32)
        first = np.zeros((picked.size * steps, hidden), np.float32)
        means, variances = found[0, action], moments[1]
        broken += learn_last(
            action, net, p, m, v, rule, shown, scale, means, variances, picked, s, count, constants, second
        )
        for i in range(picked.size):
            surrogate_backward(second[i * steps : (i + 1) * steps], u[picked[i], 1], constants)
        flat = second.reshape(-1)
        add_products(first, flat, 0, hidden, p, net[W2], hidden, hidden)
        broken += learn_rows(p, m, v, rule, net[W2], net[B2], hidden, hidden, flat, 0, picked, s, count)
        summed = np.zeros((picked.size, hidden), np.float32)
        for i in range(picked.size):
            surrogate_backward(first[i * steps : (i + 1) * steps], u[picked[i], 0], constants)
            for t in range(steps):
                summed[i] += first[i * steps + t]
        broken += learn_first(net, p, m, v, rule, shown[action], picked, summed)
    return broken
