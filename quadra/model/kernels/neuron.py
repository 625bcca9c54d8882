"""The leaky integrate-and-fire neuron compiled for the CPU, and its surrogate gradient.

The twin of `model.neuron`, which names its sources; both pass the same tests.

`constants` begins with decay, threshold and slope of the surrogate gradient.
"""

from __future__ import annotations

from quadra.model.kernels.jit import ONE, ZERO, Floats, Rows, compiled


@compiled("(f4[::1],f4[::1],f4[::1])")
def integrate(now: Floats, before: Floats, constants: Floats) -> None:
    """u[t] = decay * u[t-1] + i[t] - threshold * s[t-1], in place: `now` holds i[t] at the call and u[t] after it."""
    decay, threshold = constants[0], constants[1]
    for c in range(now.size):
        now[c] += decay * before[c] - (threshold if before[c] > threshold else ZERO)


@compiled()
def list_spikes(u: Floats, threshold: float, rows: Rows) -> int:
    """Writes the numbers of the neurons that spike into `rows`; returns how many they are."""
    count = 0
    for j in range(u.size):
        rows[count] = j  # without a branch, which could not be foreseen
        count += u[j] > threshold
    return count


@compiled("(f4[:,::1],f4[:,::1],f4[::1])")
def surrogate_backward(gradient: Floats, u: Floats, constants: Floats) -> None:
    """The surrogate gradient: dL/di from dL/ds, both (T, width), in place, back through time.

    ds/du = 1 / (1 + slope * |u - threshold|)^2,  dL/di[t] = (dL/ds * ds/du)[t] + decay * dL/di[t+1]
    """
    decay, threshold, slope = constants[0], constants[1], constants[2]
    for t in range(u.shape[0] - 1, -1, -1):
        g, now = gradient[t], u[t]
        for c in range(g.size):
            far = ONE + slope * abs(now[c] - threshold)
            g[c] /= far * far
        if t < u.shape[0] - 1:
            later = gradient[t + 1]
            for c in range(g.size):
                g[c] += decay * later[c]
