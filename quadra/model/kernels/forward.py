"""The spiking networks compiled for the CPU, forward: rates, and mean and loss of what the actions make of them.

The twin of `model.spiking`; both pass the same tests. What each trick saves, measured, is in docs/performance.md.

Shapes: n cells, B vectors, T time steps, H neurons in each hidden layer. Matrices lie row by row in a flat buffer:
`fc1` as (H, n), `fc2` and `fc3` as (inputs, outputs), so that what is added or multiplied is always a whole row.
`net` is a network's row of the layout: its sizes and where its matrices begin. `constants` holds the neuron's constants, the
set point and the strengths: decay, threshold, slope, set point, syntropy_strength, feedback_strength.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quadra.model.kernels.jit import ONE, ZERO, Doubles, Floats, Integers, Rows, compiled
from quadra.model.kernels.neuron import integrate, list_spikes

BLOCK = 512  # cells worked on at a time: their weights and activations stay in the cache
INPUTS, HIDDEN, OUTPUTS, W1, B1, W2, B2, W3, B3, TRACE = range(10)  # columns of the layout


@compiled()
def add_rows(target: Floats, flat: Floats, start: int, stride: int, rows: Rows, count: int) -> None:
    """target += the listed rows of a matrix; four at a time, so that the target is stored less often."""
    width, i = target.size, 0
    while i + 4 <= count:
        a = flat[start + rows[i] * stride : start + rows[i] * stride + width]
        b = flat[start + rows[i + 1] * stride : start + rows[i + 1] * stride + width]
        c = flat[start + rows[i + 2] * stride : start + rows[i + 2] * stride + width]
        d = flat[start + rows[i + 3] * stride : start + rows[i + 3] * stride + width]
        for k in range(width):
            target[k] += (a[k] + b[k]) + (c[k] + d[k])
        i += 4
    while i < count:
        a = flat[start + rows[i] * stride : start + rows[i] * stride + width]
        for k in range(width):
            target[k] += a[k]
        i += 1


@compiled()
def dot(left: Floats, right: Floats) -> Any:
    """Returns the scalar product of two rows."""
    total = ZERO
    for k in range(left.size):
        total += left[k] * right[k]
    return total


@compiled()
def add_two_by_four(
    out: Floats, left: Floats, first: int, step: int, right: Floats, start: int, stride: int, width: int,
) -> None:  # fmt: skip
    """Adds the products of two rows with four, in one pass that holds all eight sums in registers."""
    p, q = left[first : first + width], left[first + step : first + step + width]
    a, b = right[start : start + width], right[start + stride : start + stride + width]
    start += 2 * stride
    c, d = right[start : start + width], right[start + stride : start + stride + width]
    pa = pb = pc = pd = qa = qb = qc = qd = ZERO
    for k in range(width):
        pa += p[k] * a[k]
        pb += p[k] * b[k]
        pc += p[k] * c[k]
        pd += p[k] * d[k]
        qa += q[k] * a[k]
        qb += q[k] * b[k]
        qc += q[k] * c[k]
        qd += q[k] * d[k]
    out[0, 0] += pa
    out[0, 1] += pb
    out[0, 2] += pc
    out[0, 3] += pd
    out[1, 0] += qa
    out[1, 1] += qb
    out[1, 2] += qc
    out[1, 3] += qd


@compiled()
def add_products(
    out: Floats, left: Floats, first: int, step: int, right: Floats, start: int, stride: int, width: int,
) -> None:  # fmt: skip
    """out[i, j] += sum over k of left[i, k] * right[j, k]; both lie flat, their rows `step` and `stride` apart."""
    count, others = out.shape
    whole_count, whole_others = count - count % 2, others - others % 4
    for i in range(0, whole_count, 2):
        for j in range(0, whole_others, 4):
            at, to = first + i * step, start + j * stride
            add_two_by_four(out[i : i + 2, j : j + 4], left, at, step, right, to, stride, width)
    for i in range(count):
        p = left[first + i * step : first + i * step + width]
        for j in range(whole_others if i < whole_count else 0, others):
            out[i, j] += dot(p, right[start + j * stride : start + j * stride + width])


@compiled()
def fill_membranes(
    u: Floats, flat: Floats, bias: int, weight: int, stride: int, spikes: Rows, counts: Rows, constants: Floats,
) -> None:  # fmt: skip
    """Fills in the membranes (T, width) of a layer: each listed spike adds its row of weights, a silent neuron none."""
    width = u.shape[1]
    for t in range(u.shape[0]):
        now = u[t]
        now[:] = flat[bias : bias + width]
        add_rows(now, flat, weight, stride, spikes[t], counts[t])
        if t > 0:
            integrate(now, u[t - 1], constants)


@compiled()
def fill_hidden(
    net: Integers, flat: Floats, current: Floats, u: Floats, spikes: Rows, counts: Rows, constants: Floats,
) -> None:  # fmt: skip
    """Fills in membranes (2, T, H) and spikes of both hidden layers for one vector, from the current of the first."""
    for t in range(u.shape[1]):
        now = u[0, t]
        now[:] = current
        if t > 0:
            integrate(now, u[0, t - 1], constants)
        counts[0, t] = list_spikes(now, constants[1], spikes[0, t])
    fill_membranes(u[1], flat, net[B2], net[W2], net[HIDDEN], spikes[0], counts[0], constants)
    for t in range(u.shape[1]):
        counts[1, t] = list_spikes(u[1, t], constants[1], spikes[1, t])


@compiled()
def traced(net: Integers, trace: Any, batch: int, steps: int) -> Any:
    """Returns a network's part of a trace of hidden layers: (B, 2, T, H)."""
    hidden = net[HIDDEN]
    return trace[net[TRACE] : net[TRACE] + batch * 2 * steps * hidden].reshape((batch, 2, steps, hidden))


@compiled()
def show(
    net: Integers, flat: Floats, shown: Floats, trace: Floats, spikes: Rows, counts: Rows, constants: Floats
) -> None:
    """Runs both hidden layers for every vector (B, n); the current of the first is the same at every time step."""
    batch, steps, n, hidden = shown.shape[0], counts.shape[2], net[INPUTS], net[HIDDEN]
    currents, cells = np.empty((batch, hidden), np.float32), shown.reshape(-1)
    for b in range(batch):
        currents[b] = flat[net[B1] : net[B1] + hidden]
    for low in range(0, n, BLOCK):
        add_products(currents, cells, low, n, flat, net[W1] + low, n, min(BLOCK, n - low))
    u, s = traced(net, trace, batch, steps), traced(net, spikes, batch, steps)
    for b in range(batch):
        fill_hidden(net, flat, currents[b], u[b], s[b], counts[b], constants)


@compiled()
def fill_rates(
    rate: Floats, u: Floats, net: Integers, flat: Floats, low: int, spikes: Rows, counts: Rows, constants: Floats,
) -> None:  # fmt: skip
    """Fills in the firing rates of the last layer's cells from `low` on, and their membranes into `u` (T, cells)."""
    fill_membranes(u, flat, net[B3] + low, net[W3] + low, net[OUTPUTS], spikes, counts, constants)
    threshold, share = constants[1], ONE / np.float32(u.shape[0])
    rate[:] = ZERO
    for t in range(u.shape[0]):
        now = u[t]
        for c in range(rate.size):
            rate[c] += ONE if now[c] > threshold else ZERO
    for c in range(rate.size):
        rate[c] *= share


@compiled()
def fill_outcome(out: Floats, action: int, vector: Floats, away: Floats, scale: float, rate: Floats) -> None:
    """Fills in f + scale * F(f), or f + scale * S(1/2 - f) * (1/2 - f), for some cells."""
    if action == 0:
        for c in range(out.size):
            out[c] = vector[c] + scale * rate[c]
    else:
        for c in range(out.size):
            out[c] = vector[c] + scale * rate[c] * away[c]


@compiled()
def add_sums(sums: Doubles, cells: Floats) -> None:
    """Adds sum and sum of squares in double precision, exact enough for a variance."""
    total = squares = 0.0
    for c in range(cells.size):
        value = np.float64(cells[c])
        total += value
        squares += value * value
    sums[0] += total
    sums[1] += squares


@compiled()
def sum_outcomes(
    sums: Doubles, action: int, net: Integers, flat: Floats, shown: Floats, scale: Floats, spikes: Rows, counts: Rows,
    constants: Floats,
) -> None:  # fmt: skip
    """Adds up f' into sums (B, 2), from the spikes of the second hidden layer; no rate of a whole vector is stored."""
    steps, n = counts.shape[2], shown.shape[2]
    space, rates, out = np.empty(steps * BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for low in range(0, n, BLOCK):
        width = min(BLOCK, n - low)
        u, rate, outcome = space[: steps * width].reshape((steps, width)), rates[:width], out[:width]
        for b in range(shown.shape[1]):
            fill_rates(rate, u, net, flat, low, spikes[b, 1], counts[b, 1], constants)
            vector, away = shown[0, b, low : low + width], shown[1, b, low : low + width]
            fill_outcome(outcome, action, vector, away, scale[b] if action == 0 else constants[4], rate)
            add_sums(sums[b], outcome)


@compiled("(i8[:,::1],f4[::1],f4[:,:,::1],f4[::1],f8[:,::1],f4[::1],i4[::1],i4[:,:,:,::1],f4[::1],f8[:,:,::1])")
def evaluate(
    layout: Integers, flat: Floats, shown: Floats, scale: Floats, moments: Doubles, trace: Floats, spikes: Rows,
    counts: Rows, constants: Floats, found: Doubles,
) -> None:  # fmt: skip
    """Writes mean, loss and variance of f' under all three actions, for every vector, into `found` (3, 3, B)."""
    batch, n, steps = shown.shape[1], shown.shape[2], counts.shape[3]
    for action in range(3):
        show(layout[action], flat, shown[action], trace, spikes, counts[action], constants)
    for action in range(2):
        sums, s = np.zeros((batch, 2)), traced(layout[action], spikes, batch, steps)
        sum_outcomes(sums, action, layout[action], flat, shown, scale, s, counts[action], constants)
        for b in range(batch):
            mean = sums[b, 0] / n
            variance = max(0.0, sums[b, 1] - mean * sums[b, 0]) / (n - 1)
            found[0, action, b] = np.float32(mean)
            found[1, action, b] = variance + abs(found[0, action, b] - constants[3])
            found[2, action, b] = variance
    u, rate, s = np.empty((steps, 1), np.float32), np.empty(1, np.float32), traced(layout[2], spikes, batch, steps)
    for b in range(batch):  # one rate for all cells: mean and variance follow from those of the vector
        fill_rates(rate, u, layout[2], flat, 0, s[b, 1], counts[2, b, 1], constants)
        rest = 1.0 - constants[5] * rate[0]
        found[0, 2, b] = moments[0, b]
        found[1, 2, b] = rest * rest * moments[1, b] + abs(moments[0, b] - constants[3])
        found[2, 2, b] = rest * rest * moments[1, b]


@compiled("(i8,i8[:,::1],f4[::1],f4[:,:,::1],f4[::1],f8[:,::1],f4[::1],i4[::1],i4[:,:,:,::1],f4[::1],f4[::1])")
def act(
    action: int, layout: Integers, flat: Floats, shown: Floats, scale: Floats, moments: Doubles, trace: Floats, spikes:
    Rows, counts: Rows, constants: Floats, target: Floats,
) -> None:  # fmt: skip
    """Writes clip(f', -1, 1) of the first vector under one action into `target` (n,)."""
    net, steps, n = layout[action], counts.shape[3], shown.shape[2]
    show(net, flat, shown[action, :1], trace, spikes, counts[action], constants)
    s = traced(net, spikes, 1, steps)
    cells = min(BLOCK, net[OUTPUTS])
    space, rates = np.empty(steps * cells, np.float32), np.empty(cells, np.float32)
    mean = np.float32(moments[0, 0])
    for low in range(0, n, BLOCK):
        width = min(BLOCK, n - low)
        vector, away, out = shown[0, 0, low : low + width], shown[1, 0, low : low + width], target[low : low + width]
        outputs = 1 if action == 2 else width
        if action != 2 or low == 0:
            u = space[: steps * outputs].reshape((steps, outputs))
            fill_rates(rates[:outputs], u, net, flat, low, s[0, 1], counts[action, 0, 1], constants)
        if action == 2:
            for c in range(width):
                out[c] = vector[c] - constants[5] * rates[0] * (vector[c] - mean)
        else:
            fill_outcome(out, action, vector, away, scale[0] if action == 0 else constants[4], rates[:width])
        for c in range(width):
            out[c] = -ONE if out[c] < -ONE else ONE if out[c] > ONE else out[c]  # a NaN stays one
