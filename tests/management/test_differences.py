"""Two runs compared: what differs is said, nothing else, and metrics of different test parts are not compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.management.differences import SECTIONS, compare_runs

SEED_0, SEED_1 = Path("first/linear_nlinear/seed_0"), Path("first/linear_nlinear/seed_1")


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def differing(first: Path, second: Path) -> dict[str, tuple[Any, Any]]:
    comparison = compare_runs(first, second)
    return {f"{item.section}: {item.name}": (item.first, item.second) for item in comparison.differences}


def test_a_run_does_not_differ_from_itself(root: Path) -> None:
    comparison = compare_runs(root / SEED_0, root / SEED_0)
    assert comparison.differences == () and comparison.identical == SECTIONS and comparison.same_test is True
    assert {pair.change for pair in comparison.metrics} == {0.0}


def test_two_seeds_differ_in_the_seed_and_the_metrics(root: Path) -> None:
    comparison = compare_runs(root / SEED_0, root / SEED_1)
    assert differing(root / SEED_0, root / SEED_1) == {"training: seed": (0, 1)}
    results = [json.loads((root / seed / "results.json").read_text()) for seed in (SEED_0, SEED_1)]
    metrics = {pair.name: pair for pair in comparison.metrics}
    for name, part, key in (
        ("test rmse", "test", "rmse"),
        ("validation mae", "validation", "mae"),
        ("best validation loss", "training", "best_validation_loss"),
    ):
        one, other = (result[part][key] for result in results)
        assert (metrics[name].first, metrics[name].second, metrics[name].change) == (one, other, other - one)


def test_model_window_versions_and_commit_are_told_apart(root: Path) -> None:
    other = root / "second" / "baseline_naive"
    versions = json.loads((other / "config.json").read_text())["versions"]
    edit(other / "config.json", versions=versions | {"torch": "1.0"}, git_commit="abc")
    found = differing(root / SEED_0, other)
    assert found["model: model"] == ("linear:nlinear", "baseline:naive")
    assert found["data options: window"] == (8, 9)
    assert found["versions: torch"] == (versions["torch"], "1.0")
    assert found["versions: git_commit"][1] == "abc"
    assert "data: test_hash" not in found and compare_runs(root / SEED_0, other).same_test is True


def test_other_data_and_another_test_part_are_said(root: Path) -> None:
    fingerprint = json.loads((root / SEED_1 / "config.json").read_text())["fingerprint"]
    edit(root / SEED_1 / "config.json", fingerprint=fingerprint | {"test_hash": "0" * 64, "columns": ["Open"]})
    found = differing(root / SEED_0, root / SEED_1)
    assert found["data: columns"] == (fingerprint["columns"], ["Open"]) and "data: test_hash" in found
    assert compare_runs(root / SEED_0, root / SEED_1).same_test is False


def test_a_run_that_is_not_complete_has_no_metrics(root: Path) -> None:
    (root / SEED_1 / "results.json").unlink()
    metrics = compare_runs(root / SEED_0, root / SEED_1).metrics
    assert metrics and {pair.second for pair in metrics} == {None} and {pair.change for pair in metrics} == {None}


@pytest.mark.parametrize("content", ["", "[]", '{"model": 3}', '{"model": "x", "options": {}}'])
def test_a_damaged_configuration_is_one_line(root: Path, content: str) -> None:
    (root / SEED_1 / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json is"):
        compare_runs(root / SEED_0, root / SEED_1)


def test_the_comparison_can_be_written_as_json(root: Path) -> None:
    values = json.loads(json.dumps(compare_runs(root / SEED_0, root / SEED_1).to_dict()))
    assert values["differences"][0]["name"] == "seed" and "change" in values["metrics"][0]
