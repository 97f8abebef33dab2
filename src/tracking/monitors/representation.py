"""Whether the representation that a model answers from is rich, or the same for all samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import UserError, did_you_mean
from ...metrics.representation import collapse_metrics
from ..tag_tables import monitors as names
from .base import Monitor, WatchedRun, WatchedStep
from .hooks import Hooks, first_tensor, is_compiled

MOST_SAMPLES = 256
_TAGS = {
    "mean_std_per_dim": names.REPRESENTATION_STD,
    "effective_rank": names.REPRESENTATION_RANK,
    "mean_similarity": names.REPRESENTATION_SIMILARITY,
    "dead_dimensions_percent": names.REPRESENTATION_DEAD,
}


class RepresentationCollapse(Monitor):
    """Deviation, effective rank and similarity of the representations of a batch.

    Args:
        layer: dotted name of the layer whose output is looked at; by default it is what the final head reads: the
            module named ``head``, or else the last linear layer, if that depends on trained weights.
    """

    name: ClassVar[str] = "representation"

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer
        self._module: nn.Module | None = None
        self._hooks = Hooks()
        self._features: Tensor | None = None

    def on_start(self, run: WatchedRun) -> None:
        """Find the layer.

        Raises:
            UserError: if the model has no layer of that name.
        """
        modules = dict(run.model.named_modules())
        if self.layer is not None and self.layer not in modules:
            raise UserError(
                f"the representation's layer must be one of the model's, but it has no '{self.layer}'."
                + did_you_mean(self.layer, modules)
            )
        linear = [module for module in modules.values() if isinstance(module, nn.Linear)]
        head = modules.get("head", linear[-1] if linear else None)
        found = head if self.layer is None else modules[self.layer]
        self._module = None if is_compiled(run.model) else found

    def before_step(self) -> None:
        """Hook into the layer."""
        self.on_end()
        if self._module is None:
            return
        if self.layer is None:
            self._hooks.on_call(self._module, lambda layer, arguments, keywords: self._keep(arguments))
        else:
            self._hooks.on_result(self._module, lambda layer, arguments, result: self._keep(result))

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at the representations of up to 256 samples."""
        features = self._features
        self.on_end()
        if features is None:
            return {}
        with torch.no_grad():
            found = collapse_metrics(features, MOST_SAMPLES)
        return {tag: found[name] for name, tag in _TAGS.items()}

    def on_end(self) -> None:
        """Leave the layer."""
        self._hooks.remove()
        self._features = None

    def _keep(self, values: Any) -> None:
        features = first_tensor(values)
        if self._features is None and features is not None and features.requires_grad and features.dim() > 1:
            self._features = features.detach()
