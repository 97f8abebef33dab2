"""The leaderboard: order, seeds, refusal, width and the sentence below it."""

import io

import numpy as np
import pandas as pd
import pytest

from src.comparison.leaderboard import leaderboard, leaderboard_csv, leaderboard_text, ranking, verdict
from src.errors import UserError

FORECAST = {"rmse": 2.0, "mae": 1.0, "mse_scaled": 1.0, "mae_scaled": 0.8, "skill_vs_naive": 0.0}


def result(model, seed=0, task="forecast", targets=("Close",), test_hash="x", parameters=1000, seconds=1.0, **test):
    defaults = FORECAST | {"direction_accuracy": 0.5}
    if task == "direction":
        defaults = {"accuracy": 0.5, "balanced_accuracy": 0.5, "log_loss": 0.7, "skill_vs_naive": 0.0}
    return {
        "model": model,
        "seed": seed,
        "task": task,
        "targets": list(targets),
        "test": defaults | test,
        "windows": {"test_hash": test_hash},
        "training": {"best_validation_loss": 0.5, "seconds": seconds},
        "parameters": parameters,
    }


def test_least_error_comes_first():
    table = leaderboard([result("lstm:basic", rmse=2.5), result("baseline:naive"), result("tcn:basic", rmse=1.5)])
    assert table["model"].tolist() == ["tcn:basic", "baseline:naive", "lstm:basic"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table.attrs["ranked_by"] == "RMSE"
    assert table.index.tolist() == [0, 1, 2]


def test_directions_are_ranked_by_skill():
    runs = [result(name, task="direction", skill_vs_naive=skill) for name, skill in (("a:a", -0.1), ("b:b", 0.2))]
    assert leaderboard(runs)["model"].tolist() == ["b:b", "a:a"]


def test_directions_show_what_accuracy_and_return_are_worth():
    values = {"mcc": 0.1234, "majority_share": 0.53, "simulated_return": 0.000321}
    runs = [result("a:a", task="direction", **values), result("baseline:naive", task="direction")]
    table = leaderboard(runs)
    assert table["simulated_return"].tolist() == pytest.approx([0.000321, np.nan], nan_ok=True), (
        "an earlier run has none"
    )
    header, row, earlier = leaderboard_text(table, 200).splitlines()
    assert all(name in header for name in ("accuracy", "majority", "balanced", "MCC", "return"))
    assert "0.0321 %" in row and "0.1234" in row and "53.00 %" in row
    assert " - " in earlier


def test_several_units_are_ranked_by_the_scaled_error():
    runs = [
        result("a:a", targets=("x", "y"), rmse=1.0, mse_scaled=2.0),
        result("b:b", targets=("x", "y"), rmse=9.0, mse_scaled=1.0),
    ]
    table = leaderboard(runs)
    assert table["model"].tolist() == ["b:b", "a:a"]
    assert "rmse" not in table.columns
    assert ranking("forecast", 2).metric == "mse_scaled"


def test_undefined_values_come_last():
    runs = [result("a:a", task="direction", skill_vs_naive=None), result("b:b", task="direction", skill_vs_naive=-5.0)]
    table = leaderboard(runs)
    assert table["model"].tolist() == ["b:b", "a:a"]
    assert " - " in leaderboard_text(table, 200)


def test_seeds_are_averaged_with_their_spread():
    runs = [result("lstm:basic", seed, rmse=value, seconds=value) for seed, value in enumerate((1.0, 2.0, 6.0))]
    table = leaderboard([*runs, result("baseline:naive", rmse=2.5)])
    assert table["model"].tolist() == ["baseline:naive", "lstm:basic"]
    lstm = table.iloc[1]
    assert lstm["seeds"] == 3
    assert lstm["rmse"] == pytest.approx(3.0)
    assert lstm["rmse_std"] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert lstm["seconds"] == pytest.approx(3.0)
    assert np.isnan(table.iloc[0]["rmse_std"])
    assert "rmse_std" not in leaderboard(runs[:1]).columns


def test_spread_has_the_unit_of_its_value():
    """A percentage has its spread in percent too."""
    runs = [result("lstm:basic", seed, skill_vs_naive=value) for seed, value in enumerate((0.10, 0.20))]
    text = leaderboard_text(leaderboard([*runs, result("baseline:naive")]), 200)
    lstm, naive = (next(line for line in text.splitlines() if name in line) for name in ("lstm", "naive"))
    assert "15.00 % ±7.1" in lstm
    assert "2.000 ±0" in lstm
    assert "±" not in naive
    assert "nan" not in text


def test_other_test_windows_are_refused():
    with pytest.raises(UserError, match="same test windows") as refusal:
        leaderboard([result("a:a"), result("b:b", test_hash="y")])
    assert "\n" not in str(refusal.value)


def test_no_runs():
    table = leaderboard([])
    assert table.empty
    assert verdict(table).startswith("No run was completed")


def test_csv_holds_the_table():
    table = leaderboard([result("lstm:basic", rmse=2.5), result("baseline:naive")])
    again = pd.read_csv(io.StringIO(leaderboard_csv(table)))
    pd.testing.assert_frame_equal(again, table, check_dtype=False)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_text_fits(width):
    names = ("transformer:inverted", "baseline:naive", "lstm:bidirectional")
    runs = [result(name, seed, rmse=1 + seed) for name in names for seed in range(3 if ":n" not in name else 1)]
    for table in (leaderboard(runs), leaderboard([run for run in runs if run["seed"] == 0])):
        lines = leaderboard_text(table, width).splitlines()
        assert len(lines) == 4
        assert len({len(line) for line in lines}) == 1
        if width >= 60:
            assert len(lines[0]) <= width
        assert all(name in text for name, text in zip(table["model"], lines[1:], strict=True))
        assert "RMSE" in lines[0]
        assert ("train s" in lines[0]) or width < 200


def test_verdict_when_nothing_beats_naive():
    runs = [result("baseline:naive"), result("lstm:basic", skill_vs_naive=-0.1), result("b:b", skill_vs_naive=1e-9)]
    assert verdict(leaderboard(runs)).startswith("No model beats naive persistence")


def test_verdict_names_the_best_of_several():
    runs = [
        result("baseline:naive"),
        result("tcn:basic", skill_vs_naive=0.05, rmse=1.9),
        result("lstm:basic", skill_vs_naive=0.123, rmse=1.8),
        result("gru:basic", skill_vs_naive=-0.5, rmse=3.0),
    ]
    sentence = verdict(leaderboard(runs))
    assert sentence.startswith("2 of 3 models beat naive persistence")
    assert "lstm:basic" in sentence
    assert "12.30 % smaller" in sentence
    assert "\n" not in sentence


def test_verdict_speaks_of_a_single_model_of_directions_and_of_the_spread():
    runs = [result("b:b", seed, task="direction", skill_vs_naive=0.1 * seed - 0.02) for seed in (0, 1)]
    sentence = verdict(leaderboard([*runs, result("baseline:naive", task="direction")]))
    assert sentence.startswith("1 of 1 models beats the share of ups")
    assert "Brier score 3.00 % smaller" in sentence
    assert sentence.endswith("no more than the spread between its seeds.")


@pytest.mark.parametrize(("accuracy", "is_said"), [(0.52, True), (0.53, True), (0.54, False)])
def test_verdict_holds_accuracy_against_the_majority(accuracy, is_said):
    for skill in (-0.1, 0.1):
        runs = [
            result(name, task="direction", accuracy=right, majority_share=0.53, skill_vs_naive=skill)
            for name, right in (("a:a", accuracy), ("b:b", 0.5), ("baseline:naive", 0.53))
        ]
        assert verdict(leaderboard(runs)).endswith("the more frequent answer (53.0 %).") == is_said


def test_verdict_names_the_highest_ranked_one_where_several_targets_are_ranked_by_scaled_error():
    runs = [
        result("a:a", targets=("x", "y"), mse_scaled=0.5, skill_vs_naive=0.1),
        result("b:b", targets=("x", "y"), mse_scaled=0.6, skill_vs_naive=0.2),
        result("baseline:naive", targets=("x", "y")),
    ]
    assert "the best of them is a:a" in verdict(leaderboard(runs))


def test_verdict_where_there_is_no_persistence():
    runs = [result("a:a", skill_vs_naive=None, rmse=2.0), result("b:b", skill_vs_naive=None, rmse=1.0)]
    assert verdict(leaderboard(runs)).startswith("Best: b:b.")
