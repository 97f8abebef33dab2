"""Ways to tell somebody: a command, a web address; and the thread that does it while training goes on."""

from __future__ import annotations

import contextlib
import queue
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import UserError

COMMAND_SECONDS = 30.0
URL_SECONDS = 10.0
RETRY_AFTER_SECONDS = (1.0, 4.0)
"""Pauses before the second and the third attempt."""
QUEUE_LENGTH = 100


class Notifier(Protocol):
    """Somebody to tell."""

    def deliver(self, message: bytes, stop: threading.Event) -> str | None:
        """Deliver JSON, or return one line that says why not; give up early when ``stop`` is set."""


class CommandNotifier:
    """Runs a command with the message on its standard input.

    Args:
        command: program and arguments, split like a shell line; no shell, so no pipes, variables or patterns.
        timeout: seconds after which the command is ended.

    Raises:
        UserError: if it cannot be split.
    """

    def __init__(self, command: str, timeout: float = COMMAND_SECONDS) -> None:
        try:
            self.arguments = shlex.split(command)
        except ValueError as error:
            raise UserError(f"--notify must be a command, but got {command!r} ({error}); close its quotes") from None
        if not self.arguments:
            raise UserError("--notify must be a command, but got nothing; e.g. --notify 'mail -s training me@host'")
        self.timeout = timeout

    def deliver(self, message: bytes, stop: threading.Event) -> str | None:
        """Run the command."""
        program = self.arguments[0]
        try:
            done = subprocess.run(
                self.arguments,
                input=message,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self.timeout,
                check=False,
                start_new_session=True,  # Ctrl-C in the terminal is meant for the training
            )
        except subprocess.TimeoutExpired:
            return f"the --notify command {program} did not end within {self.timeout:g} s and was ended"
        except OSError as error:
            return f"the --notify command {program} cannot be run ({error.strerror})"
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return f"the --notify command {program} ended with code {done.returncode}" + (
                f": {said[-1]}" if said else ""
            )
        return None


class UrlNotifier:
    """Posts the message to a web address; what may pass by itself (5xx, 429, no connection) is tried again.

    Args:
        url: http or https address.
        timeout: seconds that one attempt may take.
        pauses: seconds before each further attempt.

    Raises:
        UserError: if the address is none of these.
    """

    def __init__(self, url: str, timeout: float = URL_SECONDS, pauses: Sequence[float] = RETRY_AFTER_SECONDS) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_valid = False
        if not is_valid or any(character.isspace() for character in url):
            raise UserError(f"--notify-url must be an http or https address, but got {url!r}; e.g. https://host/hook")
        self.url, self.host, self.timeout, self.pauses = url, parts.hostname, timeout, tuple(pauses)

    def deliver(self, message: bytes, stop: threading.Event) -> str | None:
        """Post the message."""
        problem: str | None = None
        for pause in (0.0, *self.pauses):
            if pause and stop.wait(pause):
                break
            problem, may_pass = self._attempt(message)
            if not may_pass:
                break
        # The address may hold a secret, so only the host is named.
        return problem and f"--notify-url: {self.host} was not told ({problem})"

    def _attempt(self, message: bytes) -> tuple[str | None, bool]:
        """What went wrong, if anything, and whether another attempt is worth it."""
        headers = {"Content-Type": "application/json", "User-Agent": "trainboard"}
        try:
            request = urllib.request.Request(self.url, data=message, headers=headers, method="POST")
            with urllib.request.urlopen(request, timeout=self.timeout):
                return None, False
        except urllib.error.HTTPError as error:
            error.close()
            return f"answer {error.code}", error.code >= 500 or error.code in (408, 429)
        except TimeoutError:
            return f"no answer within {self.timeout:g} s", True
        except urllib.error.URLError as error:
            return f"{error.reason}", True
        except Exception as error:  # whatever a server may answer must not end the thread
            return f"{type(error).__name__}: {error}", False


class Deliveries:
    """Messages on their way to one notifier: a queue and a thread, so that nobody waits.

    Args:
        notifier: whom to tell.
        report: called with one line the first time something goes wrong, and at the end if messages were lost.
    """

    def __init__(self, notifier: Notifier, report: Callable[[str], None]) -> None:
        self.notifier, self.report = notifier, report
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUE_LENGTH)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._has_reported = False

    def put(self, message: bytes) -> None:
        """Send a message soon. If a hundred are waiting already, it is lost."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notifications", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._lost += 1

    def close(self, seconds: float) -> None:
        """Wait for the messages under way, so many seconds at most."""
        if self._thread is None:
            return
        end = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._thread.join(max(0.0, end - time.monotonic()))
        self._stop.set()
        if self._thread.is_alive():
            self._lost += max(1, self._queue.qsize())
        self._thread = None
        if self._lost:
            self.report(f"notifications of findings that were not delivered: {self._lost}")

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            problem = self.notifier.deliver(message, self._stop)
            if problem and not self._has_reported:
                self._has_reported = True
                self.report(f"{problem}; further trouble of this kind is not reported")
