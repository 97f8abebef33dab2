"""What the model is fed: features that never change, values that are none."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..tag_tables import monitors as names
from .base import Monitor, WatchedStep
from .hooks import first_tensor
from .tensors import batch_spacing

LOOKS = 10
SAMPLES = 16


class Inputs(Monitor):
    """Constant features (over 16 samples each of the last 10 batches looked at) and values that are not finite.

    Features are the last axis of ``[batch, features]`` and ``[batch, time, features]``, channels of anything larger;
    whole numbers (tokens) have none.
    """

    name: ClassVar[str] = "inputs"
    diagnosed: ClassVar[bool] = True

    def __init__(self) -> None:
        self._ranges: deque[Tensor] = deque(maxlen=LOOKS)

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at the batch of this step."""
        inputs = input_tensor(step.batch)
        if inputs is None or not inputs.is_floating_point() or inputs.dim() < 2 or not inputs.numel():
            return {}
        with torch.no_grad():
            return {
                names.INPUT_CONSTANT: self._constant_features(inputs.detach()),
                # x - x is 0 for all but NaN and infinity, for which it is NaN, which counts as not zero.
                names.INPUT_NONFINITE: torch.count_nonzero(inputs.detach() - inputs.detach()).float(),
            }

    def state_dict(self) -> dict[str, Any]:
        """Least and greatest values of the latest batches."""
        return {"ranges": [ranges.cpu() for ranges in self._ranges]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._ranges = deque(state["ranges"], maxlen=LOOKS)

    def _constant_features(self, inputs: Tensor) -> Tensor:
        sample = inputs[:: batch_spacing(len(inputs), SAMPLES)]
        rows = sample.movedim(1 if sample.dim() > 3 else -1, -1).flatten(0, -2)
        ranges = torch.stack([rows.amin(0), rows.amax(0)])
        if self._ranges and self._ranges[-1].shape != ranges.shape:
            self._ranges.clear()
        self._ranges.append(ranges)
        seen = torch.stack([known.to(ranges.device) for known in self._ranges])
        return (seen[:, 0].amin(0) == seen[:, 1].amax(0)).sum().float()


def input_tensor(batch: Any) -> Tensor | None:
    """What a model reads, of a batch: its ``inputs`` (an attribute or a key), or else its first tensor."""
    if batch is None:
        return None
    named = batch.get("inputs") if isinstance(batch, Mapping) else getattr(batch, "inputs", None)
    if isinstance(named, Tensor):
        return named
    return first_tensor(list(batch.values()) if isinstance(batch, Mapping) else batch)
