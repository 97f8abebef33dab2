"""Ctrl-C and SIGTERM while a model trains: the step under way is finished and saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any]


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that was held back and is raised where everything can be, or has been, saved."""


class HeldInterrupts:
    """Holds back the first KeyboardInterrupt that a signal raises until ``check`` is called; a second one passes.

    As a context it wraps whatever handlers of SIGINT and SIGTERM there are and puts them back afterwards. What a
    signal means is still theirs to decide: signals that raise no KeyboardInterrupt are as without it. In a thread other
    than the main one, which no signal ever reaches, it does nothing.

    Attributes:
        noted: whether an interrupt is being held back.
    """

    def __init__(self) -> None:
        self.noted = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> HeldInterrupts:
        self.noted = False
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if kind is None or not issubclass(kind, KeyboardInterrupt):  # nobody else would hear of it
            self.check()

    def check(self) -> None:
        """Raise what was held back.

        Raises:
            Interrupted: if there is something.
        """
        if self.noted:
            raise Interrupted

    def _hold(self, number: int, frame: FrameType | None) -> None:
        try:
            self._before[number](number, frame)
        except KeyboardInterrupt:
            if self.noted:
                raise
            self.noted = True
