"""Joint-embedding predictive architectures: representations of pictures and series, learnt without labels.

From what a context encoder sees of a sample, a predictor says what a target encoder, which sees all of it, makes of the
hidden patches: features, not pixels (I-JEPA, Assran et al. 2023, arXiv 2301.08243; V-JEPA, Bardes et al. 2024, arXiv
2404.08471). The target encoder follows the context encoder as a moving average and is never trained itself.

The loss says little about the representation: it may fall while all samples become alike. So a probe decides which
epoch is best (see ``representation_model``).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ..data.base import Batch, DataModule, DataSpec
from ..errors import OptionError
from ..layers.hierarchy import ConvolutionHierarchy, TokenHierarchy, coarser_masks, cut_patches, level_grids
from ..layers.level_predictor import LevelPredictor
from ..layers.masking import BlockMasks
from ..layers.views import affine_view
from ..metrics.vicreg import covariance_loss, variance_loss
from ..options import option, tunable
from ..registry import register_model
from ..tracking.monitors.base import Monitor
from ..tracking.monitors.hierarchy import HierarchyMonitor
from .representation_model import RepresentationModel
from .sequence_model import NormalisedWindows, window_normalisation

QUARTERS = 4
"""Into so many parts a level is pooled for ``embed``: two by two of a picture, one after the other of a window."""
STANDARD_EPSILON = 1e-4
_LEVEL_WEIGHTS = {1: (1.0,), 2: (0.5, 0.5), 3: (0.5, 0.4, 0.1)}


@dataclass(frozen=True)
class Levels:
    """What a masked sample led to, a list of ``[batch, patches, size]`` each, the finest level first.

    Attributes:
        predictions, targets: what the predictor says of every place, and what it should have said: the target encoder's
            features, both scaled as the loss compares them.
        context, features: what the context encoder made of what it saw, and the target encoder of all.
        masks: bool ``[batch, patches]``: what was hidden.
        scales: mean and deviation of every level's dimensions, ``[size]``, that ``targets`` were scaled with.
    """

    predictions: list[Tensor]
    targets: list[Tensor]
    context: list[Tensor]
    features: list[Tensor]
    masks: list[Tensor]
    scales: list[tuple[Tensor, Tensor]]

    @property
    def predicted_features(self) -> list[Tensor]:
        """The predictions on the scale of ``features``."""
        pairs = zip(self.predictions, self.scales, strict=True)
        return [prediction * deviation + mean for prediction, (mean, deviation) in pairs]


@register_model("jepa:hierarchical", by_default="images")
@register_model("jepa:flat", by_default=False, summary="Joint-embedding prediction at one level.", levels=1)
class JEPA(RepresentationModel):
    """Hierarchical joint-embedding prediction: patches, larger parts and the whole, without labels.

    What it learns is read by a linear head that is fitted, not trained: to the labels of pictures, or to what a series
    does next. Pictures without labels are scored by how much of a small picture can be read from the features.

    Attributes:
        context_encoder, target_encoder: the trained encoder and its moving average.
        predictor: None with ``predictor_layers=0``.
        masking_fn: ``masking_fn(count, device)`` draws masks.
        last: what the last training step compared, kept while ``keep_last`` is set.
    """

    @dataclass(frozen=True)
    class Config(NormalisedWindows):
        """Options of encoders, masks, predictor and loss; those of series and of pictures alike."""

        encoder: str = option(
            "auto",
            choices=("auto", "convolution", "transformer"),
            help="convolution (pictures only) or transformer: auto = convolution for pictures",
        )
        hidden_size: int = tunable(
            128, low=32, high=512, log=True, minimum=1, multiple_of="num_heads", help="numbers per patch and level"
        )
        num_layers: int = tunable(2, low=1, high=6, minimum=1, help="layers of the transformer")
        num_heads: int = tunable(4, search=(1, 2, 4, 8), minimum=1, help="attention heads; must divide hidden_size")
        feed_forward: int = tunable(
            256, low=32, high=1024, log=True, minimum=1, help="width of the hidden layer between attentions"
        )
        dropout: float = tunable(0.0, low=0.0, high=0.3, minimum=0.0, maximum=0.95, help="share of units dropped")
        channels: str = tunable(
            "mixed",
            search=("mixed", "independent"),
            choices=("mixed", "independent"),
            tasks=("forecast", "direction"),
            needs="several_channels",
            help="series: one representation of all channels, or of each target channel by itself",
        )
        patch: int | None = option(
            None, minimum=1, help="pixels on a side of a patch, or time steps", default_text="about 7 patches a side"
        )
        levels: int = option(3, minimum=1, maximum=6, help="levels of the hierarchy; the last of several is the whole")
        level_weights: str | None = option(
            None,
            help="weight of each level's loss, with commas",
            default_text="0.5,0.4,0.1 for three levels, else all alike",
        )
        blocks: int = option(3, minimum=1, help="blocks of patches that are hidden together")
        predictor_size: int = tunable(
            64, low=16, high=256, log=True, minimum=4, multiple_of="num_heads", help="width of the predictor"
        )
        predictor_layers: int = option(1, minimum=0, help="layers of the predictor; 0 for none, which invites collapse")
        momentum_start: float = option(0.98, minimum=0.0, maximum=1.0, help="of the target encoder, at the first step")
        momentum_end: float = option(1.0, minimum=0.0, maximum=1.0, help="of the target encoder, at the last step")
        target_scale: str = option(
            "standardised",
            choices=("standardised", "raw"),
            help="compare predictions with standardised dimensions of the target, or with raw ones, which may shrink",
        )
        variance_weight: float = tunable(
            0.3, low=0.0, high=1.0, minimum=0.0, help="weight of VICReg's variance term on predictions"
        )
        covariance_weight: float = tunable(
            0.1, low=0.0, high=1.0, minimum=0.0, help="weight of VICReg's covariance term on predictions"
        )
        seen_weight: float = tunable(
            0.1, low=0.0, high=0.3, minimum=0.0, help="weight of both terms on the context encoder's own features"
        )
        view_change: float = tunable(
            1.0, low=0.0, high=2.0, minimum=0.0, help="pictures: how much turned and moved two views are; 0 for not"
        )

        def check(self) -> None:
            """Raise ``OptionError`` where heads do not divide widths, or weights are not one a level."""
            for name, width in (("hidden_size", self.hidden_size), ("predictor_size", self.predictor_size)):
                if width % self.num_heads:
                    raise OptionError(f"num_heads must divide {name}, but got {self.num_heads} heads for {width}")
            self.weights()

        def weights(self) -> tuple[float, ...]:
            """The weight of every level's loss."""
            if self.level_weights is None:
                return _LEVEL_WEIGHTS.get(self.levels, (1 / self.levels,) * self.levels)
            try:
                values = tuple(float(part) for part in self.level_weights.split(","))
            except ValueError:
                values = ()
            if len(values) != self.levels or min(values) < 0 or not sum(values):
                raise OptionError(
                    f"level_weights must be {self.levels} numbers with commas, one for each level, none below 0, but "
                    f"got '{self.level_weights}'"
                )
            return values

    kinds: ClassVar[tuple[str, ...]] = ("images", "series")
    tasks: ClassVar[tuple[str, ...]] = ("represent", "classify", "forecast", "direction")

    config: Config
    background: Tensor
    read_channels: Tensor
    step: Tensor

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.is_image = spec.kind == "images"
        self.patch = config.patch or _patch_of(spec)
        rows, columns = spec.input_shape[1:] if self.is_image else (1, spec.input_shape[0])
        rows, columns = -(-rows // (self.patch if self.is_image else 1)), -(-columns // self.patch)
        self.masking_fn = BlockMasks(rows, columns, config.blocks)
        self.grids = level_grids(rows, columns, config.levels)
        self.independent = not self.is_image and config.channels == "independent"
        if self.independent and spec.target_channels is None:
            raise OptionError("channels=independent needs the targets' own history among the inputs; use mixed")
        self.rows_per_sample = len(spec.target_channels or ()) if self.independent else 1
        background = torch.tensor(spec.background or (0.0,) * spec.input_shape[0]).view(1, -1, 1, 1)
        self.register_buffer("background", background if self.is_image else torch.zeros(()), False)
        self.register_buffer("read_channels", torch.tensor(spec.target_channels or (), dtype=torch.long), False)
        # Nothing is learnt there: shared by both encoders, it could shrink all there is to predict.
        kind = "none" if self.is_image else config.normalisation
        self.normaliser = window_normalisation(spec, kind, self.independent, learnt=False)
        self.context_encoder = self._encoder()
        self.target_encoder = copy.deepcopy(self.context_encoder).requires_grad_(False).eval()
        self.predictor: LevelPredictor | None = None
        if config.predictor_layers:
            self.predictor = LevelPredictor(
                config.hidden_size,
                config.predictor_size,
                self.grids,
                layers=config.predictor_layers,
                heads=config.num_heads,
            )
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.build_head()
        self.total_steps = 1
        self.keep_last, self.last = False, None  # type: tuple[bool, Levels | None]

    def _encoder(self) -> ConvolutionHierarchy | TokenHierarchy:
        config, spec = self.config, self.spec
        kind = config.encoder if config.encoder != "auto" else "convolution" if self.is_image else "transformer"
        if kind == "transformer":
            channels = spec.input_shape[0] if self.is_image else 1 if self.independent else spec.input_shape[1]
            return TokenHierarchy(
                channels * self.patch ** (2 if self.is_image else 1),
                config.hidden_size,
                self.grids,
                layers=config.num_layers,
                heads=config.num_heads,
                feed_forward=config.feed_forward,
                dropout=config.dropout,
            )
        if not self.is_image:
            raise OptionError("encoder=convolution reads pictures, but the data are series; use transformer")
        if self.patch & (self.patch - 1):
            raise OptionError(
                f"encoder=convolution needs a patch of 1, 2, 4, 8 or another power of two, but got {self.patch}; "
                "use one of them, or encoder=transformer"
            )
        return ConvolutionHierarchy(spec.input_shape[0], self.patch, config.hidden_size, self.grids, spec.background)

    # --- from samples to levels ---------------------------------------------------------------------------------------

    def forward(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        return_all_levels: bool = False,
        target_images: Tensor | None = None,
    ) -> Any:
        """Without a mask what the head reads from the samples; with one, predictions and targets.

        Args:
            images: ``[batch, channels, rows, columns]``, or windows ``[batch, time, features]``, scaled.
            mask: bool ``[batch, patches]`` or ``[batch, rows, columns]`` of patches: True where the context encoder
                sees nothing.
            return_all_levels: lists of all levels instead of the finest one.
            target_images: other views of the same samples for the target encoder; by default the same.

        Returns:
            without a mask ``[batch, classes]`` logits, ``[batch, horizon, targets]`` scaled values or logits, or the
            embedding where there is nothing to predict. With one a dictionary: ``predictions`` and ``targets``,
            ``[batch, patches, size]`` a level, on the scale of the target encoder's features, and ``context_features``
            ``[batch, 1 + patches, size]``, the whole at index 0 and then the finest level's patches.
        """
        if mask is None:
            return self.read(images)
        levels = self.compare(images, mask.reshape(len(mask), -1).bool(), target_images)
        context = torch.cat([levels.context[-1].mean(1, keepdim=True), levels.context[0]], 1)
        chosen = slice(None) if return_all_levels else 0
        return {
            "predictions": levels.predicted_features[chosen],
            "targets": levels.features[chosen],
            "context_features": context,
        }

    def compare(self, samples: Tensor, mask: Tensor, target_samples: Tensor | None = None) -> Levels:
        """Predictions and targets of samples of which the context encoder sees only what ``mask`` leaves.

        With independent channels, every channel is a row of the batch, and all of a sample have the same mask.
        """
        mask = mask.repeat_interleave(self.rows_per_sample, 0)
        context = self.context_encoder(self._prepared(samples), mask)
        with torch.no_grad():
            features = self.target_encoder(self._prepared(samples if target_samples is None else target_samples))
        predictions = context if self.predictor is None else self.predictor(context, mask)
        scales = [_scale_of(level, self.config.target_scale) for level in features]
        targets = [(level - mean) / deviation for level, (mean, deviation) in zip(features, scales, strict=True)]
        return Levels(predictions, targets, context, features, coarser_masks(mask, self.grids), scales)

    def get_num_patches(self) -> int:
        """Patches of the finest level, of which masks hide some."""
        return math.prod(self.grids[0])

    def _prepared(self, samples: Tensor) -> Tensor:
        """What an encoder reads: pictures as they are, or patches ``[batch (* channels), patches, numbers]``."""
        if not self.is_image:
            samples = self.normalised(samples)[0]
        if self.independent:
            samples = samples.transpose(1, 2).reshape(-1, samples.shape[1], 1)
        if isinstance(self.context_encoder, ConvolutionHierarchy):
            return samples
        return cut_patches(samples, self.patch, self.background if self.is_image else None)

    # --- training -----------------------------------------------------------------------------------------------------

    def before_training(self, data: DataModule, steps_per_epoch: int, epochs: int) -> None:
        """See how long the momentum has to rise, and what the untrained encoder's features are worth."""
        self.total_steps = max(1, steps_per_epoch * epochs)
        super().before_training(data, steps_per_epoch, epochs)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared errors of predicted features, ``h0``, ``h1`` and so on, over what is hidden; their weighted sum.

        VICReg's terms keep the whole from becoming the same for all samples: ``variance`` and ``covariance`` of its
        prediction, and ``seen``, the sum of both of what the context encoder makes of it. (On digits the latter costs
        little and spares the collapse of the first hundred steps, from which the others recover slowly.)
        """
        samples, others = batch.inputs, None
        if self.training and self.is_image and self.config.view_change:
            strength, background = self.config.view_change, self.background
            samples, others = (affine_view(batch.inputs, strength, background) for _ in range(2))
        levels = self.compare(samples, self.masking_fn(len(samples), samples.device), others)
        self.last = levels if self.keep_last else None
        parts = self._level_losses(levels)
        weighted = [weight * part for weight, part in zip(self.config.weights(), parts.values(), strict=True)]
        terms = self._spread_terms(levels)
        loss = torch.stack(weighted + [weight * term for weight, term in terms.values()]).sum()
        return {"loss": loss, **parts, **{name: term for name, (_, term) in terms.items()}}

    def _level_losses(self, levels: Levels) -> dict[str, Tensor]:
        """Mean squared error over what is hidden, ``h0`` and so on."""
        losses = {}
        triples = zip(levels.predictions, levels.targets, levels.masks, strict=True)
        for number, (prediction, target, mask) in enumerate(triples):
            errors = (prediction - target).square().mean(2) * mask
            losses[f"h{number}"] = errors.sum() / mask.sum().clamp(min=1)
        return losses

    def _spread_terms(self, levels: Levels) -> dict[str, tuple[float, Tensor]]:
        """VICReg's terms that are in use, each with its weight."""
        config, whole, seen = self.config, levels.predictions[-1].mean(1), levels.context[-1].mean(1)
        terms = {}
        if config.variance_weight:
            terms["variance"] = config.variance_weight, variance_loss(whole)
        if config.covariance_weight:
            terms["covariance"] = config.covariance_weight, covariance_loss(whole)
        if config.seen_weight:
            terms["seen"] = config.seen_weight, variance_loss(seen) + covariance_loss(seen)
        return terms

    def after_step(self) -> None:
        """Let the target encoder follow."""
        self._follow(self.momentum_at(self.step))
        self.step += 1

    def update_target_encoder(self, step: int) -> float:
        """Let the target encoder follow the context encoder: ``target = m target + (1 - m) context``.

        Args:
            step: optimiser step, from 0, which decides the momentum.

        Returns:
            the momentum m.
        """
        momentum = float(self.momentum_at(step))
        self._follow(momentum)
        return momentum

    def momentum_at(self, step: Tensor | int) -> Tensor | float:
        """The momentum of a step: from ``momentum_start`` to ``momentum_end`` in a line over all steps of training."""
        start, end = self.config.momentum_start, self.config.momentum_end
        done = step / self.total_steps
        return start + (end - start) * (done.clamp(max=1.0) if isinstance(done, Tensor) else min(1.0, done))

    @torch.no_grad()
    def _follow(self, momentum: Tensor | float) -> None:
        followers: list[Tensor] = list(self.target_encoder.parameters())
        followed: list[Tensor] = list(self.context_encoder.parameters())
        moves = torch._foreach_sub(followed, followers)
        torch._foreach_mul_(moves, 1 - momentum)
        torch._foreach_add_(followers, moves)

    def train(self, mode: bool = True) -> JEPA:
        """As of every module; the target encoder never drops units."""
        super().train(mode)
        self.target_encoder.eval()
        return self

    def monitors(self) -> Sequence[Monitor]:
        """What watches every level for collapse, and the moving average."""
        return (HierarchyMonitor(self),)

    # --- what is read from the features -------------------------------------------------------------------------------

    def rows(self, samples: Tensor) -> Tensor:
        """What the head reads, ``[batch (* channels), numbers]``: a level in quarters, and the whole.

        The level is the second where there are three or more, else the finest; of one level alone, the mean over its
        patches is the whole. Of series there is the newest patch as well. (On digits the finest of three levels, which
        is nearest to the pixels, adds nothing to what can be read.)
        """
        levels = self.target_encoder(self._prepared(samples.to(self.device)))
        parts = [self._quarters(levels[self._quartered]), levels[-1].mean(1)]
        if not self.is_image:
            parts.append(levels[0][:, -1])
        return torch.cat(parts, 1)

    def _quarters(self, level: Tensor) -> Tensor:
        maps = level.transpose(1, 2).unflatten(2, self.grids[self._quartered])
        return functional.adaptive_avg_pool2d(maps, self._quarters_shape).flatten(1)

    @property
    def _quartered(self) -> int:
        return 1 if len(self.grids) > 2 else 0

    @property
    def _quarters_shape(self) -> tuple[int, int]:
        """Rows and columns of the quarters; fewer where the level has fewer patches."""
        rows, columns = self.grids[self._quartered]
        side = math.isqrt(QUARTERS)
        return (min(rows, side), min(columns, side)) if self.is_image else (1, min(columns, QUARTERS))

    @property
    def row_size(self) -> int:
        """Numbers in a row of what the head reads."""
        return self.config.hidden_size * (math.prod(self._quarters_shape) + 1 + (not self.is_image))

    # --- going on from other runs -------------------------------------------------------------------------------------

    def encoder_options(self) -> dict[str, Any]:
        """The options that another model needs to have the same shape."""
        names = (
            "encoder",
            "hidden_size",
            "num_layers",
            "num_heads",
            "feed_forward",
            "levels",
            "normalisation",
            "channels",
        )
        return {name: getattr(self.config, name) for name in names} | {"patch": self.patch}

    def encoder_weights(self) -> Mapping[str, Tensor]:
        """The target encoder's weights, by their names within it, and those of the windows' normalisation."""
        normaliser = {f"normaliser.{name}": value for name, value in self.normaliser.state_dict().items()}
        return {**self.target_encoder.state_dict(), **normaliser}

    def start_from(self, weights: Mapping[str, Tensor]) -> list[str]:
        """Take over an encoder's weights, in both encoders."""
        taken = self._take(self.context_encoder, weights)
        self._take(self.target_encoder, weights)
        return taken


@register_model("jepa:untrained", by_default=False)
class UntrainedJEPA(JEPA):
    """The same encoder with the weights it starts with, and a fitted head: what training has to beat."""

    uses_gradients: ClassVar[bool] = False

    def fit_directly(self, data: DataModule, seed: int) -> None:
        """Nothing: the head is fitted after training."""


def _scale_of(features: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every dimension over batch and patches, each ``[size]``; 0 and 1 for ``raw``."""
    if kind == "raw":
        return features.new_zeros(features.shape[-1]), features.new_ones(features.shape[-1])
    deviation = (features.var((0, 1), correction=0) + STANDARD_EPSILON).sqrt()
    return features.mean((0, 1)), deviation


def _patch_of(spec: DataSpec) -> int:
    """A power of two that leaves 4 to 8 patches on the longer side of a picture; an eighth of a window or so."""
    if spec.kind == "images":
        longest = max(spec.input_shape[1:])
        return max(1, 2 ** math.ceil(math.log2(longest / 8))) if longest > 8 else 2
    window = spec.input_shape[0]
    return max(1, min(8, window // 6))
