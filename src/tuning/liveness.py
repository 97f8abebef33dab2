"""Who works on a trial, and whether they still do."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

HEARTBEAT_SECONDS = 15.0
DEAD_AFTER_SECONDS = 60.0


def this_owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_started": psutil.Process().create_time()}


class Heartbeat:
    def __init__(self, storage: BaseStorage, trial_id: int) -> None:
        self.storage, self.trial_id = storage, trial_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(HEARTBEAT_SECONDS):
            count += 1
            try:
                self.storage.set_trial_user_attr(self.trial_id, "heartbeat", count)
            except Exception:
                continue


class Watch:
    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, float]] = {}

    def is_dead(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get("owner")
        if owner and owner["host"] == socket.gethostname():
            try:
                return abs(psutil.Process(owner["pid"]).create_time() - owner["process_started"]) > 1
            except psutil.NoSuchProcess:
                return True
        beat = (owner is None, trial.user_attrs.get("heartbeat"))
        known, since = self._seen.get(trial._trial_id, (None, 0.0))
        if known != beat:
            self._seen[trial._trial_id] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > DEAD_AFTER_SECONDS
