"""Every mistake of the user is one line: the rule, the value and the likely fix; and nothing is left behind."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

QUICK: tuple[Any, ...] = (
    *("--data", "sample:walk", "--window", 8, "--epochs", 2, "--epoch-fraction", 0.1, "--lr", 0.01, "--jobs", 1),
)
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def refused(call: Call, tmp_path: Path) -> Callable[..., str]:
    """Calls the command, expects a refusal in one line that leaves nothing behind, and returns the line."""

    def expect(*arguments: Any) -> str:
        before = sorted(tmp_path.rglob("*"))
        ended = call(*arguments)
        assert ended.code == 2, ended.out + ended.err
        assert ended.err.startswith("error: ") and ended.err.count("\n") == 1 and ended.err.endswith("\n")
        assert "Traceback" not in ended.out + ended.err
        assert sorted(tmp_path.rglob("*")) == before, "nothing may be half-written"
        return ended.err.removeprefix("error: ").rstrip()

    return expect


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--models", "lstm:atention"), "there is no model 'lstm:atention'. Did you mean 'lstm:attention'?"),
        (("--models", "LSTM:Basic"), "Did you mean 'lstm:basic'?"),
        (("--models", "transformr"), "Did you mean 'transformer"),
        (("--models", "linear"), "Did you mean one of linear:nlinear, linear:dlinear?"),
        (("--models", "rnn:*"), "no model matches 'rnn:*'; known: lstm:basic"),
        (("--models",), "--models"),
        (("--set", "hiden_size=8"), "no selected model has the option 'hiden_size'. Did you mean 'hidden_size'?"),
        (("--set", "lr=0.1"), "It is an option of the command: use --lr."),
        (("--set", "window=9"), "It is an option of the command: use --window."),
        (("--set", "batch_size=9"), "It is an option of the command: use --batch-size."),
        (
            ("--models", "lstm:basic", "--set", "gru:basic.hidden_size=8"),
            "gru:basic, which is not among those to train",
        ),
        (("--models", "lstm:basic", "--set", "lstm:basic.width=8"), "'width' is not an option"),
        (("--models", "lstm:basic", "--set", "lstn:basic.hidden_size=8"), "Did you mean 'lstm:basic'?"),
        (("--models", "lstm:basic", "--set", "hidden_size=0"), "hidden_size must be at least 1, but got 0"),
        (("--models", "lstm:basic", "--set", "hidden_size=many"), "hidden_size must be a whole number, but got 'many'"),
        (("--models", "lstm:basic", "--set", "hidden_size"), "--set takes name=value, but got 'hidden_size'"),
        (("--models", "lstm:basic", "--set", "loss=msee"), "loss must be one of mse, mae, huber, but got 'msee'"),
        (("--epochs", 0), "epochs must be at least 1, but got 0"),
        (("--epochs", "ten"), "epochs must be a whole number, but got 'ten'"),
        (("--epochs", "2.5"), "epochs must be a whole number, but got '2.5'"),
        (("--batch-size", "64k"), "batch_size must be a whole number, but got '64k'"),
        (("--lr", "fast"), "lr must be a number, but got 'fast'"),
        (("--seeds", "two"), "seeds must be a whole number, but got 'two'"),
        (("--patience", 0), "patience must be at least 1, but got 0"),
        (("--lr", 0), "lr must be greater than 0.0, but got 0.0"),
        (("--lr", "nan"), "lr must be a finite number, but got nan"),
        (("--batch-size", 0), "batch_size must be at least 1, but got 0"),
        (("--window", 0), "window must be at least 1, but got 0"),
        (("--horizon", 0), "horizon must be at least 1, but got 0"),
        (("--epoch-fraction", 0), "epoch_fraction"),
        (("--epoch-fraction", 1.5), "epoch_fraction must be at most 1.0, but got 1.5"),
        (("--schedule", "plato"), "schedule must be one of plateau, cosine, one-cycle, constant, but got 'plato'"),
        (("--precision", "float8"), "precision must be one of"),
        (("--transform", "diff"), "transform must be one of"),
        (("--task", "guess"), "task must be one of"),
        (("--split", "0.7,0.3"), "split must be"),
        (("--split", "0.7,0.2,0.2"), "split fractions must sum to at most 1"),
        (("--split", "5000,100,100"), "needs 5200 rows, but there are 3000"),
        (("--gap", -1), "gap must be at least 0, but got -1"),
        (("--jobs", 0), "--jobs must be auto or a whole number from 1, but got '0'"),
        (("--jobs", "many"), "--jobs must be auto or a whole number from 1, but got 'many'"),
        (("--device", "gpu"), "device must be auto, cpu, cuda, cuda:N or mps, but got 'gpu'"),
        (("--device", "cuda:77"), "device cuda:77 is not available on this machine; use --device auto"),
        (("--seeds", 0), "--seeds must be at least 1, but got 0"),
        (("--seed", -1), "seed must be at least 0, but got -1"),
        (("--target", "Clos"), "Did you mean 'Close'?"),
        (("--features", "Close,Volum"), "Volum"),
        (("--data", "sample:walkk"), "there is no sample 'walkk'. Did you mean 'walk'?"),
        (("--window", 4000), "the look-back window plus horizon needs at least"),
        (("--model", "lstm"), "there is no option --model. Did you mean '--models'?"),
        (("--tensorbord",), "Did you mean '--tensorboard'?"),
        (("lstm:basic",), "lstm:basic"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(refused: Callable[..., str], given: tuple[Any, ...], said: str) -> None:
    assert said in refused("--data", "sample:walk", "--window", 8, *given)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", "", "empty.csv"),
        ("one_column.csv", "Close\n1\n2\n3\n", "one_column.csv"),
        ("header_only.csv", "Date,Close\n", "header_only.csv"),
        ("short.csv", "Date,Close\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n", "needs at least"),
        ("text.csv", "Date,Close\n2020-01-01,a\n2020-01-02,b\n", "text.csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    refused: Callable[..., str], tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    assert said in refused("--data", tmp_path / name, "--window", 8)


def test_files_that_are_none_are_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "nowhere.csv" in refused("--data", "nowhere.csv")
    assert str(tmp_path) in refused("--data", tmp_path)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 20)
    assert "binary.csv" in refused("--data", "binary.csv")


def test_folders_that_cannot_be_written_are_one_line(refused: Callable[..., str], call: Call, tmp_path: Path) -> None:
    few = (*QUICK, "--models", "baseline:naive")
    (tmp_path / "file").write_text("")
    assert "use --output to name another place" in refused(*few, "--output", "file")
    assert "use --output to name another place" in refused(*few, "--output", "file/deeper")
    assert call(*few, "--name", "mine").code == 0
    assert "the run folder must be new, but runs/mine exists; use another --name, or --resume runs/mine" in refused(
        *few, "--name", "mine"
    )


PLANNED: dict[str, Any] = {"model": "lstm:basic", "options": {}, "data": {}, "training": {}}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (None, "--resume needs a run folder with a plan.json, but old has none"),
        ("{", "is not valid JSON"),
        ("", "is not valid JSON"),
        ("\xff\xfe", "is not valid JSON"),
        ("[]", "a plan needs a list of runs"),
        ("{}", "a plan needs a list of runs"),
        ('{"version": 1, "runs": []}', "a plan needs a list of runs"),
        ('{"version": 1, "runs": [3]}', "a run's configuration needs model, options, data, training"),
        ('{"version": 99, "runs": [{}]}', "has version 99"),
        (json.dumps({"version": 1, "runs": [PLANNED | {"data": 5}]}), "its data is missing or no dict"),
        (json.dumps({"version": 1, "runs": [PLANNED | {"training": {"epochs": 0}}]}), "epochs must be at least 1"),
        (json.dumps({"version": 1, "runs": [PLANNED | {"training": {"lr": "fast"}}]}), "lr must be of type float"),
        (json.dumps({"version": 1, "runs": [PLANNED | {"training": {"speed": 1}}]}), "'speed' is not an option"),
    ],
)
def test_a_folder_that_cannot_be_resumed_is_one_line(
    refused: Callable[..., str], tmp_path: Path, plan: str | None, said: str
) -> None:
    (tmp_path / "old").mkdir()
    if plan is not None:
        (tmp_path / "old" / "plan.json").write_bytes(plan.encode("latin-1"))
    line = refused("--resume", "old")
    assert said in line and "old" in line


def test_what_is_no_folder_cannot_be_resumed(refused: Callable[..., str]) -> None:
    assert "nowhere has none" in refused("--resume", "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '{"model": "lstm:basic"}', '{"model": 5, "options": {}}'])
def test_a_config_that_is_none_is_one_line(refused: Callable[..., str], tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    line = refused("--config", "config.json")
    assert line.startswith("--config needs the config.json of a run, but got config.json: ")


def test_a_config_with_unknown_options_or_none_at_all_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "there is no file nowhere.json" in refused("--config", "nowhere.json")
    assert "cannot be read" in refused("--config", tmp_path)
    walk = {"data": "sample:walk", "window": 8}
    for part, said in (
        ({"options": {"width": 3}}, "'width' is not an option"),
        ({"model": "lstm:x"}, "no model 'lstm:x'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(PLANNED | {"data": walk} | part))
        assert said in refused("--config", "config.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--plugin must name a Python file, but got 'mine.py'"),
        ("import nothing_of_that_name\n", "fails on import: ModuleNotFoundError"),
        ("def broken(:\n", "fails on import: SyntaxError"),
        ("raise RuntimeError('two\\nlines')\n", "fails on import: RuntimeError: two lines"),
        ("x = 1\n", "registers no model; put @register_model('family:variant') on a class"),
        ("from src import register_model\n@register_model('mine')\nclass A: pass\n", "must be 'family:variant'"),
        ("from src import register_model\n@register_model('lstm:basic')\nclass A: pass\n", "is taken by"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line(
    refused: Callable[..., str], tmp_path: Path, content: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    assert said in refused(*QUICK, "--plugin", "mine.py")


def test_a_mistake_in_a_real_process_is_one_line_too(as_process: Call, tmp_path: Path) -> None:
    ended = as_process("--models", "lstm:basik", *QUICK)
    assert ended.code == 2 and ended.out == ""
    assert re.fullmatch(r"error: there is no model 'lstm:basik'. Did you mean 'lstm:basic'\? .*\n", ended.err)
    assert list(tmp_path.iterdir()) == []
