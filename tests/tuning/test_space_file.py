"""The space file: read or refused in one sentence, and what it says of each model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.errors import OptionError, UserError
from src.tuning.seed_names import SEED_NAMES, seed_name
from src.tuning.space_file import Entry, check_names, entries_of, load_space_file

ROOT = Path(__file__).resolve().parents[2]
TOML = """
d_model = [32, 64]
dropout = 0.2
lr = {low = 1e-4, high = 1e-2, log = true}
schedule = ["plateau", "cosine"]

["lstm:attention"]
hidden_size = {low = 8, high = 16}

["transformer:*"]
num_heads = 2
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="space.toml"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


def test_toml_and_json_say_the_same(write):
    content = load_space_file(write(TOML))
    assert content["lr"] == {"low": 1e-4, "high": 1e-2, "log": True}
    assert load_space_file(write(json.dumps(content), "space.json")) == content
    assert load_space_file(write("﻿" + json.dumps(content), "space.JSON")) == content


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("dropout: 0.1", "space.yaml", r"\.json or \.toml file, but got .*space\.yaml"),
        ("dropout = = 1", "space.toml", r"no valid TOML \(.*line 1"),
        ("{dropout: 1}", "space.json", r"no valid JSON \(.*line 1"),
        ("[1, 2]", "space.json", "names options, but .* holds a list"),
        (b"\xff\xfe\x00", "space.toml", "cannot be read"),
        ("dropout = []", "space.toml", "at least one, but dropout has none"),
        ("dropout = 2024-01-01", "space.toml", "a number, a text or true/false, but dropout is"),
        ("dropout = {lowest = 0.1}", "space.toml", "but dropout has 'lowest'. Did you mean 'low'"),
        ("[lstm]\nhidden_size = 3", "space.toml", r'but lstm has .hidden_size.\..*full name, such as \["lstm:basic"\]'),
        ("dropout = {}", "space.toml", "needs low or high, but that of dropout is empty"),
        ("dropout = {low = 'small'}", "space.toml", "must be numbers, but low of dropout is 'small'"),
        ("dropout = {low = true}", "space.toml", "must be numbers, but low of dropout is True"),
        ("dropout = {high = inf}", "space.toml", "must be numbers, but high of dropout is inf"),
        ("dropout = {low = 0.3, high = 0.1}", "space.toml", "low must be at most high, but dropout has low=0.3"),
        ("dropout = {low = 0.1, log = 1}", "space.toml", "must be true or false, but that of dropout is 1"),
        ('"lstm:basic" = 3', "space.toml", "under the model lstm:basic must be a table of options, but got 3"),
        ('["lstm:basic"]\nlr = {low = 1, high = 0}', "space.toml", "low must be at most high, but lr has low=1"),
    ],
)
def test_what_is_no_space_is_refused_in_one_sentence(write, text, name, expected):
    with pytest.raises(UserError, match=expected) as caught:
        load_space_file(write(text, name))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a file that exists, but there is no .*none\.toml"):
        load_space_file(tmp_path / "none.toml")


def test_names_of_the_guide_stand_for_ours(write):
    file = load_space_file(write(TOML))
    found = entries_of(file, "lstm:basic", ["hidden_size", "dropout", "lr"])
    assert found["hidden_size"] == Entry("d_model", [32, 64])
    assert found["dropout"] == Entry("dropout", 0.2)
    assert found["lr"] == Entry("lr", low=1e-4, high=1e-2, log=True, is_range=True)
    assert "schedule" not in found, "no option of the model"


def test_every_name_of_the_guide_is_understood():
    for option, seed in SEED_NAMES.items():
        assert list(entries_of({seed: 1}, "a:b", [option])) == [option]
        assert seed_name(option) == seed
    assert seed_name("kernel") == "kernel"


def test_a_models_own_option_is_meant_before_that_of_the_guide():
    own = ["learning_rate", "lags"]
    assert entries_of({"learning_rate": 0.1}, "baseline:boosting", own) == {
        "learning_rate": Entry("learning_rate", 0.1)
    }


def test_a_models_own_table_wins_whatever_name_it_uses(write):
    file = load_space_file(write(TOML))
    names = ["hidden_size", "dropout", "num_heads"]
    own = entries_of(file, "lstm:attention", names)
    assert own["hidden_size"] == Entry("hidden_size", low=8, high=16, is_range=True) and own["dropout"].content == 0.2
    assert entries_of(file, "transformer:patch", names)["num_heads"].content == 2
    assert "num_heads" not in own


def test_an_option_named_twice_is_refused():
    with pytest.raises(OptionError, match="d_model and hidden_size are both hidden_size; leave one out"):
        entries_of({"d_model": 3, "hidden_size": 4}, "lstm:basic", ["hidden_size"])


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ({"hiden_size": 3}, "names hiden_size, but .* any of the models searched .* Did you mean 'hidden_size'"),
        ({"learning_rat": 3}, "Did you mean 'learning_rate'"),
        ({"lstm:bsic": {"hidden_size": 3}}, "a table for lstm:bsic, but .* Did you mean 'lstm:basic'"),
        ({"lstm:basic": {"kernel": 3}}, "names kernel, but that is no option of lstm:basic that can be searched"),
        ({"gru:*": {"kernel": 3}}, r"a table for gru:\*, but that is none of the models searched"),
    ],
)
def test_names_that_mean_nothing_are_refused(file, expected):
    names = {"lstm:basic": ["hidden_size", "lr"], "tcn:basic": ["hidden_size", "kernel", "lr"]}
    with pytest.raises(OptionError, match=expected):
        check_names(file, names)
    check_names(
        {"kernel": 3, "d_model": 3, "learning_rate": 1, "tcn:basic": {"kernel": 3}, "*:basic": {"lr": 1}}, names
    )


def test_reading_a_space_file_loads_neither_torch_nor_optuna():
    code = "import sys; import src.tuning.space_file; print([m for m in ('torch', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
