"""Whether whoever works on a trial still does: by the process where it can be seen, by heartbeats elsewhere."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

OWNER, HEARTBEAT = "owner", "heartbeat"
HEARTBEAT_SECONDS = 15.0
DEAD_AFTER_SECONDS = 60.0
_SAME_START_SECONDS = 1.0  # the start time of a process is known this well


def machine() -> str:
    """A name of this machine that no other has: many are called ``localhost``."""
    return f"{socket.gethostname()}/{uuid.getnode():x}"


def this_owner() -> dict[str, Any]:
    """What tells this process from all others: ``machine``, ``host``, ``pid`` and when it started."""
    return {
        "machine": machine(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
    }


class Heartbeat:
    """A context in which a trial's ``heartbeat`` counts up, in a thread of its own.

    A storage that cannot be reached for a while costs beats, nothing else.

    Args:
        storage: where the trial is.
        trial_id: the storage's own number of it.
    """

    def __init__(self, storage: BaseStorage, trial_id: int) -> None:
        self.storage, self.trial_id = storage, trial_id
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trial-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()

    def _run(self) -> None:
        beats = 0
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            beats += 1
            try:
                self.storage.set_trial_user_attr(self.trial_id, HEARTBEAT, beats)
            except Exception:  # whatever a database throws; the next beat tries again
                continue


class Watch:
    """Remembers when trials last gave a sign of life, by this process's own clock: machines need not agree on time."""

    def __init__(self) -> None:
        self._signs: dict[int, tuple[Any, float]] = {}

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Whether the worker of a running trial is gone.

        On this machine that is known at once, from the process's number and start time. Elsewhere, or if the worker
        died before it could say who it is, a trial is dead when nothing about it has changed for a minute.
        """
        owner = trial.user_attrs.get(OWNER)
        if owner and owner.get("machine") == machine():
            return not _is_running(owner)
        sign = (owner is not None, trial.user_attrs.get(HEARTBEAT), len(trial.intermediate_values))
        known, since = self._signs.get(trial._trial_id, (None, 0.0))
        if sign != known:
            self._signs[trial._trial_id] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > DEAD_AFTER_SECONDS


def _is_running(owner: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["process_started"]) < _SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's process has that number now, or it is one of another user
        return True
