"""Whole searches by ``tune_models.py``: what they leave, and that neither kills nor failures cost a trial."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.tracking.tags import spec_of
from tests.conftest_postgres import start_postgres
from tests.tuning.searching import (
    COUNTED,
    ROOT,
    assert_every_slot_is_filled_once,
    kill_all,
    results,
    rows,
    start,
    tune,
    wait_until,
    workers_of,
)

QUICK = ("--epochs-random", 1, "--epochs-bayesian", 2, "--epochs-fine-tune", 2)
SMALL = ("--set", "hidden_size=16", "--window", 24)
PROMISED = (
    "train/batch_loss train/batch_time_seconds train/batch_idx train/batches_per_epoch train/epoch_loss "
    "eval/batch_loss eval/batch_accuracy eval/batch_time_seconds eval/batch_idx eval/batches_total "
    "eval/batch_correct_predictions eval/batch_samples eval/batch_simulated_return eval/batch_actual_call_returns "
    "eval/batch_actual_calls eval/progress_percent eval/batches_processed val/accuracy system/cpu_utilization_percent "
    "system/ram_usage_gb progress/epoch progress/batch_in_epoch progress/global_step progress/completion_percent "
    "trial/phase trial/number trial/current_epoch trial/current_batch trial/epoch trial/best_epoch trial/best_accuracy "
    "trial/final_accuracy trial/final_epoch trial/total_steps trial/completed hyperparam/learning_rate "
    "hyperparam/dropout_rate hyperparam/weight_alpha hyperparam/weight_beta hyperparam/time_window "
    "hyperparam/seq_length hyperparam/num_layers hyperparam/d_model hyperparam/num_heads hyperparam/d_ff "
    "hyperparam/batch_size"
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, six trials each, two jobs."""
    output = tmp_path_factory.mktemp("searched")
    words = ("--models", "gru:basic", "linear:dlinear", "--trials", 6, *QUICK, "--epochs", 2, "--jobs", 2)
    done = tune(*words, "--output", output, "--name", "search")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return output / "search"


def trial_folders(model: Path) -> list[Path]:
    return sorted(model.glob("trial_*"))


def manage(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage_runs.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def scalars(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


@pytest.mark.parametrize("model", ["gru_basic", "linear_dlinear"])
def test_every_place_of_the_search_is_filled_once(searched: Path, model: str) -> None:
    assert_every_slot_is_filled_once(searched / model, 6)
    phases = pd.read_csv(searched / model / "trials.csv").sort_values("slot")["phase"].tolist()
    assert phases == ["random", "random", "bayesian", "bayesian", "bayesian", "fine_tune"]


def test_trials_are_full_runs_with_folders_as_promised(searched: Path) -> None:
    folders = trial_folders(searched / "gru_basic")
    assert len(folders) == 6
    for folder in folders:
        assert re.fullmatch(r"trial_\d+_\d{8}_\d{6}", folder.name)
        have = {path.name for path in folder.iterdir()}
        assert {"config.json", "results.json", "metrics.csv", "train.log", "checkpoints"} <= have
        result = json.loads((folder / "results.json").read_text())
        assert "test" not in result and result["trial"]["folder"] == f"gru_basic/{folder.name}"
        assert result["status"] in COUNTED


def test_nothing_but_runs_holds_events(searched: Path) -> None:
    found = {file.parent.relative_to(searched).as_posix() for file in searched.rglob("events.out.tfevents.*")}
    models = ("gru_basic", "linear_dlinear")
    expected = {f"{model}/{name}" for model in models for name in ("study", "tuned", "default")} | {"baseline_naive"}
    expected |= {f"{model}/{folder.name}" for model in models for folder in trial_folders(searched / model)}
    assert found == expected


def test_the_graph_of_the_defaults_stands_for_all(searched: Path) -> None:
    tags = {
        result["trial"]["slot"]: scalars(searched / result["trial"]["folder"]).Tags()
        for result in results(searched / "gru_basic")
    }
    assert [slot for slot, found in sorted(tags.items()) if found["graph"]] == [0]
    assert all("Model/summary/text_summary" in found["tensors"] for found in tags.values())


def test_every_tag_of_trials_and_study_is_explained(searched: Path) -> None:
    folders = [*trial_folders(searched / "gru_basic")[:1], searched / "gru_basic" / "study"]
    for folder in folders:
        tags = scalars(folder).Tags()["scalars"]
        assert tags and all(spec_of(tag) is not None for tag in tags)


def test_the_defaults_come_first(searched: Path) -> None:
    first = next(result for result in results(searched / "gru_basic") if result["trial"]["slot"] == 0)
    chosen = first["trial"]["hyperparameters"]
    assert (chosen["hidden_size"], chosen["lr"], chosen["batch_size"]) == (64, 1e-3, 64)


def test_fine_tuning_goes_on_from_the_best_trial(searched: Path) -> None:
    fine = [r["trial"] for r in results(searched / "gru_basic") if r["trial"]["phase"] == "fine_tune"]
    assert fine and all((searched / trial["started_from"] / "checkpoints" / "best.pt").is_file() for trial in fine)


def test_the_best_trial_becomes_an_ordinary_run(searched: Path, tmp_path: Path) -> None:
    folder = searched / "gru_basic"
    study = json.loads((folder / "study.json").read_text())
    completed = [row for row in rows(folder) if row["status"] == "completed"]
    assert study["best"]["value"] == pytest.approx(min(float(row["value"]) for row in completed))
    best = json.loads((folder / "best_config.json").read_text())
    for name, value in study["best"]["hyperparameters"].items():
        assert {**best["options"], **best["training"], **best["data"]}[name] == value
    words = ["--config", str(folder / "best_config.json"), "--epochs", "1", "--output", str(tmp_path)]
    done = subprocess.run([sys.executable, str(ROOT / "train_models.py"), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (config,) = tmp_path.glob("*/gru_basic/config.json")
    assert json.loads(config.read_text())["options"] == best["options"]


def test_the_leaderboard_has_tuned_beside_default_with_what_the_search_took(searched: Path) -> None:
    table = pd.read_csv(searched / "leaderboard.csv").set_index("model")
    names = {f"{model} {kind}" for model in ("gru:basic", "linear:dlinear") for kind in ("tuned", "default")}
    assert set(table.index) == names | {"baseline:naive"}
    spent = sum(int(row["epochs"]) for row in rows(searched / "gru_basic"))
    assert table.loc["gru:basic tuned", "search_epochs"] == spent > 0
    assert table.loc["gru:basic default", "search_epochs"] == 0
    assert json.loads((searched / "search.json").read_text())["status"] == "completed"


def test_optuna_itself_reads_the_storage(searched: Path) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(searched / "optuna.journal"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.load_study(study_name="search/gru:basic", storage=storage)
    assert len(study.trials) == 6 and len(study.best_trial.params) >= 5
    assert len({tuple(sorted(trial.distributions)) for trial in study.trials}) == 1


def test_runs_are_managed_with_their_trials(searched: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(searched, root / "search", ignore=shutil.ignore_patterns("*.pt"))
    listed = manage("list", "--root", root).stdout
    assert "gru_basic/trial_*" in listed and "6 trials" in listed and "gru_basic/tuned" in listed
    assert "17 runs" in listed and "damaged" not in listed
    runs = json.loads(manage("list", "--root", root, "--json").stdout)
    assert Counter(run["is_trial"] for run in runs) == {True: 12, False: 5}
    trials = [run["name"] for run in runs if run["is_trial"]]
    assert "lr" in manage("diff", *trials[:2], "--root", root).stdout
    assert "damaged" not in manage("doctor", "--root", root).stdout
    assert manage("delete", trials[0], "--root", root, "--yes").returncode == 0
    assert manage("archive", "search", "--root", root, "--pack").returncode == 0
    assert manage("restore", "search", "--root", root).returncode == 0
    assert len(json.loads(manage("list", "--root", root, "--json").stdout)) == 16


def test_a_search_that_has_not_ended_is_found_and_said_how_to_go_on_with(searched: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(searched, root / "search", ignore=shutil.ignore_patterns("*.pt", "tuned", "default", "plan.json"))
    file = root / "search" / "search.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "running"}))
    assert f"tune_models.py --resume {root / 'search'}" in manage("doctor", "--root", root).stdout
    assert "gru_basic/trial_*" in manage("list", "--root", root).stdout
    words = [sys.executable, str(ROOT / "train_models.py"), "--resume", str(root / "search")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and "tune_models.py --resume" in done.stderr


def test_a_search_that_is_done_stays_as_it_is(searched: Path) -> None:
    before = (searched / "leaderboard.csv").read_bytes()
    done = tune("--resume", searched)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(trial_folders(searched / "gru_basic")) == 6
    assert (searched / "leaderboard.csv").read_bytes() == before


def test_a_trial_of_directions_holds_every_tag_that_was_promised(tmp_path: Path) -> None:
    words = ("--task", "direction", "--models", "transformer:basic", "--trials", 2, *QUICK, "--no-final")
    done = tune(*words, "--output", tmp_path, "--name", "search", "--jobs", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = trial_folders(tmp_path / "search" / "transformer_basic")[0]
    events = scalars(folder)
    tags = events.Tags()
    assert set(PROMISED.split()) <= set(tags["scalars"])
    assert "Decisions/confusion_matrix" in tags["images"]
    assert "trial/metadata/text_summary" in tags["tensors"]
    assert [event.step for event in events.Scalars("hyperparam/learning_rate")] == [0]
    last = int(events.Scalars("trial/total_steps")[0].value) - 1
    assert [event.step for event in events.Scalars("trial/completed")] == [last]
    assert len(events.Scalars("train/batch_loss")) == last + 1


def write_plugin(folder: Path, trouble: str) -> Path:
    """A file with the model ``mine:broken``, whose forward pass does what ``trouble`` says."""
    plugin = folder / "mine.py"
    plugin.write_text(
        "from torch import nn\nfrom src import BaseModel, register_model\n\n\n"
        "@register_model('mine:broken', by_default=False)\nclass Broken(BaseModel):\n    '''Cannot.'''\n\n"
        "    def __init__(self, spec, config):\n        super().__init__(spec, config)\n"
        "        self.layer = nn.Linear(2, 1)\n\n"
        f"    def forward(self, inputs):\n        {trouble}\n",
        encoding="utf-8",
    )
    return plugin


def test_a_full_disk_stops_the_search_and_costs_no_trial(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path, "raise OSError(28, 'No space left on device')")
    words = ("--plugin", plugin, "--models", "mine:broken", "--trials", 4, *QUICK, "--jobs", 1)
    done = tune(*words, "--output", tmp_path, "--name", "search")
    assert done.returncode == 2 and "No space left on device" in done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert {row["status"] for row in rows(tmp_path / "search" / "mine_broken")} == {"interrupted"}


def test_what_fails_by_itself_is_told_and_given_up(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path, "raise RuntimeError('no way')")
    words = ("--plugin", plugin, "--models", "mine:broken", "--trials", 10, *QUICK, "--jobs", 2)
    done = tune(*words, "--output", tmp_path, "--name", "search")
    assert done.returncode == 1
    assert "no way" in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr
    failed = rows(tmp_path / "search" / "mine_broken")
    assert {row["status"] for row in failed} == {"failed"} and 5 <= len(failed) <= 7


def test_a_timeout_begins_nothing_any_more_and_resume_ends_the_search(tmp_path: Path) -> None:
    words = ("--models", "gru:basic", "--trials", 8, "--epochs-random", 8, *QUICK[2:], "--epochs", 1, "--jobs", 1)
    done = tune(*words, "--output", tmp_path, "--name", "search", *SMALL, "--no-tensorboard", "--timeout", "1s")
    root = tmp_path / "search"
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0 < len(rows(root / "gru_basic")) < 8
    assert (root / "leaderboard.csv").is_file()
    done = tune("--resume", root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_every_slot_is_filled_once(root / "gru_basic", 8)


def test_a_search_on_data_that_were_piped_in_goes_on_in_another_place(tmp_path: Path) -> None:
    hours = [f"2020-01-{1 + n // 24:02d} {n % 24:02d}:00,{20 + n % 7 + n / 100:.2f}" for n in range(600)]
    text = "Date,T\n" + "\n".join(hours) + "\n"
    words = ("--data", "-", "--models", "linear:nlinear", "--trials", 3, *QUICK, "--no-final", "--window", 24)
    done = tune(*words, "--output", tmp_path / "one", "--name", "search", "--timeout", "0.01s", "--jobs", 1, input=text)
    assert (tmp_path / "one" / "search").is_dir(), done.stderr
    shutil.move(tmp_path / "one", tmp_path / "two")
    done = tune("--resume", tmp_path / "two" / "search", "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_every_slot_is_filled_once(tmp_path / "two" / "search" / "linear_nlinear", 3)


def test_ctrl_c_says_how_to_go_on_and_resume_does(tmp_path: Path) -> None:
    words = ("--models", "gru:basic", "--trials", 4, "--epochs-random", 20, *QUICK[2:], "--no-final", "--jobs", 2)
    process = start(*words, "--output", tmp_path, "--name", "search", *SMALL, "--pruner", "none")
    root = tmp_path / "search"
    try:
        wait_until(lambda: list(root.glob("gru_basic/trial_*/metrics.csv")))
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    finally:
        kill_all(process)
    assert process.returncode == 130
    assert f"tune_models.py --resume {root}" in text and "Traceback" not in text
    assert "interrupted" in {result["status"] for result in results(root / "gru_basic")}
    done = tune("--resume", root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_every_slot_is_filled_once(root / "gru_basic", 4)


def test_killed_with_all_its_workers_a_search_ends_with_as_many_trials_as_asked_for(tmp_path: Path) -> None:
    words = ("--models", "gru:basic", "--trials", 4, "--epochs-random", 20, *QUICK[2:], "--no-final", "--jobs", 2)
    process = start(*words, "--output", tmp_path, "--name", "search", *SMALL, "--pruner", "none")
    root = tmp_path / "search"
    try:
        wait_until(lambda: len(list(root.glob("gru_basic/trial_*/metrics.csv"))) >= 2)
    finally:
        kill_all(process)
    done = tune("--resume", root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_every_slot_is_filled_once(root / "gru_basic", 4)
    killed = [row for row in rows(root / "gru_basic") if row["status"] == "killed"]
    again = {row["slot"]: row for row in rows(root / "gru_basic") if row["status"] in COUNTED}
    assert killed
    for row in killed:
        assert again[row["slot"]]["lr"] == row["lr"]  # the same configuration, done again


def test_a_killed_worker_costs_no_trial(tmp_path: Path) -> None:
    words = ("--models", "gru:basic", "--trials", 6, "--epochs-random", 20, *QUICK[2:], "--no-final", "--jobs", 2)
    process = start(*words, "--output", tmp_path, "--name", "search", *SMALL, "--pruner", "none")
    root = tmp_path / "search"
    try:
        wait_until(lambda: list(root.glob("gru_basic/trial_*/metrics.csv")))
        wait_until(lambda: workers_of(process))[0].kill()
        text, _ = process.communicate(timeout=120)
    finally:
        kill_all(process)
    assert process.returncode == 0, text
    assert_every_slot_is_filled_once(root / "gru_basic", 6)


@pytest.mark.slow
def test_workers_share_a_search_through_a_database_whatever_is_killed(tmp_path: Path) -> None:
    with start_postgres(tmp_path / "server") as address:
        shared = ("--storage", address.replace("+psycopg", ""), "--output", tmp_path, "--name", "search", "--jobs", 1)
        words = ("--models", "gru:basic", "--trials", 12, "--epochs-random", 10, *QUICK[2:], "--no-final", *SMALL)
        leader = start(*words, *shared)
        root = tmp_path / "search" / "gru_basic"
        worker = None
        try:
            wait_until(lambda: list(root.glob("trial_*/metrics.csv")))
            worker = start("--worker", *shared)
            wait_until(lambda: len(list(root.glob("trial_*"))) >= 4)
            kill_all(worker)
            worker = start("--worker", *shared)
            text, _ = leader.communicate(timeout=180)
            worker.communicate(timeout=60)
        finally:
            kill_all(leader)
            if worker is not None:
                kill_all(worker)
        assert leader.returncode == 0, text
        assert worker.returncode == 0
        assert_every_slot_is_filled_once(root, 12)
        assert len(list(root.glob("trial_*"))) == len(rows(root))
