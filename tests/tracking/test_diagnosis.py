"""Every rule of the diagnosis fires on its illness, names it, and stays silent on what is healthy."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.tracking.diagnosis import Diagnosis, calibration_verdict
from src.tracking.findings import FINDINGS_FILE, NO_FINDING, Finding, markdown, write_findings
from src.tracking.rules import load_rules

RULES = load_rules()
ONSET = 600
"""Step at which planted illnesses begin."""
Values = dict[str, float]


def healthy_values(step: int, noise: random.Random, batch_noise: float = 0.2) -> Values:
    """What monitors would measure in a training that goes well: all tags that rules over steps read, with noise."""
    fall = math.exp(-step / 400)
    wobble = lambda: math.exp(noise.gauss(0, batch_noise))  # noqa: E731
    values = {
        "train/batch_loss": (0.1 + 0.9 * fall) * wobble(),
        "gradient_norm/total": (0.1 + 0.7 * fall) * wobble(),
        "gradient_norm/layer_variation": 0.5 * wobble(),
        "clipping/percentage": 5 + 4 * fall,
        "attention/entropy_normalised/blocks.0.attention": 0.9 - 0.2 * (1 - fall),
        "representation/mean_std_per_dim": 0.5 * wobble(),
        "representation/effective_rank": 30 * wobble(),
        "representation/mean_similarity": 0.3 * wobble(),
        "representation/dead_dimensions_percent": 1.0,
        "ema/momentum_current": 0.996,
        "ema/weight_magnitude_ratio": 1 + 0.01 * noise.gauss(0, 1),
        "calibration/coverage_90_percent": 90 + noise.gauss(0, 1),
        "calibration/uncertainty_error_correlation": 0.4,
        "calibration/expected_calibration_error": 0.03,
        "input/constant_features": 0.0,
        "input/nonfinite_values": 0.0,
        "forecast/echo_correlation": 0.9,
        "forecast/skill_vs_last_value": 0.2,
        "performance/data_time_ms": 1 * wobble(),
        "performance/step_time_ms": 20 * wobble(),
        "system/gpu_utilization_percent": 80.0,
        "learning_rate/current": 1e-3,
        "train/loss/contribution_h0": 60.0,
        "train/loss/contribution_h1": 30.0,
        "train/loss/contribution_h2": 10.0,
        "train/prediction/level0_cosine_sim_mean": 0.9,
        "train/prediction/level0_cosine_sim_std": 0.2,
    }
    for layer in ("encoder.first", "encoder.second", "head"):
        values |= {
            f"gradient_norm/layer/{layer}": values["gradient_norm/total"] * 0.5 * wobble(),
            f"update_ratio/{layer}": (2e-3 + 0.05 * fall) * wobble(),
            f"weight/norm/{layer}": 8.0,
            f"activation/std/{layer}": 0.6 * wobble(),
            f"activation/dead_units_percent/{layer}": 12 * wobble(),
            f"activation/saturated_percent/{layer}": 6 * wobble(),
        }
    return values


def steps_of(
    ill: Callable[[int, Values], Mapping[str, float]] | None = None,
    *,
    steps: int = 1500,
    seed: int = 0,
    onset: int = ONSET,
    diagnosis: Diagnosis | None = None,
) -> Diagnosis:
    """A diagnosis after a training whose values ``ill`` changes from ``onset`` on (steps since then, values)."""
    diagnosis, noise = diagnosis or Diagnosis(RULES), random.Random(seed)
    for step in range(0, steps, 10):
        values = healthy_values(step, noise)
        if ill is not None and step >= onset:
            values |= ill(step - onset, values)
        diagnosis.observe(step, values)
    return diagnosis


def always(values: Values) -> Callable[[int, Values], Values]:
    """The same values at every step."""
    return lambda _, __: values


def first(diagnosis: Diagnosis, rule: str) -> Finding:
    """The first finding of a rule."""
    return next(finding for finding in diagnosis.findings if finding.rule == rule)


PLANTED: dict[str, tuple[str, Callable[[int, Values], Mapping[str, float]]]] = {
    "nan_loss": ("critical", always({"train/batch_loss": math.nan})),
    "nan_input": ("critical", always({"input/nonfinite_values": 3.0})),
    "loss_diverging": ("critical", lambda since, v: {"train/batch_loss": v["train/batch_loss"] * (30 + since)}),
    "step_too_large": ("warn", always({"update_ratio/head": 0.8})),
    "loss_spike": ("warn", lambda _, v: {"train/batch_loss": 0.2 * 9}),
    "grad_exploding": ("warn", always({"gradient_norm/total": 25.0})),
    "grad_vanishing": ("warn", always({"gradient_norm/layer/encoder.first": 1e-9})),
    "grad_uniform": ("info", always({"gradient_norm/layer_variation": 1e-4})),
    "dead_layer": ("warn", always({"update_ratio/encoder.first": 0.0, "update_ratio/encoder.second": 0.0})),
    "zeroed_layer": ("warn", always({"weight/norm/encoder.first": 0.0})),
    "constant_activation": ("warn", always({"activation/std/encoder.first": 0.0})),
    "dead_units": ("warn", always({"activation/dead_units_percent/encoder.first": 97.0})),
    "saturated_units": ("warn", always({"activation/saturated_percent/encoder.first": 92.0})),
    "clipping_rate": ("warn", always({"clipping/percentage": 70.0})),
    "attn_collapse": ("warn", always({"attention/entropy_normalised/blocks.0.attention": 0.001})),
    "attn_uniform": ("info", always({"attention/entropy_normalised/blocks.0.attention": 0.999})),
    "collapse_mean_std": ("critical", always({"representation/mean_std_per_dim": 0.003})),
    "collapse_min_std": ("warn", always({"representation/dead_dimensions_percent": 80.0})),
    "collapse_rank": ("warn", always({"representation/effective_rank": 2.0})),
    "collapse_similarity": ("warn", always({"representation/mean_similarity": 0.95})),
    "ema_ratio": ("warn", always({"ema/weight_magnitude_ratio": 0.7})),
    "loss_contribution": ("info", always({"train/loss/contribution_h0": 95.0})),
    "cosine_low": ("info", always({"train/prediction/level0_cosine_sim_mean": 0.2})),
    "cosine_spread_low": ("info", always({"train/prediction/level0_cosine_sim_std": 0.005})),
    "captions_ignored": ("warn", always({"06_Diffusion/Caption_Gain": 0.001})),
    "clips_alike": ("warn", always({"12_Generated_Samples/Diversity_Ratio": 0.05})),
    "clips_copied": ("warn", always({"12_Generated_Samples/Copies": 0.9})),
    "calibration": ("warn", always({"calibration/coverage_90_percent": 60.0})),
    "constant_input": ("warn", always({"input/constant_features": 2.0})),
    "echo": ("info", always({"forecast/echo_correlation": 0.999, "forecast/skill_vs_last_value": -0.02})),
    "slow_input": ("warn", always({"performance/data_time_ms": 15.0})),
    "gpu_idle": ("info", always({"system/gpu_utilization_percent": 4.0})),
}
SLOW_TO_SAY = {"gpu_idle": 150, "slow_input": 50, "attn_uniform": 500, "cosine_low": 500, "cosine_spread_low": 500}
"""Rules that take a median over many values first, or begin late; all others are within 50 steps."""


def test_every_rule_is_planted_somewhere() -> None:
    over_epochs = {"overfitting", "underfitting", "plateau"}
    assert {rule.name for rule in RULES} == set(PLANTED) | over_epochs


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_illness_is_named_by_its_rule_within_fifty_steps(rule: str) -> None:
    severity, ill = PLANTED[rule]
    finding = first(steps_of(ill), rule)
    assert ONSET <= finding.step <= ONSET + SLOW_TO_SAY.get(rule, 50)
    assert finding.severity == severity and finding.until_step is None and finding.advice
    assert finding.metric in finding.evidence and any(character.isdigit() for character in finding.evidence)


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_training_has_no_finding(seed: int) -> None:
    assert steps_of(steps=4000, seed=seed).findings == []


def test_a_learning_rate_that_is_far_too_high_from_the_first_step() -> None:
    def ill(since: int, values: Values) -> Values:
        return {"train/batch_loss": 1.0 if since == 0 else 500.0 * since, "update_ratio/head": 1.5}

    findings = {finding.rule: finding.step for finding in steps_of(ill, onset=0, steps=100).findings}
    assert findings["loss_diverging"] <= 50 and findings["step_too_large"] <= 50


def test_one_layer_that_begins_next_to_zero_is_no_large_step() -> None:
    # The scale of a layer that starts at 1e-6 (LayerScale) grows a thousandfold in its first step.
    def ill(since: int, values: Values) -> Values:
        return {"update_ratio/scale": 1000.0 if since == 0 else 0.1}

    assert steps_of(ill, onset=0, steps=300).findings == []


def test_a_large_step_of_most_layers_is_told_at_once() -> None:
    def ill(since: int, values: Values) -> Values:
        return {tag: 14.0 if since == 0 else 0.05 for tag in values if tag.startswith("update_ratio/")}

    assert first(steps_of(ill, onset=0, steps=300), "step_too_large").step == 0


def test_a_model_of_one_layer_has_no_uniform_gradients() -> None:
    diagnosis = Diagnosis(RULES)
    for step in range(0, 300, 10):
        diagnosis.observe(step, {"gradient_norm/layer/only": 1.0, "gradient_norm/layer_variation": 0.0})
    assert diagnosis.findings == []


def test_jumps_of_a_loss_that_is_next_to_nothing_are_no_finding() -> None:
    def ill(since: int, values: Values) -> Values:
        calm = 1e-5 * (1 + since % 3 / 10)
        return dict.fromkeys(("train/batch_loss", "gradient_norm/total"), calm * (50 if 400 < since < 440 else 1))

    assert steps_of(ill).findings == []


def test_a_collapse_at_the_start_is_seen_in_the_deviation_too() -> None:
    # As measured on a small JEPA without stop-gradient: the deviation falls to a quarter within 30 to 60 steps.
    def ill(since: int, values: Values) -> Values:
        return {"representation/mean_std_per_dim": 0.5 * math.exp(-since / 25)}

    finding = first(steps_of(ill, onset=0, steps=200), "collapse_rank")
    assert finding.step <= 100 and finding.metric == "representation/mean_std_per_dim"


def test_representation_rules_are_for_self_supervised_training_only() -> None:
    # A healthy regressor may well have a representation of two dimensions that all look alike.
    diagnosis, noise = Diagnosis(RULES), random.Random(0)
    for step in range(0, 500, 10):
        values = healthy_values(step, noise) | {
            "representation/effective_rank": 2.0,
            "representation/mean_similarity": 0.95,
        }
        diagnosis.observe(step, {tag: value for tag, value in values.items() if not tag.startswith("ema/")})
    assert diagnosis.findings == []


# --- what must not trip a rule ----------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    batch_noise=st.floats(0.0, 0.4),
    level=st.floats(1e-4, 1e4),
    fall=st.floats(1.0, 300.0),
    is_heavy_tailed=st.booleans(),
)
def test_noise_of_batches_never_warns(
    seed: int, batch_noise: float, level: float, fall: float, is_heavy_tailed: bool
) -> None:
    diagnosis, noise = Diagnosis(RULES), random.Random(seed)
    for step in range(0, 3000, 10):
        values = healthy_values(step, noise, batch_noise)
        trend = level * (1 + (fall - 1) * math.exp(-step / 300)) / fall
        for tag in ("train/batch_loss", "gradient_norm/total"):
            values[tag] = trend * math.exp(noise.gauss(0, batch_noise))
            if is_heavy_tailed and noise.random() < 0.02:
                values[tag] *= noise.paretovariate(1.2)
        diagnosis.observe(step, values)
    assert [finding for finding in diagnosis.findings if finding.severity != "info"] == []


def test_one_wild_batch_is_no_finding() -> None:
    diagnosis = steps_of(lambda since, v: {"train/batch_loss": 50.0, "gradient_norm/total": 80.0} if since == 0 else {})
    assert diagnosis.findings == []


def test_a_learning_rate_that_runs_out_is_no_dead_layer() -> None:
    def ill(since: int, values: Values) -> Values:
        return {"learning_rate/current": 1e-9} | {tag: 0.0 for tag in values if tag.startswith("update_ratio/")}

    assert steps_of(ill).findings == []


def test_gradients_that_vanish_with_the_loss_are_success() -> None:
    def ill(since: int, values: Values) -> Values:
        return {"train/batch_loss": 1e-9} | {tag: 1e-9 for tag in values if tag.startswith("gradient_norm/layer/")}

    assert [finding.rule for finding in steps_of(ill).findings] == []


def test_values_at_every_step_count_like_those_of_every_tenth() -> None:
    diagnosis, noise = Diagnosis(RULES), random.Random(0)
    for step in range(400):
        diagnosis.observe(step, {"train/batch_loss": 30.0 if step in (351, 352, 353) else 1 + noise.random() / 10})
    assert diagnosis.findings == []


# --- epochs -----------------------------------------------------------------------------------------------------------


def epochs_of(curve: Callable[[int], tuple[float, float]], epochs: int, first_batches: float | None = 1.0) -> Diagnosis:
    """A diagnosis after epochs of ten steps with ``curve(epoch)`` = (training loss, validation loss)."""
    diagnosis = Diagnosis(RULES)
    for step in range(0, 30, 10):
        diagnosis.observe(step, {} if first_batches is None else {"train/batch_loss": first_batches})
    for epoch in range(epochs):
        train, validation = curve(epoch)
        diagnosis.observe_epoch(epoch, epoch * 10 + 9, {"Loss/train": train, "Loss/validation": validation})
    return diagnosis


def test_a_model_that_learns_forty_samples_by_heart_overfits() -> None:
    diagnosis = epochs_of(lambda e: (math.exp(-e / 8), 0.9 + 0.02 * abs(e - 10)), 50)
    finding = first(diagnosis, "overfitting")
    assert finding.severity == "info"  # at first
    finding = next(f for f in diagnosis.findings if f.rule == "overfitting" and f.severity == "warn")
    assert 15 <= (finding.epoch or 0) <= 30 and "at epoch 10" in finding.evidence and "--set dropout" in finding.advice


# Measured training and validation losses: lstm:basic on an hourly series of 12,003 windows, 96 steps ahead, ...
MILD = [
    (0.1884, 0.06698), (0.1656, 0.07153), (0.1458, 0.07996), (0.1256, 0.07776), (0.1026, 0.08444), (0.09168, 0.08958),
    (0.08487, 0.09199), (0.07898, 0.09406), (0.07635, 0.09779), (0.07422, 0.0981), (0.07183, 0.09599),
]  # fmt: skip
# ... and tcn:residual on 38 windows of it, one step an epoch.
BY_HEART = [
    (1.402, 3.609), (1.037, 3.601), (0.8386, 3.603), (0.6902, 3.619), (0.5877, 3.651), (0.4213, 3.7), (0.2807, 3.77),
    (0.2036, 3.848), (0.223, 3.921), (0.1936, 3.972), (0.191, 4.024),
]  # fmt: skip
# linear:dlinear on the same windows as the first, one step ahead: noise of validation, training has all but ended.
NOISY = [
    (0.08398, 0.009385), (0.01865, 0.009213), (0.01492, 0.005825), (0.01429, 0.00501), (0.01394, 0.01821),
    (0.01411, 0.004796), (0.01361, 0.005004), (0.01371, 0.006324), (0.01372, 0.00477), (0.0136, 0.004914),
    (0.01357, 0.005073), (0.01371, 0.006017), (0.01317, 0.005), (0.01321, 0.005372), (0.01334, 0.004797),
    (0.01309, 0.006231), (0.01316, 0.004763), (0.01307, 0.004993), (0.01306, 0.004778), (0.01309, 0.005074),
]  # fmt: skip


def test_forty_samples_are_a_warning_as_measured() -> None:
    finding = first(epochs_of(lambda epoch: BY_HEART[epoch], len(BY_HEART)), "overfitting")
    assert finding.severity == "warn" and (finding.epoch or 0) <= 10


def test_samples_learned_by_heart_are_a_warning_even_if_validation_hardly_minds() -> None:
    # gru:residual on the same 38 windows: training fell from 0.10 to 0.04, validation rose from 3.62 to 3.66.
    diagnosis = epochs_of(lambda e: (0.1 * 0.97 ** (e - 31), 3.62 + 0.05 * min(1.0, abs(e - 31) / 20)), 80)
    finding = first(diagnosis, "overfitting")
    assert finding.severity == "warn" and 36 <= (finding.epoch or 0) <= 81


def test_a_validation_loss_that_only_jumps_is_no_finding_as_measured() -> None:
    assert epochs_of(lambda epoch: NOISY[epoch], len(NOISY)).findings == []


def test_a_little_overfitting_that_early_stopping_handles_is_an_info() -> None:
    found = epochs_of(lambda epoch: MILD[epoch], len(MILD)).findings
    assert [(finding.rule, finding.severity) for finding in found] == [("overfitting", "info")]


def test_overfitting_of_a_likelihood_below_zero() -> None:
    diagnosis = epochs_of(lambda e: (-1 - 0.1 * e, -1.5 + 0.15 * abs(e - 5)), 30)
    assert "warn" in [finding.severity for finding in diagnosis.findings if finding.rule == "overfitting"]


def test_validation_noise_is_no_overfitting() -> None:
    noise = random.Random(0)
    diagnosis = epochs_of(
        lambda e: (0.5 + 0.5 * math.exp(-e / 10), 0.6 + 0.4 * math.exp(-e / 5) + noise.gauss(0, 0.004)), 40
    )
    assert "overfitting" not in [finding.rule for finding in diagnosis.findings]


def test_a_loss_that_stays_where_it_began_underfits() -> None:
    finding = first(epochs_of(lambda e: (0.97 + 0.001 * (e % 3), 1.0), 20), "underfitting")
    assert finding.severity == "warn" and (finding.epoch or 0) <= 12


def test_a_loss_that_came_down_and_stays_is_a_plateau_not_underfitting() -> None:
    rules = [finding.rule for finding in epochs_of(lambda e: (0.3 + 0.7 * math.exp(-e * 2), 0.4), 25).findings]
    assert rules == ["plateau"]


# --- findings ---------------------------------------------------------------------------------------------------------


def test_many_layers_make_one_finding_that_names_the_worst_and_the_others() -> None:
    ill = {f"activation/saturated_percent/{layer}": value for layer, value in (("encoder.first", 85.0), ("head", 95.0))}
    found = [f for f in steps_of(always(ill)).findings if f.rule == "saturated_units"]
    assert len(found) == 1 and found[0].metric == "activation/saturated_percent/head" and found[0].value == 95.0
    assert "so is 1 other (encoder.first)" in found[0].evidence and f"since step {ONSET}" in found[0].evidence


def test_a_finding_ends_when_it_has_healed_and_may_come_again() -> None:
    diagnosis = steps_of(lambda since, _: {"weight/norm/head": 0.0} if since < 100 or since > 500 else {})
    found = [f for f in diagnosis.findings if f.rule == "zeroed_layer"]
    assert [f.step for f in found] == [ONSET + 10, ONSET + 520]
    assert found[0].until_step == ONSET + 120 and found[1].until_step is None


def test_an_illness_that_comes_and_goes_makes_no_flood() -> None:
    diagnosis = steps_of(lambda since, _: {"weight/norm/head": 0.0} if since % 100 < 40 else {}, steps=8000)
    assert 3 <= len(diagnosis.findings) <= 8


def test_a_new_layer_that_falls_ill_later_is_told_too() -> None:
    def ill(since: int, values: Values) -> Values:
        return {"update_ratio/encoder.first": 0.0} | ({"update_ratio/head": 0.0} if since >= 300 else {})

    found = [f for f in steps_of(ill).findings if f.rule == "dead_layer"]
    assert [f.metric for f in found] == ["update_ratio/encoder.first", "update_ratio/head"]


def test_what_becomes_worse_is_told_at_once_and_ends_the_milder_finding() -> None:
    diagnosis = steps_of(lambda since, _: {"clipping/percentage": 20.0 if since < 60 else 80.0})
    info, warn = (f for f in diagnosis.findings if f.rule == "clipping_rate")
    assert (info.severity, warn.severity) == ("info", "warn") and info.until_step == warn.step <= ONSET + 80


@pytest.mark.parametrize("stopped_at", [300, 610, 620, 900])
def test_a_resumed_training_finds_what_an_uninterrupted_one_does(stopped_at: int) -> None:
    def feed(diagnosis: Diagnosis, stream: list[tuple[int, Values]]) -> None:
        for step, values in stream:
            diagnosis.observe(step, values)
            if step % 100 == 90:
                losses = {"Loss/train": math.exp(-step / 300), "Loss/validation": 0.5 + abs(step - 400) / 400}
                diagnosis.observe_epoch(step // 100, step, losses)

    noise = random.Random(0)
    stream = []
    for step in range(0, 1500, 10):
        values = healthy_values(step, noise)
        for number, (_, ill) in enumerate(PLANTED.values()):
            if ONSET + 10 * (number % 3) <= step < ONSET + 250 or step > 1200:
                values |= ill(step - ONSET, values)
        stream.append((step, values))
    whole, before, after = Diagnosis(RULES), Diagnosis(RULES), Diagnosis(RULES)
    feed(whole, stream)
    feed(before, [item for item in stream if item[0] < stopped_at])
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    feed(after, [item for item in stream if item[0] >= stopped_at])
    assert len(whole.findings) > 20 and json.dumps([f.as_dict() for f in after.findings]) == json.dumps(
        [f.as_dict() for f in whole.findings]
    )
    assert json.dumps(after.state_dict(), sort_keys=True) == json.dumps(whole.state_dict(), sort_keys=True)


def test_the_state_stays_small_however_long_the_training() -> None:
    def numbers(state: Any) -> int:
        if isinstance(state, dict):
            return sum(numbers(item) for item in state.values())
        return sum(numbers(item) for item in state) if isinstance(state, list) else 1

    short, long = (numbers(steps_of(steps=steps).state_dict()) for steps in (2000, 3500))
    assert long == short and short / len(healthy_values(0, random.Random(0))) < 200


def test_findings_are_written_for_programs_and_people(tmp_path: Path) -> None:
    diagnosis = steps_of(
        lambda since, v: PLANTED["nan_loss"][1](since, v) | {"clipping/percentage": 30.0} | {"weight/norm/a|b": 0.0}
    )
    write_findings(tmp_path, diagnosis.findings, diagnosis.verdicts())
    content = json.loads((tmp_path / FINDINGS_FILE).read_text())
    assert {finding["rule"] for finding in content["findings"]} == {"nan_loss", "clipping_rate", "zeroed_layer"}
    assert next(f["value"] for f in content["findings"] if f["rule"] == "nan_loss") == "nan"
    assert content["verdicts"]["Calibration"].startswith("well calibrated (the 90 % interval holds 9")
    headings = [line for line in markdown(diagnosis.findings).splitlines() if line.startswith("**")]
    assert [heading.split(":")[0] for heading in headings] == ["**critical", "**warn", "**info"]
    assert markdown(diagnosis.findings).count("*What to do:*") == 3
    assert diagnosis.findings[0].line().startswith("critical: nan_loss at step 600: train/batch_loss became nan")
    assert NO_FINDING in markdown([])


@pytest.mark.parametrize(
    ("coverage", "correlation", "error", "expected"),
    [
        (90.0, 0.4, 0.03, "well calibrated"),
        (60.0, 0.4, None, "over-confident"),
        (99.0, 0.4, None, "under-confident"),
        (90.0, 0.0, None, "says nothing about errors"),
        (None, None, 0.3, "badly calibrated"),
    ],
)
def test_verdicts_on_uncertainty(
    coverage: float | None, correlation: float | None, error: float | None, expected: str
) -> None:
    assert expected in calibration_verdict(coverage, correlation, error)


@pytest.mark.parametrize(
    ("gap", "word"), [(0.12, "over-confident"), (-0.12, "under-confident"), (0.01, "well calibrated")]
)
def test_confidence_is_held_against_accuracy(gap: float, word: str) -> None:
    assert calibration_verdict(None, 0.3, 0.12, gap).startswith(word)
    assert f"{100 * gap:+.1f} points" in calibration_verdict(None, 0.3, 0.12, gap)


@pytest.mark.parametrize(
    ("values", "metric", "said"),
    [
        ({"confidence_gap": 0.12, "expected_calibration_error": 0.12}, "confidence_gap", "over-confident, its"),
        ({"confidence_gap": -0.12, "expected_calibration_error": 0.14}, "confidence_gap", "12 points below its"),
        ({"coverage_90_percent": 84.9, "uncertainty_error_correlation": -0.5}, "coverage_90_percent", "too narrow"),
        ({"coverage_90_percent": 97.0, "uncertainty_error_correlation": -0.5}, "coverage_90_percent", "too wide"),
    ],
)
def test_the_finding_says_which_way_confidence_is_wrong(values: Values, metric: str, said: str) -> None:
    """Although other metrics of calibration are ill at the same time; and not in the first epochs."""
    ill = {f"calibration/{name}": value for name, value in values.items()}
    diagnosis = Diagnosis(RULES)
    found = [finding for epoch in range(5) for finding in diagnosis.observe(100 * epoch, ill)]
    assert [(finding.metric, finding.step) for finding in found] == [(f"calibration/{metric}", 400)]
    assert said in found[0].evidence and f"was {values[metric]:.3g}" in found[0].evidence
    verdict = diagnosis.verdicts()["Calibration"].partition(" ")[0]
    assert verdict in found[0].evidence and f"{verdict.capitalize()}: " in found[0].advice


@pytest.mark.parametrize(("gap", "coverage"), [(0.05, 85.0), (-0.05, 95.0), (0.0, 90.0)])
def test_confidence_that_is_about_right_is_no_finding(gap: float, coverage: float) -> None:
    healthy = {"calibration/confidence_gap": gap, "calibration/coverage_90_percent": coverage}
    diagnosis = Diagnosis(RULES)
    assert not [finding for epoch in range(20) for finding in diagnosis.observe(100 * epoch, healthy)]
    assert diagnosis.verdicts()["Calibration"].startswith("well calibrated")
