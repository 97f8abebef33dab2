"""A study's own run: curves, tables and files say what the storage holds, whoever wrote it and whatever fails."""

from __future__ import annotations

import csv
import json
import logging
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.tracking.event_reader import event_folders, read_run
from src.tracking.tags import spec_of
from src.tuning import slots
from src.tuning.config import HyperparameterConfig
from src.tuning.dimension import Dimension
from src.tuning.reports import TrialRecord
from src.tuning.space import SearchSpace
from src.tuning.study_log import StudyLog
from src.tuning.study_summary import StudySummary, importances

ROOT = Path(__file__).resolve().parents[2]
CONFIG = HyperparameterConfig(
    n_random_trials=5,
    n_bayesian_trials=7,
    n_fine_tune_trials=3,
    epochs_per_trial_random=2,
    epochs_per_trial_bayesian=4,
    epochs_per_trial_fine_tune=6,
    objective="mse",
)
STATUSES = (
    "completed", "completed", "failed", "pruned", "completed",
    "pruned", "killed", "completed", "completed", "interrupted", "pruned", "completed",
    "completed", "pruned", "completed",
)  # fmt: skip


SPACE = SearchSpace(
    model="gru:residual",
    dimensions=(
        Dimension("lr", "training", "float", 1e-3, 1e-5, 1e-1, log=True),
        Dimension("hidden_size", "model", "int", 64, 16, 256),
        Dimension("normalisation", "model", "choice", "revin", choices=("revin", "none")),
    ),
    fixed={"patience": 10},
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@dataclass
class Search:
    """A study in a journal file, opened twice: by who logs it, and by a worker that carries out its trials."""

    folder: Path
    config: HyperparameterConfig = CONFIG
    objective: str = "mse"
    direction: str = "minimize"
    space: SearchSpace = SPACE

    def __post_init__(self) -> None:
        self.worker = optuna.create_study(
            study_name="search/gru:residual", storage=self._storage(), direction=self.direction
        )
        self.worker.set_user_attr("model", self.space.model)
        self.study = optuna.load_study(study_name="search/gru:residual", storage=self._storage())

    def _storage(self) -> JournalStorage:
        return JournalStorage(JournalFileBackend(str(self.folder / "optuna.journal")))

    def log(self, **more: Any) -> StudyLog:
        return StudyLog(self.folder / "gru_residual", self.study, self.space, self.config, self.objective, **more)

    def ask(self, slot: int, values: dict[str, Any] | None = None) -> optuna.Trial:
        self.worker.enqueue_trial(values or {"lr": 10 ** (-1 - slot / 4), "hidden_size": 20 + slot})
        trial = self.worker.ask({d.name: d.distribution() for d in self.space.dimensions})
        for name, value in ((slots.SLOT, slot), (slots.PHASE, self.config.phase_of(slot)), (slots.ATTEMPT, 0)):
            trial.set_user_attr(name, value)
        return trial

    def end(self, trial: optuna.Trial, status: str, value: float | None) -> TrialRecord:
        slot = trial.user_attrs[slots.SLOT]
        phase = self.config.phase_of(slot)
        planned = self.config.epochs_of(phase)
        done = {"completed": planned, "pruned": 1}.get(status, 0)
        for epoch in range(done):
            trial.report(value, epoch)
        record = TrialRecord(
            model=self.space.model,
            number=trial.number,
            slot=slot,
            phase=phase,
            status=status,
            value=value,
            folder=f"gru_residual/trial_{trial.number}_20261126_104000",
            host="here",
            planned_epochs=planned,
            epochs=done,
            seconds=1.5 * done,
            parameters=1234,
            hyperparameters={**trial.params, "patience": 10},
            error="out of memory" if status == "failed" else None,
        )
        slots.finish(self.worker, trial, record)
        return record

    def carry_out(self, numbers: Sequence[int] = range(15)) -> None:
        for number in numbers:
            status = STATUSES[number]
            value = 1 - 0.05 * number if status in ("completed", "pruned") else None
            self.end(self.ask(number), status, value)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "gru_residual" / "study"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def texts(folder: Path, tag: str) -> list[tuple[int, str]]:
    events = EventAccumulator(str(folder / "gru_residual" / "study"), size_guidance={"tensors": 0}).Reload()
    return [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors(f"{tag}/text_summary")]


def images(folder: Path) -> dict[str, list[int]]:
    events = EventAccumulator(str(folder / "gru_residual" / "study"), size_guidance={"images": 0}).Reload()
    return {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]}


# ---- curves ----


def test_every_trial_that_ends_is_a_step_of_every_curve(tmp_path: Path) -> None:
    search = Search(tmp_path)
    log = search.log()
    for number in range(15):
        search.carry_out([number])
        log.update()
    log.close()
    found = curves(tmp_path)
    values = {n + 1: 1 - 0.05 * n for n, status in enumerate(STATUSES) if status in ("completed", "pruned")}
    assert found["study/value"] == list(values.items()), "a trial without a value has no point"
    best, line = math.inf, []
    for number, status in enumerate(STATUSES):
        best = min(best, 1 - 0.05 * number) if status == "completed" else best
        line.append((number + 1, best))
    assert found["study/best_value"] == line, "pruned trials are never the best"
    assert found["study/phase"] == [(n + 1, 0 if n < 5 else 1 if n < 12 else 2) for n in range(15)]
    assert found["study/epochs"][-1] == (15, 3 * 2 + 1 + 3 * 4 + 2 + 2 * 6 + 1)
    assert found["study/completed"][-1] == (15, 8)
    assert found["study/pruned"][-1] == (15, 4)
    assert found["study/failed"][-1] == (15, 3)
    assert [step for step, _ in found["study/trial_seconds"]] == list(values)
    assert len(found["study/trials_per_minute"]) == 15
    assert all(spec_of(tag) for tag in found)


def test_a_step_counts_in_the_order_in_which_trials_ended_and_has_the_time_of_it(tmp_path: Path) -> None:
    search = Search(tmp_path)
    first, second = search.ask(0), search.ask(1)
    search.end(second, "completed", 0.5)
    time.sleep(0.01)
    search.end(first, "completed", 0.7)
    search.log().close()
    assert curves(tmp_path)["study/value"] == [(1, 0.5), (2, 0.7)]
    ended = [trial.datetime_complete.timestamp() for trial in search.study.get_trials()]  # type: ignore[union-attr]
    events = EventAccumulator(str(tmp_path / "gru_residual" / "study")).Reload().Scalars("study/value")
    assert [event.wall_time for event in events] == pytest.approx([ended[1], ended[0]], abs=1e-3)


def test_where_higher_is_better_the_best_is_the_highest(tmp_path: Path) -> None:
    search = Search(tmp_path, replace(CONFIG, objective="accuracy"), "accuracy", "maximize")
    for slot, value in enumerate((0.5, 0.7, 0.6)):
        search.end(search.ask(slot), "completed", value)
    search.log().close()
    assert curves(tmp_path)["study/best_value"] == [(1, 0.5), (2, 0.7), (3, 0.7)]
    content = json.loads((tmp_path / "gru_residual" / "study.json").read_text())
    assert content["best"]["number"] == 1 and content["direction"] == "maximize"


def test_the_log_of_an_interrupted_search_goes_on_without_a_seam(tmp_path: Path) -> None:
    search = Search(tmp_path)
    killed = search.log()
    for number in range(6):
        search.carry_out([number])
        killed.update()
    search.carry_out(range(6, 9))
    log = search.log()  # the killed one was never closed
    search.carry_out(range(9, 15))
    log.close()
    files = list((tmp_path / "gru_residual" / "study").iterdir())
    assert len(files) == 1, "events of the earlier log are gone"
    assert [step for step, _ in curves(tmp_path)["study/epochs"]] == list(range(1, 16))
    (run,) = event_folders(tmp_path).values()
    assert not read_run(run).damaged


def test_nothing_is_written_while_nothing_ends(tmp_path: Path) -> None:
    search = Search(tmp_path)
    log = search.log()
    search.carry_out(range(3))
    log.update()

    def state() -> dict[Path, tuple[int, int]]:
        files = (path for path in (tmp_path / "gru_residual").rglob("*") if path.is_file())
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}

    before = state()
    search.ask(3)  # runs
    log.update()
    assert state() == before
    log.close()
    closed = state()
    search.carry_out([4])
    log.update()
    log.close()
    assert state() == closed, "a closed log stays closed"


# ---- files ----


def test_study_json_holds_the_study(tmp_path: Path) -> None:
    search = Search(tmp_path)
    defaults = {"lr": 1e-3, "hidden_size": 64, "normalisation": "revin"}
    search.end(search.ask(0, defaults), "completed", 0.9)
    search.carry_out(range(1, 15))
    search.log(tensorboard=False).close()
    content = json.loads((tmp_path / "gru_residual" / "study.json").read_text())
    best = slots.best_trial(search.study)
    assert best is not None and content["best"]["number"] == best.number == 14
    assert content["best"]["value"] == best.value == pytest.approx(0.3)
    assert content["best"]["folder"].startswith("gru_residual/trial_14_")
    assert content["best"]["hyperparameters"] == {**best.params, "patience": 10}
    assert content["default"]["number"] == 0 and content["default"]["value"] == 0.9
    assert (content["model"], content["objective"], content["direction"]) == ("gru:residual", "mse", "minimize")
    expected = {"planned": 15, "completed": 8, "pruned": 4, "failed": 1, "interrupted": 1, "killed": 1}
    assert content["counts"] == expected
    assert content["phases"]["bayesian"] == {
        "trials_planned": 7,
        "trials_finished": 5,
        "epochs_planned": 28,
        "epochs_spent": 3 * 4 + 2,
        "seconds": 1.5 * 14,
    }
    assert content["epochs"] == 34 and content["seconds"] == 1.5 * 34
    assert content["trials"] == [record.to_dict() for record in slots.records(search.study)]


def test_trials_csv_has_a_row_a_trial_and_a_column_a_hyperparameter(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.carry_out()
    search.log(tensorboard=False).close()
    with open(tmp_path / "gru_residual" / "trials.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == list(range(15))
    assert list(rows[0])[-4:] == ["lr", "hidden_size", "normalisation", "patience"]
    assert [row["status"] for row in rows] == list(STATUSES)
    assert rows[2]["value"] == "" and rows[2]["error"] == "out of memory"
    assert float(rows[3]["value"]) == 1 - 0.05 * 3
    assert float(rows[4]["lr"]) == search.study.get_trials()[4].params["lr"]


def test_a_hyperparameter_named_like_a_column_has_one_of_its_own() -> None:
    record = TrialRecord("gru:residual", 0, 0, "random", "completed", 1.0, "f", "h", 2, steps=7)
    record = replace(record, hyperparameters={"steps": 3})
    text = StudySummary("gru:residual", "mse", SPACE, CONFIG, (record,), 0).as_csv()
    (row,) = csv.DictReader(text.splitlines())
    assert row["steps"] == "7" and row["hyperparameter_steps"] == "3"


# ---- texts ----


def test_the_table_has_the_best_trial_first_and_those_without_a_value_last(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.carry_out()
    search.log().close()
    step, table = texts(tmp_path, "study/trials")[-1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert step == 15 and len(cells) == 15
    assert cells[0][:5] == ["**best**", "14", "fine-tuning", "completed", "0.3"]
    assert [row[0] for row in cells[1:]] == [""] * 14
    assert [int(row[1]) for row in cells] == [14, 13, 12, 11, 10, 8, 7, 5, 4, 3, 1, 0, 2, 6, 9]


def test_the_summary_says_who_won_and_what_it_changed(tmp_path: Path) -> None:
    search = Search(tmp_path)
    log = search.log()
    search.end(search.ask(0, {"lr": 1e-3, "hidden_size": 64, "normalisation": "revin"}), "completed", 0.9)
    log.update()
    _, text = texts(tmp_path, "study/summary")[-1]
    assert "These are the defaults" in text
    search.end(search.ask(1, {"lr": 1e-2, "hidden_size": 64, "normalisation": "none"}), "completed", 0.4)
    log.close()
    step, text = texts(tmp_path, "study/summary")[-1]
    assert step == 2 and "Best: 0.4 in trial 1 (random phase, 2 epochs)" in text and "The defaults: 0.9" in text
    assert "| `lr` | **0.01** | 0.001 |" in text and "| `hidden_size` | 64 | 64 |" in text
    assert "| `normalisation` | **none** | revin |" in text
    assert "cannot be said from so few trials" in text


def test_a_study_without_a_completed_trial_says_so(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.end(search.ask(0), "failed", None)
    search.end(search.ask(1), "pruned", 0.5)
    search.log().close()
    assert "No trial has completed yet" in texts(tmp_path, "study/summary")[-1][1]
    assert "study/best_value" not in curves(tmp_path)
    assert json.loads((tmp_path / "gru_residual" / "study.json").read_text())["best"] is None


def test_defaults_that_were_pruned_are_not_compared(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.end(search.ask(0, {"lr": 1e-3, "hidden_size": 64, "normalisation": "revin"}), "pruned", 0.9)
    search.end(search.ask(1), "completed", 0.5)
    search.log().close()
    assert "No completed trial had the defaults." in texts(tmp_path, "study/summary")[-1][1]


def test_errors_at_different_horizons_are_said_to_be_relative() -> None:
    horizon = Dimension("horizon", "data", "int", 1, 1, 24)
    space = replace(SPACE, dimensions=(*SPACE.dimensions, horizon))
    assert "relative to the naive forecast" in StudySummary("gru:residual", "mse", space, CONFIG, ()).text()
    assert "relative" not in StudySummary("gru:residual", "mse", SPACE, CONFIG, ()).text()


# ---- importances ----


def importance_study(tmp_path: Path, value: Callable[[dict[str, Any]], float]) -> dict[str, float]:
    config = HyperparameterConfig(n_random_trials=24, n_bayesian_trials=0, n_fine_tune_trials=8)
    search = Search(tmp_path, config)
    for slot in range(32):
        lr, size = 10 ** (-5 + (slot * 7 % 24) / 6), 16 + slot * 11 % 24 * 10
        values = {"lr": lr, "hidden_size": size, "normalisation": ("revin", "none")[slot % 2]}
        # Fine-tuning trials would speak for the hidden size.
        objective = value(values) if slot < 24 else size / 1000
        search.end(search.ask(slot, values), "pruned" if slot % 5 == 4 and slot < 24 else "completed", objective)
    return importances(search.study.get_trials(), search.space, config, "mse")


def test_importances_name_what_mattered_in_the_first_two_phases(tmp_path: Path) -> None:
    found = importance_study(tmp_path, lambda values: (math.log10(values["lr"]) + 3) ** 2)
    assert next(iter(found)) == "lr" and found["lr"] > 0.5
    assert sum(found.values()) == pytest.approx(1) and set(found) == {"lr", "hidden_size", "normalisation"}


def test_nobody_hears_of_the_study_that_importances_are_worked_out_with(tmp_path: Path) -> None:
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    optuna.logging.set_verbosity(optuna.logging.INFO)
    logging.getLogger("optuna").addHandler(handler)
    try:
        assert importance_study(tmp_path, lambda values: values["lr"])
    finally:
        logging.getLogger("optuna").removeHandler(handler)
    assert told and not any("in memory" in line for line in told)


def test_no_importances_where_all_values_are_equal_or_trials_few(tmp_path: Path) -> None:
    assert importance_study(tmp_path, lambda values: 1.0) == {}
    (tmp_path / "few").mkdir()
    search = Search(tmp_path / "few")
    search.carry_out(range(6))
    assert importances(search.study.get_trials(), SPACE, CONFIG, "mse") == {}


# ---- figures ----


def test_figures_are_drawn_every_ten_trials_and_in_the_end(tmp_path: Path) -> None:
    search = Search(tmp_path)
    log = search.log()
    for number in range(15):
        search.carry_out([number])
        log.update()
    log.close()
    found = images(tmp_path)
    assert {"study/history", "study/slices", "study/parallel_coordinates", "study/contour"} <= set(found)
    assert found["study/history"] == [10, 15]
    assert all(spec_of(tag) for tag in found)


def test_without_tensorboard_there_are_files_but_no_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from src.tuning import study_figures

    drawn: list[StudySummary] = []
    monkeypatch.setattr(study_figures, "draw_all", drawn.append)
    search = Search(tmp_path)
    search.carry_out()
    search.log(tensorboard=False).close()
    assert not drawn, "nobody would see the figures"
    assert {path.name for path in (tmp_path / "gru_residual").iterdir()} == {"study.json", "trials.csv"}


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = "import sys, src.tuning.study_log; print({'matplotlib', 'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# ---- trouble ----


def test_a_folder_that_cannot_be_written_is_reported_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search = Search(tmp_path)
    (tmp_path / "gru_residual").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        log = search.log()
        for number in range(12):
            search.carry_out([number])
            log.update()
        log.close()
    told = [record.getMessage() for record in caplog.records if "writing its files failed" in record.getMessage()]
    assert len(told) == 1 and "goes on" in told[0]


def test_files_that_could_not_be_written_are_written_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(tmp_path)
    log = search.log(tensorboard=False)
    search.carry_out(range(2))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", no_space)
        log.update()
    assert not (tmp_path / "gru_residual" / "study.json").exists()
    log.update()
    assert len(json.loads((tmp_path / "gru_residual" / "study.json").read_text())["trials"]) == 2


def no_space(*arguments: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_storage_that_does_not_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    search = Search(tmp_path)
    log = search.log()
    search.carry_out(range(3))

    def away(*arguments: Any, **more: Any) -> None:
        raise ConnectionError("the server is away")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(search.study._storage, "get_all_trials", away)
        log.update()
        log.update()
    assert [r.getMessage() for r in caplog.records if "the server is away" in r.getMessage()] != []
    assert len(caplog.records) == 1
    log.close()
    assert len(curves(tmp_path)["study/epochs"]) == 3
