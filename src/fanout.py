"""Many runs of one callable: one after the other in this process, or spread over worker processes.

Workers are started with ``spawn`` (the same on Linux, macOS and Windows) and reused from task to task, so imports are
paid once. A worker that dies takes only its own task with it. What goes through the pipes should be plain values
(numbers, strings, dataclasses, arrays), not tensors: those would travel as shared memory of a process that may die.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .errors import OptionError
from .fanout_worker import (
    GARBAGE_THRESHOLD,
    ORPHAN_SECONDS,
    PRELOAD,
    Outcome,
    Task,
    TaskFunction,
    execute,
    failure,
    serve,
)

__all__ = ["GARBAGE_THRESHOLD", "Outcome", "StandbyWorkers", "Task", "run_all"]

GRACE_SECONDS = 60.0  # what workers that were asked to stop may take to finish a step and save
_spawn = get_context("spawn")


def run_all(
    function: TaskFunction,
    tasks: Sequence[Task],
    *,
    jobs: int,
    on_report: Callable[[str, Any], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    environment: Mapping[str, str] | None = None,
    standby: StandbyWorkers | None = None,
) -> list[Outcome]:
    """Call ``function(payload, report)`` for every task and return the outcomes in the order of the tasks.

    Args:
        function: a module-level callable. Whatever it passes to ``report(value)`` reaches ``on_report``. When the run
            is to stop, KeyboardInterrupt is raised inside it, once, so that it can save. A handler of SIGTERM that it
            puts in a worker must call the one before, which may raise; it may hold that KeyboardInterrupt back.
        tasks: handed out in this order; the next free worker takes the next one.
        jobs: 1 runs everything in this process; more is the largest number of worker processes.
        on_report: called in this thread with the task's key and the reported value.
        on_outcome: called in this thread as soon as a task has ended.
        environment: variables in force in the workers before they import anything (thread counts, allocator); unused
            with one job, where it would come too late.
        standby: workers that were started beforehand and are used first; unused with one job.

    Raises:
        OptionError: if ``jobs`` is below 1.
        KeyboardInterrupt: passed on after the workers have ended; each had ``GRACE_SECONDS`` to save.
    """
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, but got jobs={jobs}")
    on_report = on_report or (lambda key, value: None)
    on_outcome = on_outcome or (lambda outcome: None)
    if jobs > 1:
        return _Pool(function, tasks, on_report, on_outcome, environment or {}, standby).run(jobs)
    outcomes = []
    for task in tasks:
        outcomes.append(execute(function, task, lambda value, key=task.key: on_report(key, value)))  # type: ignore[misc]
        on_outcome(outcomes[-1])
    return outcomes


class StandbyWorkers:
    """Workers that start and import while the caller is still preparing tasks, so that nobody waits for imports.

    A context manager around the preparation and ``run_all(..., standby=...)``; ends what is left of them.

    Args:
        count: how many; fewer than two start none, since one job needs no worker.
        module: what they import at once, by its full name.
        environment: as in ``run_all``.
    """

    def __init__(self, count: int, module: str, environment: Mapping[str, str]) -> None:
        self.workers = [_Worker(environment) for _ in range(count if count > 1 else 0)]
        for worker in self.workers:
            worker.send(bytes(ForkingPickler.dumps((PRELOAD, module, b""))))

    def __enter__(self) -> StandbyWorkers:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.kill()


class _Worker:
    """The parent's handle of one worker process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=serve, args=(theirs,))
        self.index = -1  # the task it is working on
        self.mid_message = False  # still true after Ctrl-C within a message: the pipe is then out of step
        with _environment(environment), _interrupts_blocked():
            self.process.start()
        theirs.close()

    def receive(self) -> tuple[int, bool, Any]:
        self.mid_message = True
        data = self.pipe.recv_bytes()
        self.mid_message = False
        return ForkingPickler.loads(data)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # if the worker died just now, the next look at its pipe tells
            self.mid_message = True
            self.pipe.send_bytes(data)
        self.mid_message = False

    def ask_to_stop(self) -> None:
        if self.mid_message:
            self.pipe.close()  # to the worker, the same as the parent's death
        else:
            self.send(b"")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Pool:
    """The workers, the tasks still waiting and the outcomes so far."""

    def __init__(
        self,
        function: TaskFunction,
        tasks: Sequence[Task],
        on_report: Callable[[str, Any], None],
        on_outcome: Callable[[Outcome], None],
        environment: Mapping[str, str],
        standby: StandbyWorkers | None,
    ) -> None:
        self.function, self.tasks, self.environment = function, list(tasks), environment
        self.idle = standby.workers if standby is not None else []
        self.on_report, self.on_outcome = on_report, on_outcome
        self.waiting = deque(range(len(self.tasks)))
        self.outcomes: dict[int, Outcome] = {}
        self.busy: list[_Worker] = []
        self.retired: list[_Worker] = []

    def run(self, jobs: int) -> list[Outcome]:
        try:
            while self.waiting or self.busy:
                while self.waiting and len(self.busy) < jobs:
                    self.busy.append(self.idle.pop() if self.idle else _Worker(self.environment))
                    self._hand_out(self.busy[-1])
                # The timeout is for workers whose own child processes keep the pipe open after their death.
                wait([worker.pipe for worker in self.busy], timeout=1.0)
                for worker in list(self.busy):
                    self._attend(worker)
        finally:
            self._stop()
        return [self.outcomes[index] for index in range(len(self.tasks))]

    def _hand_out(self, worker: _Worker) -> None:
        while self.waiting:
            worker.index = self.waiting.popleft()
            task = self.tasks[worker.index]
            try:
                call = bytes(ForkingPickler.dumps((self.function, task.payload)))
                message = bytes(ForkingPickler.dumps((worker.index, task.key, call)))
            except Exception as error:  # the payload cannot be pickled
                self._finish(worker.index, failure(task.key, error))
                continue
            worker.send(message)
            return
        self._retire(worker)

    def _retire(self, worker: _Worker) -> None:
        self.busy.remove(worker)
        self.retired.append(worker)
        worker.pipe.close()  # which ends it

    def _attend(self, worker: _Worker) -> None:
        alive = worker.process.is_alive()  # asked first: whatever it sent before its death is then in the pipe
        try:
            if not worker.pipe.poll():
                if not alive:
                    self._bury(worker)
                return
            index, is_outcome, value = worker.receive()
        except (EOFError, OSError):
            self._bury(worker)
        except Exception as error:  # a value of a class that cannot be imported here
            self._bury(worker, f"the worker sent what cannot be read: {failure('', error).error}")
        else:
            if not is_outcome:
                self.on_report(self.tasks[index].key, value)
                return
            self._finish(index, value)
            if value.status == "cancelled":  # somebody sent SIGTERM to this worker: it is about to end
                self._retire(worker)
            else:
                self._hand_out(worker)

    def _bury(self, worker: _Worker, error: str | None = None) -> None:
        worker.process.join(timeout=0.0 if error else ORPHAN_SECONDS)
        worker.kill()
        self.busy.remove(worker)
        code = worker.process.exitcode
        error = error or f"the worker process ended with {_describe_exit(code)}"
        self._finish(worker.index, Outcome(self.tasks[worker.index].key, "failed", error=error, exit_code=code))

    def _finish(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self.on_outcome(outcome)

    def _stop(self) -> None:
        """End all workers; those still at work (only after an exception) may save first.

        Retired ones have nothing left to save, and waiting for their interpreters to tidy up would take a second.
        """
        listening = [worker for worker in self.busy if not worker.mid_message]
        try:
            for worker in self.busy:
                worker.ask_to_stop()
            deadline = time.monotonic() + GRACE_SECONDS
            alive = self._alive()
            while alive and time.monotonic() < deadline:
                wait([*(w.pipe for w in listening), *(w.process.sentinel for w in alive)], timeout=0.2)
                alive = self._alive()  # asked before the pipes are emptied, so that last words are heard
                listening = [worker for worker in listening if self._drain(worker)]
        finally:
            for worker in self.busy + self.retired:
                worker.kill()

    def _alive(self) -> list[_Worker]:
        return [worker for worker in self.busy if worker.process.is_alive()]

    def _drain(self, worker: _Worker) -> bool:
        """Pass on what a stopping worker still says, so that it never waits for room in the pipe."""
        try:
            while worker.pipe.poll():
                index, is_outcome, value = worker.receive()
                with contextlib.suppress(Exception):  # perhaps it was a callback that failed and began this stop
                    self._finish(index, value) if is_outcome else self.on_report(self.tasks[index].key, value)
        except Exception:
            return False
        return True


def _describe_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    if code == -9:
        return "signal 9 (killed; out of memory?)"
    return f"signal {-code} ({signal.strsignal(-code) or 'unknown'})"


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold back SIGINT; a process started meanwhile is born that way and cannot be hit before it is ready."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
