"""One worker process of the fan-out: takes tasks from a pipe, carries them out, and notices when it shall stop."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Literal

from .errors import UserError

GARBAGE_THRESHOLD = 50_000  # importing torch makes a million objects and no garbage; 700, the default, costs 0.4 s
ORPHAN_SECONDS = 5.0  # what a worker may take to save its work when the parent died: nobody is left who would end it
PRELOAD = -1  # in place of a task's number: import the named module

TaskFunction = Callable[[Any, Callable[[Any], None]], Any]


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


def execute(function: TaskFunction, task: Task, report: Callable[[Any], None]) -> Outcome:
    """Call the function; only KeyboardInterrupt comes out of it as an exception."""
    try:
        return Outcome(task.key, "done", function(task.payload, report))
    except SystemExit as error:
        return Outcome(task.key, "failed", error=f"the task ended itself with sys.exit({error.code!r})")
    except Exception as error:
        return failure(task.key, error)


def failure(key: str, error: Exception) -> Outcome:
    """The outcome of a task that raised."""
    text = " ".join(str(error).split())
    if not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return Outcome(key, "failed", error=text, traceback="".join(traceback.format_exception(error)))


def serve(pipe: connection.Connection) -> None:
    """What a worker process does until the pipe closes."""
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
        self.stopping = self.in_task = self.sending = self.postponed = False

    def run(self) -> None:
        gc.set_threshold(GARBAGE_THRESHOLD)
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
        if index == PRELOAD:
            with contextlib.suppress(Exception):  # the task that needs the module will say what is wrong with it
                importlib.import_module(key)
            return

        def report(value: Any) -> None:
            self._send(index, value, is_outcome=False)

        try:
            self.in_task = True
            function, payload = ForkingPickler.loads(call)
            outcome = execute(function, Task(key, payload), report)
            self.in_task = False
        except KeyboardInterrupt:
            self.in_task = False
            outcome = Outcome(key, "cancelled", error="the run was told to stop")
        except Exception as error:  # the function or its payload cannot be imported here
            self.in_task = False
            outcome = failure(key, error)
        try:
            self._send(index, outcome, is_outcome=True)
        except Exception as error:  # the result cannot be pickled
            self._send(index, failure(key, error), is_outcome=True)

    def _send(self, index: int, value: Any, *, is_outcome: bool) -> None:
        """Send one message whole: a stop that arrives meanwhile takes effect only after it."""
        data = ForkingPickler.dumps((index, is_outcome, value))
        in_main_thread = threading.current_thread() is threading.main_thread()
        self.sending = self.sending or in_main_thread
        try:
            with self.send_lock, contextlib.suppress(OSError):  # a parent that is gone is the reading thread's business
                self.pipe.send_bytes(data)
        finally:
            self.sending = self.sending and not in_main_thread
        if in_main_thread and self.postponed:
            self.postponed = False
            signal.raise_signal(signal.SIGTERM)

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
        if self.sending:
            self.postponed = True
        elif not self.stopping:  # a second signal must not disturb the saving that the first one began
            self.stopping = True
            self.inbox.put(None)
            if self.in_task:
                raise KeyboardInterrupt
