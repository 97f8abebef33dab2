"""Layers whose weights are distributions: a normal posterior for every weight (Blundell et al. 2015, arXiv 1505.05424).

In training, linear maps and convolutions draw their outputs instead of their weights, which has less noise (the local
reparametrisation, Kingma et al. 2015, arXiv 1506.02557); recurrent layers draw their weights once per batch. In
evaluation all use the posterior's mean, and within ``drawn_networks`` whole drawn networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .convolution import causal_convolution, grid_convolution
from .recurrent import RecurrentLayers, run_layers
from .stochastic import Dropout, StochasticLayer

START_DEVIATION = 0.02
"""Of the posterior before training, in shares of the prior's deviation."""


class WeightPosterior(nn.Module):
    """Independent normal distributions for the entries of one weight, and their prior.

    Args:
        weight: whose values the means begin with.
        prior_deviation: of the prior, which has mean 0.
    """

    def __init__(self, weight: Tensor, prior_deviation: float) -> None:
        super().__init__()
        self.prior_deviation = prior_deviation
        self.mean = nn.Parameter(weight.detach().clone())
        start = START_DEVIATION * prior_deviation
        self.raw_deviation = nn.Parameter(torch.full_like(weight, math.log(math.expm1(start))))

    @property
    def deviation(self) -> Tensor:
        """Of every entry: the softplus of what is learnt."""
        return functional.softplus(self.raw_deviation)

    def draw(self, draws: int = 0, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the weight, or ``[draws, *weight]``."""
        shape = (draws, *self.mean.shape) if draws else self.mean.shape
        noise = torch.randn(shape, generator=generator) if generator else self.mean.new_empty(shape).normal_()
        return self.mean + self.deviation * noise.to(self.mean)

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence from the prior in nats, summed over entries.

        Of two normal distributions: ``ln(s0 / s) + (s^2 + m^2) / (2 s0^2) - 1/2``.
        """
        ratio = self.deviation / self.prior_deviation
        return (ratio.square() / 2 - ratio.log() + (self.mean / self.prior_deviation).square() / 2 - 0.5).sum()


class VariationalLinear(StochasticLayer):
    """``nn.Linear`` with a posterior over weight and bias."""

    def __init__(self, linear: nn.Linear, prior_deviation: float) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = WeightPosterior(linear.weight, prior_deviation)
        self.bias = None if linear.bias is None else WeightPosterior(linear.bias, prior_deviation)

    def forward(self, states: Tensor) -> Tensor:
        """``[rows, ..., in_features]`` -> ``[rows, ..., out_features]``."""
        if self.draws:
            weight = self.weight.draw(self.draws, self.generator)
            outputs = states.reshape(self.draws, -1, self.in_features) @ weight.transpose(1, 2)
            if self.bias is not None:
                outputs = outputs + self.bias.draw(self.draws, self.generator)[:, None]
            return outputs.view(*states.shape[:-1], self.out_features)
        mean = functional.linear(states, self.weight.mean, None if self.bias is None else self.bias.mean)
        if not self.training:
            return mean
        bias = None if self.bias is None else self.bias.deviation.square()
        return _noisy(mean, functional.linear(states.square(), self.weight.deviation.square(), bias))


class VariationalConvolution(StochasticLayer):
    """A causal convolution, or ``nn.Conv1d`` of one tap, with a posterior over weight and bias.

    Args:
        convolution: with ``weight`` ``[channels_out, channels_in, taps]`` and ``bias``.
        prior_deviation: of the prior.
    """

    def __init__(self, convolution: Any, prior_deviation: float) -> None:
        super().__init__()
        self.dilation = int(getattr(convolution, "dilation", 1)) if convolution.weight.shape[2] > 1 else 1
        self.weight = WeightPosterior(convolution.weight, prior_deviation)
        self.bias = WeightPosterior(convolution.bias, prior_deviation)

    def forward(self, states: Tensor, outputs: int | None = None, step: int = 1) -> Tensor:
        """``[rows, channels_in, time]`` -> ``[rows, channels_out, time]``, or ``outputs`` of a grid of states."""
        if self.draws:
            weights = self.weight.draw(self.draws, self.generator)
            biases = self.bias.draw(self.draws, self.generator)
            blocks = zip(states.chunk(self.draws), weights, biases, strict=True)
            return torch.cat([self._convolve(block, weight, bias, outputs, step) for block, weight, bias in blocks])
        mean = self._convolve(states, self.weight.mean, self.bias.mean, outputs, step)
        if not self.training:
            return mean
        variances = self.weight.deviation.square(), self.bias.deviation.square()
        return _noisy(mean, self._convolve(states.square(), *variances, outputs, step))

    def _convolve(self, states: Tensor, weight: Tensor, bias: Tensor, outputs: int | None, step: int) -> Tensor:
        if outputs is None:
            return causal_convolution(states, weight, bias, self.dilation)
        return grid_convolution(states, weight, bias, outputs, step)


class VariationalRecurrent(StochasticLayer):
    """``nn.LSTM`` or ``nn.GRU`` with a posterior over all weights, drawn once per batch (Fortunato et al. 2017, arXiv
    1704.02798).

    Args:
        recurrent: ``batch_first``.
        prior_deviation: of the prior.
    """

    def __init__(self, recurrent: nn.RNNBase, prior_deviation: float) -> None:
        super().__init__()
        self.between = Dropout(recurrent.dropout)
        self.weights = nn.ModuleList(
            nn.ModuleList(WeightPosterior(weight, prior_deviation) for weight in weights)
            for weights in recurrent.all_weights
        )
        kind: Any = type(recurrent)  # a stack of the same shape says how to run; its own weights are never used
        with torch.device("meta"):
            self._template = [
                kind(
                    recurrent.input_size,
                    recurrent.hidden_size,
                    recurrent.num_layers,
                    batch_first=True,
                    bidirectional=recurrent.bidirectional,
                )
            ]

    def forward(self, inputs: Any) -> tuple[Any, Any]:
        """``[rows, time, size]`` or packed sequences -> states and last states, as the module returns them."""
        if self.draws:
            return self._run_draws(inputs)
        return self._run(
            inputs,
            [[weight.draw() if self.training else weight.mean for weight in group] for group in self._groups()],
        )

    def _run(self, inputs: Any, weights: Sequence[Sequence[Tensor]]) -> tuple[Any, Any]:
        return run_layers(self._template[0], inputs, weights, self.between)

    def _run_draws(self, inputs: Any) -> tuple[Any, Any]:
        """Every block of rows with a network of its own."""
        lengths: tuple[Tensor, ...] | None = None
        if isinstance(inputs, PackedSequence):
            inputs, all_lengths = pad_packed_sequence(inputs, batch_first=True)
            lengths = all_lengths.chunk(self.draws)
        drawn = [[weight.draw(self.draws, self.generator) for weight in group] for group in self._groups()]
        results = []
        for draw, block in enumerate(inputs.chunk(self.draws)):
            rows = block
            if lengths is not None:
                rows = pack_padded_sequence(block, lengths[draw], batch_first=True, enforce_sorted=False)
            states, last = self._run(rows, [[weight[draw] for weight in group] for group in drawn])
            if lengths is not None:
                states, _ = pad_packed_sequence(states, batch_first=True, total_length=block.shape[1])
            results.append((states, last if isinstance(last, tuple) else (last,)))
        states = torch.cat([states for states, _ in results])
        if lengths is not None:
            states = pack_padded_sequence(states, torch.cat(lengths), batch_first=True, enforce_sorted=False)
        lasts = tuple(torch.cat(parts, 1) for parts in zip(*(last for _, last in results), strict=True))
        return states, lasts if len(lasts) > 1 else lasts[0]

    def _groups(self) -> Iterator[list[WeightPosterior]]:
        for group in self.weights:
            yield [weight for weight in group.children() if isinstance(weight, WeightPosterior)]


def make_variational(network: nn.Module, prior_deviation: float) -> None:
    """Give every linear map, convolution and recurrent layer of a network a posterior over its weights, in place.

    Embeddings, normalisations and positions stay as they are. Dropout is switched off: the noise is in the weights.
    """
    _replace(network, lambda module: _variational(module, prior_deviation))
    for module in network.modules():  # what stands between recurrent layers has become one of them
        if isinstance(module, Dropout):
            module.share = 0.0


def tie_dropout(network: nn.Module) -> None:
    """Let dropout take the same units at all steps of a row, between recurrent layers too, so that it can be drawn."""
    _replace(
        network,
        lambda module: RecurrentLayers(module) if isinstance(module, nn.RNNBase) and module.dropout else None,
    )
    for module in network.modules():
        if isinstance(module, Dropout):
            module.tied = True


def divergence(network: nn.Module) -> Tensor:
    """Kullback-Leibler divergence of all posteriors of a network from their priors, in nats."""
    parts = [module.divergence() for module in network.modules() if isinstance(module, WeightPosterior)]
    return torch.stack(parts).sum()


def _variational(module: nn.Module, prior_deviation: float) -> nn.Module | None:
    if isinstance(module, nn.Linear):
        return VariationalLinear(module, prior_deviation)
    if isinstance(module, nn.RNNBase):
        return VariationalRecurrent(module, prior_deviation)
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 3:
        return VariationalConvolution(module, prior_deviation)
    return None


def _replace(network: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]) -> None:
    for name, child in list(network.named_children()):
        new = replacement(child)
        if new is None:
            _replace(child, replacement)
        else:
            setattr(network, name, new)


def _noisy(mean: Tensor, variance: Tensor) -> Tensor:
    # The least variance keeps the gradient of the root finite where all inputs are 0.
    return mean + (variance + 1e-16).sqrt() * torch.randn_like(mean)
