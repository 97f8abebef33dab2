"""Whether whoever works on a trial still does: by the process where it can be seen, by heartbeats elsewhere."""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

OWNER, HEARTBEAT = "owner", "heartbeat"
HEARTBEAT_SECONDS = 15.0
DEAD_AFTER_SECONDS = 60.0
_SAME_START_SECONDS = 2.0  # the start time of a process is known this well


@functools.cache
def machine() -> str:
    """A name of what this process's number is unique in: the machine since it was started, or one of its containers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux; the address of the network card, as many machines are called localhost
        return f"{socket.gethostname()}/{uuid.getnode():x}"


def this_owner() -> dict[str, Any]:
    """What tells this process from all others: ``machine``, ``host``, ``pid`` and when it started."""
    return dict(_owner(os.getpid()))


@functools.lru_cache(maxsize=1)
def _owner(pid: int) -> dict[str, Any]:
    """Looked up once, as the start time that the system gives moves with its clock."""
    return {
        "machine": machine(),
        "host": socket.gethostname(),
        "pid": pid,
        "process_started": psutil.Process(pid).create_time(),
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

        On this machine that is known at once, from the process's number and start time. Elsewhere, in doubt, or if the
        worker died before it could say who it is, a trial is dead when nothing about it has changed for a minute.
        """
        owner = trial.user_attrs.get(OWNER)
        runs = _is_running(owner) if owner and owner.get("machine") == machine() else None
        if runs is not None:
            return not runs
        sign = (owner is not None, trial.user_attrs.get(HEARTBEAT), len(trial.intermediate_values))
        known, since = self._signs.get(trial._trial_id, (None, 0.0))
        if sign != known:
            self._signs[trial._trial_id] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > DEAD_AFTER_SECONDS


def _is_running(owner: dict[str, Any]) -> bool | None:
    """Whether a process of this machine runs.

    None where one of that number does that seems to have another start time: it may be another process, or the clock
    was set meanwhile. None as well for what another user hides.
    """
    try:
        process = psutil.Process(owner["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return True if abs(process.create_time() - owner["process_started"]) < _SAME_START_SECONDS else None
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None
