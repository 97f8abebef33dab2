"""A trained run and captions: clips that show what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import UserError, did_you_mean
from .options import Options, option

if TYPE_CHECKING:
    from torch import Tensor

    from .data.tables import Note
    from .data.tokenizer import TextTokenizer
    from .layers.samplers import Sampling
    from .prediction import TrainedRun

SHOWN_CAPTIONS = 10
SHOWN_WORDS = 40
"""Vocabularies up to that size are listed where a word is unknown."""

_OWN = "the run's own"


@dataclass(frozen=True)
class GenerationOptions(Options):
    """How clips are drawn. Free of torch, like all options of commands."""

    count: int = option(1, minimum=1, help="clips: how many of each caption")
    guidance: float | None = option(
        None, minimum=0.0, help="clips: how closely captions are followed; 1: as learnt, 0: not", default_text=_OWN
    )
    steps: int | None = option(None, minimum=1, help="clips: steps from noise to clip", default_text=_OWN)
    sampler: str | None = option(None, choices=("ddim", "ddpm"), help="clips: how they are drawn", default_text=_OWN)
    seed: int = option(0, minimum=0, maximum=2**32 - 1, help="clips: of the noise they are drawn from")
    grid: bool = option(False, help="clips: all side by side in one file, as .png and .npz hold them anyway")


@dataclass(frozen=True)
class GeneratedClips:
    """What ``generate`` drew.

    Attributes:
        clips: uint8 ``[clips, frames, channels, height, width]``, those of one caption after one another.
        captions: of every clip.
        frame_rate: frames per second.
        notes: warnings of captions that the run could not follow as they are.
    """

    clips: Tensor
    captions: tuple[str, ...]
    frame_rate: float
    notes: Sequence[Note] = ()


def draws_clips(trained: TrainedRun) -> bool:
    """Whether a run's model makes clips from captions."""
    return trained.model.spec.kind == "captioned_video" and hasattr(trained.model, "generate")


def generate(
    trained: TrainedRun,
    captions: Sequence[str],
    options: GenerationOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GeneratedClips:
    """Draw clips from captions.

    Clip number n of a caption begins with noise that follows from the seed and n alone, and is drawn by itself, as
    kernels round differently with the size of a batch: it is the same clip whatever else is asked for, and captions can
    be compared, since all begin with the same noise. It costs 1.8 times a batch's time at 16 x 16 pixels, on one core.

    Args:
        trained: a run on captioned clips, as ``load_run`` returned it.
        captions: what the clips shall show; words are cut and numbered as in training.
        options: how; by default as the run itself does.
        progress: called after each step with the steps done and to do.

    Raises:
        UserError: if the run cannot draw clips, there is no caption, or one has no word that training knew.
    """
    import torch

    from .comparison.evaluate import reproducible
    from .data.videos import caption_tokens
    from .layers.samplers import sample_seeds

    options = options or GenerationOptions()
    notes = check_captions(trained, captions)
    model: Any = trained.model  # of any class that can generate
    spec, sampling = model.spec, _sampling(model, options)
    tokens = caption_tokens(captions, _tokenizer(trained), spec.target_shape[0]).repeat_interleave(options.count, 0)
    seeds = sample_seeds(options.seed, options.count) * len(captions)
    steps = _StepCounter(len(tokens) * _steps_of(model, sampling), progress)
    drawn = []
    with reproducible(model):
        for number, seed in enumerate(seeds):
            clip = model.generate(tokens[number : number + 1], sampling, seeds=[seed], on_step=steps.count)
            drawn.append(((clip + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
    repeated = tuple(caption for caption in captions for _ in range(options.count))
    return GeneratedClips(torch.cat(drawn), repeated, spec.frame_rate, notes)


def check_captions(trained: TrainedRun, captions: Sequence[str]) -> list[Note]:
    """What a run cannot follow in captions.

    Raises:
        UserError: if the run cannot draw clips, there is no caption, or one has no word that training knew.
    """
    from .data.tables import Note

    if not draws_clips(trained):
        kind = trained.model.spec.kind
        raise UserError(
            f"clips need a run that was trained to draw them from captions (diffusion:video), but {trained.folder} is "
            f"{trained.label} on {kind.replace('_', ' ')}; leave --caption and its options out"
        )
    if not captions:
        raise UserError(f"clips need captions, but got none; name some with --caption. {known_captions(trained)}")
    tokenizer, most = _tokenizer(trained), trained.model.spec.target_shape[0]
    notes = []
    for caption in captions:
        length = len(tokenizer.cut([caption])[0])
        words = _words(caption, tokenizer, most)
        unknown = [word for word, known in words.items() if not known]
        if len(unknown) == len(words):
            where = f" among the first {most}, which are read" if length > most else ""
            fix = _suggestions(unknown, trained)
            raise UserError(f"a caption needs a word that training has seen, but '{caption}' has none{where}.{fix}")
        topic = f"caption '{caption}'"
        if unknown:
            listed = " and ".join(f"'{word}'" for word in unknown)
            text = f"training has never seen {listed}, and the clip goes by the other words"
            notes.append(Note(topic, f"{text}.{_suggestions(unknown, trained)}", warning=True))
        if length > most:
            text = f"training read {most} words of a caption at most, so the last {length - most} are left out"
            notes.append(Note(topic, text, warning=True))
    return notes


def known_captions(trained: TrainedRun) -> str:
    """A sentence that says what captions a run has learnt from, or at least what words."""
    if captions := trained.schema.get("captions"):
        return f"It has learnt from captions such as: {'; '.join(captions[:SHOWN_CAPTIONS])}"
    words = _vocabulary(trained)[:SHOWN_WORDS]
    return f"It knows the words {', '.join(words)}" if words else ""


def _suggestions(unknown: Sequence[str], trained: TrainedRun) -> str:
    """Known words close to unknown ones, and all of them where they are few, as sentences after a space."""
    known = _vocabulary(trained)
    close = "".join(dict.fromkeys(did_you_mean(word, known) for word in unknown))
    return close + (f" It knows: {', '.join(sorted(known))}" if 0 < len(known) <= SHOWN_WORDS else "")


def _tokenizer(trained: TrainedRun) -> TextTokenizer:
    from .data.tokenizer import TextTokenizer

    return TextTokenizer(trained.schema["tokenizer"])


def _vocabulary(trained: TrainedRun) -> list[str]:
    """The words that training knew, the most frequent ones first; none where it knew pieces of words."""
    from .data.tokenizer import SPECIAL

    tokenizer = _tokenizer(trained)
    return [token for token in tokenizer.tokens if token not in SPECIAL] if tokenizer.kind == "words" else []


def _words(caption: str, tokenizer: TextTokenizer, most: int) -> dict[str, bool]:
    """The words of a caption up to so many tokens, and whether training knew all that each is made of."""
    words = tokenizer.cut([caption])[0] if tokenizer.kind == "words" else caption.split()
    known, left = dict[str, bool](), most
    for word, pieces in zip(words, tokenizer.cut(words), strict=True):
        if left <= 0:
            break
        known[word] = bool((tokenizer.table(pieces[:left])[:, 0] != 1).all())
        left -= len(pieces)
    return known


def _sampling(model: Any, options: GenerationOptions) -> Sampling:
    """The model's own way of drawing, but for what the options say."""
    said = {name: getattr(options, name) for name in ("guidance", "steps", "sampler")}
    changes = {name: value for name, value in said.items() if value is not None}
    return dataclasses.replace(model.default_sampling(options.seed), **changes)


def _steps_of(model: Any, sampling: Sampling) -> int:
    timesteps: int = model.config.timesteps
    return min(sampling.steps or timesteps, timesteps)


class _StepCounter:
    """Counts steps and says how many there are."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def count(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
