"""Diffusion models: clips drawn from a caption, and paths of a series drawn from its look-back window.

Training takes noise away from noisy samples; drawing starts from noise alone (Ho et al. 2020, arXiv 2006.11239). What
is predicted by default is the sample, not the noise: at equal steps, captions are learnt several times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..data.base import DataSpec
from ..errors import OptionError
from ..layers.video_transformer import VideoTransformer
from ..layers.video_unet import GROUPS, VideoUNet
from ..options import option, tunable
from ..registry import register_model
from .captioned_diffusion import CaptionedDiffusion


@register_model("diffusion:video", by_default="captioned_video")
class VideoDiffusion(CaptionedDiffusion):
    """Clips from captions: a small U-Net over space and time that takes noise away."""

    @dataclass(frozen=True)
    class Config(CaptionedDiffusion.Config):
        """Options of the network."""

        hidden_size: int = tunable(
            32, low=16, high=128, log=True, minimum=8, multiple_of="num_heads", help="channels at the finer resolution"
        )
        num_blocks: int = tunable(1, search=(1, 2), minimum=1, help="residual blocks at each resolution, down and up")
        num_attentions: int = option(2, minimum=0, help="times that the coarser resolution is looked over")
        num_heads: int = tunable(4, search=(1, 2, 4, 8), minimum=1, help="attention heads; must divide hidden_size")
        attention: str = tunable(
            "factorised",
            search=("factorised", "full"),
            choices=("factorised", "full"),
            help="within frames and then along time, or between all places of all frames",
        )
        patch: int | None = option(None, minimum=1, help="pixels on a side of a place", default_text="2 or more")

        def check(self) -> None:
            """Refuse sizes that do not go together."""
            if self.hidden_size % GROUPS:
                raise OptionError(f"hidden_size must be a multiple of {GROUPS}, but got {self.hidden_size}")
            if self.hidden_size % self.num_heads:
                raise OptionError(
                    f"hidden_size must be a multiple of num_heads, but got {self.hidden_size} and {self.num_heads}"
                )

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        patch = config.patch or _patch_of(spec)
        _check_sides(spec, 2 * patch, patch)
        self.network = VideoUNet(
            spec.input_shape,
            patch=patch,
            size=config.hidden_size,
            blocks=config.num_blocks,
            attention=config.num_attentions,
            heads=config.num_heads,
            factorised=config.attention == "factorised",
            vocabulary=spec.vocabulary,
            timesteps=config.timesteps,
        )
        self.build_average()


@register_model("diffusion:transformer", by_default=False)
class TransformerDiffusion(CaptionedDiffusion):
    """Clips from captions: a transformer over patches of space and time that takes noise away."""

    @dataclass(frozen=True)
    class Config(CaptionedDiffusion.Config):
        """Options of the network."""

        hidden_size: int = tunable(
            96, low=64, high=512, log=True, minimum=2, multiple_of="num_heads", help="width of the tokens"
        )
        num_layers: int = tunable(
            4, low=2, high=12, minimum=1, help="layers, which look within frames and along time in turn"
        )
        num_heads: int = tunable(4, search=(1, 2, 4, 8), minimum=1, help="attention heads; must divide hidden_size")
        feed_forward: int = tunable(
            384, low=64, high=2048, log=True, minimum=1, help="width of the hidden layer between attentions"
        )
        patch: int | None = option(None, minimum=1, help="pixels on a side of a token", default_text="4 or more")

        def check(self) -> None:
            """Refuse sizes that do not go together."""
            if self.hidden_size % self.num_heads or self.hidden_size % 2:
                raise OptionError(
                    f"hidden_size must be even and a multiple of num_heads, but got {self.hidden_size} and "
                    f"{self.num_heads}"
                )

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        patch = config.patch or 2 * _patch_of(spec)
        _check_sides(spec, patch, patch)
        self.network = VideoTransformer(
            spec.input_shape,
            patch=patch,
            size=config.hidden_size,
            layers=config.num_layers,
            heads=config.num_heads,
            feed_forward=config.feed_forward,
            vocabulary=spec.vocabulary,
            timesteps=config.timesteps,
        )
        self.build_average()


def _check_sides(spec: DataSpec, multiple: int, patch: int) -> None:
    """Refuse a patch that does not fit the clips."""
    _, _, height, width = spec.input_shape
    if height % multiple or width % multiple:
        raise OptionError(
            f"with patch={patch} sides of clips must be multiples of {multiple} pixels, but they are {height} x "
            f"{width}; use a smaller patch, or another --image-size"
        )


def _patch_of(spec: DataSpec) -> int:
    """Pixels on a side of a place, so that a side has 8 to 16 of them where it can; a power of two."""
    shorter = min(spec.input_shape[2:])
    patch = 1
    while shorter // (2 * patch) >= 8 and shorter % (4 * patch) == 0:
        patch *= 2
    return patch
