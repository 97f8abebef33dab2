"""Recurrent layers over sequences of unequal length, and run one by one where something happens between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .stochastic import Dropout


def run_over_tokens(recurrent: nn.Module, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Let an LSTM or GRU read sequences that end where their mask does.

    Args:
        recurrent: the module, ``batch_first``.
        tokens: ``[batch, tokens, size]``.
        mask: bool ``[batch, tokens]``, True where tokens are, or None if all are of full length.

    Returns:
        the states ``[batch, tokens, size]``, zeros after the end, and the last state of every layer and direction
        ``[layers * directions, batch, hidden]``.
    """
    if mask is None:
        states, last = recurrent(tokens)
    else:
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
        states, last = recurrent(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])
    return states, last[0] if isinstance(last, tuple) else last


def last_states(states: Tensor, mask: Tensor | None) -> Tensor:
    """``[batch, tokens, size]`` -> the state of every sequence's last token, ``[batch, size]``."""
    if mask is None:
        return states[:, -1]
    places = (mask.sum(1).clamp(min=1) - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
    return states.gather(1, places).squeeze(1)


class RecurrentLayers(nn.Module):
    """A stack of LSTM or GRU layers run one after the other, so that dropout between them can be tied and drawn.

    Args:
        recurrent: an ``nn.LSTM`` or ``nn.GRU``, ``batch_first``.
    """

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.between = Dropout(recurrent.dropout)

    def forward(self, inputs: Any) -> tuple[Any, Any]:
        """As the module's own ``forward``, without its dropout."""
        return run_layers(self.recurrent, inputs, self.recurrent.all_weights, self.between)


def run_layers(
    recurrent: nn.RNNBase, inputs: Any, weights: Sequence[Sequence[Tensor]], between: Dropout | None = None
) -> tuple[Any, Any]:
    """Run a stack of recurrent layers with given weights.

    Args:
        recurrent: says of what kind and how many the layers are.
        inputs: ``[batch, time, size]`` or packed sequences.
        weights: for every layer and direction its weights, as ``recurrent.all_weights``.
        between: what is done to the states between two layers.

    Returns:
        the top layer's states, packed as the inputs are, and the last states as the module returns them.
    """
    directions = 2 if recurrent.bidirectional else 1
    states, lasts = inputs, []
    for layer in range(recurrent.num_layers):
        if layer and between is not None:
            states = _changed(states, between)
        flat = [weight for direction in weights[layer * directions :][:directions] for weight in direction]
        states, last = _run_layer(recurrent, states, flat)
        lasts.append(last)
    if isinstance(recurrent, nn.LSTM):
        return states, tuple(torch.cat(parts) for parts in zip(*lasts, strict=True))
    return states, torch.cat(lasts)


def _run_layer(recurrent: nn.RNNBase, states: Any, weights: list[Tensor]) -> tuple[Any, Any]:
    run: Any = torch.lstm if isinstance(recurrent, nn.LSTM) else torch.gru
    packed = isinstance(states, PackedSequence)
    data = states.data if packed else states
    rows = int(states.batch_sizes[0]) if packed else states.shape[0]
    zeros = data.new_zeros(2 if recurrent.bidirectional else 1, rows, recurrent.hidden_size)
    start = (zeros, zeros) if isinstance(recurrent, nn.LSTM) else zeros
    settings = (recurrent.bias, 1, 0.0, recurrent.training, recurrent.bidirectional)
    if not packed:
        outputs, *last = run(data, start, weights, *settings, True)
        return outputs, tuple(last) if len(last) > 1 else last[0]
    outputs, *last = run(data, states.batch_sizes, start, weights, *settings)
    # Packed sequences are in order of their length; the last states go back to the order of the batch.
    last = [part if states.unsorted_indices is None else part[:, states.unsorted_indices] for part in last]
    again = PackedSequence(outputs, states.batch_sizes, states.sorted_indices, states.unsorted_indices)
    return again, tuple(last) if len(last) > 1 else last[0]


def _changed(states: Any, change: nn.Module) -> Any:
    if not isinstance(states, PackedSequence):
        return change(states)
    padded, lengths = pad_packed_sequence(states, batch_first=True)
    return pack_padded_sequence(change(padded), lengths, batch_first=True, enforce_sorted=False)
