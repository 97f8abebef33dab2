"""Studies in real storages, for the tests of who does which trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from src.tuning.config import HyperparameterConfig
from src.tuning.slots import enqueue_slots
from src.tuning.storage import open_storage
from tests.conftest_postgres import start_postgres

CONFIG = HyperparameterConfig(n_random_trials=3, n_bayesian_trials=2, n_fine_tune_trials=1)
MakeStudy = Callable[..., optuna.Study]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty PostgreSQL server."""
    with start_postgres(tmp_path_factory.mktemp("postgres")) as address:
        yield address


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Makes a study with all places waiting, in a journal file unless told otherwise."""

    def make(
        config: HyperparameterConfig = CONFIG, place: str | None = None, name: str = "search/model"
    ) -> optuna.Study:
        storage = open_storage(place or str(tmp_path / "optuna.journal"))
        study = optuna.create_study(storage=storage, study_name=name)
        study.set_user_attr("model", "gru:basic")
        enqueue_slots(study, config)
        return study

    return make
