"""Promises of ``tune_models.py`` as a command: flags, what is refused and how, what is printed at any width."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.cli import tune as module
from src.cli.common import run_app
from src.cli.tune import parse_timeout
from src.cli.tune_output import ModelOutcome, print_cost, print_space, show_search_results
from src.cli.tune_progress import SearchPrinter
from src.errors import OptionError
from src.tuning.config import HyperparameterConfig
from src.tuning.dimension import Dimension
from src.tuning.reports import TrialEpoch, TrialRecord, TrialStarted
from src.tuning.request import SearchRequest
from src.tuning.search_space import SearchSpace

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command up to the search itself; ``asked`` is what it would be given."""
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []
    for name in ("start_search", "resume_search", "join_search"):
        monkeypatch.setattr(module, name, lambda *arguments, name=name: asked.append((name, *arguments)) or 0)

    def run(*arguments: Any) -> SimpleNamespace:
        asked.clear()
        with pytest.raises(SystemExit) as ended:
            run_app(module.app, list(map(str, arguments)), prog_name="tune_models.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err, asked=asked[0] if asked else None)

    return run


def request_of(answer: SimpleNamespace) -> SearchRequest:
    assert answer.code == 0, answer.err
    assert answer.asked[0] == "start_search"
    request = answer.asked[1]
    assert isinstance(request, SearchRequest)
    assert SearchRequest.from_dict(request.to_dict()) == request
    return request


# --- what is understood


def test_the_promised_defaults(call: Call) -> None:
    config = request_of(call()).config
    assert config.trials == (15, 35, 10)
    assert [config.epochs_of(phase) for phase in ("random", "bayesian", "fine_tune")] == [10, 20, 30]


@pytest.mark.parametrize("flag", ["--epochs-{}", "--epochs_{}"])
def test_epochs_of_a_phase_in_both_spellings(call: Call, flag: str) -> None:
    words = [flag.format("random"), 5, flag.format("bayesian"), 6]
    config = request_of(call(*words, flag.format("fine-tune" if "-{" in flag else "fine_tune"), 7)).config
    assert [config.epochs_of(phase) for phase in ("random", "bayesian", "fine_tune")] == [5, 6, 7]


@pytest.mark.parametrize(("trials", "split"), [(60, (15, 35, 10)), (12, (3, 7, 2)), (6, (2, 3, 1)), (1, (1, 0, 0))])
def test_trials_are_split_in_the_proportion_of_the_phases(call: Call, trials: int, split: tuple[int, ...]) -> None:
    assert request_of(call("--trials", trials)).config.trials == split


def test_phases_may_be_given_one_by_one(call: Call) -> None:
    words = ("--n-random-trials", 4, "--n-bayesian-trials", 0, "--n-fine-tune-trials", 1)
    assert request_of(call(*words)).config.trials == (4, 0, 1)
    assert request_of(call(*words, "--trials", 5)).config.trials == (4, 0, 1)


def test_options_of_the_training_command_are_understood_and_kept_out_of_the_search(call: Call) -> None:
    words = ("--models", "lstm:basic", "gru:*", "--set", "hidden_size=32", "--lr", "0.01", "--window", 48)
    request = request_of(call(*words, "--seeds", 3, "--space", "space.toml", "--storage", "x.journal"))
    assert request.models == ("lstm:basic", "gru:*") and request.settings == ("hidden_size=32",)
    assert set(request.given) == {"lr", "window"} and request.training.lr == 0.01 and request.data.window == 48
    assert (request.seeds, request.space, request.storage) == (3, "space.toml", "x.journal")


@pytest.mark.parametrize(
    ("words", "tensorboard", "batches"),
    [((), True, True), (("--no-log-batches",), True, False), (("--no-tensorboard",), False, False)],
)
def test_every_batch_is_logged_unless_told_otherwise(
    call: Call, words: tuple[str, ...], tensorboard: bool, batches: bool
) -> None:
    request = request_of(call(*words))
    assert (request.tensorboard, request.logging.log_batches) == (tensorboard, batches)


def test_a_search_can_be_gone_on_with_and_joined(call: Call) -> None:
    name, root, storage, way = call("--resume", "runs/x", "--jobs", 3, "--timeout", "2h").asked
    assert (name, root, storage, way.jobs, way.timeout) == ("resume_search", Path("runs/x"), None, "3", 7200)
    name, storage, search, output, _ = call("--worker", "--storage", "postgresql://s/d", "--name", "big").asked
    assert (name, storage, search, output) == ("join_search", "postgresql://s/d", "big", Path("runs"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_timeout(text) == seconds


# --- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trials", 0), "--trials must be at least 1, but got 0"),
        (("--trials", "many"), "trials must be a whole number, but got 'many'"),
        (("--trials", 10, "--n-random-trials", 4), "got --trials 10 with --n-random-trials; leave one out"),
        (("--n-random-trials", 0, "--n-bayesian-trials", 0), "raise --n-random-trials"),
        (("--pruner", "median2"), "pruner must be one of median, hyperband, none, but got 'median2'"),
        (("--timeout", "soon"), "--timeout must be a time such as 90s, 30m or 2h, but got 'soon'"),
        (("--timeout", "0"), "--timeout must be a time such as 90s"),
        (("--worker",), "--storage is missing"),
        (("--worker", "--storage", "x", "--trials", 3), "--worker goes on with a search as it was begun"),
        (("--resume", "runs/x", "--models", "lstm"), "but got --models"),
        (("--resume", "runs/x", "--epochs", 4), "but got --epochs"),
        (("--resume", "runs/x", "--no-final"), "but got --no-final"),
        (("--watch", "--no-tensorboard"), "leave one of them out"),
        (("--seeds", 0), "--seeds must be at least 1"),
        (("--trails", 3), "there is no option --trails. Did you mean '--trials'"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(call: Call, words: tuple[Any, ...], said: str) -> None:
    answer = call(*words)
    assert answer.code == 2 and answer.asked is None
    assert answer.err.startswith("error: ") and said in answer.err and answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "lstm:atention"), "Did you mean 'lstm:attention'"),
        (("--models", "baseline:naive"), "baseline:naive"),
        (("--resume", "nowhere"), "--resume needs the folder of a search"),
        (("--worker", "--storage", "empty.journal"), "must hold a search, but it holds none"),
        (("--space", "nowhere.toml"), "nowhere.toml"),
        (("--objective", "accuracy"), "--objective must be auto or one of mse, loss for the task forecast"),
        (("--jobs", "many"), "--jobs must be auto or a whole number"),
    ],
)
def test_what_only_the_search_can_know_is_told_as_well(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tune_models.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_help_names_every_option_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom src.cli.common import run_app\nfrom src.cli.tune import app\n"
        "try:\n    run_app(app, ['--help'], prog_name='tune_models.py')\nfinally:\n"
        "    heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'optuna', 'scipy', 'tensorboard'} & set(sys.modules)\n"
        "    print('heavy:', *sorted(heavy), file=sys.stderr)\n"
    )
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "heavy:\n"
    for flag in (
        "--trials",
        "--epochs-random",
        "--epochs_random",
        "--pruner",
        "--space",
        "--worker",
        "--lr",
        "--notify",
    ):
        assert flag in done.stdout


# --- what is printed

CONFIG = HyperparameterConfig(n_random_trials=2, n_bayesian_trials=2, n_fine_tune_trials=1)
SPACE = SearchSpace(
    "gru:residual",
    (
        Dimension("hidden_size", "model", "int", 64, 16, 512, log=True),
        Dimension("lr", "training", "float", 1e-3, 1e-5, 1e-1, log=True),
        Dimension("normalisation", "model", "choice", "none", choices=("revin", "last", "none")),
    ),
    {"batch_size": 64},
    notes=("window is not searched: the series is too short",),
)


def record(number: int, status: str = "completed", value: float | None = 0.5, **more: Any) -> TrialRecord:
    phase = CONFIG.phase_of(number)
    values = {"lr": 0.001 * (number + 1), "hidden_size": 64}
    return TrialRecord(
        "gru:residual", number, number, phase, status, value, "x", "host", 10, 10, hyperparameters=values, **more
    )


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_space_and_cost_fit_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_space([SPACE], CONFIG, "mse")
    print_cost({"gru:residual": 0.5}, CONFIG, 2)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= max(60, columns)
    for word in ("16 to 512, logarithmic", "revin, last, none", "default 0.001", "batch_size=64", "too short"):
        assert word in text
    assert "2 random (10 epochs)" in " ".join(text.split()) and "about 22 s with 2 jobs" in " ".join(text.split())


def test_the_end_says_what_was_found_and_what_to_do_with_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = ModelOutcome(
        "gru:residual", 5, 5, 1, 0, (0.9, 3, "bayesian"), 1.0, {"lr": (1e-3, 0.0123456)}, tmp_path / "best_config.json"
    )
    bad = ModelOutcome("mine:broken", 0, 5, 0, 5, None, None, {}, tmp_path / "none.json", "RuntimeError: no way")
    show_search_results(tmp_path, [good, bad], "postgresql://***@server/db", is_done=False)
    text = capsys.readouterr().out
    assert "best 0.9 in trial 3 (Bayesian); the defaults 1" in text and "lr 0.001 -> 0.01235" in text
    assert f"train_models.py --config {tmp_path}/best_config.json" in text
    assert "mine:broken: 0 of 5 trials, 5 failed" in text and "RuntimeError: no way" in text
    assert f"tune_models.py --resume {tmp_path}" in text and "optuna-dashboard" in text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def report_some(printer: SearchPrinter) -> None:
    values = {0: 1.0, 1: 2.0, 2: 0.25}
    for number, value in values.items():
        printer.report("key", TrialStarted("gru:residual", number, CONFIG.phase_of(number), 10, "x", {}))
        for epoch in range(10):
            printer.report("key", TrialEpoch("gru:residual", number, epoch, 10, value, value, 2.0))
        printer.report("key", record(number, value=value))
    printer.report("key", record(3, "failed", None, error="it broke"))


def test_a_log_has_a_line_for_each_new_best_and_each_failure() -> None:
    stream = io.StringIO()
    printer = SearchPrinter(["gru:residual"], CONFIG, "mse", stream=stream)
    report_some(printer)
    printer.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[2] for line in lines] == ["0", "2", "3"]
    assert "the defaults" in lines[0] and "0.25" in lines[1] and "lr=0.003" in lines[1]
    assert "hidden_size" not in lines[1], "what is as by default is not said"
    assert lines[2].endswith("failed: it broke")


@pytest.mark.parametrize("columns", [40, 200])
def test_a_terminal_has_one_bar_that_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    printer = SearchPrinter(["gru:residual"], CONFIG, "mse", stream=stream)
    report_some(printer)
    assert printer.bar.n == 3 and printer.bar.total == 5
    printer.close()
    assert "Traceback" not in stream.getvalue()


def test_the_time_left_counts_epochs_of_each_phase_and_jobs() -> None:
    for jobs in (1, 2):
        printer = SearchPrinter(["gru:residual"], CONFIG, "mse", jobs=jobs, stream=io.StringIO())
        assert printer.time_left() is None
        report_some(printer)
        # One trial of 20 epochs and one of 30 are left, 2 seconds an epoch.
        assert printer.time_left() == pytest.approx((20 + 30) * 2 / jobs)


def test_trials_of_an_earlier_command_count() -> None:
    stream = io.StringIO()
    ended = {"gru:residual": [record(0, value=0.1), record(1, "killed", None)]}
    printer = SearchPrinter(["gru:residual"], CONFIG, "mse", ended=ended, stream=stream)
    printer.report("key", record(2, value=0.2))
    assert stream.getvalue() == "", "0.2 is no new best"
    assert printer.done == {"gru:residual": {0, 2}}


def test_maximised_objectives_have_their_best_at_the_top() -> None:
    stream = io.StringIO()
    printer = SearchPrinter(["gru:residual"], CONFIG, "accuracy", stream=stream)
    printer.report("key", record(0, value=0.5))
    printer.report("key", record(1, value=0.6))
    assert stream.getvalue().count("best accuracy") == 2


def test_the_config_refuses_nonsense() -> None:
    with pytest.raises(OptionError, match="at least one trial"):
        HyperparameterConfig(0, 0, 0)
