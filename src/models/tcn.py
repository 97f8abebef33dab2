"""Temporal convolutional networks (Bai, Kolter, Koltun 2018, arXiv 1803.01271): causal, dilated convolutions.

Only the newest step is read, so only the cone of its receptive field is computed: block after block the outputs that
later blocks look at lie twice as far apart, and everything between them is left out. The values are those of the
full computation (``sequence``), for about a quarter of the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.base import DataSpec
from ..layers.convolution import causal_convolution, grid_convolution
from ..layers.embedding import masked_mean
from ..layers.stochastic import Dropout
from ..options import tunable
from ..registry import register_model
from .bayesian_model import BayesianModel, BayesianOptions
from .sequence_model import SequenceModel


class CausalConvolution(nn.Module):
    """A convolution over the present and past only.

    Args:
        channels_in, channels_out: widths.
        kernel: number of taps.
        dilation: steps between taps.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        # As nn.Conv1d does. Small, so that a residual block begins close to doing nothing; with He initialisation the
        # same network ended 10 % worse on ETTh1.
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, states: Tensor, outputs: int | None = None, step: int = 1) -> Tensor:
        """``[batch, channels_in, time]`` -> ``[batch, channels_out, time]``, zeros standing for the time before.

        With ``outputs``, so many of a grid of states that are ``dilation`` apart already (``grid_convolution``): both
        ways are calls of the module, which hooks can watch.
        """
        if outputs is not None:
            return grid_convolution(states, self.weight, self.bias, outputs, step)
        return causal_convolution(states, self.weight, self.bias, self.dilation)


class Block(nn.Module):
    """Two causal convolutions with ReLU and dropout, and a residual connection around them if asked for.

    Args:
        channels_in, channels_out: widths.
        kernel, dilation: of both convolutions.
        dropout: share of channels dropped (whole channels, as in the paper).
        residual: add the block's input (through a 1x1 convolution where widths differ).
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, dilation: int, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        self.residual = residual
        self.drop = Dropout(dropout, whole_channels=True)
        self.first = CausalConvolution(channels_in, channels_out, kernel, dilation)
        self.second = CausalConvolution(channels_out, channels_out, kernel, dilation)
        self.match = nn.Conv1d(channels_in, channels_out, 1) if residual and channels_in != channels_out else None

    def forward(self, states: Tensor) -> Tensor:
        """``[batch, channels_in, time]`` -> ``[batch, channels_out, time]``."""
        hidden = self._activate(self.second(self._activate(self.first(states))))
        return self._add(hidden, states) if self.residual else hidden

    def on_grid(self, states: Tensor, inner: int, outputs: int, step: int) -> Tensor:
        """The block's values at every ``step``-th grid position only, counted back from the newest.

        Args:
            states: ``[batch, channels_in, grid]``, the grid positions being ``dilation`` time steps apart.
            inner: how many values of the first convolution the second one looks at.
            outputs: how many outputs are wanted.
            step: distance between outputs in grid positions.

        Returns:
            ``[batch, channels_out, outputs]``.
        """
        hidden = self._activate(self.first(states, inner))
        hidden = self._activate(self.second(hidden, outputs, step))
        if not self.residual:
            return hidden
        return self._add(hidden, states[:, :, states.shape[2] - 1 - (outputs - 1) * step :: step])

    def _activate(self, states: Tensor) -> Tensor:
        return self.drop(functional.relu(states))

    def _add(self, hidden: Tensor, states: Tensor) -> Tensor:
        # No ReLU after the sum, unlike the paper: what is linear in the newest values must reach the head unbent.
        return hidden + (states if self.match is None else self.match(states))


@register_model("tcn:residual")
@register_model(
    "tcn:basic",
    residual=False,
    summary="Stacked causal convolutions, the dilation doubling from block to block, nothing added.",
)
class ResidualTCN(SequenceModel):
    """Residual blocks of two causal convolutions, the dilation doubling from block to block.

    Of a series the newest step's state is read; of a text the mean over its tokens.
    """

    kinds = ("series", "text")
    tasks = ("forecast", "direction", "classify")

    @dataclass(frozen=True)
    class Config(SequenceModel.Config):
        """Options of the TCN; ``num_layers`` counts blocks."""

        num_layers: int = tunable(4, low=1, high=8, minimum=1, help="number of blocks; block i has dilation 2^i")
        kernel: int = tunable(3, search=(2, 3, 5, 7), minimum=2, help="taps of each convolution")
        residual: bool = tunable(True, search=(True, False), help="residual connections around the blocks")

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        widths = [self.token_size] + [config.hidden_size] * config.num_layers
        self.blocks = nn.ModuleList(
            Block(widths[i], widths[i + 1], config.kernel, 2**i, config.dropout, config.residual)
            for i in range(config.num_layers)
        )
        self.cone = receptive_cone(self.token_count, config.kernel, config.num_layers)
        self.encoded_size = config.hidden_size
        self.build_head()

    @property
    def receptive_field(self) -> int:
        """How many tokens the newest output depends on."""
        return 1 + 2 * (self.config.kernel - 1) * (2**self.config.num_layers - 1)

    def sequence(self, tokens: Tensor) -> Tensor:
        """The states of all steps: ``[batch, tokens, token_size]`` -> ``[batch, tokens, hidden_size]``."""
        states = tokens.transpose(1, 2)
        for block in self.blocks:
            states = block(states)
        return states.transpose(1, 2)

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> the newest step's state, or with a mask the tokens' mean:
        ``[batch, hidden_size]``."""
        if mask is not None:
            return masked_mean(self.sequence(tokens), mask)
        states = tokens.transpose(1, 2)
        for block, counts in zip(self.blocks, self.cone, strict=True):
            states = block.on_grid(states, *counts)  # type: ignore[operator]
        return states.squeeze(2)


@register_model("tcn:bayesian", by_default=False)
class BayesianTCN(BayesianModel):
    """The residual TCN with calibrated uncertainty, from drawn networks."""

    network_class = ResidualTCN

    @dataclass(frozen=True)
    class Config(BayesianOptions, ResidualTCN.Config):
        """Options of the network and of how it is made Bayesian."""


def receptive_cone(time: int, kernel: int, blocks: int) -> list[tuple[int, int, int]]:
    """How little each block has to compute for the newest step's output.

    Positions before the window's start do not exist (convolutions see zeros there), so no count exceeds them.

    Args:
        time: number of time steps in the window.
        kernel: taps of every convolution.
        blocks: number of blocks; block ``i`` has dilation ``2^i``.

    Returns:
        for every block ``(inner, outputs, step)``: values of its first convolution, outputs of its second one, and
        the distance between outputs in units of the block's dilation.
    """
    counts = []
    outputs, step = 1, 1
    for block in reversed(range(blocks)):
        grid = -(-time // 2**block)
        inner = min((outputs - 1) * step + kernel, grid)
        counts.append((inner, outputs, step))
        outputs, step = min(inner - 1 + kernel, grid), 2
    return counts[::-1]
