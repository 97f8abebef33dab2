"""Models that draw clips: the average by its formula, captions followed or left out, the same clips for the same noise,
copies and resumed runs to the bit, and the fifteen categories of the diffusion guide."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.data.loading import load_data
from src.data.options import DataOptions
from src.errors import OptionError
from src.layers.samplers import Sampling
from src.metrics import caption_reader
from src.models import create_model
from src.models.base_model import BaseModel
from src.models.captioned_diffusion import CaptionedDiffusion
from src.tracking.options import LoggingOptions
from src.tracking.tag_tables import diffusion as names
from src.training.config import TrainingConfig
from src.training.device import seed_everything
from tests.data.clip_files import write_archive

MODELS = ("diffusion:video", "diffusion:transformer")
SMALL = {"hidden_size": 8, "num_heads": 2, "timesteps": 20, "sampling_steps": 4, "progress_clips": 6}
EVERYTHING = {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0}


@pytest.fixture(scope="module", autouse=True)
def hasty_reader() -> Iterator[None]:
    """What is read in clips does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_reader, "MOST_PASSES", 3)
        yield


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = write_archive(tmp_path_factory.mktemp("clips") / "clips.npz", each=12)
    return load_data(DataOptions(data=str(path)))


def built(name: str, data: Any, **options: Any) -> Any:
    seed_everything(0)
    own = {"num_layers": 2, "feed_forward": 16, "patch": 4} if name == "diffusion:transformer" else {"patch": 2}
    return create_model(name, data.spec, {**SMALL, **own, **options})


def train(model: Any, data: Any, folder: Path | None = None, epochs: int = 1, **more: Any) -> Any:
    config = TrainingConfig(epochs=epochs, batch_size=8, lr=2e-3, device="cpu", patience=epochs)
    return model.fit(data, config, run_dir=folder, **more)


def tokens(data: Any, *captions: str) -> torch.Tensor:
    from src.data.videos import caption_tokens

    return caption_tokens(captions, data.tokenizer, data.spec.target_shape[0])


# ---- training


@pytest.mark.parametrize("name", MODELS)
def test_a_small_model_learns_and_every_parameter_moves(name: str, clips: Any) -> None:
    model = built(name, clips)
    before = {key: value.detach().clone() for key, value in model.network.named_parameters()}
    batch = clips.train.select(torch.arange(16))
    optimizer = torch.optim.Adam(model.network.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        values = model.losses(batch)
        values["loss"].backward()
        optimizer.step()
        losses.append(float(values["loss"]))
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    still = [key for key, value in model.network.named_parameters() if torch.equal(value, before[key])]
    assert still == []
    assert model.parameter_count == sum(value.numel() for value in before.values())


@pytest.mark.parametrize("prediction", ["x0", "v", "noise"])
@pytest.mark.parametrize("weighting", ["none", "min_snr"])
def test_the_loss_is_the_formula(prediction: str, weighting: str, clips: Any) -> None:
    model = built("diffusion:video", clips, prediction=prediction, loss_weighting=weighting).eval()
    batch = clips.train.select(torch.arange(5))
    noise = torch.randn(batch.inputs.shape, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([0, 4, 9, 14, 19])
    loss, found = model.compare(batch.inputs, noise, timesteps, batch.targets)
    noisy = model.process.add_noise(batch.inputs, noise, timesteps)
    said = model(noisy, timesteps, batch.targets)
    errors = (said - model.process.target(prediction, batch.inputs, noise, timesteps)).square().flatten(1).mean(1)
    weights = model.process.loss_weights(prediction, weighting, 5.0, timesteps)
    assert torch.allclose(loss, (errors * weights).mean(), rtol=1e-5)
    restored = model.process.add_noise(found.denoised, found.predicted_noise, timesteps)
    assert torch.allclose(restored, noisy, atol=1e-3)  # both halves of one statement


def test_the_average_follows_by_its_formula(clips: Any) -> None:
    model = built("diffusion:video", clips, ema_decay=0.5)
    name, parameter = next(iter(model.network.named_parameters()))
    average = dict(model.average_network.named_parameters())[name]
    expected = average.clone()
    for step in range(20):
        with torch.no_grad():
            parameter.add_(0.1)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
        model.after_step()
        assert torch.allclose(average, expected, atol=1e-6)
    assert not average.requires_grad and int(model.step) == 20


def test_captions_are_left_out_in_training_only(clips: Any) -> None:
    model = built("diffusion:video", clips, caption_dropout=0.5)
    captions = clips.train.tokens()
    torch.manual_seed(0)
    dropped = (model.with_condition_dropped(captions) == 0).all(1)
    assert 0.2 < float(dropped.float().mean()) < 0.8
    model.keep_last = True
    model.train()
    batch = clips.train.select(torch.arange(28))
    model.losses(batch)
    assert not torch.equal(model.last.condition, batch.targets)
    model.last = None
    model.eval()
    model.losses(batch)
    assert model.last is None


# ---- drawing


@pytest.fixture(scope="module")
def trained(clips: Any) -> Any:
    model = built("diffusion:video", clips)
    train(model, clips, epochs=4)
    return model


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_clip_depends_on_caption_and_seed_alone(sampler: str, trained: Any, clips: Any) -> None:
    asked = tokens(clips, "going left", "going up", "going left")
    how = Sampling(sampler, 5, 2.0)
    drawn = trained.generate(asked, how, seeds=[1, 2, 3])
    assert drawn.shape == (3, *clips.spec.input_shape) and drawn.abs().max() <= 1
    torch.manual_seed(99)
    assert torch.equal(trained.generate(asked, how, seeds=[1, 2, 3]), drawn)
    alone = trained.generate(asked[1:2], how, seeds=[2])
    assert torch.allclose(alone[0], drawn[1], atol=1e-4)
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-2)  # the same caption from other noise
    assert trained.training is False


def test_guidance_0_forgets_the_caption_and_1_asks_once(trained: Any, clips: Any) -> None:
    asked = tokens(clips, "going left", "going right")
    seeds = [5, 5]
    unguided = trained.generate(asked, Sampling("ddim", 4, 0.0), seeds)
    assert torch.equal(unguided[0], unguided[1])
    calls = []
    handle = trained.average_network.register_forward_hook(lambda *_: calls.append(1))
    try:
        plain = trained.generate(asked, Sampling("ddim", 4, 1.0), seeds)
        assert len(calls) == 4
        trained.generate(asked, Sampling("ddim", 4, 3.0), seeds)
        assert len(calls) == 12
    finally:
        handle.remove()
    assert not torch.equal(plain[0], plain[1])


def test_what_captions_bring_is_measured(trained: Any, clips: Any) -> None:
    gain = trained.validation_metrics(clips)["caption_gain"]
    assert gain == trained.validation_metrics(clips)["caption_gain"]
    deaf = copy.deepcopy(trained)
    torch.nn.init.zeros_(deaf.average_network.captions.network[-1].weight)
    torch.nn.init.zeros_(deaf.average_network.captions.network[-1].bias)
    assert deaf.validation_metrics(clips)["caption_gain"] == pytest.approx(0, abs=1e-6)


def test_scores_and_shown_clips(trained: Any, clips: Any) -> None:
    scores = trained.part_metrics(clips, "test")
    assert {"caption_accuracy", "frechet_distance", "nearest_ratio", "real_caption_accuracy"} <= set(scores)
    table = trained.drawn_captions(clips, "test")
    assert table["caption"] == clips.test.captions()
    right = sum(caption == read for caption, read in zip(table["caption"], table["read"], strict=True))
    assert scores["caption_accuracy"] == pytest.approx(right / len(table["caption"]))
    shown = trained.progress
    assert shown.clips.shape == shown.real.shape == (8, *clips.spec.input_shape)
    assert len(shown.captions) == len(shown.is_right) == 8


def test_sides_that_do_not_fit_are_refused(clips: Any) -> None:
    with pytest.raises(OptionError, match="multiples of 16 pixels, but they are 8 x 8"):
        built("diffusion:video", clips, patch=8)
    with pytest.raises(OptionError, match="captioned_video, not on series"):
        create_model("diffusion:video", load_data(DataOptions(data="sample:goog")).spec)


# ---- copies and resumed runs


@pytest.mark.parametrize("name", MODELS)
def test_saved_copied_and_pickled_models_draw_the_same(name: str, clips: Any, tmp_path: Path) -> None:
    model = built(name, clips)
    train(model, clips)
    asked, how = tokens(clips, "going up"), Sampling("ddim", 3, 2.0)
    expected = model.generate(asked, how)
    model.save(tmp_path / "model.pt")
    for other in (BaseModel.load(tmp_path / "model.pt"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, CaptionedDiffusion)
        assert torch.equal(other.generate(asked, how), expected)


def test_a_resumed_run_ends_with_the_same_bits(clips: Any, tmp_path: Path) -> None:
    whole = built("diffusion:video", clips)
    train(whole, clips, tmp_path / "whole", epochs=3)
    first = built("diffusion:video", clips)
    train(first, clips, tmp_path / "parts", epochs=2)
    second = built("diffusion:video", clips)
    train(second, clips, tmp_path / "parts", epochs=3, resume=True)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


# ---- the fifteen categories


def test_all_fifteen_categories_are_filled_while_a_model_learns(clips: Any, tmp_path: Path) -> None:
    model = built("diffusion:video", clips)
    train(model, clips, tmp_path, epochs=2, tensorboard_log_dir=tmp_path, logging=LoggingOptions(log_budget=1e6))
    tags = EventAccumulator(str(tmp_path), size_guidance=EVERYTHING).Reload().Tags()
    found = {tag for kind in ("scalars", "tensors", "histograms", "images") for tag in tags[kind]}
    for category in range(1, 16):
        assert any(tag.startswith(f"{category:02d}_") for tag in found), category
    optional = ("14_System/GPU", "12_Generated_Samples/Frames_test", "04_Learning_Rate/Scheduler", "12_Gen.*Frame_Acc",
                "12_Gen.*All_Frames", "04_Learning_Rate/In_", "08_Model_Architecture/Summary")  # fmt: skip
    missing = [
        spec.tag
        for spec in names.SPECS
        if not any(re.match(pattern, spec.tag) for pattern in optional)
        and not any(re.fullmatch(spec.pattern, tag) for tag in found)
    ]
    assert missing == []
    assert sorted(file.name for file in (tmp_path / "samples").iterdir()) == ["epoch_0000.mp4", "epoch_0001.mp4"]


def test_the_guides_switches_are_obeyed(clips: Any, tmp_path: Path) -> None:
    off = LoggingOptions(
        log_budget=1e6, log_every_epochs=2, enable_gradient_histograms=False, enable_parameter_tracking=False,
        enable_video_logging=False, enable_noise_visualization=False, enable_performance_profiling=False,
    )  # fmt: skip
    train(built("diffusion:video", clips), clips, tmp_path, epochs=3, tensorboard_log_dir=tmp_path, logging=off)
    events = EventAccumulator(str(tmp_path), size_guidance=EVERYTHING).Reload()
    tags = events.Tags()
    found = {tag for kind in ("scalars", "histograms", "images") for tag in tags[kind]}
    gone = ("05_", "09_", "10_", "13_", "14_", "11_Gradient_Stats/Histogram", "12_Generated_Samples/Frames")
    assert [tag for tag in found if tag.startswith(gone)] == []
    assert not (tmp_path / "samples").exists()
    assert len(events.Scalars("03_Epoch_Summary/Train_Loss")) == 2  # of epochs 0 and 2
