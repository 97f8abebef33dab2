"""Monitoring in a real training: it changes nothing, goes on after an interruption, finds what is ill, and acts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import events_of, follows_the_clock
from toy_models import assert_same_bits, weights_of

from src import TrainingConfig, create_model
from src.data.series import SeriesData
from src.errors import TrainingError, UserError
from src.tracking.options import LoggingOptions
from src.training.loop import EpochReport, Observer, StepReport
from src.training.monitoring import FindingHandling

UNBOUNDED = LoggingOptions(log_batches=True, log_budget=1e6)


class StopAt(Observer):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, report: EpochReport) -> str | None:
        if report.epoch == self.epoch:
            raise KeyboardInterrupt
        return None


def train(model_name: str, data: SeriesData, folder: Path | None, **options: Any) -> Any:
    from src.training.device import seed_everything
    from src.training.fitting import fit

    config = TrainingConfig(**{"epochs": 4, "device": "cpu", "seed": 3, **options.pop("config", {})})
    seed_everything(config.seed)
    model = create_model(model_name, data.spec, options.pop("settings", {"hidden_size": 8}))
    if (spoil := options.pop("spoil", None)) is not None:
        spoil(model)
    fit(model, data, config, run_dir=folder, tensorboard_log_dir=folder, **options)
    return model


@pytest.mark.parametrize("name", ["lstm:attention", "tcn:residual", "transformer:basic"])
def test_everything_on_ends_with_the_same_bits_as_nothing_on(name: str, walk: SeriesData, tmp_path: Path) -> None:
    watched = train(name, walk, tmp_path / "on", logging=UNBOUNDED)
    plain = train(name, walk, None, logging=LoggingOptions(monitors=False))
    assert_same_bits(weights_of(watched), weights_of(plain))


def test_an_interrupted_run_writes_what_an_undisturbed_one_does(walk: SeriesData, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train("gru:basic", walk, whole, logging=UNBOUNDED)
    with pytest.raises(KeyboardInterrupt):
        train("gru:basic", walk, run, logging=UNBOUNDED, observers=[StopAt(1)])
    train("gru:basic", walk, run, logging=UNBOUNDED, resume=True)
    (counts, values), (wanted, wanted_values) = events_of(run), events_of(whole)
    assert counts == wanted
    assert {key for key in values if values[key] != wanted_values[key]} == set()
    tags = {tag for tag, _ in wanted}
    assert {"stability/loss_spike_ratio", "update_ratio/gru", "train/batch_loss", "eval/batch_loss"} <= tags


def test_batches_stand_on_one_axis_without_gap_or_repetition(walk: SeriesData, tmp_path: Path) -> None:
    train("linear:nlinear", walk, tmp_path, logging=UNBOUNDED, settings={}, config={"epochs": 2})
    counts, _ = events_of(tmp_path)
    steps = sorted(step for tag, step in counts if tag == "train/batch_loss")
    assert steps == list(range(2 * math.ceil(len(walk.train) / 64)))
    evaluated = [step for tag, step in counts if tag == "eval/batch_loss"]
    assert len(evaluated) == 2 * math.ceil(len(walk.validation) / 64) and max(evaluated) <= steps[-1]
    assert follows_the_clock("train/batch_time_seconds") and not follows_the_clock("train/batch_loss")


def test_a_finding_is_written_told_and_marked(walk: SeriesData, tmp_path: Path) -> None:
    told: list[Any] = []

    def freeze(model: Any) -> None:
        model.gru.requires_grad_(False)

    train("gru:basic", walk, tmp_path, spoil=freeze, findings=FindingHandling(told.append), logging=UNBOUNDED)
    assert "dead_layer" in {finding.rule for finding in told}
    written = json.loads((tmp_path / "findings.json").read_text())["findings"]
    (dead,) = [finding for finding in written if finding["rule"] == "dead_layer"]
    assert dead["metric"] == "update_ratio/gru" and dead["step"] <= 50
    counts, _ = events_of(tmp_path)
    assert counts["findings/dead_layer", dead["step"]] == 1


def rules(path: Path, text: str) -> LoggingOptions:
    path.write_text(text, encoding="utf-8")
    return LoggingOptions(rules=str(path), log_budget=1e6)


def test_a_rule_may_stop_lower_the_rate_and_keep_a_snapshot(walk: SeriesData, tmp_path: Path) -> None:
    always = 'kind = "above"\nmetrics = ["gradient_norm/total"]\nlimit = 0.0\n'
    options = rules(
        tmp_path / "rules.toml",
        f'[mine]\n{always}action = ["stop", "lower_lr", "checkpoint"]\nadvice = "none"\n',
    )
    model = create_model("linear:nlinear", walk.spec)
    result = model.fit(walk, TrainingConfig(epochs=5, device="cpu"), run_dir=tmp_path, logging=options)
    assert result.epochs == 1 and result.reason.startswith("the rule mine says stop")
    (snapshot,) = (tmp_path / "checkpoints").glob("mine_step_*.pt")
    assert "model" in torch.load(snapshot, weights_only=True)
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert last["schedule"]["scale"] == 0.5


def test_a_stop_that_waits_for_the_end_of_the_epoch_outlives_an_interruption(walk: SeriesData, tmp_path: Path) -> None:
    class Interrupt(Observer):
        def on_step(self, report: StepReport) -> None:
            if report.step == 3:
                raise KeyboardInterrupt

    # It fires at step 0 alone: whoever goes on from step 3 must have been told.
    rule = '[mine]\nkind = "above"\nmetrics = ["gradient_norm/total"]\nlimit = 0.0\naction = "stop"\nadvice = "none"\n'
    options = rules(tmp_path / "rules.toml", rule)
    config = TrainingConfig(epochs=5, device="cpu", checkpoint_minutes=1e-9)
    model = create_model("linear:nlinear", walk.spec)
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, config, run_dir=tmp_path, logging=options, observers=[Interrupt()])
    again = create_model("linear:nlinear", walk.spec)
    result = again.fit(walk, config, run_dir=tmp_path, logging=options, resume=True)
    assert result.epochs == 1 and result.reason.startswith("the rule mine says stop")


def test_no_monitors_no_findings_and_nothing_on_the_step_axis(walk: SeriesData, tmp_path: Path) -> None:
    train("linear:nlinear", walk, tmp_path, logging=LoggingOptions(monitors=False), settings={})
    assert not (tmp_path / "findings.json").exists()
    assert {
        tag for tag, _ in events_of(tmp_path)[0] if tag.startswith(("gradient_norm", "progress", "weight/"))
    } == set()


def test_a_batch_that_is_not_finite_is_found(walk: SeriesData, tmp_path: Path) -> None:
    class Poison(Observer):
        def on_start(self, state: Any) -> None:
            self.model = state.model

        def on_epoch_end(self, report: EpochReport) -> None:
            next(self.model.parameters()).data.fill_(math.nan)

    with pytest.raises(TrainingError):
        train("linear:nlinear", walk, tmp_path, observers=[Poison()], settings={})
    found = json.loads((tmp_path / "findings.json").read_text())["findings"]
    assert "nan_loss" in {finding["rule"] for finding in found}


def test_a_file_of_monitors_or_rules_that_cannot_be_used_is_refused_before_training(
    walk: SeriesData, tmp_path: Path
) -> None:
    for options in (LoggingOptions(monitor=str(tmp_path / "no.py")), LoggingOptions(rules=str(tmp_path / "no.toml"))):
        with pytest.raises(UserError):
            create_model("linear:nlinear", walk.spec).fit(walk, logging=options)
