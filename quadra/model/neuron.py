"""The leaky integrate-and-fire neuron and its surrogate gradient, in torch.

The neuron is that of snntorch.Leaky(reset_mechanism="subtract") with a fast-sigmoid surrogate gradient:
Eshraghian et al., "Training Spiking Neural Networks Using Lessons From Deep Learning", Proc. IEEE 2023;
Neftci et al., "Surrogate Gradient Learning in Spiking Neural Networks", IEEE SPM 2019.

On the CPU, the default, a run uses the compiled twin `model.kernels.neuron` alone: an equation that is changed here must be
changed there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Neuron:
    """The constants of a leaky integrate-and-fire neuron."""

    decay: float  # beta, per time step
    threshold: float
    slope: float  # of the surrogate gradient

    def integrate(self, currents: Sequence[Tensor], membranes: Sequence[Tensor], spikes: Sequence[Tensor]) -> None:
        """Fills in membranes and spikes, one tensor per time step, from the input currents.

        u[t] = decay * u[t-1] + i[t] - threshold * s[t-1],  s[t] = 1 if u[t] > threshold else 0,  u[-1] = s[-1] = 0
        """
        membranes[0].copy_(currents[0])
        torch.gt(membranes[0], self.threshold, out=spikes[0])
        for t in range(1, len(membranes)):
            torch.add(currents[t], membranes[t - 1], alpha=self.decay, out=membranes[t])
            membranes[t].sub_(spikes[t - 1], alpha=self.threshold)
            torch.gt(membranes[t], self.threshold, out=spikes[t])

    def surrogate_gradient(self, membranes: Tensor) -> Tensor:
        """Returns ds/du = 1 / (1 + slope * |u - threshold|)^2, same shape as `membranes`."""
        return (membranes - self.threshold).abs_().mul_(self.slope).add_(1.0).pow_(-2)

    def gradient_filter(self, time_steps: int, device: str) -> Tensor:
        """Returns M[t, k] = decay^(k-t) for k >= t, shape (T, T): dL/di[t] = sum over k of M[t, k] * (dL/ds * ds/du)[k].

        The reset term carries no gradient, so the membrane's gradient through time is this linear filter.
        """
        steps = torch.arange(time_steps, device=device)
        distance = steps[None, :] - steps[:, None]
        return torch.where(distance >= 0, self.decay ** distance.clamp(min=0).float(), 0.0)
