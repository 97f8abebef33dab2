"""Every registered model in a small size, and small data for it: what ``test_contract.py`` works on."""

import functools

import numpy as np
import torch

from src import registry
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.tables import Table
from src.models import create_model, load_all
from src.training.config import TrainingConfig
from src.training.device import seed_everything

load_all()
NAMES = [known.name for known in registry.entries() if "series" in known.model_class.kinds]
NETWORKS = [name for name in NAMES if registry.entry(name).model_class.uses_gradients]

WINDOW = 24
SMALL = {"hidden_size": 8, "num_heads": 2, "feed_forward": 16, "trees": 10}


def make_values(rows=240, seed=0):
    """Three positive prices that hang together a little."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.02, (rows, 3)) @ np.array([[1.0, 0.3, 0.1], [0.0, 1.0, 0.4], [0.0, 0.0, 1.0]])
    return 50 * np.exp(np.cumsum(steps, axis=0))


def data_of(values, **options):
    dates = np.datetime64("2024-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "h")
    table = Table(dates, {name: values[:, place].copy() for place, name in enumerate("abc")}, "made")
    return SeriesData.from_tables([table], DataOptions(**{"data": "made", "window": WINDOW, **options}))


@functools.cache
def make_data(task="forecast", transform="return", horizon=1, target="b", window=WINDOW):
    return data_of(make_values(), task=task, transform=transform, horizon=horizon, target=target, window=window)


def build(name, spec, seed=0, **options):
    """The model with small sizes, as far as it has such options."""
    known = registry.entry(name).model_class.Config.names()
    seed_everything(seed)
    return create_model(name, spec, {option: v for option, v in {**SMALL, **options}.items() if option in known})


def any_data(name, **options):
    """Data that the model can learn from: the first of both tasks that it supports."""
    for task in ("forecast", "direction"):
        data = make_data(task=task, **options)
        if registry.entry(name).model_class.unsupported(data.spec) is None:
            return data
    raise AssertionError(f"{name} supports neither task on plain series")


def fitted(name, data, folder=None, epochs=1, **options):
    model = build(name, data.spec, **options)
    model.fit(data, TrainingConfig(epochs=epochs, batch_size=32, device="cpu"), tensorboard_log_dir=folder)
    return model


def inputs_of(data, count=6):
    return data.test.select(torch.arange(count)).inputs
