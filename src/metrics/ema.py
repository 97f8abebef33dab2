"""A target network that follows another one as an exponential moving average (EMA): how far behind, how large."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import UserError


def ema_metrics(encoder: nn.Module, target: nn.Module) -> dict[str, Tensor]:
    """Compare a target encoder with the encoder it follows, over all parameters that both have in the same shape.

    Args:
        encoder: the one that is trained.
        target: its moving average.

    Returns:
        0-dimensional tensors: ``avg_parameter_divergence`` = norm of the difference / norm of the encoder's parameters
        (0 for equal ones), ``weight_magnitude_ratio`` = norm of the target's parameters / norm of the encoder's.

    Raises:
        UserError: if they have no parameter in common.
    """
    own, followed = dict(encoder.named_parameters()), dict(target.named_parameters())
    shared = [name for name, parameter in own.items() if name in followed and followed[name].shape == parameter.shape]
    if not shared:
        raise UserError(
            "an EMA target must have parameters of the same names and shapes as its encoder, but "
            f"{type(encoder).__name__} and {type(target).__name__} share none; make the target with copy.deepcopy"
        )
    weights = [own[name].detach() for name in shared]
    averages = [followed[name].detach() for name in shared]
    size = _norm(weights).clamp_min(torch.finfo(torch.float32).tiny)
    return {
        "avg_parameter_divergence": _norm(torch._foreach_sub(averages, weights)) / size,
        "weight_magnitude_ratio": _norm(averages) / size,
    }


def _norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Euclidean norm of all tensors together."""
    return torch.linalg.vector_norm(torch.stack([norm.float() for norm in torch._foreach_norm(list(tensors))]))
