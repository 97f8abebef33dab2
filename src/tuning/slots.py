"""Places of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from .config import HyperparameterConfig
from .liveness import Watch, this_owner
from .reports import TrialRecord

SLOT, PHASE, ATTEMPT, OWNER, HEARTBEAT, RECORD = "slot", "phase", "attempt", "owner", "heartbeat", "record"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def _enqueue(study, config, slot, attempt, params):
    attrs = {SLOT: slot, PHASE: config.phase_of(slot), ATTEMPT: attempt}
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": params}, user_attrs=attrs))


def enqueue_slots(study: optuna.Study, config: HyperparameterConfig) -> None:
    known = {trial.user_attrs[SLOT] for trial in study.get_trials(deepcopy=False)}
    for slot in range(config.total):
        if slot not in known:
            _enqueue(study, config, slot, 0, {})


def claim(study: optuna.Study) -> optuna.Trial | None:
    storage = study._storage
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        try:
            if not storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                continue
        except optuna.exceptions.UpdateFinishedTrialError:
            continue
        storage.set_trial_user_attr(trial._trial_id, OWNER, this_owner())
        return optuna.trial.Trial(study, trial._trial_id)
    return None


def finish(study: optuna.Study, trial: optuna.Trial, record: TrialRecord) -> None:
    storage = study._storage
    state = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(record.status, TrialState.FAIL)
    try:
        storage.set_trial_user_attr(trial._trial_id, RECORD, record.to_dict())
        storage.set_trial_state_values(
            trial._trial_id, state, None if record.value is None or state is TrialState.FAIL else [record.value]
        )
    except optuna.exceptions.UpdateFinishedTrialError:
        return


def bury_dead(study: optuna.Study, watch: Watch) -> list[int]:
    buried = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if watch.is_dead(trial):
            try:
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                buried.append(trial.number)
            except optuna.exceptions.UpdateFinishedTrialError:
                continue
    return buried


def _by_slot(study):
    places: dict[int, list[FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        places.setdefault(trial.user_attrs[SLOT], []).append(trial)
    return places


def restore_slots(study: optuna.Study, config: HyperparameterConfig) -> int:
    count = 0
    for slot, trials in _by_slot(study).items():
        if all(trial.state == TrialState.FAIL for trial in trials):
            failed = [t for t in trials if t.user_attrs.get(RECORD, {}).get("status") == "failed"]
            if len(failed) >= 5:
                continue
            last = trials[-1]
            killed = last not in failed
            _enqueue(study, config, slot, len(failed), dict(last.params) if killed and len(trials) < 4 else {})
            count += 1
    return count


@dataclass(frozen=True)
class SlotCounts:
    finished: int
    running: int
    waiting: int
    given_up: int

    @property
    def left(self) -> int:
        return self.running + self.waiting


def slot_counts(study: optuna.Study, config: HyperparameterConfig) -> SlotCounts:
    finished = running = waiting = given = 0
    for trials in _by_slot(study).values():
        states = {trial.state for trial in trials}
        if states & set(_FINISHED):
            finished += 1
        elif TrialState.RUNNING in states:
            running += 1
        elif TrialState.WAITING in states:
            waiting += 1
        else:
            given += 1
    return SlotCounts(finished, running, waiting, given)


def records(study: optuna.Study) -> list[TrialRecord]:
    return [TrialRecord(**t.user_attrs[RECORD]) for t in study.get_trials(deepcopy=False) if RECORD in t.user_attrs]


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    return [t for t in study.get_trials(deepcopy=False) if t.state in _FINISHED]


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    done = [
        t
        for t in finished_trials(study)
        if t.state == TrialState.COMPLETE and t.value is not None and math.isfinite(t.value)
    ]
    pick = max if study.direction == optuna.study.StudyDirection.MAXIMIZE else min
    return pick(done, key=lambda t: t.value, default=None)
