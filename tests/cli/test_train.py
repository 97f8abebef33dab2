"""Promises of ``train_models.py``: what it trains, what it writes and what it prints."""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.tracking.tags import spec_of

ROOT = Path(__file__).resolve().parents[2]
QUICK: tuple[Any, ...] = (
    *("--data", "sample:walk", "--window", 8, "--epochs", 2, "--epoch-fraction", 0.1, "--lr", 0.01, "--jobs", 1),
)
SMALL: tuple[Any, ...] = ("--set", "hidden_size=8")
Call = Callable[..., SimpleNamespace]


def folders(root: Path) -> list[str]:
    return sorted(str(file.parent.relative_to(root)) for file in root.rglob("results.json"))


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def planned(call: Call, *arguments: Any) -> list[str]:
    """Folders of the runs that would be trained."""
    ended = call(*QUICK, *arguments, "--dry-run")
    assert ended.code == 0, ended.err
    lines = ended.out.partition("would train")[2].splitlines()[1:]
    return [line.split()[0] for line in lines]


def same_weights(first: Path, second: Path, name: str = "best.pt") -> bool:
    one, two = (torch.load(folder / "checkpoints" / name, weights_only=True)["model"] for folder in (first, second))
    return one.keys() == two.keys() and all(torch.equal(value, two[key]) for key, value in one.items())


def without_time(results: dict[str, Any]) -> dict[str, Any]:
    return results | {"training": {k: v for k, v in results["training"].items() if k != "seconds"}}


# --- which models -----------------------------------------------------------------------------------------------------


def test_models_may_be_listed_in_every_way(call: Call) -> None:
    for given in (
        ("--models", "lstm:attention", "gru:residual"),
        ("--models", "lstm:attention,gru:residual"),
        ("--models", "lstm:attention", "--models", "gru:residual"),
        ("--models", "lstm:attention, gru:residual", "lstm:attention"),
        ("-m", "lstm:attention", "gru:residual"),
    ):
        assert planned(call, *given) == ["lstm_attention", "gru_residual"], given
    assert planned(call, "--models", "tcn:*") == ["tcn_basic", "tcn_residual", "tcn_bayesian"]
    assert planned(call, "--models", "gru") == ["gru_basic"], "a bare family is its basic variant"


PROMISED = {
    "lstm": ("basic", "attention", "bidirectional"),
    "gru": ("basic", "residual"),
    "tcn": ("basic", "residual"),
    "transformer": ("basic", "patch", "inverted"),
    "linear": ("nlinear", "dlinear"),
    "baseline": ("naive", "drift", "seasonal", "ridge", "boosting"),
}


def test_all_models_are_trained_by_default_but_those_that_cannot_work_on_the_data(call: Call) -> None:
    promised = [f"{family}_{variant}" for family, variants in PROMISED.items() for variant in variants]
    assert set(promised) <= set(planned(call, "--window", 96))
    short = call(*QUICK, "--window", 4, "--dry-run")
    assert short.code == 0 and "transformer:patch is left out: " in short.out
    assert set(promised) - set(planned(call, "--window", 4)) == {
        "transformer_patch",
        "baseline_seasonal",
    }


def test_model_options_reach_whoever_has_them(call: Call, tmp_path: Path) -> None:
    chosen = ("--models", "lstm:basic", "gru:basic", "linear:nlinear")
    done = call(*QUICK, *chosen, "--set", "hidden_size=8", "gru:basic.hidden_size=12", "--name", "run")
    assert done.code == 0, done.err
    sizes = {run["model"]: run["options"].get("hidden_size") for run in read(tmp_path / "runs/run/plan.json")["runs"]}
    assert sizes == {"lstm:basic": 8, "gru:basic": 12, "linear:nlinear": None}
    for name, size in (("lstm_basic", 8), ("gru_basic", 12)):
        assert read(tmp_path / "runs/run" / name / "config.json")["options"]["hidden_size"] == size


def test_list_shows_all_models_and_the_options_of_those_named(call: Call, tmp_path: Path, plugin: Path) -> None:
    listed = call("--list")
    assert listed.code == 0 and listed.err == ""
    names = [line.split()[0] for line in listed.out.splitlines() if ":" in line.split(" ")[0]]
    assert {"lstm:basic", "transformer:patch", "baseline:naive"} <= set(names)
    assert all(re.match(r"\S+ +\S", line) for line in listed.out.splitlines()[: len(names)]), "each has a summary"
    some = call("--list", "--models", "lstm:attention", "tcn")
    assert re.findall(r"^\S+", some.out, re.M) == ["lstm:attention", "tcn:basic"]
    assert "--set hidden_size=64" in some.out and "--set kernel" in some.out
    assert "mine:raising" in call("--list", "--plugin", plugin).out
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_checks_everything_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    shown = call(*QUICK, "--models", "lstm:basic", "--seeds", 2, *SMALL, "--dry-run")
    assert shown.code == 0 and "would train 2 runs" in shown.out
    assert "lstm_basic/seed_1" in shown.out and "hidden_size=8" in shown.out and "8 rows x 1 features" in shown.out
    assert call(*QUICK, "--models", "lstm:basic", "--set", "hidden_size=0", "--dry-run").code == 2
    assert sorted(tmp_path.rglob("*")) == before


# --- one command from end to end --------------------------------------------------------------------------------------

RESULT_KEYS = {"model", "status", "seed", "task", "targets", "test", "validation", "windows", "training", "parameters"}
SCORE_KEYS = {"mse_scaled", "mae_scaled", "mae", "rmse", "r2", "skill_vs_naive", "direction_accuracy"}


def test_a_command_leaves_what_is_promised(as_process: Call, tmp_path: Path, prices: Path) -> None:
    done = as_process(
        *("--data", prices, "--window", 8, "--epochs", 3, "--models", "lstm:basic", "linear:nlinear", "baseline:naive"),
        *("--jobs", 1, *SMALL),
    )
    assert done.code == 0, done.err
    (root,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}_\d{6}", root.name)
    assert folders(root) == ["baseline_naive", "linear_nlinear", "lstm_basic"]
    assert sorted(path.name for path in root.iterdir() if path.is_file()) == ["leaderboard.csv", "plan.json"]
    for folder in folders(root):
        files = {str(path.relative_to(root / folder)) for path in (root / folder).rglob("*") if path.is_file()}
        assert files >= {
            *("config.json", "metrics.csv", "results.json", "predictions.csv", "train.log"),
            *("checkpoints/best.pt", "checkpoints/last.pt"),
        }
        assert not any("tfevents" in name for name in files), "no event file without --tensorboard"
    results = [read(root / folder / "results.json") for folder in folders(root)]
    for result in results:
        assert set(result) == RESULT_KEYS and result["status"] == "completed"
        assert set(result["test"]) - {"per_step"} == set(result["validation"]) == SCORE_KEYS | {"majority_share"}
        assert set(result["windows"]) == {"train", "validation", "test", "test_hash"}
    assert len({result["windows"]["test_hash"] for result in results}) == 1
    assert results[0]["windows"]["test"] == 30
    # What a person sees: data, leaderboard, verdict, where the results are, and one line per model on the other stream.
    for text in ("target   ", "writing to runs/", "best first", "naive persistence", f"Results: runs/{root.name}"):
        assert text in done.out
    assert re.search(r"add --tensorboard", done.out)
    lines = done.err.splitlines()
    assert [line[:5] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"] and "lstm:basic" in done.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.err + done.out), "no control characters in a log file"


def test_the_leaderboard_says_the_same_as_the_results(call: Call, tmp_path: Path, prices: Path) -> None:
    chosen = ("--models", "linear:*", "baseline:naive", "baseline:drift")
    assert call(*QUICK, "--data", prices, *chosen, "--name", "run").code == 0
    with open(tmp_path / "runs/run/leaderboard.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4]
    errors = [float(row["rmse"]) for row in rows]
    assert errors == sorted(errors)
    for row in rows:
        result = read(tmp_path / "runs/run" / row["model"].replace(":", "_") / "results.json")
        assert float(row["rmse"]) == pytest.approx(result["test"]["rmse"], rel=1e-6)
        assert float(row["skill_vs_naive"]) == pytest.approx(result["test"]["skill_vs_naive"], rel=1e-6, abs=1e-12)
    assert next(float(row["skill_vs_naive"]) for row in rows if row["model"] == "baseline:naive") == 0


def test_the_plan_is_there_with_all_runs_before_training_starts(call: Call, tmp_path: Path, plugin: Path) -> None:
    found: list[list[str]] = []
    plugin.write_text(
        plugin.read_text()
        .replace("self.layer = nn", "self.planned = planned()\n        self.layer = nn")
        .replace(
            "import math\n",
            "import json, math\nfrom pathlib import Path\n\ndef planned():\n"
            "    files = [*Path('runs').glob('*/plan.json')]\n"
            "    FOUND.append([r['folder'] for f in files for r in json.loads(f.read_text())['runs']])\n\nFOUND = []\n",
        )
    )
    chosen = ("--plugin", plugin, "--models", "mine:basic", "baseline:naive")
    assert call(*QUICK, *chosen, "--seeds", 2).code == 0
    found = sys.modules["trainboard_plugin_my_models"].FOUND
    everything = ["mine_basic/seed_0", "mine_basic/seed_1", "baseline_naive"]
    assert found[0] == [] and found[1:] == [everything] * 2, "checked when there is no folder, trained when there is"


def test_event_files_hold_exactly_the_promised_tags(call: Call, tmp_path: Path, plugin: Path) -> None:
    chosen = ("--models", "lstm:basic", "mine:basic", "--plugin", plugin, *SMALL)
    assert call(*QUICK, "--epochs", 12, "--lr", 0.1, *chosen, "--tensorboard", "--name", "run").code == 0
    for model in ("lstm_basic", "mine_basic"):
        folder = tmp_path / "runs/run" / model
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
        events.Reload()
        specs = {tag: spec_of(tag) for tag in events.Tags()["scalars"]}
        assert [tag for tag, spec in specs.items() if spec is None] == []
        epochs = [tag for tag, spec in specs.items() if spec is not None and spec.axis == "epoch"]
        assert {"gradient_norm/total", "update_ratio/head"} <= set(specs) or model == "mine_basic"
        scalars = {tag: [event.step for event in events.Scalars(tag)] for tag in epochs}
        everywhere = ["Loss/train", "Loss/validation", "Learning_Rate", "Gradient/norm"]
        everywhere += ["Custom/weight"] if model == "mine_basic" else []
        once = {tag for tag in scalars if tag.startswith(("test/", "best/"))}
        assert set(scalars) == {*everywhere, "Best_Val_Loss", *once}
        assert all(scalars[tag] == list(range(12)) for tag in everywhere)
        assert all(len(scalars[tag]) == 1 for tag in once) and "test/skill_vs_naive" in once

        validation = [event.value for event in events.Scalars("Loss/validation")]
        improved = [n for n, value in enumerate(validation) if value < min(validation[:n], default=float("inf"))]
        assert scalars["Best_Val_Loss"] == improved and len(improved) < 12
        assert [event.value for event in events.Scalars("Best_Val_Loss")] == [validation[n] for n in improved]

        weights = torch.load(folder / "checkpoints/best.pt", weights_only=True)["model"]
        drawn = [tag for tag in events.Tags()["histograms"] if not tag.startswith("Activations/")]
        histograms = {tag: [event.step for event in events.Histograms(tag)] for tag in drawn}
        assert set(histograms) == {f"{kind}/{name}" for kind in ("Weights", "Gradients") for name in weights}
        assert all(steps == [0, 10] for steps in histograms.values())
        assert events.Tags()["graph"]


def test_logged_gradients_are_those_before_clipping(call: Call, tmp_path: Path) -> None:
    chosen = ("--models", "linear:nlinear", "--tensorboard", "--epochs", 1)
    for name, clip in (("free", 0), ("tight", 1e-3)):
        # One batch of all windows, so that the epoch's mean norm is that of its only step.
        assert call(*QUICK, *chosen, "--clip", clip, "--batch-size", 10_000, "--name", name).code == 0
    squares, norms = [], []
    for name in ("free", "tight"):
        events = EventAccumulator(str(tmp_path / "runs" / name / "linear_nlinear"), size_guidance={"histograms": 0})
        events.Reload()
        tags = [tag for tag in events.Tags()["histograms"] if tag.startswith("Gradients/")]
        squares.append(sum(events.Histograms(tag)[0].histogram_value.sum_squares for tag in tags))
        norms.append(events.Scalars("Gradient/norm")[0].value)
    assert norms[0] == pytest.approx(norms[1], rel=1e-5) and norms[0] > 0.01
    assert [value**0.5 for value in squares] == pytest.approx(norms, rel=2e-3)


# --- the same again ---------------------------------------------------------------------------------------------------


def test_a_run_is_repeated_bit_for_bit_from_its_config(call: Call, tmp_path: Path, prices: Path) -> None:
    chosen = ("--models", "gru:residual", "--set", "hidden_size=9", "dropout=0.3", "--seed", 5, "--schedule", "cosine")
    assert call(*QUICK, "--data", prices, "--features", "Close,Volume", *chosen, "--name", "first").code == 0
    first = tmp_path / "runs/first/gru_residual"
    assert call("--config", first / "config.json", "--name", "again").code == 0
    again = tmp_path / "runs/again/gru_residual"
    assert same_weights(first, again) and same_weights(first, again, "last.pt")
    assert (first / "predictions.csv").read_bytes() == (again / "predictions.csv").read_bytes()
    results = [without_time(read(folder / "results.json")) for folder in (first, again)]
    assert results[0] == results[1]
    assert read(first / "config.json") == read(again / "config.json")

    assert call("--config", first / "config.json", "--seed", 6, "--set", "hidden_size=7", "--name", "other").code == 0
    other = read(tmp_path / "runs/other/gru_residual/config.json")
    assert (other["training"]["seed"], other["options"]["hidden_size"], other["options"]["dropout"]) == (6, 7, 0.3)


def test_a_run_of_a_plugin_is_repeated_without_naming_it(call: Call, tmp_path: Path, plugin: Path) -> None:
    assert call(*QUICK, "--models", "mine", "--plugin", plugin, "--name", "first").code == 0
    first = tmp_path / "runs/first/mine_basic"
    assert read(first / "config.json")["plugins"] == [str(plugin)]
    assert call("--config", first / "config.json", "--name", "again").code == 0
    again = tmp_path / "runs/again/mine_basic"
    assert same_weights(first, again) and read(again / "config.json")["plugins"] == [str(plugin)]


@pytest.mark.slow
def test_several_jobs_give_the_bits_of_one(call: Call, tmp_path: Path, plugin: Path) -> None:
    chosen = ("--models", "lstm:attention", "mine:basic", "tcn:basic", "baseline:boosting", "--plugin", plugin, *SMALL)
    assert call(*QUICK, *chosen, "--name", "one").code == 0
    several = call(*QUICK, *chosen, "--jobs", 2, "--name", "two")
    assert several.code == 0, several.err
    one, two = tmp_path / "runs/one", tmp_path / "runs/two"
    assert folders(one) == folders(two) and len(folders(one)) == 4
    for folder in folders(one):
        assert without_time(read(one / folder / "results.json")) == without_time(read(two / folder / "results.json"))
        assert (one / folder / "predictions.csv").read_bytes() == (two / folder / "predictions.csv").read_bytes()
        assert same_weights(one / folder, two / folder)


def test_seeds_repeat_networks_only_and_the_leaderboard_shows_the_spread(call: Call, tmp_path: Path) -> None:
    chosen = ("--models", "lstm:basic", "baseline:ridge", "--seeds", 2, *SMALL)
    done = call(*QUICK, *chosen, "--seed", 3, "--name", "run", "--tensorboard")
    assert done.code == 0, done.err
    root = tmp_path / "runs/run"
    assert folders(root) == ["baseline_ridge", "lstm_basic/seed_3", "lstm_basic/seed_4"]
    assert not same_weights(root / "lstm_basic/seed_3", root / "lstm_basic/seed_4")
    with open(root / "leaderboard.csv", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert (rows["lstm:basic"]["seeds"], rows["baseline:ridge"]["seeds"]) == ("2", "1")
    errors = [read(root / f"lstm_basic/seed_{seed}/results.json")["test"]["rmse"] for seed in (3, 4)]
    assert float(rows["lstm:basic"]["rmse"]) == pytest.approx(sum(errors) / 2, rel=1e-6)
    assert float(rows["lstm:basic"]["rmse_std"]) == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5, rel=1e-3)
    assert rows["baseline:ridge"]["rmse_std"] == "" and "±" in done.out
    # The first seed is what a command without --seeds gives.
    assert call(*QUICK, *chosen[:2], *SMALL, "--seed", 3, "--name", "alone").code == 0
    assert same_weights(root / "lstm_basic/seed_3", tmp_path / "runs/alone/lstm_basic")


def test_two_commands_in_one_second_get_two_folders(tmp_path: Path) -> None:
    from src.tracking.run_folder import create_root

    roots = [create_root(tmp_path / "runs", None) for _ in range(5)]
    assert len(set(roots)) == 5 and all(root.is_dir() for root in roots)
    assert {root.name[:15] for root in roots} <= {path.name[:15] for path in (tmp_path / "runs").iterdir()}


def test_gzipped_files_and_other_outputs(call: Call, tmp_path: Path, prices: Path) -> None:
    packed = tmp_path / "prices.csv.gz"
    packed.write_bytes(gzip.compress(prices.read_bytes()))
    where = ("--models", "baseline:naive", "--output", tmp_path / "deep" / "er", "--name", "run")
    assert call(*QUICK, "--data", packed, *where).code == 0
    assert folders(tmp_path / "deep") == ["er/run/baseline_naive"] and not (tmp_path / "runs").exists()


# --- one model fails --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_failing_model_leaves_the_others_running(call: Call, tmp_path: Path, plugin: Path, jobs: int) -> None:
    chosen = ("--models", "mine:raising", "mine:diverging", "mine:basic", "baseline:naive", "--plugin", plugin)
    done = call(*QUICK, *chosen, "--jobs", jobs, "--name", "run", "--tensorboard")
    assert done.code == 1
    assert "2 of 4 runs did not finish:" in done.out
    assert "mine:raising: RuntimeError: shapes do not fit at all" in done.out
    assert "mine:diverging: TrainingError: loss or gradient is not finite at epoch 0, step 0" in done.out
    assert "--resume runs/run" in done.out and "Traceback" not in done.out + done.err
    statuses = {
        folder: read(tmp_path / "runs/run" / folder / "results.json")["status"]
        for folder in folders(tmp_path / "runs/run")
    }
    assert statuses == {
        "mine_raising": "failed",
        "mine_diverging": "failed",
        "mine_basic": "completed",
        "baseline_naive": "completed",
    }
    assert "Traceback" in (tmp_path / "runs/run/mine_raising/train.log").read_text(), (
        "the log keeps what debugging needs"
    )
    with open(tmp_path / "runs/run/leaderboard.csv", newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"mine:basic", "baseline:naive"}


def test_debug_shows_tracebacks(call: Call, plugin: Path) -> None:
    done = call(*QUICK, "--models", "mine:raising", "--plugin", plugin, "--debug")
    assert done.code == 1 and "Traceback" in done.out and "in forward" in done.out
    refused = call(*QUICK, "--lr", 0, "--debug")
    assert (
        refused.code == 2 and "Traceback" in refused.err and refused.err.rstrip().splitlines()[-1].startswith("error: ")
    )
