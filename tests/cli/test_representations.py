"""Promises of the commands to those who learn without labels: pictures, embeddings, and starting from an encoder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from src.cli import predict
from src.cli.common import run_app
from src.cli.train import app as train_app
from src.data.image_samples import load_image_sample
from src.models.base_model import BaseModel

SMALL = ("--set", "hidden_size=16", "num_heads=2", "feed_forward=16", "predictor_size=16")
Answer = Callable[..., SimpleNamespace]


def pictures(folder: Path, count: int, *, with_classes: bool = True, size: int = 8) -> Path:
    digits, _ = load_image_sample("digits")
    for number in range(count):
        place = folder / (digits.labels or ())[number] if with_classes else folder
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(digits.pixels[number, :, :, 0]).resize((size, size))
        picture.save(place / f"{number:03}.png")
    return folder


def train(output: Path, name: str, *arguments: object) -> Path:
    with pytest.raises(SystemExit) as ended:
        run_app(train_app, [*map(str, arguments), "--jobs", "1", "--output", str(output), "--name", name])
    assert ended.value.code == 0
    return output / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one command each: ``labelled``, ``unlabelled`` and ``series``; and the files they were trained on."""
    folder = tmp_path_factory.mktemp("representations")
    pictures(folder / "labelled_pictures", 150)
    pictures(folder / "plain_pictures", 60, with_classes=False)
    random = np.random.default_rng(0)
    prices = 100 * np.exp(np.cumsum(random.normal(0, 0.01, 200)))
    table = pd.DataFrame({"Date": pd.date_range("2020-01-01", periods=200), "Close": prices, "Volume": 900 + prices})
    table.to_csv(folder / "prices.csv", index=False)
    both = ("--models", "jepa:hierarchical", "pixels:linear", "pixels:neighbours", "jepa:untrained")
    train(folder, "labelled", *both, "--data", folder / "labelled_pictures", "--epochs", 2, *SMALL)
    train(folder, "unlabelled", *both[:2], "jepa:untrained", "--data", folder / "plain_pictures", "--epochs", 1, *SMALL)
    series = ("--data", folder / "prices.csv", "--window", 24, "--horizon", 2, "--epochs", 1)
    train(folder, "series", *both[:2], *series, *SMALL, "patch=3")
    return folder


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Answer:
    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(predict.app, list(map(str, arguments)), prog_name="predict.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err)

    return run


def results(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "results.json").read_text())
    return found


# ---- pictures


def test_pictures_with_classes_make_a_leaderboard(trained: Path) -> None:
    table = pd.read_csv(trained / "labelled" / "leaderboard.csv")
    assert set(table["model"]) == {"jepa:hierarchical", "jepa:untrained", "pixels:linear", "pixels:neighbours"}
    assert table["accuracy"].between(0, 1).all()
    assert table.set_index("model")["knn_accuracy"]["jepa:hierarchical"] > 0.3
    assert np.isnan(table.set_index("model")["best_validation_loss"]["jepa:hierarchical"])
    said = pd.read_csv(trained / "labelled" / "jepa_hierarchical" / "predictions.csv", dtype=str)
    assert list(said.columns[:4]) == ["image", "label", "predicted", "confidence"]
    assert all(Path(image).parts[0] == label for image, label in zip(said["image"], said["label"], strict=True))


def test_pictures_without_classes_are_scored_by_what_can_be_read_of_them(trained: Path) -> None:
    run = results(trained / "unlabelled" / "jepa_hierarchical")
    assert run["task"] == "represent"
    scores = run["test"]
    assert isinstance(scores, dict)
    assert scores["pixel_r2"] <= 1
    assert scores["effective_rank"] >= 1
    table = pd.read_csv(trained / "unlabelled" / "leaderboard.csv")
    assert set(table["model"]) == {"jepa:hierarchical", "jepa:untrained"}


def test_new_pictures_are_classified_as_those_of_the_run(trained: Path, tmp_path: Path, asked: Answer) -> None:
    run = trained / "labelled" / "jepa_hierarchical"
    answer = asked(run, "--data", trained / "labelled_pictures", "--output", tmp_path / "said.csv")
    assert answer.code == 0, answer.err
    known = pd.read_csv(run / "predictions.csv", dtype={"predicted": str, "label": str}).set_index("image")
    said = pd.read_csv(tmp_path / "said.csv", dtype={"predicted": str}).set_index("image").loc[known.index]
    assert (said["predicted"] == known["predicted"]).mean() > 0.99
    np.testing.assert_allclose(said["confidence"], known["confidence"], rtol=1e-3)
    shown = asked(trained / "labelled", "--data", trained / "labelled_pictures")
    assert shown.code == 0
    assert "pixels:neighbours" in shown.out


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        ("labelled/jepa_hierarchical", ["--data", "prices.csv"], "prices.csv is none"),
        ("unlabelled/jepa_hierarchical", ["--data", "plain_pictures"], "had none"),
        ("labelled/jepa_hierarchical", ["--data", "plain_pictures", "--all"], "--all"),
        ("labelled/jepa_hierarchical", ["--text", "one"], "texts need a run"),
        ("labelled/jepa_hierarchical", ["--embeddings", "e.csv"], ".npz or .parquet"),
        ("labelled/jepa_hierarchical", ["--embeddings", "e.npz", "--laplace"], "--laplace"),
        ("labelled/pixels_linear", ["--embeddings", "e.npz"], "jepa:hierarchical"),
    ],
)
def test_what_makes_no_sense_is_refused(
    trained: Path, asked: Answer, monkeypatch: pytest.MonkeyPatch, run: str, arguments: Sequence[str], message: str
) -> None:
    monkeypatch.chdir(trained)
    answer = asked(run, *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_pictures_of_another_size_are_resized(trained: Path, tmp_path: Path, asked: Answer) -> None:
    run = trained / "labelled" / "jepa_hierarchical"
    larger = pictures(tmp_path / "larger", 12, size=20)
    answer = asked(run, "--data", larger)
    assert answer.code == 0
    assert "resized from 20 x 20 to 8 x 8 pixels" in answer.err


# ---- embeddings


def test_embeddings_of_the_runs_own_pictures(trained: Path, tmp_path: Path, asked: Answer) -> None:
    run = trained / "labelled" / "jepa_hierarchical"
    answer = asked(run, "--embeddings", tmp_path / "e.npz")
    assert answer.code == 0, answer.err
    assert "150 samples x 80 numbers" in answer.err
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["embeddings"].shape == (150, 80)
        assert arrays["embeddings"].dtype == np.float32
        assert set(arrays["part"]) == {"train", "validation", "test"}
        assert all(Path(image).parts[0] == label for image, label in zip(arrays["image"], arrays["label"], strict=True))
    assert asked(run, "--embeddings", tmp_path / "e.parquet", "--data", trained / "plain_pictures").code == 0
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert list(table.columns) == ["image", *(f"e{number}" for number in range(80))]
    assert len(table) == 60
    again = asked(run, "--embeddings", tmp_path / "e.npz")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_embeddings_of_windows(trained: Path, tmp_path: Path, asked: Answer) -> None:
    run = trained / "series" / "jepa_hierarchical"
    assert asked(run, "--embeddings", tmp_path / "own.npz").code == 0
    assert asked(run, "--embeddings", tmp_path / "new.npz", "--data", trained / "prices.csv").code == 0
    with np.load(tmp_path / "own.npz") as own, np.load(tmp_path / "new.npz") as new:
        assert own["origin"].dtype.kind == "M"
        newest = new["origin"].max()
        assert newest == np.datetime64("2020-07-18")  # the last row's, though nothing is known after it
        place = {date: number for number, date in enumerate(new["origin"])}
        rows = [place[date] for date in own["origin"]]
        np.testing.assert_allclose(new["embeddings"][rows], own["embeddings"], rtol=1e-4, atol=1e-5)


# ---- starting from an encoder


def test_a_transformer_starts_in_the_shape_and_with_the_weights(trained: Path, tmp_path: Path) -> None:
    start = trained / "series" / "jepa_hierarchical"
    series = ("--data", trained / "prices.csv", "--window", 24, "--horizon", 2, "--epochs", 1, "--lr", "1e-9")
    run = train(tmp_path, "from", "--models", "transformer:basic", *series, "--init-from", start) / "transformer_basic"
    config = json.loads((run / "config.json").read_text())
    assert config["options"].items() >= {"hidden_size": 16, "patch": 3, "num_heads": 2, "feed_forward": 16}.items()
    assert Path(config["init_from"]) == start / "checkpoints" / "best.pt"
    assert "starts from" in (run / "train.log").read_text()
    ours, theirs = (BaseModel.load(folder / "checkpoints" / "best.pt") for folder in (run, start))
    weights = theirs.encoder_weights()
    torch.testing.assert_close(ours.state_dict()["layers.0.expand.weight"], weights["layers.0.expand.weight"])
    repeated = train(tmp_path, "again", "--config", run / "config.json") / "transformer_basic"
    assert results(repeated)["test"] == results(run)["test"]


@pytest.mark.parametrize(
    ("models", "more", "message"),
    [
        ("lstm:basic", [], "has none of its weights"),
        ("transformer:basic", ["--set", "hidden_size=32"], "own shape"),
        ("transformer:basic", ["--window", "30"], "own shape"),
    ],
)
def test_other_shapes_are_refused_before_training(
    trained: Path, capsys: pytest.CaptureFixture[str], models: str, more: Sequence[str], message: str
) -> None:
    start = trained / "series" / "jepa_hierarchical"
    words = ["--models", models, "--data", trained / "prices.csv", "--window", 24, "--init-from", start, *more]
    with pytest.raises(SystemExit) as ended:
        run_app(train_app, [*map(str, words), "--dry-run"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_that_is_none_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_app(train_app, ["--models", "transformer:basic", "--init-from", str(trained / "nowhere")])
    assert ended.value.code == 2
    assert "--init-from needs a trained run" in capsys.readouterr().err


# ---- what is trained where nothing is named


def test_models_of_pictures_get_a_sample_of_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    for models, sample in (("jepa:hierarchical", "sample:digits"), ("jepa:hierarchical lstm:basic", "sample:goog")):
        with pytest.raises(SystemExit) as ended:
            run_app(train_app, ["--models", *models.split(), "--dry-run"])
        assert ended.value.code == 0
        assert f"data: {sample}" in capsys.readouterr().out
    assert "src.models.jepa" in sys.modules
