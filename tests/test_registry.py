"""Promises of the registry: names to classes, patterns, presets, and help with what was mistyped."""

from __future__ import annotations

import pytest

from src import registry
from src.errors import OptionError
from src.registry import default_names, entries, entry, register_model, resolve


@pytest.fixture(autouse=True)
def few_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of its own."""
    monkeypatch.setattr(registry, "_entries", {})

    @register_model("rnn:wide", width=9, summary="wide one")
    @register_model("rnn:basic")
    class Recurrent:
        """A plain recurrent network.

        More about it.
        """

    @register_model("slow:big", by_default=False)
    class Slow:
        pass


def test_stacked_decorators_are_presets_of_one_class() -> None:
    basic, wide = entry("rnn:basic"), entry("rnn:wide")
    assert basic.model_class is wide.model_class and basic.presets == {} and wide.presets == {"width": 9}
    assert (basic.summary, wide.summary, entry("slow:big").summary) == ("A plain recurrent network.", "wide one", "")
    assert basic.family == "rnn"
    assert [known.name for known in entries()] == ["rnn:basic", "rnn:wide", "slow:big"]


def test_costly_models_are_left_out_by_default() -> None:
    assert default_names() == ["rnn:basic", "rnn:wide"]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ([], []),
        (["rnn"], ["rnn:basic"]),
        (["rnn:*"], ["rnn:basic", "rnn:wide"]),
        (["*:big", "rnn"], ["slow:big", "rnn:basic"]),
        (["rnn:wide", "rnn:*", "rnn:wide"], ["rnn:wide", "rnn:basic"]),
        (["rnn:[bw]*"], ["rnn:basic", "rnn:wide"]),
    ],
)
def test_what_is_typed_becomes_exact_names_in_order_without_repeats(typed: list[str], names: list[str]) -> None:
    assert resolve(typed) == names


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("rnn:wiede", "there is no model 'rnn:wiede'. Did you mean 'rnn:wide'?"),
        ("slow", "there is no model 'slow'. Did you mean one of slow:big?"),
        ("q", "there is no model 'q'. `python train_models.py --list` shows all names"),
        ("x*", "no model matches 'x\\*'; known: rnn:basic, rnn:wide, slow:big"),
    ],
)
def test_unknown_names_are_refused_with_the_closest_known_one(typed: str, message: str) -> None:
    with pytest.raises(OptionError, match=message.replace("?", "\\?")):
        resolve([typed])


@pytest.mark.parametrize("name", ["rnn", "rnn:", ":basic", ""])
def test_a_name_has_a_family_and_a_variant(name: str) -> None:
    with pytest.raises(OptionError, match=f"a model's name must be 'family:variant', but got '{name}'"):
        register_model(name)


def test_a_name_belongs_to_one_class_which_may_be_read_again() -> None:
    class Other:
        pass

    with pytest.raises(OptionError, match=r"the name 'rnn:basic' is taken by .*Recurrent; give the new model another"):
        register_model("rnn:basic")(Other)
    old = entry("slow:big").model_class
    again = type(old.__name__, (), {"__qualname__": old.__qualname__})
    register_model("slow:big")(again)
    assert entry("slow:big").model_class is again
