"""The file of rules: what may be changed, what is refused and how that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.errors import UserError
from src.tracking.diagnosis import Diagnosis
from src.tracking.rules import load_rules

PROMISED = [
    "nan_loss", "grad_exploding", "grad_vanishing", "grad_uniform", "attn_collapse", "attn_uniform", "overfitting",
    "underfitting", "plateau", "dead_layer", "dead_units", "saturated_units", "collapse_mean_std",
    "collapse_min_std", "collapse_rank", "collapse_similarity", "clipping_rate", "ema_ratio", "loss_contribution",
    "cosine_low", "loss_spike", "loss_diverging", "calibration", "slow_input", "constant_input", "echo", "gpu_idle",
]  # fmt: skip


def test_every_promised_rule_comes_with_the_program() -> None:
    rules = {rule.name: rule for rule in load_rules()}
    assert set(PROMISED) <= set(rules)
    assert all(rule.advice.endswith(".") and rule.actions == ("warn",) for rule in rules.values())


def test_thresholds_of_the_catalogue() -> None:
    rules = {rule.name: rule for rule in load_rules()}
    expected = {
        "grad_exploding": {"factor": 10.0},
        "grad_vanishing": {"absolute": 1e-7, "factor": 1e-3},
        "grad_uniform": {"limit": 0.01},
        "attn_collapse": {"limit": 0.02},
        "attn_uniform": {"limit": 0.98},
        "dead_layer": {"limit": 1e-8},
        "collapse_mean_std": {"limit": 0.01},
        "collapse_rank": {"limit": 5.0, "factor": 0.25},
        "collapse_similarity": {"limit": 0.7},
        "clipping_rate": {"limit": 50.0, "info_limit": 10.0},
        "loss_spike": {"factor": 3.0},
        "calibration": {"coverage_low": 85.0, "coverage_high": 95.0, "correlation": 0.1},
        "slow_input": {"limit": 0.3},
        "cosine_low": {"limit": 0.7},
        "cosine_spread_low": {"limit": 0.1},
    }
    for name, parameters in expected.items():
        assert parameters.items() <= rules[name].parameters.items(), name
    assert rules["ema_ratio"].range_of("train/ema/weight_magnitude_ratio") == (0.95, 1.05)
    assert rules["loss_contribution"].range_of("train/loss/contribution_h2") == (5.0, 15.0)


def written(folder: Path, text: str) -> Path:
    """A file of rules."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        [clipping_rate]
        limit = 90
        severity = "critical"
        action = ["lower_lr", "checkpoint"]
        [echo]
        enabled = false
        """,
    )
    before, after = ({rule.name: rule for rule in load_rules(path)} for path in (None, file))
    changed = after.pop("clipping_rate")
    assert (changed.parameters["limit"], changed.parameters["info_limit"]) == (90, 10.0)
    assert (changed.severity, changed.actions, changed.checks) == ("critical", ("lower_lr", "checkpoint"), 3)
    del before["clipping_rate"], before["echo"]
    assert after == before


def test_a_rule_of_the_users_own_fires(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        [gate_closed]
        kind = "below"
        metrics = ["Custom/gate/{name}"]
        limit = 0.1
        checks = 2
        action = "stop"
        advice = "Open the gate."
        """,
    )
    diagnosis = Diagnosis(load_rules(file))
    assert diagnosis.observe_epoch(0, 9, {"Custom/gate/mean": 0.01}) == []
    (finding,) = diagnosis.observe_epoch(1, 19, {"Custom/gate/mean": 0.02})
    assert (finding.rule, finding.epoch, finding.step, finding.advice) == ("gate_closed", 1, 19, "Open the gate.")
    assert finding.evidence == "Custom/gate/mean was 0.02, below 0.1, since epoch 0."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[grad_explodin]\nfactor = 3", "Did you mean 'grad_exploding'?"),
        ("[mine]\nlimit = 3", "say its kind"),
        ("[clipping_rate]\nlimt = 3", "'limt'. Did you mean 'limit'?"),
        ('[mine]\nkind = "abov"\nmetrics = ["a"]\nlimit = 1', "'abov'. Did you mean 'above'?"),
        ('[mine]\nkind = "above"\nlimit = 1', "must name its metrics"),
        ('[mine]\nkind = "above"\nmetrics = ["a"]', "needs limit"),
        ('[clipping_rate]\nseverity = "waring"', "severity must be one of info, warn, critical"),
        ('[clipping_rate]\naction = "stopp"', "'stopp'. Did you mean 'stop'?"),
        ('[clipping_rate]\nlimit = "much"', "limit must be a number, but"),
        ("[clipping_rate]\nlimit = nan", "limit must be a number, but"),
        ("[clipping_rate]\nlimit = true", "limit must be a number, but"),
        ("[clipping_rate]\nchecks = 0", "checks must be a whole number from 1"),
        ("[clipping_rate]\nchecks = 1.5", "checks must be a whole number"),
        ("[clipping_rate]\nmetrics = 3", "metrics must be a list of texts"),
        ("[clipping_rate]\nenabled = 1", "enabled must be true or false"),
        ("[ema_ratio]\nranges = {a = [2, 1]}", "ranges must be a table"),
        ("[ema_ratio]\nranges = 3", "ranges must be a table"),
        ("limit = 3", "before the first [rule]"),
        ("[clipping_rate", "must be TOML"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_rules(written(tmp_path, text))
    assert said in str(error.value) and "mine.toml" in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.toml cannot be read"):
        load_rules(tmp_path / "absent.toml")
