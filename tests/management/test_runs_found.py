"""Runs are found with their true state, whatever lies on disk, and without loading anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.management.runs import RunInfo, find_runs, is_training
from src.management.selection import choose, find_one

Hold = Callable[[Path], subprocess.Popen[str]]
SEED_0 = "first/linear_nlinear/seed_0"


def runs_by_name(root: Path) -> dict[str, RunInfo]:
    return {run.name: run for run in find_runs(root)}


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def test_every_run_is_found_with_what_its_files_say(root: Path) -> None:
    runs = runs_by_name(root)
    assert set(runs) == {
        *(SEED_0, "first/linear_nlinear/seed_1", "first/baseline_naive"),
        *("second/linear_nlinear", "second/baseline_naive"),
    }
    header = (root / "first" / "leaderboard.csv").read_text().splitlines()[0].split(",")
    for run in runs.values():
        results = json.loads((run.path / "results.json").read_text())
        assert run.state == "completed" and not run.junk
        assert run.best == results["training"]["best_validation_loss"]
        assert (run.best_epoch, run.epochs) == (results["training"]["best_epoch"], results["training"]["epochs"])
        assert run.metric == header[3] and run.test == results["test"][header[3]]
        assert run.size == sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
        assert (run.data, run.model) == ("sample:walk", results["model"])


def test_the_newest_command_comes_first(root: Path) -> None:
    for place, command in enumerate(("second", "first")):
        for file in (root / command).rglob("*"):
            os.utime(file, (1000 + place, 1000 + place))
    assert [run.command for run in find_runs(root)] == ["first"] * 3 + ["second"] * 2


def test_without_a_leaderboard_the_same_metric_is_shown(root: Path) -> None:
    before = runs_by_name(root)
    (root / "first" / "leaderboard.csv").unlink()
    (root / "second" / "leaderboard.csv").write_bytes(b"\xff\xfe")
    assert {name: (run.metric, run.test) for name, run in runs_by_name(root).items()} == {
        name: (run.metric, run.test) for name, run in before.items()
    }


def test_a_run_that_was_killed_is_interrupted_and_keeps_its_best_value(root: Path) -> None:
    complete = runs_by_name(root)[SEED_0]
    (root / SEED_0 / "results.json").unlink()
    with open(root / SEED_0 / "metrics.csv", "a") as file:
        file.write("2,17")  # the line being written when it was killed
    run = runs_by_name(root)[SEED_0]
    assert (run.state, run.best, run.best_epoch, run.epochs) == ("interrupted", complete.best, complete.best_epoch, 2)


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_the_status_a_run_wrote_is_its_state(root: Path, status: str) -> None:
    (root / SEED_0 / "results.json").write_text(json.dumps({"model": "x", "status": status, "error": "loss is nan"}))
    run = runs_by_name(root)[SEED_0]
    assert (run.state, run.junk) == (status, status == "failed")
    assert run.problem == ("loss is nan" if status == "failed" else None)


def test_a_run_without_a_folder_is_waiting(root: Path) -> None:
    shutil.rmtree(root / SEED_0)
    run = runs_by_name(root)[SEED_0]
    assert (run.state, run.size, run.data, run.junk) == ("waiting", 0, "sample:walk", False)


def test_a_run_is_running_while_a_process_trains_it_and_interrupted_once_that_is_killed(
    root: Path, holding: Hold
) -> None:
    (root / SEED_0 / "results.json").unlink()
    process = holding(root / "first")
    assert [run.state for run in find_runs(root) if run.command == "first"] == ["running", "completed", "completed"]
    assert {run.state for run in find_runs(root) if run.command == "second"} == {"completed"}
    process.kill()
    process.wait()
    assert (root / "first" / ".lock").exists(), "a killed process leaves its lock file"
    assert runs_by_name(root)[SEED_0].state == "interrupted"
    holding(root / SEED_0)
    assert runs_by_name(root)[SEED_0].state == "running", "a worker outlives its command by some seconds"


def test_looking_leaves_no_trace_and_stops_nobody(root: Path, holding: Hold) -> None:
    before = sorted(root.rglob("*"))
    find_runs(root)
    assert sorted(root.rglob("*")) == before
    assert not is_training(root / "first")
    holding(root / "first")
    assert is_training(root / "first") and is_training(root / "first")


@pytest.mark.parametrize("file", ["config.json", "results.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\x00", b"[" * 100_000, b'{"a": 1}'])
def test_a_damaged_file_makes_a_damaged_run_and_never_an_error(root: Path, file: str, content: bytes) -> None:
    (root / SEED_0 / file).write_bytes(content)
    runs = runs_by_name(root)
    if file == "results.json" or content != b'{"a": 1}':
        assert runs[SEED_0].state == "damaged" and runs[SEED_0].problem
    assert [run.state for run in runs.values()].count("completed") >= 4


@pytest.mark.parametrize("key", ["training", "test", "status"])
def test_results_that_lack_something_are_damaged(root: Path, key: str) -> None:
    edit(root / SEED_0 / "results.json", lambda results: results | {key: None})
    assert runs_by_name(root)[SEED_0].state == "damaged"


@pytest.mark.parametrize("content", ["{", '{"runs": 3}', '{"runs": [{}]}', '{"runs": [{"folder": "../second"}]}'])
def test_a_damaged_plan_is_said_and_its_runs_are_still_found(root: Path, content: str) -> None:
    (root / "first" / "plan.json").write_text(content)
    runs = runs_by_name(root)
    assert runs["first"].state == "damaged" and "plan.json" in str(runs["first"].problem)
    assert runs[SEED_0].state == "completed" and len(runs) == 6


@pytest.mark.parametrize(
    ("epochs", "junk"), [(0, False), (1, True), (2, False)], ids=["baseline", "one epoch", "two epochs"]
)
def test_fewer_than_two_epochs_are_junk(root: Path, epochs: int, junk: bool) -> None:
    def change(results: Any) -> Any:
        results["training"]["epochs"] = epochs
        return results

    edit(root / SEED_0 / "results.json", change)
    assert runs_by_name(root)[SEED_0].junk is junk


def test_a_thousand_runs_are_listed_in_well_below_two_seconds(root: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    for number in range(200):
        for run in range(5):
            folder = many / f"command_{number}" / f"run_{run}"
            folder.mkdir(parents=True)
            for file in ("config.json", "results.json"):
                os.link(root / SEED_0 / file, folder / file)
        plan = {"version": 1, "runs": [{"folder": f"run_{run}"} for run in range(5)]}
        (many / f"command_{number}" / "plan.json").write_text(json.dumps(plan))
        os.link(root / "first" / "leaderboard.csv", many / f"command_{number}" / "leaderboard.csv")
    started = time.process_time()  # other programs on this machine do not count
    assert len(find_runs(many)) == 1000
    assert time.process_time() - started < 1.5


def test_a_folder_of_runs_that_is_none_is_refused(root: Path) -> None:
    for folder in ("first", "first/baseline_naive"):
        with pytest.raises(UserError, match=f"'runs/{folder}' is a run itself; use --root runs$"):
            find_runs(root / folder)
    with pytest.raises(UserError, match="there is no folder 'nowhere'"):
        find_runs(Path("nowhere"))


# ---- names ----


@pytest.mark.parametrize("prefix", ["", "runs/", "./runs/", "absolute"])
@pytest.mark.parametrize(
    ("name", "count"), [(SEED_0, 1), ("first/linear_nlinear", 2), ("first", 3), ("second/baseline_naive/", 1)]
)
def test_a_run_is_named_by_its_path_or_the_part_below_the_root(root: Path, prefix: str, name: str, count: int) -> None:
    given = os.path.abspath(f"runs/{name}") if prefix == "absolute" else f"{prefix}{name}"
    [choice] = choose(root, [given])
    assert choice.name == name.rstrip("/") and len(choice.runs) == count
    assert choice.whole is (name == "first")


def test_choices_do_not_overlap_and_all_runs_of_a_command_are_the_command(root: Path) -> None:
    assert [choice.name for choice in choose(root, [SEED_0, "first/linear_nlinear", SEED_0])] == [
        "first/linear_nlinear"
    ]
    assert [choice.name for choice in choose(root, ["first/linear_nlinear", "first/baseline_naive"])] == ["first"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("first/linear_nlinera", "Did you mean 'first/linear_nlinear'?"),
        ("linear:nlinear", "Did you mean '.*/linear_nlinear"),
        ("baseline_naive", "Did you mean '.*/baseline_naive'?"),
        ("frist", "Did you mean 'first'?"),
        ("runs", "is the folder of all runs itself"),
        ("first/../second", "without '..'"),
        ("../runs/first", "without '..'"),
        ("runs/../../etc", "without '..'"),
        ("", "is named by its path"),
        ("/etc", "lies outside"),
        ("first/baseline_naive/checkpoints", "is not a run: it has neither plan.json nor config.json"),
    ],
)
def test_what_is_no_run_is_refused_with_a_hint(root: Path, given: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose(root, [given])


def test_one_run_may_stand_for_its_command_and_lie_anywhere(root: Path, tmp_path: Path) -> None:
    assert find_one(root, SEED_0) == root / SEED_0
    with pytest.raises(UserError, match="one run is needed, but 'first' holds 3: "):
        find_one(root, "first")
    shutil.rmtree(root / "second" / "linear_nlinear")
    edit(root / "second" / "plan.json", lambda plan: plan | {"runs": []})
    assert find_one(root, "second") == root / "second" / "baseline_naive"
    (root / "first").rename(tmp_path / "elsewhere")
    assert find_one(root, "elsewhere/baseline_naive") == Path("elsewhere/baseline_naive")
