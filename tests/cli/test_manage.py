"""``manage_runs.py``: tables that fit, questions before anything is lost, and one line for every mistake."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.cli import manage, train
from src.cli.common import run_app
from src.cli.manage_output import shorten, shown_age, shown_size

ROOT = Path(__file__).resolve().parents[2]
Manage = Callable[..., SimpleNamespace]
PLAN: dict[str, Any] = {"version": 1, "command": [], "runs": []}


def make_run(root: Path, name: str, *, status: str = "completed", epochs: int = 5) -> None:
    """The small files of a run of one command."""
    folder = root / name
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"model": "lstm:basic", "options": {"hidden_size": 8}, "data": {"data": "sample:walk"}}
    fingerprint = {"rows": 9, "test_hash": "a", "columns": ["Close"], "windows": {"test": 3}}
    config |= {"training": {"seed": 0}, "fingerprint": fingerprint, "versions": {"torch": "2"}, "git_commit": None}
    training = {"epochs": epochs, "best_epoch": 1, "best_validation_loss": 0.5, "seconds": 1.0}
    results = {"model": "lstm:basic", "status": status, "task": "forecast", "targets": ["Close"], "training": training}
    results |= {
        "test": {"rmse": 1.25},
        "validation": {"rmse": 1.5},
        "error": "loss is nan" if status == "failed" else "",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.json").write_text(json.dumps(results))
    (folder.parent / "plan.json").write_text(json.dumps(PLAN))
    (folder.parent / "leaderboard.csv").write_text("rank,model,seeds,rmse\n")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manage:
    """Runs the command in this process, in an empty folder; the answer has ``code``, ``out`` and ``err``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(manage.app, list(map(str, arguments)), prog_name="manage_runs.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    make_run(root, "20250110_143022/lstm_basic")
    make_run(root, "20250110_143022/lstm_attention", status="failed")
    make_run(root, "20250111_090000/transformer_with_a_name_that_hardly_fits_anywhere_at_all_and_goes_on", epochs=1)
    return root


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "manage_runs.py"), *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_help_needs_no_heavy_library() -> None:
    code = "import sys, src.cli.manage; print({'torch', 'pandas', 'numpy', 'psutil', 'sklearn'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_without_a_command_the_help_is_shown(call: Manage) -> None:
    ended = call()
    assert ended.code == 0
    assert all(f"\n  {name} " in ended.out for name in ("list", "archive", "restore", "delete", "diff", "doctor"))
    assert call("--help").out == ended.out


def test_an_empty_folder_gets_one_friendly_line(call: Manage, tmp_path: Path) -> None:
    for _ in range(2):
        ended = call("list")
        assert ended.code == 0 and ended.out.count("\n") == 1 and "train_models.py" in ended.out
        (tmp_path / "runs").mkdir(exist_ok=True)
    assert call("list", "--json").out == "[]\n"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("options", [(), ("--sort", "size"), ("--junk",)], ids=["grouped", "flat", "junk"])
def test_the_table_never_wraps(
    call: Manage, runs: Path, monkeypatch: pytest.MonkeyPatch, width: int, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = call("list", *options).out.splitlines()
    assert max(map(len, lines)) <= width
    assert any("transformer" in line or "…" in line for line in lines), "the middle of a name is left out, not its row"
    assert sum("completed" in line or "failed" in line for line in lines) >= 2


def test_the_list_shows_state_value_and_total(call: Manage, runs: Path) -> None:
    lines = call("list").out.splitlines()
    [basic] = [line for line in lines if "lstm_basic" in line]
    assert all(word in basic for word in ("completed", "0.5", "rmse 1.25"))
    [heading] = [line for line in lines if line.startswith("20250110_143022 ")]
    assert "2 runs" in heading and "sample:walk" in heading
    assert any("failed*" in line for line in lines) and any(line.startswith("3 runs, ") for line in lines)
    assert any("lstm_attention: loss is nan" in line for line in lines)


def test_patterns_sorting_junk_and_json(call: Manage, runs: Path) -> None:
    def names(*options: str) -> list[str]:
        return [run["name"] for run in json.loads(call("list", "--json", *options).out)]

    assert names("attention") == ["20250110_143022/lstm_attention"]
    assert sorted(names("20250110*")) == ["20250110_143022/lstm_attention", "20250110_143022/lstm_basic"]
    assert len(names("--junk")) == 2 and "20250110_143022/lstm_basic" not in names("--junk")
    assert names("--sort", "name") == sorted(names())
    ended = call("list", "lstm_basik")
    assert ended.code == 2 and "Did you mean 'lstm_basic'?" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lst",), "Did you mean 'list'?"),
        (("list", "--sort", "sizes"), "Did you mean 'size'?"),
        (("list", "--rot", "x"), "Did you mean '--root'?"),
        (("list", "--root", "nowhere"), "there is no folder 'nowhere'"),
        (("archive",), "RUN"),
        (("archive", "20250110_143023"), "Did you mean '20250110_143022'?"),
        (("delete", "runs"), "the folder of all runs itself"),
        (("delete", "--yes", "../runs/20250110_143022"), "without '..'"),
        (("restore", "x"), "there is no archive 'runs_archive'"),
        (("diff", "20250110_143022", "20250111_090000"), "one run is needed, but '20250110_143022' holds 2"),
        (("diff", "20250110_143022/lstm_basic", "nothing"), "there is no run 'nothing'"),
        (("reproduce", "20250110_143022/lstm_attention"), "only a completed run can be reproduced"),
    ],
)
def test_every_mistake_is_one_line(call: Manage, runs: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = call(*arguments)
    assert ended.code == 2, ended.out + ended.err
    assert said in ended.err and ended.err.startswith("error: ") and ended.err.count("\n") == 1


def test_archive_and_restore(call: Manage, runs: Path) -> None:
    ended = call("archive", "20250110_143022/lstm_basic", "--pack")
    assert ended.code == 0 and "runs_archive/20250110_143022--lstm_basic.tar.gz" in ended.out
    assert "20250110_143022/lstm_basic" in call("restore").out
    assert call("restore", "20250110_143022/lstm_basic").code == 0
    assert (runs / "20250110_143022" / "lstm_basic" / "config.json").is_file()
    assert "There is nothing in the archive" in call("restore").out


def test_diff_shows_what_differs_within_the_width(call: Manage, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = runs / "20250111_090000" / "other"
    make_run(runs, "20250111_090000/other")
    config = json.loads((other / "config.json").read_text())
    config["options"]["hidden_size"], config["fingerprint"]["test_hash"] = 16, "b"
    config["fingerprint"]["columns"] = ["Close", "Volume"]
    (other / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("COLUMNS", "70")
    ended = call("diff", "20250110_143022/lstm_basic", "20250111_090000/other")
    lines = ended.out.splitlines()
    assert ended.code == 0 and max(map(len, lines)) <= 70 + 40  # the sentence about the test part is not a table
    assert any(line.split() == ["model:", "hidden", "size", "8", "16"] for line in lines)
    assert any(line.split() == ["data:", "columns", "-", "Volume"] for line in lines)
    assert "identical: data options, training, versions" in ended.out
    assert "cannot be compared" in ended.out and "all metrics are the same" in ended.out


def test_delete_asks_and_takes_no_for_an_answer(runs: Path, tmp_path: Path) -> None:
    for answer, code, left in (("n\n", 0, True), ("", 130, True), ("y\n", 0, False)):
        process = start(tmp_path, "delete", "20250110_143022", stdin=subprocess.PIPE)
        out, err = process.communicate(answer, timeout=60)
        assert "(2 runs, " in out and "for good? [y/N]" in out
        assert (process.returncode, (runs / "20250110_143022").exists()) == (code, left), out + err
        assert ("nothing was deleted" in out) is left and "Traceback" not in err
    assert (runs / "20250111_090000").exists()


def test_ctrl_c_in_the_question_deletes_nothing(runs: Path, tmp_path: Path) -> None:
    def interruptible() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = start(tmp_path, "delete", "20250110_143022", stdin=subprocess.PIPE, preexec_fn=interruptible)
    assert process.stdout is not None
    while not (shown := process.stdout.read(1)).startswith("?"):
        assert shown, "it ended before it asked"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "nothing was deleted" in out and "Traceback" not in err
    assert (runs / "20250110_143022" / "lstm_basic" / "config.json").is_file()


def test_a_trained_run_is_reproduced(call: Manage, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        options = ("--models", "linear:nlinear", "--data", "sample:walk", "--window", "8", "--epochs", "1")
        run_app(train.app, [*options, "--epoch-fraction", "0.1", "--jobs", "1", "--name", "one"])
    ended = call("reproduce", "one")
    assert ended.code == 0 and "identical: the same to the last bit" in ended.out, ended.out + ended.err
    results = tmp_path / "runs" / "one" / "linear_nlinear" / "results.json"
    content = json.loads(results.read_text())
    content["test"]["rmse"] += 0.1
    results.write_text(json.dumps(content))
    ended = call("reproduce", "runs/one/linear_nlinear", "--output", "again")
    assert ended.code == 1 and "different: the largest difference is 0." in ended.out
    assert len(list((tmp_path / "again").iterdir())) == 1


def test_doctor_ends_with_1_if_something_is_wrong(call: Manage, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.management.doctor.check_tensorboard", lambda: iter(()))  # tested beside it, and slow
    assert call("doctor").code == 0
    (runs / "20250110_143022" / "lstm_basic" / "config.json").write_text("{")
    ended = call("doctor")
    assert ended.code == 1 and "problem  runs: 20250110_143022/lstm_basic is damaged" in ended.out
    assert ended.out.endswith("\n1 problem\n") and "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_999, "1 MB"), (71_234, "71.2 kB"), (5e12, "5000 GB")],
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert shown_size(int(size)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (7300, "2 h"), (1e6, "11 d")]
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert shown_age(seconds) == text


@pytest.mark.parametrize("width", range(1, 12))
def test_the_middle_of_a_text_is_left_out(width: int) -> None:
    short = shorten("0123456789", width)
    assert len(short) == min(width, 10) and short[0] == "0" and (width < 3 or short[-1] == "9")
