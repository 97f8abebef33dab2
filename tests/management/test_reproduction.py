"""A run trained again gives the same bits, and whatever is not the same is noticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.errors import UserError
from src.management.reproduction import compare_reproduction, prepare_reproduction, reproduce, train_again
from src.plan import read_plan

SEED_1 = Path("first/linear_nlinear/seed_1")


@pytest.fixture(scope="module")
def repeated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second seed trained again, once."""
    return train_again(prepare_reproduction(trained / SEED_1), tmp_path_factory.mktemp("again"))


def test_a_seed_run_comes_out_the_same_to_the_last_bit(trained: Path, repeated: Path) -> None:
    result = compare_reproduction(trained / SEED_1, repeated)
    assert result.verdict == "identical"
    assert result.differences == {"metrics": 0.0, "predictions": 0.0, "weights": 0.0}
    assert "test rmse" in result.metrics and "seconds" not in result.metrics
    [plan] = read_plan(repeated.parents[1])
    assert plan.training.seed == 1 and plan.folder == SEED_1.as_posix().removeprefix("first/")
    assert not (repeated.parents[1] / ".lock").exists()


def test_the_other_seed_is_different(trained: Path, repeated: Path) -> None:
    result = compare_reproduction(trained / "first" / "linear_nlinear" / "seed_0", repeated)
    assert result.verdict == "different" and min(result.differences.values()) > 1e-6  # type: ignore[type-var]


def test_a_baseline_is_reproduced_and_the_report_hears_of_nothing_wrong(root: Path) -> None:
    assert reproduce(root / "second" / "baseline_naive", Path("again")).verdict == "identical"


def change_weights(amount: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
        tensor = next(value for value in content["model"].values() if value.is_floating_point())
        tensor.view(-1)[0] += amount
        torch.save(content, folder / "checkpoints" / "best.pt")

    return change


def change_metric(amount: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        results = json.loads((folder / "results.json").read_text())
        results["test"]["rmse"] += amount
        (folder / "results.json").write_text(json.dumps(results))

    return change


def change_predictions(folder: Path) -> None:
    file = folder / "predictions.csv"
    file.write_text(file.read_text()[:-1])


@pytest.mark.parametrize(
    ("change", "part", "verdict"),
    [
        (change_weights(3e-8), "weights", "equal"),
        (change_weights(1e-3), "weights", "different"),
        (change_weights(float("nan")), "weights", "different"),
        (change_metric(1e-9), "metrics", "equal"),
        (change_metric(1e-3), "metrics", "different"),
        (change_predictions, "predictions", "equal"),
    ],
)
def test_the_smallest_change_is_no_longer_identical(
    root: Path, repeated: Path, change: Callable[[Path], None], part: str, verdict: str
) -> None:
    change(root / SEED_1)
    result = compare_reproduction(root / SEED_1, repeated)
    assert result.verdict == verdict
    assert {name for name, value in result.differences.items() if value != 0.0} == {part}


def test_other_bits_of_an_equal_number_are_noticed(root: Path, repeated: Path) -> None:
    for folder, zero in ((root / SEED_1, -0.0), (root / "again", 0.0)):
        if not folder.exists():
            shutil.copytree(repeated, folder)
        file = folder / "checkpoints" / "best.pt"
        content = torch.load(file, weights_only=True)
        next(value for value in content["model"].values() if value.is_floating_point()).view(-1)[0] = zero
        torch.save(content, file)
    result = compare_reproduction(root / SEED_1, root / "again")
    assert result.verdict == "equal" and result.differences["weights"] not in (0.0, None)


def test_a_missing_file_is_not_compared_and_said(root: Path, repeated: Path) -> None:
    shutil.rmtree(root / SEED_1 / "checkpoints")
    (root / SEED_1 / "predictions.csv").unlink()
    result = compare_reproduction(root / SEED_1, repeated)
    assert result.differences == {"metrics": 0.0, "predictions": None, "weights": None}


def test_versions_that_changed_are_said(root: Path) -> None:
    file = root / SEED_1 / "config.json"
    config = json.loads(file.read_text())
    assert prepare_reproduction(root / SEED_1).versions == {}
    file.write_text(json.dumps(config | {"versions": config["versions"] | {"torch": "1.0"}}))
    assert prepare_reproduction(root / SEED_1).versions == {"torch": ("1.0", config["versions"]["torch"])}


def test_a_run_that_was_not_completed_is_refused(root: Path) -> None:
    (root / SEED_1 / "results.json").unlink()
    with pytest.raises(UserError, match="only a completed run can be reproduced"):
        prepare_reproduction(root / SEED_1)


def test_data_that_changed_are_refused_and_those_that_moved_are_found(
    root: Path, train_on: Callable[..., Path]
) -> None:
    prices = Path("prices.csv")
    rows = [f"2020-{1 + day // 28:02}-{1 + day % 28:02},{100 + (day * 7) % 13}" for day in range(200)]
    prices.write_text("Date,Close\n" + "\n".join(rows) + "\n")
    folder = train_on(prices)
    prices.rename("moved.csv")
    with pytest.raises(UserError, match=r"prices\.csv"):
        prepare_reproduction(folder)
    assert prepare_reproduction(folder, "moved.csv").plan.data.data == "moved.csv"
    rows[150] = rows[150][:-1] + ("1" if rows[150][-1] != "1" else "2")
    prices.write_text("Date,Close\n" + "\n".join(rows) + "\n")
    with pytest.raises(UserError, match=r"has changed since .* \(200 rows as before, other columns or values"):
        prepare_reproduction(folder)
    prices.write_text("Date,Close\n" + "\n".join(rows[:-1]) + "\n")
    with pytest.raises(UserError, match="200 rows then, 199 now"):
        prepare_reproduction(folder)


def test_data_from_standard_input_are_asked_for(root: Path) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        return config | {"data": config["data"] | {"data": "-"}}

    file = root / SEED_1 / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(UserError, match="standard input, which is gone; give the same data with --data FILE"):
        prepare_reproduction(root / SEED_1)
