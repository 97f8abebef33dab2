"""Promises of one run: what it writes, what it says about itself, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from src import experiment
from src.data.loading import load_data
from src.data.options import DataOptions
from src.errors import UserError
from src.models.base_model import BaseModel
from src.plan import RunPlan, Selection, plan_runs
from src.tracking.run_folder import create_root, only_command_on, read_json, write_atomically, write_json
from src.training.config import TrainingConfig
from src.training.observers import EpochProgress

ROOT = Path(__file__).resolve().parent.parent
TRAINING = TrainingConfig(epochs=2, device="cpu", epoch_fraction=0.1, seed=4)


def planned(model: str, **more: Any) -> RunPlan:
    data = load_data(DataOptions(data="sample:walk", window=8))
    return replace(plan_runs(Selection([model]), data, TRAINING)[0][0], **more)


def carried_out(root: Path, plan: RunPlan, **payload: Any) -> tuple[dict[str, Any], list[EpochProgress]]:
    seen: list[EpochProgress] = []
    result = experiment.run({"root": str(root), "plan": plan.to_dict(), **payload}, seen.append)
    return result, seen


def test_a_run_returns_what_it_writes_and_reports_every_epoch(tmp_path: Path) -> None:
    result, seen = carried_out(tmp_path, planned("linear:nlinear"))
    folder = tmp_path / "linear_nlinear"
    assert read_json(folder / "results.json") == json.loads(json.dumps(result))
    assert [(progress.epoch, progress.epochs) for progress in seen] == [(0, 2), (1, 2)]
    assert result["training"]["best_validation_loss"] == min(progress.validation_loss for progress in seen)
    assert experiment.run_status(folder) == "completed" and experiment.run_status(tmp_path) == "waiting"
    log = (folder / "train.log").read_text().splitlines()
    assert [re.sub(r"^[-\d]+ [:\d]+ ", "", line).split()[0] for line in log] == [
        "started:",
        "epoch",
        "epoch",
        "completed:",
    ]


def test_the_configuration_says_all_that_the_result_depends_on(tmp_path: Path) -> None:
    plan = planned("gru:basic")
    carried_out(tmp_path, plan)
    config = read_json(tmp_path / "gru_basic" / "config.json")
    assert RunPlan.from_dict(config) == replace(plan, options=dict(plan.options))
    assert config["training"]["seed"] == 4 and config["parameters"] > 0
    assert set(config["versions"]) >= {"python", "torch", "numpy"} and config["versions"]["torch"] == torch.__version__
    assert config["fingerprint"]["test_hash"] == read_json(tmp_path / "gru_basic/results.json")["windows"]["test_hash"]
    assert config["git_commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", config["git_commit"])


def test_predictions_are_those_of_the_best_weights(tmp_path: Path) -> None:
    carried_out(tmp_path, planned("linear:dlinear"))
    data = load_data(DataOptions(data="sample:walk", window=8))
    model = BaseModel.load(tmp_path / "linear_dlinear/checkpoints/best.pt")
    batch = next(data.test.batches(450))
    lines = (tmp_path / "linear_dlinear/predictions.csv").read_text().splitlines()
    assert lines[0] == "origin,date,step,target,actual,forecast,naive" and len(lines) == 451
    expected = data.test.to_units(batch.index, model.predict(batch.inputs).numpy())[:, 0, 0]
    assert [float(line.split(",")[5]) for line in lines[1:]] == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("no such thing"), "failed", "no such thing"),
        (ValueError("bad shape"), "failed", "ValueError: bad shape"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
    ],
)
def test_how_a_run_ended_stands_in_its_folder(tmp_path: Path, error: BaseException, status: str, message: str) -> None:
    plan = planned("linear:nlinear", tensorboard=True)

    def report(progress: EpochProgress) -> None:
        if progress.epoch == 1:
            raise error

    with pytest.raises(type(error)):
        experiment.run({"root": str(tmp_path), "plan": plan.to_dict()}, report)
    folder = tmp_path / plan.folder
    assert experiment.run_status(folder) == status
    assert read_json(folder / "results.json")["error"] == message
    assert (folder / "metrics.csv").read_text().count("\n") == 3, "what was complete stays readable"
    result, seen = carried_out(tmp_path, plan, resume=True)
    assert result["status"] == "completed" and [progress.epoch for progress in seen] == [1]


def test_a_run_started_anew_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    plan = planned("linear:nlinear")
    first, _ = carried_out(tmp_path, plan)
    (tmp_path / plan.folder / ".last.pt.123.tmp").write_text("of a writer that was killed")
    second, _ = carried_out(tmp_path, plan)
    assert first["test"] == second["test"]
    assert not list((tmp_path / plan.folder).rglob("*.tmp"))
    assert (tmp_path / plan.folder / "train.log").read_text().count("started:") == 1


# --- files and folders ------------------------------------------------------------------------------------------------


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    write_json(file, {"a": 1.5, "b": [float("nan"), float("inf")], 3: ("x",)})
    assert read_json(file) == {"a": 1.5, "b": [None, None], "3": ["x"]}
    before = file.read_bytes()
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    with pytest.raises(TypeError):
        write_atomically(file, 3)  # type: ignore[arg-type]
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_a_folder_is_made_anew_and_a_taken_name_refused(tmp_path: Path) -> None:
    assert create_root(tmp_path, "mine") == tmp_path / "mine"
    with pytest.raises(UserError, match=r"the run folder must be new, but .*mine exists; use another --name"):
        create_root(tmp_path, "mine")


def test_only_one_command_trains_in_a_folder_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    holder = "import sys, time; from pathlib import Path; from src.tracking.run_folder import only_command_on\n"
    holder += f"with only_command_on(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", holder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="only one command may train in a run folder"), only_command_on(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
    with only_command_on(tmp_path):
        pass
