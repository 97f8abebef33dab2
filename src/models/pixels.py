"""Readers of raw pixels: what every representation of pictures has to beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.base import DataModule, DataSpec, evenly_spaced
from ..options import Options
from ..registry import register_model
from .base_model import BaseModel

MOST_PICTURES = 20_000
"""As many as the head of a representation is fitted to."""
NEIGHBOURS = 5


class PixelModel(BaseModel):
    """What both readers share: they are fitted in one go to as many pictures as the head of a representation is."""

    kinds: ClassVar[tuple[str, ...]] = ("images",)
    tasks: ClassVar[tuple[str, ...]] = ("classify",)
    uses_gradients: ClassVar[bool] = False

    @staticmethod
    def _pixels(data: DataModule) -> tuple[Tensor, Tensor]:
        """Pixels ``[pictures, channels * rows * columns]`` and classes ``[pictures]``, on the CPU."""
        batches = list(evenly_spaced(data.train, MOST_PICTURES))
        pixels = torch.cat([batch.inputs.flatten(1).cpu() for batch in batches])
        return pixels, torch.cat([batch.targets.cpu() for batch in batches])


@register_model("pixels:linear", by_default="images")
class LinearPixels(PixelModel):
    """Logistic regression on raw pixels."""

    weight: Tensor
    bias: Tensor

    def __init__(self, spec: DataSpec, config: Options) -> None:
        super().__init__(spec, config)
        classes, pixels = spec.target_shape[0], int(np.prod(spec.input_shape))
        self.register_buffer("weight", torch.zeros(classes, pixels))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, channels, rows, columns]`` -> logits ``[batch, classes]``."""
        return functional.linear(inputs.flatten(1), self.weight, self.bias)

    def fit_directly(self, data: DataModule, seed: int) -> None:
        """Fit to the training part."""
        from ..metrics.probe import fit_classes

        pixels, classes = self._pixels(data)
        reader = fit_classes(pixels.numpy(), classes.numpy(), self.spec.target_shape[0])
        self.weight.copy_(torch.from_numpy(reader.weight))
        self.bias.copy_(torch.from_numpy(reader.bias))


@register_model("pixels:neighbours", by_default="images")
class NeighbourPixels(PixelModel):
    """The five nearest training pictures, by the distance of their pixels."""

    pictures: Tensor
    classes: Tensor

    def __init__(self, spec: DataSpec, config: Options) -> None:
        super().__init__(spec, config)
        self.register_buffer("pictures", torch.zeros(0, int(np.prod(spec.input_shape)), dtype=torch.float16))
        self.register_buffer("classes", torch.zeros(0, dtype=torch.long))

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, channels, rows, columns]`` -> logarithms of the shares of votes ``[batch, classes]``.

        Every class has a fifth of a vote beforehand, so that none is impossible.
        """
        count = self.spec.target_shape[0]
        votes = inputs.new_full((len(inputs), count), 1 / NEIGHBOURS)
        if len(self.pictures):
            distances = torch.cdist(inputs.flatten(1).float(), self.pictures.float())
            nearest = distances.topk(min(NEIGHBOURS, len(self.pictures)), 1, largest=False).indices
            votes = votes + functional.one_hot(self.classes[nearest], count).sum(1)
        return (votes / votes.sum(1, keepdim=True)).log()

    def fit_directly(self, data: DataModule, seed: int) -> None:
        """Remember the training part, rounded to half precision."""
        pixels, classes = self._pixels(data)
        self.pictures, self.classes = pixels.half().to(self.device), classes.to(self.device)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: object) -> None:
        # The buffers are as long as there were pictures.
        for name in ("pictures", "classes"):
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
