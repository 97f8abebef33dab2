"""What monitors share: many tensors in few kernels, and views of a few samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

ROWS = 256
"""How many vectors of activations are looked at."""
TIMES = 32
"""How many of them are of one sample, at most."""


class Groups:
    """Sums of values by group, in two kernels.

    Args:
        members: group to the positions of its values; a position may be in several groups.
        device: where values are.
    """

    def __init__(self, members: Mapping[str, Sequence[int]], device: torch.device) -> None:
        self.names = list(members)
        pairs = [(number, place) for number, places in enumerate(members.values()) for place in places]
        self._group = torch.tensor([number for number, _ in pairs], dtype=torch.long, device=device)
        self._source = torch.tensor([place for _, place in pairs], dtype=torch.long, device=device)

    def sums(self, values: Tensor) -> Tensor:
        """``[values]`` -> ``[groups]``."""
        return values.new_zeros(len(self.names)).index_add_(0, self._group, values[self._source])


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norms of all tensors, float32 ``[tensors]`` on the device of the first one."""
    device = tensors[0].device
    found = torch._foreach_norm(list(tensors))
    return torch.stack([norm if norm.device == device else norm.to(device) for norm in found]).float()


def named(tags: Iterable[str], values: Tensor) -> dict[str, Tensor | float]:
    """One value of ``[tags]`` for each tag: numbers where nobody has to be waited for to read them, else tensors."""
    return dict(zip(tags, values.tolist() if values.device.type == "cpu" else values.unbind(), strict=True))


def measurable(parameters: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """The parameters that have values, and a norm: no lazy ones, no integers."""
    return {
        name: parameter
        for name, parameter in parameters.items()
        if not is_lazy(parameter) and (parameter.is_floating_point() or parameter.is_complex())
    }


def sampled(values: Tensor, unit_axis: int, batch_axis: int = 0, rows: int = ROWS) -> Tensor:
    """Evenly spaced samples and times; few, so that their copy is small and the rest of the memory can go.

    Args:
        values: activations of two axes or more.
        unit_axis: the axis of units (features, channels), which is kept whole.
        batch_axis: the axis of samples; all others are times, places and the like.
        rows: how many vectors at most, about.

    Returns:
        ``[samples x times, units]``.
    """
    # Every call costs microseconds, of many layers in the midst of a step: none that is not needed.
    values = values.detach()
    if batch_axis:
        values = values.transpose(0, batch_axis)
    if unit_axis not in (-1, values.dim() - 1):
        values = values.transpose(unit_axis, -1)
    inner = values.shape[1:-1]
    most = math.ceil(min(TIMES, rows) ** (1 / len(inner))) if inner else 1
    steps = [math.ceil(size / most) or 1 for size in inner]
    times = math.prod(math.ceil(size / step) for size, step in zip(inner, steps, strict=True))
    steps = [math.ceil(len(values) * times / rows) or 1, *steps]
    return values[tuple(slice(None, None, step) for step in steps)].flatten(0, -2).contiguous()


def mean_and_deviation(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of all values; ``torch.std_mean`` takes ten times as long for it."""
    mean = values.mean()
    return mean, torch.linalg.vector_norm(values - mean) / math.sqrt(values.numel())


def batch_spacing(samples: int, most: int) -> int:
    """The distance between evenly spaced samples of a batch so that there are ``most`` of them at most."""
    return max(1, math.ceil(samples / most))
