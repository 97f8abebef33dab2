"""The places of a search: each is one trial that is asked for, done as often as it takes until one is finished.

All places of a study are there from its beginning, as waiting trials. Whoever works claims the next one; a place whose
trial failed, or whose worker died, is enqueued again by whoever notices. So a search ends with as many finished trials
as were asked for, whoever worked for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..tracking.run_folder import folder_name
from .config import HyperparameterConfig
from .liveness import OWNER, Watch, this_owner
from .reports import TrialRecord

SLOT, PHASE, ATTEMPT, RECORD, DUPLICATE = "slot", "phase", "attempt", "record", "duplicate"
MOST_FAILURES = 5  # of one place, by the configurations' own fault
SAME_AGAIN = 3  # a configuration whose worker died is tried so often
MOST_DEATHS = 12  # of workers, at one place
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_ALIVE = (TrialState.WAITING, TrialState.RUNNING, *_FINISHED)
_STATUS = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}
_claimed: set[tuple[int, int]] = set()
"""Study and trial, by the storage's numbers, that this process has claimed and not ended."""


def enqueue_slots(study: optuna.Study, config: HyperparameterConfig) -> None:
    """Enqueue every place of a search that the study does not have yet, in order."""
    known = {trial.user_attrs.get(SLOT) for trial in study.get_trials(deepcopy=False)}
    for slot in range(config.total):
        if slot not in known:
            _enqueue(study, config, slot)


def claim(study: optuna.Study) -> optuna.Trial | None:
    """Take the waiting trial with the first place; None if none waits.

    Claiming is atomic in every storage: of several workers one gets it. Nothing is ever added to the study here.
    """
    trials = study.get_trials(deepcopy=False)
    waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
    for trial in sorted(waiting, key=lambda trial: (trial.user_attrs.get(SLOT, math.inf), trial.number)):
        if not _change_state(study, trial._trial_id, TrialState.RUNNING):
            continue
        if _has_elder(trial, trials):
            _set(study, trial._trial_id, DUPLICATE, True)
            _change_state(study, trial._trial_id, TrialState.FAIL)
            continue
        _claimed.add((study._study_id, trial._trial_id))
        owner = this_owner() | {"started": datetime.now().strftime("%Y%m%d_%H%M%S")}
        _set(study, trial._trial_id, OWNER, owner)
        return optuna.trial.Trial(study, trial._trial_id)
    return None


def folder_of(trial: optuna.Trial | FrozenTrial, model: str) -> str:
    """The folder of a claimed trial, below the search's: anybody can tell it, also if the worker died."""
    return f"{folder_name(model)}/trial_{trial.number}_{trial.user_attrs.get(OWNER, {}).get('started', 'unknown')}"


def finish(study: optuna.Study, trial: optuna.Trial | FrozenTrial, record: TrialRecord) -> bool:
    """Tell the storage how a trial ended.

    Returns:
        whether that counts: not if the trial was taken for dead meanwhile and told so.
    """
    state = next((state for state, status in _STATUS.items() if status == record.status), TrialState.FAIL)
    value = math.nan if record.value is None else record.value
    if state == TrialState.COMPLETE and not math.isfinite(value):
        state, record = TrialState.FAIL, replace(record, status="failed", error=f"its value is {record.value}")
    values = [value] if math.isfinite(value) and state in _FINISHED else None
    try:
        _set(study, trial._trial_id, RECORD, record.to_dict())
        counts = _change_state(study, trial._trial_id, state, values)
    except UpdateFinishedTrialError:
        counts = False
    _claimed.discard((study._study_id, trial._trial_id))
    return counts


def bury_dead(study: optuna.Study, watch: Watch) -> list[TrialRecord]:
    """Tell the trials of dead workers that they have failed; their records.

    One that died between its record and telling the storage so has ended as its record says.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    buried = [_end(study, trial) for trial in running if watch.is_dead(trial)]
    return [record for record in buried if record is not None and record.status == "killed"]


def abandon_own(study: optuna.Study) -> None:
    """End what this process claimed and could not end, because the storage was away at that moment.

    Nobody else would notice: the process lives.
    """
    claimed = {entry for entry in _claimed if entry[0] == study._study_id}
    if not claimed:
        return
    own = this_owner()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get(OWNER, {})
        if all(owner.get(key) == value for key, value in own.items()):
            _end(study, trial)
    _claimed.difference_update(claimed)


def _end(study: optuna.Study, trial: FrozenTrial) -> TrialRecord | None:
    """End a trial in its worker's stead, by its record if there is one; None if it has ended meanwhile."""
    known = trial.user_attrs.get(RECORD)
    record = TrialRecord(**known) if known else _obituary(trial, str(study.user_attrs.get("model", "")))
    return record if finish(study, trial, record) else None


def _obituary(trial: FrozenTrial, model: str) -> TrialRecord:
    """What is known of a trial whose worker died."""
    return TrialRecord(
        model=model,
        number=trial.number,
        slot=int(trial.user_attrs.get(SLOT, -1)),
        phase=str(trial.user_attrs.get(PHASE, "random")),
        status="killed",
        value=None,
        folder=folder_of(trial, model),
        host=str(trial.user_attrs.get(OWNER, {}).get("host", "unknown")),
        planned_epochs=0,
        epochs=len(trial.intermediate_values),
        hyperparameters=dict(trial.params),
        error="its worker is gone",
    )


def restore_slots(study: optuna.Study, config: HyperparameterConfig) -> int:
    """Enqueue every place again whose trials have all failed; how many these were.

    The configuration of a worker that died or was interrupted is tried again, as it may well not be to blame, but not
    for ever. After a failure by itself another configuration is tried. Two workers may do this at the same moment:
    ``claim`` drops what is too much.
    """
    restored = 0
    for slot, trials in _places(study).items():
        if any(trial.state in _ALIVE for trial in trials) or _is_given_up(trials):
            continue
        failures, deaths = sum(map(_failed_by_itself, trials)), sum(map(_died, trials))
        same = not _failed_by_itself(trials[-1]) and (not deaths or deaths % SAME_AGAIN != 0)
        _enqueue(study, config, slot, failures + deaths // SAME_AGAIN, _parameters(trials[-1]) if same else {})
        restored += 1
    return restored


@dataclass(frozen=True)
class SlotCounts:
    """How many places are finished, running, waiting and given up."""

    finished: int = 0
    running: int = 0
    waiting: int = 0
    given_up: int = 0

    @property
    def left(self) -> int:
        """Places that are still to be done."""
        return self.running + self.waiting


def slot_counts(study: optuna.Study, config: HyperparameterConfig) -> SlotCounts:
    """How the places of a study stand. One that is to be restored counts as waiting."""
    counts = {"finished": 0, "running": 0, "waiting": 0, "given_up": 0}
    for trials in _places(study).values():
        states = {trial.state for trial in trials}
        if states & set(_FINISHED):
            counts["finished"] += 1
        elif TrialState.RUNNING in states:
            counts["running"] += 1
        else:
            counts["given_up" if _is_given_up(trials) else "waiting"] += 1
    counts["waiting"] += config.total - sum(counts.values())
    return SlotCounts(**counts)


def records(study: optuna.Study) -> list[TrialRecord]:
    """How every trial that has ended went, by number; without duplicates."""
    ended = (trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished())
    return [_record(trial) for trial in ended if RECORD in trial.user_attrs]


def _record(trial: FrozenTrial) -> TrialRecord:
    """A trial's record; its state has the last word.

    The two differ where a worker that was taken for dead wrote its record between that and the state of who buried it,
    or the other way round.
    """
    record, state = TrialRecord(**trial.user_attrs[RECORD]), _STATUS.get(trial.state, "killed")
    counts = record.status in _STATUS.values()
    if record.status == state or not (counts or trial.state in _FINISHED):
        return record
    return replace(record, status=state, value=trial.value if trial.state in _FINISHED else record.value)


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trial that counts of every finished place, by place."""
    finished = []
    for _, trials in sorted(_places(study).items()):
        finished += [trial for trial in trials if trial.state in _FINISHED][:1]
    return finished


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best of the trials that ran to their end; None as long as there is none."""
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    values = [(sign * (trial.value or 0.0), trial) for trial in finished_trials(study) if _is_completed(trial)]
    return min(values, key=lambda pair: pair[0])[1] if values else None


def _is_completed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and trial.value is not None and math.isfinite(trial.value)


def _enqueue(
    study: optuna.Study,
    config: HyperparameterConfig,
    slot: int,
    attempt: int = 0,
    parameters: dict[str, Any] | None = None,
) -> None:
    attributes = {SLOT: slot, PHASE: config.phase_of(slot), ATTEMPT: attempt}
    study.enqueue_trial(dict(parameters or {}), user_attrs=attributes)


def _parameters(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was to use: those that were given when it was enqueued, if it died before it asked for them."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _places(study: optuna.Study) -> dict[int, list[FrozenTrial]]:
    """Place -> its trials by number, without duplicates."""
    places: dict[int, list[FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        if SLOT in trial.user_attrs and DUPLICATE not in trial.user_attrs:
            places.setdefault(trial.user_attrs[SLOT], []).append(trial)
    return places


def _has_elder(trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> bool:
    """Whether another trial of the same place, enqueued before, is alive or finished."""
    slot = trial.user_attrs.get(SLOT)
    return any(o.number < trial.number and o.user_attrs.get(SLOT) == slot and o.state in _ALIVE for o in trials)


def _is_given_up(trials: Sequence[FrozenTrial]) -> bool:
    return sum(map(_failed_by_itself, trials)) >= MOST_FAILURES or sum(map(_died, trials)) >= MOST_DEATHS


def _failed_by_itself(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and _status(trial) == "failed"


def _died(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and _status(trial) == "killed"


def _status(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(RECORD, {}).get("status", "killed"))


def _set(study: optuna.Study, trial_id: int, name: str, value: Any) -> None:
    study._storage.set_trial_user_attr(trial_id, name, value)


def _change_state(study: optuna.Study, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
    """Whether the state is changed now, by us."""
    try:
        return study._storage.set_trial_state_values(trial_id, state=state, values=values)
    except UpdateFinishedTrialError:
        return False
