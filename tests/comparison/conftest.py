"""Small series to compare models on."""

import numpy as np
import pytest
import torch

from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.tables import Table
from src.models import create_model


@pytest.fixture(autouse=True)
def one_thread():
    """As in a training run."""
    torch.set_num_threads(1)


@pytest.fixture
def make_data():
    """Call it with ``DataOptions`` values and the number of rows of each series."""

    def make(*rows, seed=0, **options):
        tables = []
        for number, count in enumerate(rows or (300,)):
            steps = np.random.default_rng(seed + number).normal(0, 0.02, (count, 2))
            dates = np.datetime64("2024-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D")
            tables.append(Table(dates, dict(zip("ab", 50 * np.exp(np.cumsum(steps, 0)).T, strict=True)), f"s{number}"))
        return SeriesData.from_tables(tables, DataOptions(**{"data": "made", "window": 8, "target": "a", **options}))

    return make


@pytest.fixture
def make_model():
    """Call it with a name and data to get an untrained model."""

    def make(name, data, seed=0):
        torch.manual_seed(seed)
        return create_model(name, data.spec)

    return make
