"""What recurrent layers give, and how hard their gates are pressed to open or shut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tensors import sampled

GATE_LIMIT = 4.0
"""Beyond it a sigmoid is above 0.982 or below 0.018, and passes less than a tenth of its greatest gradient."""

GATE_ROWS = 64
"""How many vectors of gates are looked at: they must be computed once more."""


@dataclass(frozen=True)
class RecurrentSample:
    """A few samples of one call of a recurrent layer.

    Attributes:
        states: what it gave, ``[samples x times, units]``.
        inputs: what it read at some times after the first, ``[samples x times, features]``, or None.
        before: what it had given right before these times, ``[samples x times, units]``.
    """

    states: Tensor
    inputs: Tensor | None = None
    before: Tensor | None = None


def recurrent_sample(layer: nn.RNNBase, inputs: object, result: object) -> RecurrentSample | None:
    """Take a sample of a layer's call; None if it gave nothing that can be read (or learnt)."""
    output = result[0] if isinstance(result, tuple) else result
    if isinstance(output, nn.utils.rnn.PackedSequence):
        return RecurrentSample(sampled(output.data, 1)) if output.data.requires_grad else None
    if not isinstance(output, Tensor) or not output.requires_grad:
        return None
    if output.dim() == 2:  # one sample without a batch axis
        return RecurrentSample(sampled(output, 1))
    batch_axis = 0 if layer.batch_first else 1
    states = sampled(output, 2, batch_axis)
    if not isinstance(inputs, Tensor) or inputs.dim() != 3 or inputs.shape[1 - batch_axis] < 2:
        return RecurrentSample(states)
    later = inputs.narrow(1 - batch_axis, 1, inputs.shape[1 - batch_axis] - 1)
    earlier = output.narrow(1 - batch_axis, 0, output.shape[1 - batch_axis] - 1)
    forwards = earlier[..., : output.shape[2] // (2 if layer.bidirectional else 1)]
    inputs, before = (sampled(values, 2, batch_axis, GATE_ROWS) for values in (later, forwards))
    return RecurrentSample(states, inputs, before)


def saturated_gates(layer: nn.RNNBase, sample: RecurrentSample) -> Tensor | None:
    """Share of an LSTM's gates, or of a GRU's reset and update gates, whose sum before the sigmoid is beyond +-4.

    For one layer that sum is known. Of stacked ones what is between the layers is not: there the part that comes from
    the input stands for the lowest layer, and the part that comes from the state before for the topmost one.
    """
    gates = {"LSTM": 4, "GRU": 2}.get(layer.mode)
    if gates is None or sample.inputs is None or sample.before is None:
        return None
    rows = gates * layer.hidden_size
    # Rows of the weights are sorted by gate; the last third of a GRU's, its candidate, is no plain sum.
    first, top = "l0", f"l{layer.num_layers - 1}"
    of_inputs: Tensor = getattr(layer, f"weight_ih_{first}")[:rows]
    inputs, before = (values.to(of_inputs.dtype) for values in (sample.inputs, sample.before))
    of_input = functional.linear(inputs, of_inputs, _bias(layer, first, rows))
    recurrent = getattr(layer, f"weight_hh_{top}")[:rows]
    if layer.num_layers == 1:
        sums = [of_input + functional.linear(before, recurrent)]
    else:
        sums = [of_input, functional.linear(before, recurrent, _bias(layer, top, rows))]
    counts = [share_beyond(values, GATE_LIMIT) for values in sums]
    return counts[0] if len(counts) == 1 else (counts[0] + counts[1]) / 2


def share_beyond(values: Tensor, limit: float) -> Tensor:
    """Share of values whose size is above a limit."""
    return torch.count_nonzero(functional.hardshrink(values, limit)) / values.numel()


def _bias(layer: nn.RNNBase, suffix: str, rows: int) -> Tensor | None:
    if not layer.bias:
        return None
    return (getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}"))[:rows]
