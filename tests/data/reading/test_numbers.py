"""Numbers: decimal sign and thousands over all cells, marks around numbers, and what stands for missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.reading.missing import parse_missing, sentinel
from src.data.reading.number_style import Convention, choose_conventions
from src.data.reading.numbers import NumberEvidence, convert_numbers, read_numbers


def convert(*cells, decimal=None, thousands=None, comma_likely=False, others=()):
    """Values of a column (None where missing), how it is written, and the first bad cell."""
    columns = {"x": cells, "y": others}
    read = {
        name: read_numbers(pd.Series(texts, dtype="str", index=range(2, 2 + len(texts))))
        for name, texts in columns.items()
    }
    evidence = {name: NumberEvidence() for name in columns}
    for name, numbers in read.items():
        evidence[name].add(numbers)
    conventions, _ = choose_conventions(evidence, decimal, thousands, comma_likely)
    converted = convert_numbers(read["x"], conventions["x"])
    return [None if np.isnan(value) else value for value in converted.values], conventions["x"], converted.bad


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("1.5", "-2", "+3", ".5", "4.", "1e3", "-1.40E-05"), [1.5, -2, 3, 0.5, 4, 1000, -1.4e-05]),
        (("12,5", "1.234", "-0,75"), [12.5, 1234, -0.75]),
        (("1,234.5", "2,000", "7"), [1234.5, 2000, 7]),
        (("1.234,5", "2.000", "7"), [1234.5, 2000, 7]),
        (("1.234.567", "1.234"), [1234567, 1234]),
        (("4,787,699", "6189026.0000"), [4787699, 6189026]),
        (("1 234,5", "1\u00a0234", "1\u202f234\u202f567,25"), [1234.5, 1234, 1234567.25]),
        (("1'234.50", "1’234"), [1234.5, 1234]),
        (("12,34,567", "1.5"), [1234567, 1.5]),
        (("$1,234.50", "€ 5", "-$3", "£.5"), [1234.5, 5, -3, 0.5]),
        (("12.5%", "-3 %"), [12.5, -3]),
        (("(1,234.00)", "2"), [-1234, 2]),
        (("−3.5", "12-", "- 4"), [-3.5, -12, -4]),
        (("1.2M", "3.4K", "5B", "1,200.5k", "7"), [1.2e6, 3400, 5e9, 1200500, 7]),
        (("1", "", "NaN", "n/a", "NULL", "-", "--", ".", "#N/A", "inf", "-Infinity", "2"), [1, *[None] * 10, 2]),
    ],
)
def test_ways_to_write_numbers(cells, values):
    found, _, bad = convert(*cells)
    assert bad is None and found == values


def test_a_lone_comma_is_decided_by_the_rest_of_the_file():
    assert convert("1,234", others=("12,5",))[0] == [1.234]
    assert convert("1,234", others=("12.5",))[0] == [1234]
    assert convert("1.234", others=("12,5",))[0] == [1234]
    assert convert("1.234", others=("12.5",))[0] == [1.234]
    assert convert("1,234")[0] == [1234] and convert("1,234", comma_likely=True)[0] == [1.234]


def test_columns_that_contradict_each_other_follow_their_own():
    assert convert("12,5", "1,25", others=("12.5", "1.25", "3.75"))[0] == [12.5, 1.25]
    assert convert("12.5", "1.25", others=("12,5", "1,25", "3,75"))[0] == [12.5, 1.25]


def test_the_user_decides():
    assert convert("1,234", decimal="comma")[0] == [1.234]
    assert convert("1,234", thousands="comma")[0] == [1234]
    assert convert("1,234", thousands="point")[0] == [1.234]
    assert convert("1,234.5", thousands="none")[2] == (2, "1,234.5")


@pytest.mark.parametrize(
    "cells", [("1,234.5", "12,5"), ("1,234,5678", "2,345,678"), ("1.5", "1,2,3"), ("1", "12x"), ("2", "3", "1 2")]
)
def test_what_fits_no_convention_is_named(cells):
    _, _, bad = convert(*cells)
    assert bad is not None and bad[1] in cells


def test_values_are_what_float_says():
    generator = np.random.default_rng(1)
    texts = [repr(value) for value in (generator.normal(size=500) * 10.0 ** generator.integers(-20, 20, 500)).tolist()]
    assert convert(*texts)[0] == [float(text) for text in texts]


@given(
    st.lists(st.floats(0.01, 1e9), min_size=2, max_size=20),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'")]),
)
@settings(max_examples=60, deadline=None)
def test_any_convention_is_found_and_undone(values, signs):
    decimal, mark = signs
    texts = [f"{value:,.2f}".translate(str.maketrans({",": mark, ".": decimal})) for value in values]
    found, convention, bad = convert(*texts)
    assert bad is None and convention.decimal == decimal
    assert found == [float(f"{value:.2f}") for value in values]


def test_convention_in_words():
    assert str(Convention(",", ".")) == "decimal comma, thousands point" and str(Convention()) == "decimal point"


def test_sentinels_are_far_out_repeated_and_negative():
    prices = np.linspace(5, 40, 100)
    with_gaps = np.append(prices, [-1.0] * 3)
    assert sentinel(with_gaps) == -1
    assert sentinel(np.append(prices - 20, [-200.0] * 3)) == -200
    assert sentinel(np.append(prices - 5, [-99.0] * 3)) == -99
    assert sentinel(np.append(prices - 5, [-9.0] * 3)) == -9
    assert sentinel(np.append(prices, -1.0), least=1) == -1
    assert sentinel(np.append(np.append(prices, np.nan), [-9999.0] * 5)) == -9999


@pytest.mark.parametrize(
    "values",
    [
        np.append(np.linspace(5, 40, 100), [-1.0] * 2),  # too few
        np.append(np.linspace(0, 40, 100), [-1.0] * 5),  # others reach zero
        np.tile([-1.0, 0, 1], 20),  # labels
        np.tile([-1.0, 1], 20),
        np.append(np.linspace(-100, 100, 100), [-150.0] * 5),  # not isolated
        np.append(np.linspace(5, 40, 100), [-0.5] * 5),  # not whole
        np.linspace(1, 2, 50),
        np.full(5, np.nan),
    ],
)
def test_what_is_no_sentinel(values):
    assert sentinel(values) is None


def test_the_users_own_missing_values():
    words, values = parse_missing("-200, -1,halted")
    assert values == [-200, -1] and {"halted", "nan", ""} <= words
    assert parse_missing("none")[1] == [] and parse_missing(None)[1] is None
