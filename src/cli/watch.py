"""``--watch``: TensorBoard beside training, and for as long as somebody looks."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from .tensorboard_server import (
    Server,
    choose_port,
    has_screen,
    open_browser,
    tensorboard,
    url_of,
    wait_until_it_answers,
)

HOST, PORT = "localhost", 6006


@contextlib.contextmanager
def dashboard(root: Path) -> Iterator[None]:
    """Show what is written below ``root`` in TensorBoard; the browser opens where there is a screen.

    Training does not wait for the server, and goes on if it does not start. When training is over, somebody at a
    terminal keeps the dashboard until Ctrl-C; without a terminal it ends.
    """
    port = choose_port(HOST, PORT, None)
    if port is None:  # cannot be: no folder was named whose server would do
        raise UserError(f"no port from {PORT} is free")
    with tensorboard(["--logdir", str(root.resolve())], HOST, port, own_session=True) as server:
        opener = threading.Thread(target=_open_when_ready, args=(server, port), daemon=True)
        opener.start()
        yield
        if sys.stdin and sys.stdin.isatty() and server.process.poll() is None:
            print(f"\nTensorBoard still shows these runs at {url_of(HOST, port)}; Ctrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                server.process.wait()


def _open_when_ready(server: Server, port: int) -> None:
    try:
        wait_until_it_answers(server, HOST, port)
    except UserError as error:
        print(f"{error}; training goes on", file=sys.stderr)
        return
    print(f"watch at {url_of(HOST, port)}", file=sys.stderr, flush=True)
    if has_screen():
        open_browser(url_of(HOST, port))
