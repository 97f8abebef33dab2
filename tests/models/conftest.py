"""Small series and models on them."""

import numpy as np
import pytest
import torch

from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.tables import Table


@pytest.fixture(autouse=True)
def one_thread():
    """As in a training run; two threads only wait for one another over models this small."""
    torch.set_num_threads(1)


@pytest.fixture
def make_data():
    """Call it with ``DataOptions`` values; ``values`` are the positive prices of the columns a, b, ..."""

    def make(values=None, rows=200, seed=0, **options):
        if values is None:
            values = 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (rows, 3)), axis=0))
        dates = np.datetime64("2024-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "h")
        table = Table(dates, dict(zip("abcdef", values.T, strict=False)), "made")
        return SeriesData.from_tables([table], DataOptions(**{"data": "made", "window": 24, "target": "b", **options}))

    return make
