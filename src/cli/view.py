"""TensorBoard on the right runs and a free port, and how to reach it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ..errors import OptionError, UserError, did_you_mean
from .common import new_app
from .tensorboard_server import (
    Server,
    choose_port,
    has_screen,
    open_browser,
    reachable,
    tensorboard,
    url_of,
    wait_until_it_answers,
)

DEFAULT_LOGDIR = Path("runs")
REFRESH_SECONDS = 2.0
EVENT_FILES = "events.out.tfevents."
TRAINING_HINT = "train with --tensorboard first (python train_models.py --tensorboard)"

app = new_app()


@app.command()
def view(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAMES", help="run folders, such as runs/20250110_143022 [default: all]", show_default=False
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="port of the server; the next free one if it is taken")] = 6006,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 lets the whole network in")] = "localhost",
    logdir: Annotated[Path, typer.Option(help="folder that holds the runs")] = DEFAULT_LOGDIR,
    runs: Annotated[
        str | None, typer.Option(metavar="REGEX", help="only runs whose name (20250110_143022/lstm_basic) matches")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="only the newest timestamp folder")] = False,
    open_it: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="open the browser [default: if there is a screen]", show_default=False),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Show training runs in TensorBoard; Ctrl-C ends it."""
    if not 1 <= port <= 65535:
        raise OptionError(f"port must be between 1 and 65535, but got {port}")
    selection = Selection(find_logdir(logdir), tuple(names or ()), runs, latest)
    count = len(selection.event_files())
    with contextlib.suppress(KeyboardInterrupt), _sigterm_interrupts():
        free = choose_port(host, port, None if selection.partial else selection.logdir)
        if free is None:
            print(f"already running: {url_of(host, port)}")
            return
        with _source_of(selection) as (arguments, refresh), tensorboard(arguments, host, free) as server:
            wait_until_it_answers(server, host, free)
            print(describe(selection.logdir, count, host, free), flush=True)
            if has_screen() if open_it is None else open_it:
                open_browser(url_of(host, free))
            _wait(server, refresh)
    print("TensorBoard ended", flush=True)


# ---- which runs ----


def find_logdir(logdir: Path) -> Path:
    """The absolute path of the folder with the runs; the default is also looked for beside the entry scripts.

    Raises:
        UserError: if there is no such folder.
    """
    beside_scripts = Path(__file__).resolve().parents[2] / DEFAULT_LOGDIR
    if logdir == DEFAULT_LOGDIR and not logdir.is_dir() and beside_scripts.is_dir():
        return beside_scripts
    if not logdir.is_dir():
        raise UserError(f"there is no folder '{logdir}'; {TRAINING_HINT}, or name another folder with --logdir")
    return logdir.resolve()


@dataclass(frozen=True)
class Selection:
    """Some or all runs of a folder. A run is a folder with event files; its name is its path relative to ``logdir``.

    Attributes:
        names: run folders as the user gave them; everything below them is selected. None means all.
        pattern: a regular expression that must be found in the name of a run.
        latest: only the newest ``YYYYMMDD_HHMMSS`` folder.
    """

    logdir: Path
    names: tuple[str, ...] = ()
    pattern: str | None = None
    latest: bool = False

    @property
    def partial(self) -> bool:
        """Whether anything narrows the selection."""
        return bool(self.names or self.latest or self.pattern is not None)

    def event_files(self) -> dict[str, list[Path]]:
        """Event files by the name of their run.

        Raises:
            UserError: if nothing is left to show, a name is unknown or the pattern is no regular expression.
        """
        everything = _event_files_below(self.logdir)
        if not everything:
            raise UserError(f"there are no event files in '{self.logdir}' yet; {TRAINING_HINT}")
        selected = list(everything)
        if self.latest:
            stamps = [name.partition("/")[0] for name in everything if re.match(r"\d{8}_\d{6}", name)]
            if not stamps:
                raise UserError(f"--latest needs folders named by date and time, but '{self.logdir}' has none")
            selected = [name for name in selected if name.partition("/")[0] == max(stamps)]
        if self.names:
            folders = [self._folder(name, everything) for name in self.names]
            selected = [name for name in selected if any(_is_within(name, folder) for folder in folders)]
        if self.pattern is not None:
            expression = _compile(self.pattern)
            selected = [name for name in selected if expression.search(name)]
        if not selected:
            raise UserError(
                f"no run is left to show of {len(everything)} in '{self.logdir}'; names look like '{min(everything)}'"
            )
        return {name: everything[name] for name in selected}

    def _folder(self, name: str, everything: dict[str, list[Path]]) -> str:
        for candidate in (Path(name), self.logdir / name):
            path = candidate.resolve()
            if path.is_dir() and path.is_relative_to(self.logdir):
                folder = path.relative_to(self.logdir).as_posix()
                if not any(_is_within(run, folder) for run in everything):
                    raise UserError(f"there are no event files in '{name}' yet; {TRAINING_HINT}")
                return folder
        known = {part for run in everything for part in (run, run.partition("/")[0])}
        hint = did_you_mean(name, sorted(known))
        if not hint and Path(name).is_dir():
            hint = f" Show it with --logdir {name}"
        raise UserError(f"there is no run folder '{name}' in '{self.logdir}'.{hint}")


def _event_files_below(folder: Path) -> dict[str, list[Path]]:
    found = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        events = [Path(place, file) for file in sorted(files) if EVENT_FILES in file]
        if events:
            found[Path(place).relative_to(folder).as_posix()] = events
    return found


def _is_within(run: str, folder: str) -> bool:
    return folder == "." or run == folder or run.startswith(f"{folder}/")


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"--runs must be a regular expression, but got '{pattern}': {error}") from None


@contextlib.contextmanager
def _source_of(selection: Selection) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """TensorBoard's arguments for the selection, and what to call now and then to let new runs in.

    TensorBoard shows whole folders only, so a part of the runs is shown through a temporary folder of symbolic links to
    their event files: what a training appends is seen at once, new files and runs at the next refresh.
    """
    if not selection.partial:
        yield ["--logdir", str(selection.logdir)], lambda: None
        return
    links = Path(tempfile.mkdtemp(prefix="tensorboard_"))

    def refresh() -> None:
        for run, files in selection.event_files().items():
            (links / run).mkdir(parents=True, exist_ok=True)
            for file in files:
                with contextlib.suppress(FileExistsError):
                    (links / run / file.name).symlink_to(file)

    try:
        try:
            refresh()
        except OSError:  # Windows without developer mode
            folders = {run: files[0].parent for run, files in selection.event_files().items()}
            yield ["--logdir_spec", ",".join(f"{run}:{folder}" for run, folder in folders.items())], lambda: None
        else:
            yield ["--logdir", str(links)], refresh
    finally:
        shutil.rmtree(links, ignore_errors=True)  # removes links, never what they point to


# ---- where ----


def describe(logdir: Path, count: int, host: str, port: int) -> str:
    """What is shown, where, how to reach it from another computer, and who else can."""
    computer = socket.gethostname()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "USER"
    target = reachable(host) if reachable(host) != "127.0.0.1" else "localhost"
    lines = [
        f"TensorBoard shows {count} run{'s' if count != 1 else ''} of {logdir}",
        f"  {url_of(host, port)}",
        f"From another computer: ssh -L {port}:{target}:{port} {user}@{computer}, then open http://localhost:{port}/",
    ]
    if host not in ("localhost", "127.0.0.1", "::1"):
        lines.append(
            f"Warning: with --host {host} anyone on the network can read all runs at http://{computer}:{port}/; "
            "there is no password"
        )
    return "\n".join([*lines, "Ctrl-C ends it."])


def _wait(server: Server, refresh: Callable[[], None]) -> None:
    """Until the server ends, which it should not, or the user interrupts."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(timeout=REFRESH_SECONDS)
            time.sleep(0.2)  # a Ctrl-C that ended the server is on its way to this process, too
            raise UserError(f"TensorBoard ended by itself: {server.last_lines()}")
        with contextlib.suppress(OSError, UserError):  # the runs may just be moved or deleted
            refresh()


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Within this, SIGTERM ends the command the way Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
