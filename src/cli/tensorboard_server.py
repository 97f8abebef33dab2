"""A TensorBoard process: a free port for it, its address, and its life."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import UserError

START_SECONDS = 60.0
PORTS_TO_TRY = 100


def choose_port(host: str, port: int, logdir: Path | None) -> int | None:
    """``port`` or the next free one; None if a TensorBoard for ``logdir`` answers at ``port`` already."""
    if is_free(host, port):
        return port
    if logdir is not None and data_location(host, port) == str(logdir):
        return None
    for candidate in range(port + 1, min(port + PORTS_TO_TRY, 65536)):
        if is_free(host, candidate):
            print(f"port {port} is taken; using {candidate}")
            return candidate
    raise UserError(f"port {port} and the ones after it are taken; choose another with --port")


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there, and we may.

    Raises:
        UserError: if the port needs rights, or the host is none of this computer's addresses.
    """
    with socket.socket() as connection:  # TensorBoard itself refuses a port that is taken on localhost
        connection.settimeout(1.0)
        if connection.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        if os.name == "posix":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections just closed do not count
        try:
            server.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno == errno.EACCES:
                raise UserError(f"port {port} needs administrator rights; choose one from 1024 with --port") from None
            raise UserError(f"host must be an address of this computer, but got '{host}': {error.strerror}") from None
    return True


def data_location(host: str, port: int) -> str | None:
    """The log folder of the TensorBoard at this address; None if no TensorBoard answers there."""
    import http.client  # only needed once a server is there

    connection = http.client.HTTPConnection(reachable(host), port, timeout=2.0)
    try:
        connection.request("GET", "/data/environment")
        return str(json.loads(connection.getresponse().read())["data_location"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()


def reachable(host: str) -> str:
    """The address under which a server that listens on ``host`` is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}.get(host, host)


def url_of(host: str, port: int) -> str:
    """What to type into a browser."""
    name = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def has_screen() -> bool:
    """Whether a browser opened here would be seen by whoever typed the command."""
    if not sys.stdin or not sys.stdin.isatty() or "SSH_CONNECTION" in os.environ or "SSH_TTY" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> None:
    """Open an address in the user's browser."""
    import webbrowser

    if not webbrowser.open(url):
        print("no browser could be opened")


@dataclass(frozen=True)
class Server:
    """A running TensorBoard and what it prints."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def last_lines(self) -> str:
        """The end of what it printed, on one line."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-4:]) or "it said nothing"


@contextlib.contextmanager
def tensorboard(arguments: Sequence[str], host: str, port: int, *, own_session: bool = False) -> Iterator[Server]:
    """A server process that ends with the ``with`` block.

    Args:
        arguments: what to show.
        host, port: where to listen.
        own_session: keep it out of reach of a Ctrl-C in this terminal, which is meant for somebody else.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("TensorBoard is not installed; pip install tensorboard")
    command = [sys.executable, "-m", "tensorboard.main", *arguments, "--host", host, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=own_session
        )
        try:
            yield Server(process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=5.0)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()


def wait_until_it_answers(server: Server, host: str, port: int) -> None:
    """Wait for the first answer.

    Raises:
        UserError: if the process ends, or does not answer within a minute.
    """
    deadline = time.monotonic() + START_SECONDS
    while data_location(host, port) is None:
        if server.process.poll() is not None:
            raise UserError(f"TensorBoard did not start: {server.last_lines()}")
        if time.monotonic() > deadline:
            raise UserError(f"TensorBoard did not answer within {START_SECONDS:.0f} s: {server.last_lines()}")
        time.sleep(0.1)
