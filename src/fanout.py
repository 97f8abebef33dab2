"""Many runs of one callable: one after the other in this process, or spread over worker processes.

Workers are started with ``spawn`` (the same on Linux, macOS and Windows) and reused from task to task, so imports are
paid once. A worker that dies takes only its own task with it. What goes through the pipes should be plain values
(numbers, strings, dataclasses, arrays), not tensors: those would travel as shared memory of a process that may die.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any, Literal

from .errors import OptionError, UserError

GRACE_SECONDS = 10.0  # what workers that were asked to stop may take to save their work
ORPHAN_SECONDS = 5.0  # the same when the parent died: nobody is left who would end them

_PRELOAD = -1  # in place of a task's number: import the named module

TaskFunction = Callable[[Any, Callable[[Any], None]], Any]
_spawn = get_context("spawn")


@dataclass(frozen=True)
class Task:
    """One run: ``key`` names it in reports and outcomes, ``payload`` is handed to the function."""

    key: str
    payload: Any


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        status: ``done``; ``failed`` (it raised, or its worker died); ``cancelled`` (its worker was sent SIGTERM).
        result: what the function returned, if done.
        error: why it is not done, in one line.
        traceback: the text of the traceback if the function raised.
        exit_code: if the worker process died: its exit code, or minus the number of the signal that ended it.
    """

    key: str
    status: Literal["done", "failed", "cancelled"]
    result: Any = None
    error: str | None = None
    traceback: str | None = None
    exit_code: int | None = None


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
            is to stop, KeyboardInterrupt is raised inside it, once, so that it can save; it should not install
            signal handlers of its own in a worker.
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
        outcomes.append(_execute(function, task, lambda value, key=task.key: on_report(key, value)))  # type: ignore[misc]
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
            worker.send(bytes(ForkingPickler.dumps((_PRELOAD, module, b""))))

    def __enter__(self) -> StandbyWorkers:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.kill()


def _execute(function: TaskFunction, task: Task, report: Callable[[Any], None]) -> Outcome:
    try:
        return Outcome(task.key, "done", function(task.payload, report))
    except SystemExit as error:
        return Outcome(task.key, "failed", error=f"the task ended itself with sys.exit({error.code!r})")
    except Exception as error:
        return _failure(task.key, error)


def _failure(key: str, error: Exception) -> Outcome:
    text = " ".join(str(error).split())
    if not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return Outcome(key, "failed", error=text, traceback="".join(traceback.format_exception(error)))


# ---- in the worker process ----


def _serve(pipe: connection.Connection) -> None:
    _Server(pipe).run()


class _Server:
    """A worker: takes ``(index, function, task)`` from the pipe, sends back ``(index, report or Outcome)``.

    A thread reads the pipe, so the worker notices at once when it shall stop or when the parent is gone, whatever the
    task is doing. Unpickling, which imports modules, is left to the main thread.
    """

    def __init__(self, pipe: connection.Connection) -> None:
        self.pipe = pipe
        self.inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.send_lock = threading.Lock()
        self.stopping = self.in_task = self.sending = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        threading.Thread(target=self._read_pipe, daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            while (message := self.inbox.get()) is not None and not self.stopping:
                self._work(message)

    def _work(self, message: bytes) -> None:
        index, key, call = ForkingPickler.loads(message)
        if index == _PRELOAD:
            with contextlib.suppress(Exception):  # the task that needs the module will say what is wrong with it
                importlib.import_module(key)
            return

        def report(value: Any) -> None:
            self._send(index, value, is_outcome=False)

        try:
            self.in_task = True
            function, payload = ForkingPickler.loads(call)
            outcome = _execute(function, Task(key, payload), report)
            self.in_task = False
        except KeyboardInterrupt:
            self.in_task = False
            outcome = Outcome(key, "cancelled", error="the run was told to stop")
        except Exception as error:  # the function or its payload cannot be imported here
            self.in_task = False
            outcome = _failure(key, error)
        try:
            self._send(index, outcome, is_outcome=True)
        except Exception as error:  # the result cannot be pickled
            self._send(index, _failure(key, error), is_outcome=True)

    def _send(self, index: int, value: Any, *, is_outcome: bool) -> None:
        """Send one message whole: a stop that arrives meanwhile is raised only after it."""
        data = ForkingPickler.dumps((index, is_outcome, value))
        in_main_thread = threading.current_thread() is threading.main_thread()
        was_stopping = self.stopping
        self.sending = self.sending or in_main_thread
        try:
            with self.send_lock, contextlib.suppress(OSError):  # a parent that is gone is the reading thread's business
                self.pipe.send_bytes(data)
        finally:
            self.sending = self.sending and not in_main_thread
        if in_main_thread and self.in_task and self.stopping and not was_stopping:
            raise KeyboardInterrupt

    def _read_pipe(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while message := self.pipe.recv_bytes():
                self.inbox.put(message)
            self._interrupt_main_thread()
            while self.pipe.recv_bytes():
                pass  # until the parent closes the pipe or dies
        self._interrupt_main_thread()
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    def _interrupt_main_thread(self) -> None:
        self.inbox.put(None)
        if sys.platform == "win32":
            signal.raise_signal(signal.SIGTERM)
        else:  # a real signal also ends a system call the main thread is waiting in
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _stop(self, *_: Any) -> None:
        if not self.stopping:  # a second signal must not disturb the saving that the first one began
            self.stopping = True
            self.inbox.put(None)
            if self.in_task and not self.sending:
                raise KeyboardInterrupt


# ---- in the parent process ----


class _Worker:
    """The parent's handle of one worker process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=_serve, args=(theirs,))
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
                connection.wait([worker.pipe for worker in self.busy], timeout=1.0)
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
                self._finish(worker.index, _failure(task.key, error))
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
            self._bury(worker, f"the worker sent what cannot be read: {_failure('', error).error}")
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
                connection.wait([*(w.pipe for w in listening), *(w.process.sentinel for w in alive)], timeout=0.2)
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
