"""Views of pictures: the same content a little turned, moved and stretched."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TURN, STRETCH, SHEAR, SHIFT = 0.26, 0.12, 0.15, 0.12
"""At most, at a strength of 1: radians (15 degrees), a share of the size, the shear, a share of half the size."""


def affine_view(pictures: Tensor, strength: float, background: Tensor) -> Tensor:
    """Every picture by a small affine change of its own, drawn from torch's random state.

    Args:
        pictures: ``[batch, channels, rows, columns]``.
        strength: factor on all changes; 0 changes nothing.
        background: ``[1, channels, 1, 1]``, what comes in from outside.
    """
    if not strength:
        return pictures
    drawn = strength * (2 * torch.rand(5, len(pictures), device=pictures.device) - 1)
    scale, shear = 1 + STRETCH * drawn[1], SHEAR * drawn[2]
    cosine, sine = torch.cos(TURN * drawn[0]) / scale, torch.sin(TURN * drawn[0]) / scale
    first = torch.stack([cosine, shear - sine, SHIFT * drawn[3]], 1)
    second = torch.stack([sine, cosine, SHIFT * drawn[4]], 1)
    places = functional.affine_grid(torch.stack([first, second], 1), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures - background, places.to(pictures.dtype), align_corners=False) + background
