"""Promises of the plan: every run resolved and checked before the first epoch, and remembered in a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.errors import OptionError, UserError
from src.plan import RunPlan, Selection, parse_settings, plan_runs, read_plan, write_plan
from src.training.config import TrainingConfig


@pytest.fixture(scope="module")
def walk() -> SeriesData:
    return load_data(DataOptions(data="sample:walk", window=8))


def plans_of(data: SeriesData, *models: str, **more: Any) -> list[RunPlan]:
    return plan_runs(Selection(models, **more), data, TrainingConfig())[0]


def test_nothing_is_left_open_in_a_plan(walk: SeriesData) -> None:
    (plan,) = plans_of(walk, "lstm:attention", settings=["hidden_size=8"])
    assert plan.folder == "lstm_attention" and plan.model == "lstm:attention"
    assert (plan.data.target, plan.data.features, plan.data.transform) == ("Close", "Close", "return")
    assert plan.options["hidden_size"] == 8 and "dropout" in plan.options
    assert load_data(plan.data).fingerprint() == walk.fingerprint(), "resolved options give the same data"


def test_seeds_count_up_for_networks_only(walk: SeriesData) -> None:
    selection = Selection(["gru:basic", "baseline:ridge"], seeds=3)
    plans, _ = plan_runs(selection, walk, TrainingConfig(seed=5))
    assert [(plan.folder, plan.training.seed) for plan in plans] == [
        ("gru_basic/seed_5", 5),
        ("gru_basic/seed_6", 6),
        ("gru_basic/seed_7", 7),
        ("baseline_ridge", 5),
    ]


def test_a_setting_for_one_model_wins_over_one_for_all(walk: SeriesData) -> None:
    settings = ["lstm.hidden_size=24", "hidden_size=8"]
    plans = plans_of(walk, "lstm:basic", "lstm:attention", "linear:dlinear", settings=settings)
    assert [plan.options.get("hidden_size") for plan in plans] == [24, 8, None]


def test_presets_are_beaten_by_settings(walk: SeriesData) -> None:
    presets = {"lstm:basic": {"hidden_size": 8, "dropout": 0.3}}
    (plan,) = plans_of(walk, "lstm:basic", presets=presets, settings=["hidden_size=9"])
    assert (plan.options["hidden_size"], plan.options["dropout"]) == (9, 0.3)


def test_a_model_that_cannot_work_is_left_out_by_default_and_refused_by_name(walk: SeriesData) -> None:
    # Patches of 16 rows do not fit into a window of 8.
    plans, left_out = plan_runs(Selection(), walk, TrainingConfig())
    assert "transformer:patch" not in [plan.model for plan in plans]
    assert len(left_out) == 1 and left_out[0].startswith("transformer:patch is left out: ")
    with pytest.raises(OptionError, match="transformer:patch"):
        plans_of(walk, "transformer:patch")


def test_no_model_at_all_is_an_error(walk: SeriesData, monkeypatch: pytest.MonkeyPatch) -> None:
    from src import models, registry

    models.load_all()
    only = {name: entry for name, entry in registry._entries.items() if name == "transformer:patch"}
    monkeypatch.setattr(registry, "_entries", only)
    with pytest.raises(OptionError, match="none of the models can work on this data; transformer:patch is left out"):
        plans_of(walk)


def test_settings_are_names_and_values() -> None:
    assert parse_settings(["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}
    for wrong in ("a", "=1", ""):
        with pytest.raises(OptionError, match="--set takes name=value"):
            parse_settings([wrong])


def test_a_plan_is_read_as_it_was_written(walk: SeriesData, tmp_path: Path) -> None:
    plans = plans_of(walk, "lstm:basic", "baseline:naive", seeds=2, tensorboard=True)
    write_plan(tmp_path, plans, ["train_models.py", "--models", "lstm:basic"])
    assert read_plan(tmp_path) == plans
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["command"] == ["train_models.py", "--models", "lstm:basic"] and len(content["runs"]) == 3


def test_a_run_configuration_may_hold_more_and_may_lack_what_has_a_default(walk: SeriesData) -> None:
    (plan,) = plans_of(walk, "gru:residual")
    values = plan.to_dict() | {"versions": {"torch": "1"}, "git_commit": None}
    assert RunPlan.from_dict(json.loads(json.dumps(values))) == replace(plan, options=dict(plan.options))
    for name in ("folder", "tensorboard", "plugins"):
        values.pop(name)
    assert RunPlan.from_dict(values).folder == "gru_residual"


@pytest.mark.parametrize("lacking", ["model", "options", "data", "training"])
def test_a_configuration_that_lacks_something_is_refused(walk: SeriesData, lacking: str) -> None:
    (plan,) = plans_of(walk, "gru:residual")
    for values in (plan.to_dict() | {lacking: None}, {k: v for k, v in plan.to_dict().items() if k != lacking}):
        with pytest.raises(UserError, match=f"its {lacking} is missing or no"):
            RunPlan.from_dict(values)
    with pytest.raises(UserError):
        RunPlan.from_dict([])  # type: ignore[arg-type]
