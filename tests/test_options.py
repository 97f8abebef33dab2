"""Promises of option dataclasses: checked when built, one place per option, to and from text and JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import OptionError, did_you_mean
from src.options import Options, SearchRange, option, tunable


@dataclass(frozen=True)
class Example(Options):
    width: int = tunable(64, low=16, high=512, log=True, minimum=1, help="width")
    rate: float = tunable(0.1, search=(0.1, 0.2), minimum=0.0, maximum=1.0, help="rate")
    step: float = option(1.0, above=0.0, help="step")
    kind: str = option("plain", choices=("plain", "fancy"), help="kind")
    on: bool = option(False, help="on")
    period: int | None = option(None, minimum=2, help="period")
    sizes: tuple[int, ...] = option((3, 5), help="sizes")


@dataclass(frozen=True)
class Pair(Options):
    low: int = option(1, help="low")
    high: int = option(2, help="high")

    def check(self) -> None:
        if self.low > self.high:
            raise OptionError(f"low must be at most high, but got low={self.low} and high={self.high}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width must be at least 1, but got 0"),
        ({"width": 2.5}, "width must be of type int, but got 2.5"),
        ({"width": True}, "width must be of type int, but got True"),
        ({"width": "64"}, "width must be of type int, but got '64'"),
        ({"width": None}, "width must be of type int, but got None"),
        ({"rate": 1.5}, "rate must be between 0.0 and 1.0, but got 1.5"),
        ({"rate": float("nan")}, "rate must be a finite number, but got nan"),
        ({"step": 0}, "step must be greater than 0.0, but got 0.0"),
        ({"step": float("inf")}, "step must be a finite number, but got inf"),
        ({"kind": "fancie"}, "kind must be one of plain, fancy, but got 'fancie'. Did you mean 'fancy'?"),
        ({"on": 1}, "on must be of type bool, but got 1"),
        ({"period": 1}, "period must be at least 2, but got 1"),
        ({"sizes": 3}, "sizes must be a list of values, but got 3"),
        ({"widht": 3}, "'widht' is not an option here. Did you mean 'width'? Known: width, rate, step"),
    ],
)
def test_what_is_not_allowed_is_refused_when_built(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Example.from_dict(values)
    assert str(caught.value).startswith(message)


def test_options_are_frozen_and_checked_together() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().width = 3  # type: ignore[misc]
    with pytest.raises(OptionError, match="low must be at most high, but got low=3 and high=2"):
        Pair(low=3)


def test_the_same_value_in_another_dress_is_accepted() -> None:
    example = Example(step=2, sizes=[1, 2])  # type: ignore[arg-type]
    assert isinstance(example.step, float) and example.sizes == (1, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"width": "128"}, Example(width=128)),
        ({"rate": "1e-2"}, Example(rate=0.01)),
        ({"on": "yes"}, Example(on=True)),
        ({"on": "FALSE"}, Example(on=False)),
        ({"period": "none"}, Example(period=None)),
        ({"period": "7"}, Example(period=7)),
        ({"sizes": "1,2,3"}, Example(sizes=(1, 2, 3))),
        ({"kind": "fancy"}, Example(kind="fancy")),
    ],
)
def test_typed_texts_are_read_by_their_type(text: dict[str, str], expected: Example) -> None:
    assert Example.from_strings(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"width": "many"}, "width must be a whole number, but got 'many'"),
        ({"width": "1.5"}, "width must be a whole number, but got '1.5'"),
        ({"rate": "high"}, "rate must be a number, but got 'high'"),
        ({"on": "maybe"}, "on must be true or false, but got 'maybe'"),
        ({"sizes": "1,x"}, "sizes must be a whole number, but got 'x'"),
        ({"depth": "3"}, "'depth' is not an option here."),
    ],
)
def test_texts_that_cannot_be_read_are_named(text: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Example.from_strings(text)
    assert str(caught.value).startswith(message)


@given(
    st.builds(
        Example,
        width=st.integers(1, 10**9),
        rate=st.floats(0, 1),
        step=st.floats(0, exclude_min=True, allow_infinity=False),
        kind=st.sampled_from(["plain", "fancy"]),
        on=st.booleans(),
        period=st.none() | st.integers(2, 10**6),
        sizes=st.lists(st.integers()).map(tuple),
    )
)
def test_options_survive_json_and_text(example: Example) -> None:
    assert Example.from_dict(json.loads(json.dumps(example.to_dict()))) == example
    texts = {name: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in example.to_dict().items()}
    assert Example.from_strings(texts) == example


def test_one_value_is_checked_without_an_instance() -> None:
    assert Example.checked_value("sizes", [1, 2]) == (1, 2) and Example.checked_value("period", None) is None
    assert isinstance(Example.checked_value("rate", 1), float)
    for name, value in (("width", 0), ("width", 1.5), ("kind", "nothing"), ("rate", 2.0)):
        with pytest.raises(OptionError, match=name):
            Example.checked_value(name, value)


def test_a_field_holds_all_that_is_known_of_it() -> None:
    width, rate, step = dataclasses.fields(Example)[:3]
    assert width.metadata["help"] == "width" and width.metadata["search_range"] == SearchRange(16, 512, True, None)
    assert rate.metadata["search_range"].choices == (0.1, 0.2) and "search_range" not in step.metadata
    assert Example.names() == ["width", "rate", "step", "kind", "on", "period", "sizes"]


def test_the_closest_word_is_suggested_or_none() -> None:
    words = ["lstm:basic", "lstm:attention", "gru:residual"]
    assert did_you_mean("lstm:atention", words) == " Did you mean 'lstm:attention'?"
    assert did_you_mean("GRU:RESIDUAL", words) == " Did you mean 'gru:residual'?"
    assert did_you_mean("zzz", words) == "" == did_you_mean("x", [])
