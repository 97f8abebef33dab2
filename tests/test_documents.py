"""What the documents show works as it stands: every command and every block of Python."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src import experiment, models, registry
from src.cli.common import run_app
from src.data.image_samples import load_image_sample
from src.data.samples import load_sample
from src.data.text_samples import load_text_sample
from src.metrics import caption_reader
from src.models import captioned_diffusion
from tests.data.clip_files import bar_clips, write_gif

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
ADDING = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
UNCERTAINTY = (ROOT / "docs" / "uncertainty.md").read_text(encoding="utf-8")
REPRESENTATIONS = (ROOT / "docs" / "representations.md").read_text(encoding="utf-8")
TUNING = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
DIFFUSION = (ROOT / "docs" / "diffusion.md").read_text(encoding="utf-8")
SHOWN = README + UNCERTAINTY + REPRESENTATIONS + DIFFUSION
QUICK_SEARCH = "--trials=2 --epochs-random=1 --epochs-bayesian=1 --epochs-fine-tune=1 --epochs=1"


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def lines(text: str) -> list[str]:
    """Every command of a document, one line each, without comments."""
    joined = [block.replace("\\\n", " ") for block in blocks(text, "bash")]
    return [line.partition("  #")[0].strip() for block in joined for line in block.splitlines()]


def commands(text: str, script: str) -> list[list[str]]:
    """The arguments of every command that starts ``script``."""
    return [shlex.split(line)[2:] for line in lines(text) if line.startswith(f"python {script}")]


def distinct(found: list[list[str]]) -> list[list[str]]:
    """Each command once."""
    return [shlex.split(line) for line in dict.fromkeys(map(shlex.join, found))]


def run_here(folder: Path, script: str, arguments: list[str]) -> None:
    """A script in this process, which has paid for its imports already; models are trained one after the other."""
    if "--watch" in arguments:  # serves a dashboard beside it
        done = run(folder, script, arguments)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        return
    module = importlib.import_module(f"src.cli.{script.removesuffix('.py').partition('_')[0]}")
    jobs = ["--jobs", "1"] if script in ("train_models.py", "tune_models.py") and "--list" not in arguments else []
    experiment._data.clear()  # what other tests read under the same names
    models.load_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(registry, "_entries", dict(registry._entries))
        patch.setattr(sys, "argv", [script, *arguments, *jobs])
        patch.setattr(caption_reader, "MOST_PASSES", 1)
        patch.setattr(captioned_diffusion, "SCORED", 8)
        with pytest.raises(SystemExit) as ended:
            run_app(module.app, [*arguments, *jobs], prog_name=script)
    # The doctor may find something wrong with the machine that runs this.
    assert ended.value.code in (None, 0) or "doctor" in arguments, shlex.join([script, *arguments])


def run(folder: Path, script: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of: files of prices, a database, and an earlier command's runs."""
    folder = tmp_path_factory.mktemp("workplace")
    goog = load_sample("goog", window=96, seed=0).tables
    table = pd.DataFrame(goog.values, columns=list(goog.columns))
    table.insert(0, "Date", goog.dates)
    write_price_files(folder, table)
    temperature = pd.Series(10 + 8 * np.sin(np.arange(len(table)) / 4)).round(1)
    days = table["Date"].dt.strftime("%d/%m/%Y")
    readings = pd.DataFrame({"Date": days, "T": temperature, "RH": temperature * 3 + 20})
    readings.to_csv(folder / "readings.csv.gz", index=False, sep=";", decimal=",")
    (monitor,), (rules,) = blocks(MONITORING, "python"), blocks(MONITORING, "toml")
    (folder / "my_monitor.py").write_text(monitor, encoding="utf-8")
    (folder / "my_rules.toml").write_text(rules, encoding="utf-8")
    (folder / "tell_me.sh").write_text("#!/bin/sh\ncat >> told.txt\n", encoding="utf-8")
    (folder / "tell_me.sh").chmod(0o755)
    words = "--models lstm:basic linear:dlinear baseline:naive gru:residual --epochs 1 --name 20250110_143022"
    run_here(folder, "train_models.py", [*words.split(), "--data", "prices.csv"])
    sample = load_text_sample("reviews")
    reviews = pd.DataFrame({"review": sample.texts, "sentiment": sample.labels})[:300]
    reviews.to_csv(folder / "reviews.csv", index=False)
    reviews[["review"]].to_csv(folder / "new_reviews.csv", index=False)
    words = "--models transformer:bayesian baseline:words --epochs 1 --name 20250112_120000"
    run_here(folder, "train_models.py", [*words.split(), "--data", "reviews.csv"])
    write_pictures(folder / "pictures")
    words = "--models jepa:hierarchical --epochs 1 --set hidden_size=16 feed_forward=16 --name"
    run_here(folder, "train_models.py", [*words.split(), "20250113_110000", "--data", "pictures"])
    run_here(folder, "train_models.py", [*words.split(), "20250113_120000", "--data", "prices.csv"])
    write_clips(folder / "clips")
    words = "--epochs 1 --epoch-fraction 0.02 --set hidden_size=8 --models"
    run_here(folder, "train_models.py", ["--name", "20250113_140000", *words.split(), "diffusion:video"])
    words += " diffusion:series --data prices.csv --name 20250113_150000"
    run_here(folder, "train_models.py", words.split())
    (folder / "space.toml").write_text(blocks(TUNING, "toml")[0], encoding="utf-8")
    words = "--models tcn:residual --name 20250111_090000 --no-tensorboard"
    run_here(folder, "tune_models.py", [*words.split(), *QUICK_SEARCH.split()])
    return folder


def write_pictures(folder: Path) -> None:
    digits, _ = load_image_sample("digits")
    for pixels, label, number in zip(digits.pixels[:120], digits.labels or (), range(120), strict=False):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(folder / label / f"{number}.png")


def write_clips(folder: Path) -> None:
    folder.mkdir()
    clips, captions = bar_clips(10)
    for number, clip in enumerate(clips):
        write_gif(folder / f"{number}.gif", clip)
    names = [f"{number}.gif" for number in range(len(clips))]
    pd.DataFrame({"file": names, "caption": captions}).to_csv(folder / "captions.csv", index=False)


def write_price_files(folder: Path, table: pd.DataFrame) -> None:
    table.to_csv(folder / "prices.csv", index=False)
    table.to_csv(folder / "newer.csv", index=False)
    table[:800].to_csv(folder / "early.csv", index=False)
    table[800:].to_csv(folder / "later.csv", index=False)
    (folder / "prices").mkdir()
    for name in ("AAPL", "GOOG"):
        table.to_csv(folder / "prices" / f"{name}.csv", index=False)
    wide = {"Date": table["Date"], "AAPL": table["Close"], "GE": table["Open"], "GOOG": table["Low"]}
    pd.DataFrame(wide).to_csv(folder / "closes.csv.gz", index=False)
    with sqlite3.connect(folder / "prices.db") as connection:
        table.assign(ticker="AAPL").to_sql("prices", connection, index=False)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", distinct(commands(SHOWN, "train_models.py")), ids=" ".join)
def test_every_training_command_of_the_readme_runs(workplace: Path, arguments: list[str]) -> None:
    # One epoch is enough to see that a command works, and one model to see that its data are read.
    shorter = [] if "--resume" in arguments or "--list" in arguments else ["--epochs", "1"]
    if "transformer:bayesian" in arguments and "--set" not in arguments:
        shorter += ["--set", "samples=4"]  # networks drawn for each prediction
    if "--data" in arguments and "--models" not in arguments:
        shorter += ["--models", "linear:nlinear"]
    if "diffusion:video" in arguments:
        shorter += ["--epoch-fraction", "0.02"]
    run_here(workplace, "train_models.py", [*arguments, *shorter])


@pytest.mark.slow
@pytest.mark.parametrize("line", dict.fromkeys(map(shlex.join, commands(README + TUNING, "tune_models.py"))))
def test_every_search_of_the_documents_runs(workplace: Path, line: str) -> None:
    arguments = shlex.split(line)
    if "postgresql://" in line:
        pytest.skip("needs the server it names; tests/tuning has one of its own")
    shorter = [] if "--resume" in arguments else QUICK_SEARCH.split()
    run_here(workplace, "tune_models.py", [*arguments, *shorter])


@pytest.mark.slow
def test_the_other_commands_of_the_readme_run_in_their_order(workplace: Path) -> None:
    scripts = ("python predict.py", "python manage_runs.py", "cat ", "zcat ")
    shown = list(dict.fromkeys(line for line in lines(SHOWN) if line.startswith(scripts)))
    assert len(shown) > 10
    for line in shown:
        if line.startswith("python ") and "|" not in line:
            _, script, *arguments = shlex.split(line)
            run_here(workplace, script, [*arguments, *(["--yes"] if "delete" in arguments else [])])
            continue
        words = line.replace("python ", f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT))}/")
        words += " --models linear:nlinear --epochs 1" if "train_models" in line else ""
        done = subprocess.run(["bash", "-c", words], cwd=workplace, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "Traceback" not in done.stderr, f"{line}\n{done.stderr}"


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    own_loop, forecast = blocks(README, "python")
    (uncertain,) = blocks(UNCERTAINTY, "python")
    (represented,) = blocks(REPRESENTATIONS, "python")
    (drawn,) = blocks(DIFFUSION, "python")
    code = f"{own_loop}\n{forecast}\n{uncertain}\n{represented}\n{drawn}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([2, 24, 1])" in done.stdout
    assert "torch.Size([8, 17, 128])" in done.stdout
    assert "torch.Size([1, 8, 1, 16, 16]) True" in done.stdout
    assert (tmp_path / "runs" / "mine" / "findings.json").is_file()


@pytest.mark.slow
def test_the_model_of_the_guide_trains_as_a_plugin(tmp_path: Path) -> None:
    (code,) = blocks(ADDING, "python")
    (tmp_path / "my_models.py").write_text(code, encoding="utf-8")
    (arguments,) = commands(ADDING, "train_models.py")
    done = run(tmp_path, "train_models.py", arguments)
    assert done.returncode == 0, done.stderr
    assert "pooling:wide" in done.stdout
    (table,) = tmp_path.glob("runs/*/pooling_basic/metrics.csv")
    assert "Custom/active_share" in pd.read_csv(table).columns


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
