"""Promises of the commands to those who learn from captioned clips, and to those who want scenarios of a series."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.cli import predict
from src.cli.common import run_app
from src.cli.train import app as train_app
from src.cli.tune import app as tune_app
from src.metrics import caption_reader
from tests.data.clip_files import write_archive

SMALL = ("--set", "hidden_size=8", "num_heads=2", "timesteps=20", "sampling_steps=3", "progress_clips=4", "patch=2")
Answer = Callable[..., SimpleNamespace]


def ended(app: object, *arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        run_app(app, list(map(str, arguments)))  # type: ignore[arg-type]
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both networks over clips in ``clips``, and of a series in ``series``."""
    folder = tmp_path_factory.mktemp("videos")
    write_archive(folder / "clips.npz", each=12)
    random = np.random.default_rng(0)
    prices = 100 * np.exp(np.cumsum(random.normal(0, 0.01, 200)))
    table = pd.DataFrame({"Date": pd.date_range("2020-01-01", periods=200), "Close": prices})
    table.to_csv(folder / "prices.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_reader, "MOST_PASSES", 3)
        both = ("--models", "diffusion:video", "diffusion:transformer", "--data", folder / "clips.npz")
        runs = ("--output", folder, "--jobs", 1, "--epochs", 1)
        more = ("diffusion:transformer.num_layers=2", "diffusion:transformer.feed_forward=16")
        assert ended(train_app, *both, *runs, "--name", "clips", "--tensorboard", *SMALL, *more) == 0
    series = ("--models", "diffusion:series", "--data", folder / "prices.csv", "--window", 24, "--horizon", 3)
    assert ended(train_app, *series, *runs, "--name", "series", "--set", "hidden_size=8", "draws=10") == 0
    return folder


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answer:
    """``predict.py`` in a folder of its own: its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        code = ended(predict.app, *arguments)
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


# ---- training


def test_the_leaderboard_and_what_a_run_keeps(trained: Path) -> None:
    table = pd.read_csv(trained / "clips" / "leaderboard.csv")
    assert set(table["model"]) == {"diffusion:video", "diffusion:transformer"}
    assert {"caption_accuracy", "frechet_distance", "diversity_ratio", "nearest_ratio"} <= set(table.columns)
    folder = trained / "clips" / "diffusion_video"
    results = json.loads((folder / "results.json").read_text())
    assert results["task"] == "generate" and 0 <= results["test"]["caption_accuracy"] <= 1
    predictions = pd.read_csv(folder / "predictions.csv")
    assert list(predictions.columns) == ["caption", "read"] and predictions["caption"].str.startswith("going ").all()
    assert [file.name for file in (folder / "samples").iterdir()] == ["epoch_0000.mp4"]


def test_a_search_finds_options(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_reader, "MOST_PASSES", 3)
    search = ("--models", "diffusion:video", "--data", trained / "clips.npz", "--n-random-trials", 1)
    none = ("--n-bayesian-trials", 0, "--n-fine-tune-trials", 0, "--epochs-random", 1, "--epochs", 1, "--jobs", 1)
    assert ended(tune_app, *search, *none, "--output", tmp_path, "--name", "search", *SMALL) == 0
    [summary] = [json.loads(file.read_text()) for file in (tmp_path / "search").glob("search.json")]
    assert "caption_gain" in json.dumps(summary)


# ---- clips


def test_a_caption_becomes_a_clip_of_every_kind(trained: Path, ask: Answer, tmp_path: Path) -> None:
    run = trained / "clips" / "diffusion_video"
    for name in ("clip.gif", "clip.mp4", "clip.png", "clip.npz"):
        assert ask(run, "--caption", "going left", "--output", name).code == 0
    with Image.open(tmp_path / "clip.gif") as gif:
        assert gif.n_frames == 4 and gif.height >= 128
    with av.open(str(tmp_path / "clip.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 4
    with np.load(tmp_path / "clip.npz") as archive:
        assert archive["clips"].shape == (1, 4, 8, 8, 1) and archive["captions"].tolist() == ["going left"]
    first = (tmp_path / "clip.npz").read_bytes()
    again = ("--caption", "going left", "--output", "clip.npz", "--overwrite")
    ask(run, *again)
    with np.load(io.BytesIO(first)) as before, np.load(tmp_path / "clip.npz") as now:
        assert np.array_equal(before["clips"], now["clips"])
    ask(run, *again, "--seed", 1)
    with np.load(io.BytesIO(first)) as before, np.load(tmp_path / "clip.npz") as now:
        assert not np.array_equal(before["clips"], now["clips"])


def test_a_folder_of_runs_and_several_captions(trained: Path, ask: Answer, tmp_path: Path) -> None:
    done = ask(trained / "clips", "--caption", "going left", "going up", "--guidance", 1, "--steps", 2)
    assert done.code == 0 and len(list(tmp_path.glob("going_*.gif"))) == 4
    done = ask(trained / "clips" / "diffusion_video", "--caption", "going up", "--count", 3, "--grid", "-o", "g.gif")
    assert done.code == 0 and (tmp_path / "g.gif").is_file()


def test_what_cannot_be_drawn_is_said(trained: Path, ask: Answer) -> None:
    run = trained / "clips" / "diffusion_video"
    unknown = ask(run, "--caption", "going lefft", "-o", "a.gif")
    assert unknown.code == 0 and "never seen 'lefft'" in unknown.err and "left" in unknown.err
    for arguments, said in (
        ((run, "--caption", "dogs bark"), "has none"),
        ((run,), "going left"),
        ((run, "--caption", "going up", "--text", "x"), "--caption draws clips alone, but got --text"),
        ((run, "--caption", "going up", "--output", "clip.txt"), "must end in .gif"),
        ((run, "--paths", 3), "--caption"),
        ((trained / "series" / "diffusion_series", "--caption", "going up"), "diffusion:series on series"),
    ):
        refused = ask(*arguments)
        assert refused.code == 2 and said in refused.err, refused.err
        assert "Traceback" not in refused.err


# ---- scenarios of a series


def test_scenarios_of_a_series(trained: Path, ask: Answer, tmp_path: Path) -> None:
    run = trained / "series" / "diffusion_series"
    done = ask(run, "--paths", 7, "--output", "paths.csv", "--plot", "fan.png")
    assert done.code == 0
    table = pd.read_csv(tmp_path / "paths.csv")
    assert table.groupby("path")["step"].apply(list).tolist() == [[1, 2, 3]] * 7
    assert table.groupby("step")["forecast"].nunique().tolist() == [7, 7, 7]
    assert (table["forecast"] > 0).all()
    ask(run, "--output", "forecast.csv")
    forecast = pd.read_csv(tmp_path / "forecast.csv")
    assert {"lower_90", "upper_90"} <= set(forecast.columns)
    assert (tmp_path / "fan.png").stat().st_size > 5000
    refused = ask(run, "--paths", 7, "--all")
    assert refused.code == 2 and "leave one out" in refused.err
