"""How sharp attention is, and what it looks at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...layers.attention import AttentionPooling, MultiHeadAttention
from ...metrics.attention import normalised_entropy
from ..tag_tables import monitors as names
from .base import Monitor, WatchedRun, WatchedStep
from .hooks import Hooks, is_compiled
from .tensors import batch_spacing, named

SAMPLES = 4
QUERIES = 24
PICTURED_SAMPLES = 8
PICTURE_INTERVAL = 500

Inputs = tuple[tuple[Any, ...], Mapping[str, Any]]


class AttentionEntropy(Monitor):
    """Entropy of the weights of every attention layer, and pictures of them.

    The model's own attention is left alone, since asking it for weights would make it take another way of computing.
    The weights are computed once more on the side, from what the layer has read: for at most 4 samples and 24 queries,
    8 samples and all queries for a picture, with the layer's weights as they are after the step. Works for
    ``MultiHeadAttention`` and ``AttentionPooling`` of this library and for ``torch.nn.MultiheadAttention``.
    """

    name: ClassVar[str] = "attention entropy"
    diagnosed: ClassVar[bool] = True

    def __init__(self) -> None:
        self._layers: dict[str, nn.Module] = {}
        self._hooks = Hooks()
        self._inputs: dict[str, Inputs] = {}
        self._run: WatchedRun | None = None
        self._next_pictures: dict[str, int] = {}

    def on_start(self, run: WatchedRun) -> None:
        """Find the attention layers."""
        self._run = run
        if not is_compiled(run.model):
            kinds = tuple(_SAMPLERS)
            self._layers = {name: module for name, module in run.model.named_modules() if isinstance(module, kinds)}

    def before_step(self) -> None:
        """Hook into the layers."""
        self._forget()
        for name, layer in self._layers.items():
            self._hooks.on_call(layer, self._reader(name))

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Compute the weights from what the layers have read."""
        self._hooks.remove()
        try:
            with torch.no_grad():
                if step.detailed:
                    self._picture(step.step)
                return _entropies({name: self._logits(name) for name in self._inputs})
        finally:
            self._forget()

    def on_end(self) -> None:
        """Leave the layers."""
        self._forget()

    def state_dict(self) -> dict[str, Any]:
        """When each layer's next picture is due."""
        return {"next_pictures": dict(self._next_pictures)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._next_pictures = dict(state["next_pictures"])

    def _forget(self) -> None:
        self._hooks.remove()
        self._inputs = {}

    def _reader(self, name: str) -> Any:
        def keep(layer: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
            if name in self._inputs:
                return
            inputs = _SAMPLERS[_kind(layer)](layer, arguments, keywords)
            if inputs is not None:
                self._inputs[name] = inputs

        return keep

    def _logits(self, name: str, whole: bool = False) -> Tensor:
        layer = self._layers[name]
        arguments, keywords = self._inputs[name] if whole else _fewer(layer, *self._inputs[name])
        return _LOGITS[_kind(layer)](layer, *arguments, **keywords).float()

    def _picture(self, step: int) -> None:
        """Paint the layer that has waited longest, if one is due: one at a time, so that no step takes much longer."""
        # Weights that have learnt nothing yet are not worth a picture.
        due = {name: self._next_pictures.get(name, 1) for name in self._inputs}
        name = min(due, key=due.__getitem__, default=None)
        if name is None or due[name] > step or self._run is None:
            return
        from .attention_picture import attention_picture

        self._next_pictures[name] = step + PICTURE_INTERVAL
        weights = torch.softmax(self._logits(name, whole=True), -1).mean(0).cpu().numpy()
        self._run.logger.log_image(names.ATTENTION_IMAGE.format(layer=name), attention_picture(weights, name), step)


def _entropies(logits: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
    if not logits:
        return {}
    entropies, shares = [], []
    for values in logits.values():
        entropy = _entropy(values).mean()
        entropies.append(entropy)
        keys = torch.isfinite(values).sum(-1).float().mean()  # padding is none
        shares.append(normalised_entropy(entropy, keys))
    found = named((names.ATTENTION_ENTROPY.format(layer=name) for name in logits), torch.stack(entropies))
    tags = (names.ATTENTION_ENTROPY_NORMALISED.format(layer=name) for name in logits)
    return found | named(tags, torch.stack(shares))


def _entropy(logits: Tensor) -> Tensor:
    """Entropy of ``softmax(logits)``, ``[..., queries, keys]`` -> ``[..., queries]``; keys at minus infinity are none.

    Of the logits rather than of the weights: two exponentials fewer, and no logarithm of zero.
    """
    shares = torch.log_softmax(logits, -1)
    return -(shares.exp() * shares.clamp_min(-1e4)).sum(-1)


# --- what the layers have read: a few samples of it -------------------------------------------------------------------


def _every(values: Tensor, axis: int, most: int) -> Tensor:
    """Evenly spaced entries along an axis, ``most`` at most."""
    step = batch_spacing(values.shape[axis], most)
    return values[(slice(None),) * axis + (slice(None, None, step),)]


def _sample_own(layer: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Inputs | None:
    read = [*arguments, *(value for name, value in keywords.items() if name != "mask")]
    mask = keywords.get("mask")
    if len(read) == 3:
        mask = read.pop()
    if len(read) != 2 or not all(isinstance(values, Tensor) for values in read):
        return None
    padding = None if mask is None else ~_every(mask, 0, PICTURED_SAMPLES)
    return tuple(_every(values.detach(), 0, PICTURED_SAMPLES) for values in read), {"padding": padding}


def _sample_torch(layer: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Inputs | None:
    given = dict(zip(_TORCH_ARGUMENTS, arguments, strict=False)) | dict(keywords)
    query, key = given.get("query"), given.get("key")
    if not isinstance(query, Tensor) or not isinstance(key, Tensor) or query.is_nested or query.dim() != 3:
        return None
    axis = 0 if getattr(layer, "batch_first", False) else 1
    samples, mask, padding = query.shape[axis], given.get("attn_mask"), given.get("key_padding_mask")
    if mask is not None and mask.dim() == 3:
        mask = _every(mask.detach().unflatten(0, (samples, -1)), 0, PICTURED_SAMPLES)
    if padding is not None:
        padding = _every(padding.detach(), 0, PICTURED_SAMPLES)
    read = tuple(_every(values.detach(), axis, PICTURED_SAMPLES).movedim(axis, 0) for values in (query, key))
    return read, {"mask": mask, "padding": padding}


_TORCH_ARGUMENTS = (
    "query",
    "key",
    "value",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "average_attn_weights",
    "is_causal",
)


def _fewer(layer: nn.Module, arguments: tuple[Tensor, ...], keywords: Mapping[str, Any]) -> Inputs:
    """Half the samples, and a few of the queries."""
    arguments = tuple(_every(values, 0, SAMPLES) for values in arguments)
    keywords = {
        name: _every(values, 0, SAMPLES) if values is not None and (name == "padding" or values.dim() == 4) else values
        for name, values in keywords.items()
    }
    if not isinstance(layer, AttentionPooling):
        arguments = (_every(arguments[0], 1, QUERIES), *arguments[1:])
    mask = keywords.get("mask")
    return arguments, keywords | ({} if mask is None else {"mask": _every(mask, mask.dim() - 2, QUERIES)})


# --- logits [samples, heads, queries, keys] from it -------------------------------------------------------------------


def _products(query: Tensor, key: Tensor, heads: int) -> Tensor:
    query, key = (values.unflatten(-1, (heads, -1)).transpose(1, 2) for values in (query, key))
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


def _multi_head(layer: MultiHeadAttention, queries: Tensor, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
    size, keys = layer.query.in_features, layer.key_value
    key = functional.linear(tokens, _mean(keys.weight)[:size], _mean(keys.bias)[:size])
    query = functional.linear(queries, _mean(layer.query.weight), _mean(layer.query.bias))
    return _without_padding(_products(query, key, layer.heads), padding)


def _pooling(layer: AttentionPooling, states: Tensor, last: Tensor, padding: Tensor | None = None) -> Tensor:
    of_states = functional.linear(states, _mean(layer.state.weight), _mean(layer.state.bias))
    of_last = functional.linear(last, _mean(layer.last.weight)).unsqueeze(1)
    scores = functional.linear(torch.tanh(of_states + of_last), _mean(layer.score.weight))
    return _without_padding(scores.transpose(1, 2).unsqueeze(1), padding)


def _mean(weight: Any) -> Tensor:
    """A weight, or the mean of its posterior."""
    return weight if isinstance(weight, Tensor) else weight.mean


def _without_padding(logits: Tensor, padding: Tensor | None) -> Tensor:
    return logits if padding is None else logits.masked_fill(padding[:, None, None], -math.inf)


def _torch_attention(
    layer: nn.MultiheadAttention, query: Tensor, key: Tensor, mask: Tensor | None, padding: Tensor | None
) -> Tensor:
    if layer.in_proj_weight is None:
        weights: tuple[Tensor, ...] = (layer.q_proj_weight, layer.k_proj_weight)
    else:
        weights = layer.in_proj_weight.chunk(3)[:2]
    biases = (None, None) if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)[:2]
    query = functional.linear(query, weights[0], biases[0])
    logits = _products(query, functional.linear(key, weights[1], biases[1]), layer.num_heads)
    for hidden in (mask, None if padding is None else padding[:, None, None]):
        if hidden is not None:
            bare = logits.new_zeros(())
            logits = logits + (torch.where(hidden, -math.inf, bare) if hidden.dtype == torch.bool else hidden)
    return logits


_SAMPLERS: dict[type[nn.Module], Callable[..., Inputs | None]] = {
    MultiHeadAttention: _sample_own,
    AttentionPooling: _sample_own,
    nn.MultiheadAttention: _sample_torch,
}
_LOGITS: dict[type[nn.Module], Callable[..., Tensor]] = {
    MultiHeadAttention: _multi_head,
    AttentionPooling: _pooling,
    nn.MultiheadAttention: _torch_attention,
}


def _kind(layer: nn.Module) -> type[nn.Module]:
    return next(kind for kind in _SAMPLERS if isinstance(layer, kind))
