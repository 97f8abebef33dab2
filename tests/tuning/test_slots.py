"""Places of a search: none is lost or done twice, whoever claims, fails or dies."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from src.tuning import slots
from src.tuning.config import HyperparameterConfig
from src.tuning.liveness import Watch, this_owner
from src.tuning.reports import TrialRecord
from src.tuning.slots import (
    MOST_DEATHS,
    MOST_FAILURES,
    PHASE,
    RECORD,
    SAME_AGAIN,
    SLOT,
    abandon_own,
    best_trial,
    bury_dead,
    claim,
    enqueue_slots,
    finish,
    finished_trials,
    records,
    restore_slots,
    slot_counts,
)
from tests.tuning.conftest import CONFIG, MakeStudy

ROOT = Path(__file__).resolve().parents[2]
GONE = {"machine": "elsewhere/1", "host": "elsewhere", "pid": 1, "process_started": 0.0}

WORKER = """
import sys, time
import optuna
from src.tuning import slots
from src.tuning.reports import TrialRecord
from src.tuning.storage import open_storage

place, seconds = sys.argv[1], float(sys.argv[2])
study = optuna.load_study(storage=open_storage(place), study_name="search/model")
print("ready", flush=True)
sys.stdin.readline()
while (trial := slots.claim(study)) is not None:
    print(trial.number, flush=True)
    trial.suggest_float("x", 0.0, 1.0)
    time.sleep(seconds)
    slot = trial.user_attrs["slot"]
    record = TrialRecord("gru:basic", trial.number, slot, "random", "completed", float(slot), "folder", "host", 1)
    assert slots.finish(study, trial, record)
"""


def record_of(trial: optuna.Trial | FrozenTrial, status: str, value: float | None = 1.0) -> TrialRecord:
    phase = trial.user_attrs[PHASE]
    return TrialRecord("gru:basic", trial.number, trial.user_attrs[SLOT], phase, status, value, "folder", "host", 2)


def end(study: optuna.Study, status: str = "completed", value: float | None = 1.0) -> optuna.Trial:
    """Claim the next trial and end it."""
    trial = claim(study)
    assert trial is not None
    trial.suggest_float("x", 0.0, 1.0)
    assert finish(study, trial, record_of(trial, status, value))
    return trial


def start_worker(place: str, seconds: float) -> subprocess.Popen[str]:
    """A process that waits for a line, and then carries out trials of so many seconds until none waits."""
    command = [sys.executable, "-c", WORKER, place, str(seconds)]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    return worker


@pytest.fixture(params=["journal", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every kind of storage."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path}/studies.db" if request.param == "sqlite" else str(tmp_path / "optuna.journal")


# --- claiming


def test_places_are_claimed_in_order_and_have_their_phase(make_study: MakeStudy) -> None:
    study = make_study()
    phases = [end(study).user_attrs[PHASE] for _ in range(CONFIG.total)]
    assert phases == ["random"] * 3 + ["bayesian"] * 2 + ["fine_tune"]
    assert claim(study) is None
    assert len(study.trials) == CONFIG.total, "claiming adds nothing"


def test_enqueuing_again_adds_only_what_is_missing(make_study: MakeStudy) -> None:
    study = make_study(dataclasses.replace(CONFIG, n_fine_tune_trials=0))
    enqueue_slots(study, CONFIG)
    assert [trial.user_attrs[SLOT] for trial in study.trials] == list(range(CONFIG.total))


def test_whoever_claims_says_who_it_is(make_study: MakeStudy) -> None:
    study = make_study()
    trial = claim(study)
    owner = study.trials[0].user_attrs["owner"]
    assert trial is not None and owner["pid"] == os.getpid() and owner["machine"] == this_owner()["machine"]
    assert slots.folder_of(study.trials[0], "gru:basic") == f"gru_basic/trial_0_{owner['started']}"


def test_two_processes_lose_and_double_nothing(make_study: MakeStudy, place: str) -> None:
    config = HyperparameterConfig(n_random_trials=30, n_bayesian_trials=0, n_fine_tune_trials=0)
    study = make_study(config, place)
    try:
        workers = [start_worker(place, 0.03) for _ in range(2)]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        claimed = [[int(line) for line in worker.communicate(timeout=60)[0].split()] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        assert sorted(claimed[0] + claimed[1]) == list(range(30))
        assert all(claimed), "both have worked"
        assert slot_counts(study, config) == slots.SlotCounts(finished=30)
    finally:
        optuna.delete_study(study_name=study.study_name, storage=study._storage)


def test_of_two_trials_for_one_place_the_later_one_is_dropped(make_study: MakeStudy) -> None:
    study = make_study()
    end(study, "failed", None)
    assert restore_slots(study, CONFIG) == 1
    study.enqueue_trial({}, user_attrs={SLOT: 0, PHASE: "random", "attempt": 1})  # somebody restored it as well
    while claim(study) is not None:
        pass
    assert study.trials[-1].state == TrialState.FAIL and RECORD not in study.trials[-1].user_attrs
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        assert finish(study, trial, record_of(trial, "completed"))
    assert slot_counts(study, CONFIG) == slots.SlotCounts(finished=CONFIG.total)
    assert restore_slots(study, CONFIG) == 0
    assert len(finished_trials(study)) == CONFIG.total
    assert Counter(record.status for record in records(study)) == {"completed": CONFIG.total, "failed": 1}


# --- ending


def test_each_status_becomes_the_state_that_optuna_knows(make_study: MakeStudy) -> None:
    study = make_study()
    for status in ("completed", "pruned", "failed", "interrupted", "killed"):
        end(study, status, 0.5 if status in ("completed", "pruned") else None)
    states = [trial.state for trial in study.trials[:5]]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED] + [TrialState.FAIL] * 3
    assert [trial.value for trial in study.trials[:2]] == [0.5, 0.5]
    assert [record.status for record in records(study)] == ["completed", "pruned", "failed", "interrupted", "killed"]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_completed_trial_without_a_value_has_failed(make_study: MakeStudy, value: float | None) -> None:
    study = make_study()
    end(study, "completed", value)
    assert study.trials[0].state == TrialState.FAIL
    assert [record.status for record in records(study)] == ["failed"]


def test_who_was_taken_for_dead_ends_without_effect(make_study: MakeStudy) -> None:
    study = make_study()
    trial = claim(study)
    assert trial is not None
    assert finish(study, study.trials[0], record_of(trial, "killed", None))
    assert finish(study, trial, record_of(trial, "completed", 0.1)) is False
    assert study.trials[0].state == TrialState.FAIL
    assert [record.status for record in records(study)] == ["killed"]


@pytest.mark.parametrize(("direction", "best"), [("minimize", 2), ("maximize", 1)])
def test_the_best_trial_ran_to_its_end(make_study: MakeStudy, direction: str, best: int, tmp_path: Path) -> None:
    storage = make_study(name="other")._storage
    study = optuna.create_study(storage=storage, study_name="search/model", direction=direction)
    assert best_trial(study) is None
    enqueue_slots(study, CONFIG)
    for status, value in (("pruned", 0.0), ("completed", 3.0), ("completed", 1.0), ("pruned", 9.0)):
        end(study, status, value)
    found = best_trial(study)
    assert found is not None and found.number == best


# --- failures and deaths


def test_a_place_that_failed_gets_another_configuration_and_is_given_up_at_last(make_study: MakeStudy) -> None:
    config = HyperparameterConfig(n_random_trials=1, n_bayesian_trials=0, n_fine_tune_trials=0)
    study = make_study(config)
    for attempt in range(MOST_FAILURES):
        trial = end(study, "failed", None)
        assert trial.user_attrs["attempt"] == attempt
        assert study.trials[-1].system_attrs["fixed_params"] == {}
        assert restore_slots(study, config) == (attempt < MOST_FAILURES - 1)
    assert slot_counts(study, config) == slots.SlotCounts(given_up=1)
    assert slot_counts(study, config).left == 0


@pytest.mark.parametrize("status", ["killed", "interrupted"])
def test_who_was_stopped_is_done_again_with_the_same_parameters(make_study: MakeStudy, status: str) -> None:
    study = make_study()
    first = end(study, status, None)
    assert restore_slots(study, CONFIG) == 1
    again = claim(study)
    assert again is not None and again.number == CONFIG.total, "a place that is restored comes first"
    assert again.suggest_float("x", 0.0, 1.0) == first.params["x"]


def test_who_dies_before_asking_for_parameters_keeps_them_for_the_next(make_study: MakeStudy) -> None:
    study = make_study()
    first = end(study, "killed", None)
    restore_slots(study, CONFIG)
    again = claim(study)
    assert again is not None and finish(study, again, record_of(again, "killed", None))
    restore_slots(study, CONFIG)
    assert end(study).params == first.params


def test_a_configuration_that_kills_its_workers_is_not_tried_for_ever(make_study: MakeStudy) -> None:
    config = HyperparameterConfig(n_random_trials=1, n_bayesian_trials=0, n_fine_tune_trials=0)
    study = make_study(config)
    tried = []
    while slot_counts(study, config).left:
        tried.append(end(study, "killed", None).params["x"])
        restore_slots(study, config)
    assert len(tried) == MOST_DEATHS
    assert [count for _, count in Counter(tried).most_common()] == [SAME_AGAIN] * (MOST_DEATHS // SAME_AGAIN)


def test_what_a_living_process_could_not_end_is_given_back(make_study: MakeStudy) -> None:
    study = make_study()
    assert claim(study) is not None
    other = claim(study)
    assert other is not None
    study._storage.set_trial_user_attr(other._trial_id, "owner", this_owner() | {"pid": os.getppid()})
    abandon_own(study)
    assert [trial.state for trial in study.trials[:2]] == [TrialState.FAIL, TrialState.RUNNING]
    assert restore_slots(study, CONFIG) == 1


def test_nobody_looks_for_what_could_not_be_ended_if_all_was(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    end(study)
    asked: list[object] = []
    monkeypatch.setattr(study._storage, "get_all_trials", lambda *arguments, **named: asked.append(arguments))
    abandon_own(study)
    assert asked == []


@pytest.mark.parametrize("by", ["somebody else", "its own process"])
def test_what_was_recorded_but_not_told_is_told_by_others(make_study: MakeStudy, by: str) -> None:
    study = make_study()
    trial = claim(study)
    assert trial is not None
    study._storage.set_trial_user_attr(trial._trial_id, RECORD, record_of(trial, "completed", 0.5).to_dict())
    if by == "somebody else":
        study._storage.set_trial_user_attr(trial._trial_id, "owner", this_owner() | {"pid": 2**22 + 1})
        assert bury_dead(study, Watch()) == [], "nothing is done again"
    else:
        abandon_own(study)
    assert (study.trials[0].state, study.trials[0].value) == (TrialState.COMPLETE, 0.5)
    assert [record.status for record in records(study)] == ["completed"]


@pytest.mark.parametrize(
    ("recorded", "told", "status"),
    [("completed", "killed", "killed"), ("killed", "completed", "completed"), ("killed", "pruned", "pruned")],
)
def test_the_state_of_a_trial_has_the_last_word(
    make_study: MakeStudy, recorded: str, told: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    trial = claim(study)
    assert trial is not None
    write, late = slots._set, record_of(trial, recorded, None).to_dict()

    def write_at_the_same_moment(study: optuna.Study, trial_id: int, name: str, value: object) -> None:
        write(study, trial_id, name, value)
        write(study, trial_id, name, late)

    monkeypatch.setattr(slots, "_set", write_at_the_same_moment)
    assert finish(study, trial, record_of(trial, told, 0.5 if told != "killed" else None))
    assert [record.status for record in records(study)] == [status]


def test_a_worker_killed_on_this_machine_is_noticed_at_once(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study()
    worker = start_worker(str(tmp_path / "optuna.journal"), 60)
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "0\n"
    time.sleep(0.2)  # until the parameter is in the storage
    watch = Watch()
    assert bury_dead(study, watch) == []
    worker.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not (buried := bury_dead(study, watch)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(record.number, record.status) for record in buried] == [(0, "killed")]
    assert records(study)[0].hyperparameters == study.trials[0].params != {}
    worker.wait()
    assert restore_slots(study, CONFIG) == 1
    assert slot_counts(study, CONFIG).waiting == CONFIG.total


def test_a_worker_elsewhere_is_dead_when_nothing_has_changed_for_long(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    for _ in range(3):
        assert claim(study) is not None
    for number in (0, 1):
        study._storage.set_trial_user_attr(study.trials[number]._trial_id, "owner", GONE)
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "heartbeat", 1)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = Watch()
    assert bury_dead(study, watch) == []
    now += 59
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "heartbeat", 2)
    assert bury_dead(study, watch) == []
    now += 2
    assert [record.number for record in bury_dead(study, watch)] == [1], "0 has given a sign, 2 is ours"
    now += 60
    assert [record.number for record in bury_dead(study, watch)] == [0]
