"""Signs of life of a trial's worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from src.tuning import liveness
from src.tuning.liveness import Heartbeat, Watch, this_owner
from src.tuning.slots import claim
from tests.tuning.conftest import MakeStudy


def test_a_heartbeat_counts_up_while_the_trial_runs(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.02)
    study = make_study()
    trial = claim(study)
    assert trial is not None
    with Heartbeat(study._storage, trial._trial_id):
        deadline = time.monotonic() + 10
        while study.trials[0].user_attrs.get("heartbeat", 0) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    beats = study.trials[0].user_attrs["heartbeat"]
    assert beats >= 3
    time.sleep(0.2)
    assert study.trials[0].user_attrs["heartbeat"] <= beats + 1


def test_a_storage_that_is_away_for_a_while_costs_only_beats(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.02)
    study = make_study()
    trial = claim(study)
    assert trial is not None
    write, failures = study._storage.set_trial_user_attr, []

    def hiccup(*arguments: object) -> None:
        if len(failures) < 3:
            failures.append(arguments)
            raise ConnectionError("the server is away")
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(study._storage, "set_trial_user_attr", hiccup)
    with Heartbeat(study._storage, trial._trial_id):
        deadline = time.monotonic() + 10
        while "heartbeat" not in study.trials[0].user_attrs and time.monotonic() < deadline:
            time.sleep(0.02)
    assert study.trials[0].user_attrs["heartbeat"] == 4


def claim_as(study: optuna.Study, owner: dict[str, Any]) -> FrozenTrial:
    """The first trial, claimed by somebody."""
    trial = claim(study)
    assert trial is not None
    study._storage.set_trial_user_attr(trial._trial_id, "owner", owner)
    return study.trials[0]


@pytest.mark.parametrize(("change", "dead"), [({}, False), ({"pid": 2**22 + 1}, True)])
def test_on_this_machine_the_process_tells(make_study: MakeStudy, change: dict[str, int], dead: bool) -> None:
    assert this_owner()["pid"] == os.getpid()
    assert Watch().is_dead(claim_as(make_study(), this_owner() | change)) is dead


def test_a_number_that_another_process_may_have_tells_nothing(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    trial = claim_as(study, this_owner() | {"process_started": 12345.0})
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = Watch()
    assert not watch.is_dead(trial), "setting the clock kills nobody"
    now += liveness.DEAD_AFTER_SECONDS - 1
    study._storage.set_trial_user_attr(trial._trial_id, "heartbeat", 1)
    assert not watch.is_dead(study.trials[0])
    now += liveness.DEAD_AFTER_SECONDS + 1
    assert watch.is_dead(study.trials[0])


def test_processes_of_one_machine_know_that_they_are() -> None:
    code = "from src.tuning.liveness import machine; print(machine())"
    root = Path(__file__).resolve().parents[2]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == liveness.machine()


def test_a_forked_process_has_a_name_of_its_own() -> None:
    parent = this_owner()
    child = os.fork()
    if child == 0:
        os._exit(int(this_owner()["pid"] == parent["pid"]))
    assert os.waitpid(child, 0)[1] == 0


def test_a_process_that_is_dead_but_not_yet_waited_for_is_dead(make_study: MakeStudy) -> None:
    import psutil

    child = os.fork()
    if child == 0:
        os._exit(0)
    deadline = time.monotonic() + 10
    while psutil.Process(child).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    owner = this_owner() | {"pid": child, "process_started": psutil.Process(child).create_time()}
    study = make_study()
    trial = claim(study)
    assert trial is not None
    study._storage.set_trial_user_attr(trial._trial_id, "owner", owner)
    try:
        assert Watch().is_dead(study.trials[0])
    finally:
        os.waitpid(child, 0)


def test_who_died_before_it_could_say_who_it_is_is_dead_after_a_while(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    study._storage.set_trial_state_values(study.trials[0]._trial_id, state=optuna.trial.TrialState.RUNNING)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = Watch()
    assert not watch.is_dead(study.trials[0])
    now = liveness.DEAD_AFTER_SECONDS + 1
    assert watch.is_dead(study.trials[0])
