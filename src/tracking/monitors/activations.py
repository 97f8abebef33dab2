"""What flows through the layers: how large it is, which units are dead, which are saturated."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..tag_tables import monitors as names
from .base import Monitor, WatchedRun, WatchedStep
from .hooks import Hooks, first_tensor, is_compiled
from .recurrent import RecurrentSample, recurrent_sample, saturated_gates, share_beyond
from .tensors import Groups, mean_and_deviation, named, sampled

BOUND = 1.0
SATURATED = 0.99
HISTOGRAM_INTERVAL = 500
LEAST_HISTOGRAMS = 8


class Activations(Monitor):
    """Looks at what every layer with a weight matrix reads, so that activations that are mere functions are seen, and
    at what recurrent layers give.

    A unit is dead if it is the same for all samples and times that are looked at (about 256 vectors). What is all
    within +-1 is taken for the result of a bounded activation; it is saturated beyond +-0.99. Only what depends on a
    trainable weight is looked at: the data themselves are the business of ``Inputs``. What two layers read is shown
    once, under the name of the first.
    """

    name: ClassVar[str] = "activations"
    diagnosed: ClassVar[bool] = True

    def __init__(self) -> None:
        self._readers: dict[str, nn.Module] = {}
        self._recurrent: dict[str, nn.RNNBase] = {}
        self._hooks = Hooks()
        self._samples: dict[str, Tensor] = {}
        self._calls: dict[str, RecurrentSample] = {}
        self._seen: dict[int, weakref.ref[Tensor]] = {}
        self._run: WatchedRun | None = None
        self._next_histogram = 0
        self._histogram_interval = HISTOGRAM_INTERVAL
        self._groups: tuple[tuple[tuple[str, int], ...], Groups, Tensor] | None = None

    def on_start(self, run: WatchedRun) -> None:
        """Find the layers."""
        self._run = run
        if run.total_steps is not None:  # a short training shall have several, too
            self._histogram_interval = min(HISTOGRAM_INTERVAL, max(10, run.total_steps // LEAST_HISTOGRAMS))
        if is_compiled(run.model):
            return
        for layer, module in run.model.named_modules():
            if isinstance(module, nn.RNNBase):
                self._recurrent[layer] = module
            elif _has_matrix(module):
                self._readers[layer] = module

    def before_step(self) -> None:
        """Hook into the layers."""
        self._forget()
        for layer, module in self._readers.items():
            self._hooks.on_call(module, self._reader(layer))
        for layer, recurrent in self._recurrent.items():
            self._hooks.on_result(recurrent, self._recurrent_reader(layer))

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at the samples that the step has left."""
        self._hooks.remove()
        try:
            with torch.no_grad():
                return self._values(step) if self._samples else {}
        finally:
            self._forget()

    def on_end(self) -> None:
        """Leave the layers."""
        self._forget()

    def state_dict(self) -> dict[str, Any]:
        """When the next histograms are due."""
        return {"next_histogram": self._next_histogram}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._next_histogram = int(state["next_histogram"])

    def _forget(self) -> None:
        self._hooks.remove()
        self._samples, self._calls, self._seen = {}, {}, {}

    def _reader(self, layer: str) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
            values = first_tensor(arguments or tuple(keywords.values()))
            if values is None or layer in self._samples or not values.requires_grad or values.dim() < 2:
                return
            if values.is_nested or values.layout != torch.strided or not values.numel():
                return
            known = self._seen.get(id(values))
            if known is None or known() is not values:
                self._seen[id(values)] = weakref.ref(values)
                self._samples[layer] = sampled(values, _unit_axis(module, values))

        return keep

    def _recurrent_reader(self, layer: str) -> Any:
        def keep(module: nn.RNNBase, arguments: tuple[Any, ...], result: Any) -> None:
            sample = recurrent_sample(module, arguments[0] if arguments else None, result)
            if sample is not None and layer not in self._samples:
                self._samples[layer], self._calls[layer] = sample.states, sample

        return keep

    def _values(self, step: WatchedStep) -> dict[str, Tensor | float]:
        samples = {layer: values.float() for layer, values in self._samples.items()}
        dead, saturated = self._shares(samples)
        values = named((names.ACTIVATION_DEAD.format(layer=layer) for layer in samples), dead)
        values |= named((names.ACTIVATION_SATURATED.format(layer=layer) for layer in samples), saturated)
        if step.detailed:
            for layer, sample in samples.items():
                mean, deviation = mean_and_deviation(sample)
                values[names.ACTIVATION_MEAN.format(layer=layer)] = mean
                values[names.ACTIVATION_STD.format(layer=layer)] = deviation
            self._histograms(samples, step.step)
        return values

    def _shares(self, samples: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Percentages ``[layers]`` of dead and of saturated units."""
        rows = list(samples.values())
        lowest, highest = torch.cat([row.amin(0) for row in rows]), torch.cat([row.amax(0) for row in rows])
        groups, units = self._units(samples)
        dead = groups.sums((lowest == highest).float()) / units
        is_bounded = groups.sums(((lowest < -BOUND) | (highest > BOUND)).float()) == 0
        # Away from the CPU nobody knows yet which layers are bounded, and asking would mean waiting.
        asked = is_bounded.tolist() if is_bounded.device.type == "cpu" else [True] * len(rows)
        nothing = lowest.new_zeros(())
        shares = [share_beyond(row, SATURATED) if ask else nothing for row, ask in zip(rows, asked, strict=True)]
        saturated = torch.where(is_bounded, torch.stack(shares), nothing)
        for number, layer in enumerate(samples):
            gates = saturated_gates(self._recurrent[layer], self._calls[layer]) if layer in self._calls else None
            if gates is not None:
                saturated[number] = torch.maximum(saturated[number], gates)
        return 100 * dead, 100 * saturated

    def _units(self, samples: Mapping[str, Tensor]) -> tuple[Groups, Tensor]:
        """How units, side by side, belong to layers, and the number of them in each layer."""
        key = tuple((layer, values.shape[-1]) for layer, values in samples.items())
        if self._groups is None or self._groups[0] != key:
            device = next(iter(samples.values())).device
            members, first = {}, 0
            for layer, width in key:
                members[layer], first = range(first, first + width), first + width
            widths = torch.tensor([float(width) for _, width in key], device=device)
            self._groups = key, Groups(members, device), widths
        return self._groups[1:]

    def _histograms(self, samples: Mapping[str, Tensor], step: int) -> None:
        if self._run is None or step < self._next_histogram:
            return
        self._next_histogram = step + self._histogram_interval
        tensors = {names.ACTIVATIONS.format(layer=layer): values for layer, values in samples.items()}
        self._run.logger.writer.add_histograms(tensors, step)


def _has_matrix(module: nn.Module) -> bool:
    """Whether a module has a weight matrix of its own that it multiplies what it reads with."""
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return False
    return any(parameter.dim() >= 2 for parameter in module.parameters(recurse=False))


def _unit_axis(module: nn.Module, values: Tensor) -> int:
    """Axis 1 for convolutions (channels come before times and places), else the last one."""
    groups = getattr(module, "groups", 1)
    for parameter in module.parameters(recurse=False):
        shape = parameter.shape
        if len(shape) == values.dim() > 2 and values.shape[1] in (shape[0], shape[1], shape[1] * groups):
            return 1
    return -1
