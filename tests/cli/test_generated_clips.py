"""Promises of ``predict.py`` to those who want clips: what is drawn from captions, where it goes, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from src.cli.predict import clip_names
from src.data.base import DataSpec
from src.data.options import DataOptions
from src.data.tokenizer import TextTokenizer
from src.errors import OptionError, UserError
from src.generation import GenerationOptions, check_captions, generate
from src.layers.samplers import SAMPLERS, Sampling
from src.options import field_types, optional_type
from src.prediction import TrainedRun

Call = Callable[..., SimpleNamespace]
SEEN = ["a three moving left", "a zero moving up and left", "a three moving up"]


class Painter:
    """Stands for a model: its clips are the noise of their seed, shifted by the caption's tokens."""

    name = "diffusion:painter"
    config = SimpleNamespace(timesteps=50)

    def __init__(self, kind: str = "captioned_video") -> None:
        self.spec = DataSpec(kind, "generate", (2, 1, 4, 4), (6,), vocabulary=10, frame_rate=8.0)
        self.asked: list[tuple[list[int], Sampling]] = []

    def default_sampling(self, seed: int) -> Sampling:
        return Sampling("ddim", 20, 3.0, seed)

    def generate(
        self, captions: Tensor, sampling: Sampling, seeds: Sequence[int], on_step: Callable[[], None]
    ) -> Tensor:
        for _ in range(min(sampling.steps or 50, 50)):
            on_step()
        clips = []
        for tokens, seed in zip(captions, seeds, strict=True):
            self.asked.append((tokens.tolist(), sampling))
            noise = torch.randn(self.spec.input_shape, generator=torch.Generator().manual_seed(seed))
            clips.append((0.2 * noise + 0.05 * tokens.sum()).clamp(-1, 1))
        return torch.stack(clips)


def painted(kind: str = "captioned_video", tokenizer: str = "words", **schema: Any) -> TrainedRun:
    fitted = TextTokenizer.fit(SEEN, DataOptions(tokenizer=tokenizer, vocabulary=300))
    model: Any = Painter(kind)
    return TrainedRun(model, {"tokenizer": fitted.to_dict(), **schema}, Path("runs/1/painter"), {})


# ---- from captions to clips


def test_a_clip_is_the_same_whatever_else_is_asked_for() -> None:
    trained, options = painted(), GenerationOptions(count=3, seed=4)
    alone = generate(trained, SEEN[:1], options)
    among = generate(trained, [SEEN[1], SEEN[0]], options)
    assert among.clips.dtype == torch.uint8 and among.clips.shape == (6, 2, 1, 4, 4)
    assert among.captions == (SEEN[1],) * 3 + (SEEN[0],) * 3 and among.frame_rate == 8
    assert torch.equal(alone.clips, among.clips[3:])
    assert torch.equal(alone.clips[:1], generate(trained, SEEN[:1], GenerationOptions(seed=4)).clips)
    different = [*alone.clips, *generate(trained, SEEN[:1], GenerationOptions(count=3, seed=5)).clips]
    assert len({clip.numpy().tobytes() for clip in different}) == 6


def test_clips_are_drawn_as_the_run_does_unless_told() -> None:
    trained = painted()
    model: Any = trained.model
    steps: list[tuple[int, int]] = []
    generate(trained, SEEN[:2], progress=lambda done, total: steps.append((done, total)))
    assert {sampling for _, sampling in model.asked} == {Sampling("ddim", 20, 3.0, 0)}
    assert steps == [(step, 40) for step in range(1, 41)]
    model.asked.clear()
    generate(trained, SEEN[:1], GenerationOptions(guidance=0.0, steps=7, sampler="ddpm", seed=2))
    assert [sampling for _, sampling in model.asked] == [Sampling("ddpm", 7, 0.0, 2)]


def test_options_name_what_samplers_there_are() -> None:
    assert tuple(GenerationOptions.__dataclass_fields__["sampler"].metadata["choices"]) == SAMPLERS
    own = {name: optional_type(kind)[0] for name, kind in field_types(GenerationOptions).items()}
    assert {name: optional_type(kind)[0] for name, kind in field_types(Sampling).items()}.items() <= own.items()
    for wrong in ({"count": 0}, {"guidance": -1.0}, {"steps": 0}, {"sampler": "euler"}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            GenerationOptions(**wrong)  # type: ignore[arg-type]


def test_words_that_training_never_saw_are_named() -> None:
    trained = painted()
    assert check_captions(trained, SEEN) == []
    (note,) = generate(trained, ["A Thre moving lefft quickly"]).notes
    assert note.warning and note.topic == "caption 'A Thre moving lefft quickly'"
    assert "never seen 'thre' and 'lefft' and 'quickly'" in note.text
    assert "Did you mean 'three'? Did you mean 'left'?" in note.text
    assert "It knows: a, and, left, moving, three, up, zero" in note.text
    model: Any = trained.model
    assert [token == 1 for token in model.asked[0][0]] == [False, True, False, True, True, False]


def test_a_caption_that_is_too_long_is_cut_with_a_warning() -> None:
    (note,) = check_captions(painted(), ["a three moving up and left and dogs"])
    assert note.warning and "read 6 words of a caption at most, so the last 2 are left out" in note.text
    with pytest.raises(UserError, match=r"has none among the first 6, which are read\."):
        check_captions(painted(), ["dogs bark at cats in gardens moving left"])


@pytest.mark.parametrize("caption", ["dogs bark", "", "  ", "!?"])
def test_a_caption_without_any_known_word_is_refused(caption: str) -> None:
    with pytest.raises(UserError, match=r"needs a word that training has seen, but .* has none\. It knows: a,"):
        generate(painted(), [SEEN[0], caption])


@pytest.mark.parametrize("tokenizer", ["bpe", "wordpiece"])
def test_words_may_be_made_of_pieces(tokenizer: str) -> None:
    trained = painted(tokenizer=tokenizer)
    assert check_captions(trained, SEEN) == []
    (note,) = check_captions(trained, ["a three QX left"])
    assert note.text == "training has never seen 'QX', and the clip goes by the other words."


def test_without_captions_one_is_told_what_the_run_knows() -> None:
    with pytest.raises(UserError, match=r"name some with --caption. It knows the words a, moving, left"):
        generate(painted(), [])
    many = [f"caption {number}" for number in range(20)]
    with pytest.raises(UserError, match=r"such as: caption 0; .*; caption 9$"):
        generate(painted(captions=many), [])


def test_another_run_is_refused() -> None:
    with pytest.raises(UserError, match=r"clips need a run .* but runs/1/painter is diffusion:painter on images"):
        generate(painted("images"), SEEN)


# ---- the names of files


@pytest.mark.parametrize(
    ("place", "captions", "together", "model", "names"),
    [
        (None, ["A three, moving!"], False, "", ["a_three_moving.gif"]),
        (None, ["a b", "a b", "c"], False, "", ["a_b_1.gif", "a_b_2.gif", "c.gif"]),
        (None, ["a b", "a b"], True, "", ["a_b.gif"]),
        (None, ["a b", "c"], True, "diffusion:video seed 1", ["clips_diffusion_video_seed_1.gif"]),
        ("x/clip.gif", ["a"], False, "", ["x/clip.gif"]),
        ("x/clip.gif", ["a", "b"], False, "", ["x/clip_1.gif", "x/clip_2.gif"]),
        ("x/clip.gif", ["a", "b"], False, "d:v", ["x/clip_d_v_1.gif", "x/clip_d_v_2.gif"]),
        ("x/clip.gif", ["a", "b"], True, "", ["x/clip.gif"]),
        (None, ["w" * 99], False, "", ["w" * 60 + ".gif"]),
        (None, ["?"], False, "", ["clip.gif"]),
    ],
)
def test_files_are_named_after_captions(
    place: str | None, captions: Sequence[str], together: bool, model: str, names: Sequence[str]
) -> None:
    found = clip_names(Path(place) if place else None, ".gif", captions, together, model)
    assert found == [Path(name) for name in names]
