"""Promises of the viewer, against a real TensorBoard over HTTP; and of the helpers all commands share."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from src.cli.common import VariadicCommand, new_app, run_app
from src.cli.tensorboard_server import tensorboard, wait_until_it_answers
from src.cli.view import Selection, _source_of, describe
from src.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "view_tensorboard.py"
RUNS = ["20250109_120000/lstm_basic", "20250110_143022/gru_basic", "20250110_143022/lstm_basic"]
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


def write_events(folder: Path, steps: range) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            writer.add_scalar("Loss/train", 1.0 / (step + 1), step)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "runs"
    for run in RUNS:
        write_events(folder / run, range(3))
    (folder / "20250111_090000" / "just_begun").mkdir(parents=True)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return json.loads(answer.read())


def process_group(group: int) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listing.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


class Viewer:
    """The running script, read up to the line that says how to end it."""

    def __init__(self, temporary: Path, *arguments: object) -> None:
        temporary.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--no-open", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"http://localhost:\d+/", "\n".join(self.lines))
        self.url = found[0] if found else ""

    def runs(self, count: int) -> list[str]:
        """The runs TensorBoard has loaded, waiting until there are ``count``."""
        deadline = time.monotonic() + 20
        while len(found := sorted(get(f"{self.url}data/runs"))) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        return list(found)


@contextmanager
def viewer(temporary: Path, *arguments: object) -> Iterator[Viewer]:
    running = Viewer(temporary, *arguments)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.communicate(timeout=15)


def call(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the script to its end; one that serves instead is ended with SIGTERM, so that it ends its server."""
    command = [sys.executable, str(SCRIPT), "--no-open", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
    try:
        output, errors = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, errors = process.communicate(timeout=15)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


# ---- a real TensorBoard ----


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "sigint to the parent only", "sigterm"])
def test_all_runs_are_served_and_the_end_is_clean(logdir: Path, tmp_path: Path, how: str) -> None:
    port = free_port()
    running = Viewer(tmp_path / "temporary", "--logdir", logdir, "--port", port)
    assert running.lines[0] == f"TensorBoard shows 3 runs of {logdir}"
    assert running.lines[1].strip() == f"http://localhost:{port}/"
    assert f"ssh -L {port}:localhost:{port} " in running.lines[2] and socket.gethostname() in running.lines[2]
    assert len(running.lines) == 4, "no chatter of TensorBoard"
    assert running.runs(3) == RUNS
    assert any("tensorboard.main" in line for line in process_group(running.process.pid))
    if how == "ctrl-c":
        os.killpg(running.process.pid, signal.SIGINT)
    else:
        running.process.send_signal(signal.SIGINT if how.startswith("sigint") else signal.SIGTERM)
    output, errors = running.process.communicate(timeout=15)
    assert (running.process.returncode, output, errors) == (0, "TensorBoard ended\n", "")
    deadline = time.monotonic() + 5
    while process_group(running.process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = process_group(running.process.pid)
    if left:
        os.killpg(running.process.pid, signal.SIGKILL)
    assert left == []


@needs_posix
@pytest.mark.slow
def test_a_taken_port_gives_the_next_and_the_same_runs_are_not_served_twice(logdir: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with viewer(tmp_path / "temporary", "--logdir", logdir, "--port", port) as running:
            assert re.fullmatch(rf"port {port} is taken; using \d+", running.lines[0])
            served_at = int(running.lines[0].split()[-1])
            assert served_at > port and running.runs(3) == RUNS
            again = call("--logdir", logdir, "--port", served_at)
            assert (again.returncode, again.stderr) == (0, "")
            assert again.stdout.splitlines()[0] == f"already running: http://localhost:{served_at}/"


@needs_posix
@pytest.mark.slow
def test_a_part_of_the_runs_follows_a_live_training_and_cleans_up(logdir: Path, tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    temporary = tmp_path / "temporary"
    live, late = logdir / "20250112_080000" / "lstm_live", logdir / "20250112_080000" / "lstm_late"
    try:
        with SummaryWriter(str(live), flush_secs=1) as writer:
            writer.add_scalar("Loss/train", 1.0, 0)
            writer.flush()
            with viewer(temporary, "--logdir", logdir, "--port", free_port(), "--runs", "lstm_(basic|l)") as running:
                names = [RUNS[0], RUNS[2], "20250112_080000/lstm_live"]
                assert running.lines[0].startswith("TensorBoard shows 3 runs") and running.runs(3) == sorted(names)
                writer.add_scalar("Loss/train", 0.5, 1)
                writer.flush()
                write_events(late, range(2))
                assert running.runs(4) == sorted([*names, "20250112_080000/lstm_late"])
                scalars = f"{running.url}data/plugin/scalars/scalars?tag=Loss%2Ftrain&run=20250112_080000%2Flstm_live"
                deadline = time.monotonic() + 20
                while len(points := get(scalars)) < 2 and time.monotonic() < deadline:
                    time.sleep(0.2)
                assert [(point[1], point[2]) for point in points] == [(0, 1.0), (1, 0.5)]
                assert list(temporary.glob("tensorboard_*"))
        assert not list(temporary.glob("tensorboard_*")), "the temporary folder is gone"
        assert len(list(late.iterdir())) == 1, "and what it pointed to is not"
    finally:
        for folder in (live, late):
            for file in folder.iterdir():
                file.unlink()


@needs_posix
def test_a_tensorboard_that_does_not_start_is_told_in_one_line(logdir: Path, tmp_path: Path) -> None:
    package = tmp_path / "tensorboard"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text("import sys\nprint('first')\nsys.exit('ValueError: broken installation')\n")
    command = [sys.executable, str(SCRIPT), "--no-open", "--logdir", str(logdir), "--port", str(free_port())]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: TensorBoard did not start: first | ValueError: broken installation\n"


@needs_posix
@pytest.mark.slow
def test_without_symbolic_links_the_chosen_runs_are_served_all_the_same(logdir: Path, tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("a required privilege is not held by the client")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "symlink_to", refuse)
        with _source_of(Selection(logdir, pattern="lstm")) as (arguments, _):
            assert arguments[0] == "--logdir_spec"
            port = free_port()
            with tensorboard(arguments, "localhost", port) as server:
                wait_until_it_answers(server, "localhost", port)
                deadline = time.monotonic() + 20
                while len(runs := get(f"http://localhost:{port}/data/runs")) < 2 and time.monotonic() < deadline:
                    time.sleep(0.2)
                assert sorted(run.removesuffix("/.") for run in runs) == [RUNS[0], RUNS[2]]  # its own way to name them


# ---- which runs ----


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, RUNS),
        ({"latest": True}, RUNS[1:]),
        ({"names": ("20250109_120000",)}, RUNS[:1]),
        ({"names": ("20250110_143022/lstm_basic", "20250109_120000")}, [RUNS[0], RUNS[2]]),
        ({"names": ("runs/20250110_143022/gru_basic",)}, RUNS[1:2]),
        ({"names": ("runs",)}, RUNS),
        ({"pattern": "^2025011.*lstm"}, RUNS[2:]),
        ({"pattern": "gru", "latest": True}, RUNS[1:2]),
    ],
)
def test_selection(logdir: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: list[str]) -> None:
    monkeypatch.chdir(logdir.parent)
    assert list(Selection(logdir, **options).event_files()) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "["}, r"--runs must be a regular expression, but got '\[': unterminated"),
        ({"pattern": "tcn"}, "no run is left to show of 3"),
        (
            {"names": ("20250110_143023",)},
            "there is no run folder '20250110_143023' in .* Did you mean '20250110_143022'",
        ),
        (
            {"names": ("20250111_090000",)},
            "there are no event files in '20250111_090000' yet; train with --tensorboard",
        ),
        ({"names": ("20250110",)}, "there is no run folder"),
    ],
)
def test_selection_mistakes(logdir: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Selection(logdir, **options).event_files()


def test_mistakes_are_one_line_with_the_fix(logdir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        (("--logdir", tmp_path / "missing"), "train with --tensorboard"),
        (("--logdir", tmp_path / "empty"), "there are no event files in"),
        (("--port", 70000), "port must be between 1 and 65535, but got 70000"),
        (("--logdir", logdir, "--host", "203.0.113.7"), "host must be an address of this computer"),
        (("--prot", 6006), "there is no option --prot. Did you mean '--port'?"),
        (("--port", "many"), "'--port'"),
    ]:
        result = call(*arguments)
        assert (result.returncode, result.stdout) == (2, ""), arguments
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert message in result.stderr
    assert "Traceback" in call("--logdir", tmp_path / "missing", "--debug").stderr


def test_an_open_host_is_told(tmp_path: Path) -> None:
    text = describe(tmp_path, 1, "0.0.0.0", 6007)
    assert "anyone on the network can read all runs" in text and "there is no password" in text
    assert "http://localhost:6007/" in text and "1 run of" in text
    assert "anyone" not in describe(tmp_path, 1, "localhost", 6007)


# ---- entry scripts and help ----


@pytest.mark.parametrize("columns", [60, 80])
def test_help_fits_and_imports_nothing_heavy(columns: int) -> None:
    code = (
        "import sys, runpy\nsys.argv = ['view_tensorboard.py', '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit:\n    print(sorted({'torch', 'tensorboard', 'numpy', 'rich'} & set(sys.modules)))"
    )
    environment = {**os.environ, "COLUMNS": str(columns)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    *help_lines, heavy = result.stdout.splitlines()
    assert heavy == "[]" and max(map(len, help_lines)) <= columns
    for option in ("--port", "--host", "--logdir", "--runs", "--latest", "--open", "--no-open", "--debug", "NAMES"):
        assert option in result.stdout


@needs_posix
@pytest.mark.parametrize("script", ["view_tensorboard.sh", "start_tensorboard.sh"])
def test_wrappers_pass_arguments_on_from_any_folder(tmp_path: Path, script: str) -> None:
    command = [str(ROOT / "scripts" / script), "--logdir", "no such folder"]
    environment = {**os.environ, "PYTHON": sys.executable}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 2 and "there is no folder 'no such folder'" in result.stderr


def test_the_console_command_picks_the_module_by_its_first_word() -> None:
    def console(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from src.cli.main import main; main(); import sys"
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)

    assert "train" in console().stdout and "view" in console("--help").stdout
    assert console("view", "--help").stdout.startswith("Usage: trainboard view")
    wrong = console("veiw")
    assert (
        wrong.returncode == 2
        and "there is no command 'veiw'; known: train, tune, view, predict, runs. Did you mean 'view'?" in wrong.stderr
    )


# ---- several values after one flag; errors of a command ----


class TrainCommand(VariadicCommand):
    variadic = frozenset({"models", "settings"})


def make_app(seen: list[Any], error: BaseException | None = None) -> typer.Typer:
    app = new_app()

    @app.command(cls=TrainCommand)
    def train(
        files: Annotated[list[str] | None, typer.Argument()] = None,
        models: Annotated[list[str] | None, typer.Option("--models", "-m")] = None,
        settings: Annotated[list[str] | None, typer.Option("--set")] = None,
        tensorboard: bool = False,
        epochs: int = 1,
        debug: bool = False,
    ) -> None:
        if error is not None:
            raise error
        seen.append((files or [], models or [], settings or [], tensorboard, epochs))

    return app


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--models a b c --tensorboard", ([], ["a", "b", "c"], [], True, 1)),
        ("--models=a b --epochs 5", ([], ["a", "b"], [], False, 5)),
        ("--models a,b", ([], ["a,b"], [], False, 1)),
        ("--models a --models b c -m d e", ([], ["a", "b", "c", "d", "e"], [], False, 1)),
        ("--set x=1 y=-2 --models a --set z=3", ([], ["a"], ["x=1", "y=-2", "z=3"], False, 1)),
        ("--epochs 3 file --models a b -- other --models", (["file", "other", "--models"], ["a", "b"], [], False, 3)),
        ("--epochs=2 one two", (["one", "two"], [], [], False, 2)),
        ("", ([], [], [], False, 1)),
    ],
)
def test_several_values_after_one_flag(words: str, expected: tuple[Any, ...]) -> None:
    seen: list[Any] = []
    with pytest.raises(SystemExit) as end:
        run_app(make_app(seen), words.split(), "train")
    assert (end.value.code, seen) == (0, [expected])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--models --tensorboard", "--models: needs at least one value"),
        ("--epochs 2 --models", "--models: needs at least one value"),
        ("--modles a", "there is no option --modles. Did you mean '--models'? `train --help` lists"),
        ("--epochs x", "--epochs"),
        ("--tensorbord", "Did you mean '--tensorboard'?"),
    ],
)
def test_usage_errors_are_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_app(make_app([]), words.split(), "train")
    output, errors = capsys.readouterr()
    assert (end.value.code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("error: ") and message in errors


def test_errors_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    def run(error: BaseException, *arguments: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as end:
            run_app(make_app([], error), arguments, "train")
        return end.value.code, capsys.readouterr().err

    assert run(UserError("epochs must be\nat least 1")) == (2, "error: epochs must be at least 1\n")
    code, text = run(UserError("epochs"), "--debug")
    assert code == 2 and text.startswith("Traceback") and text.endswith("error: epochs\n")
    assert run(KeyboardInterrupt()) == (130, "interrupted\n")
    assert run(typer.Exit(3)) == (3, "")
    with pytest.raises(ZeroDivisionError):
        run_app(make_app([], ZeroDivisionError()), [], "train")
