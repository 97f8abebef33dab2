"""Promises of the package to other people's programs: names, light imports, and a model of one's own in a few lines."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import src

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", src.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(src, name) is not None
    assert getattr(src, name).__doc__, "a public name says what it is"


def test_names_are_in_order_and_unknown_ones_are_refused() -> None:
    assert src.__all__ == sorted(src.__all__) == dir(src)
    with pytest.raises(AttributeError, match="module 'src' has no attribute 'BaseModell'"):
        _ = src.BaseModell
    assert src.__version__


def run_python(program: str, folder: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    program = """
        import sys
        import src
        from src import DataOptions, Options, TrainingConfig, UserError, option, register_model, tunable
        print(sorted({"torch", "numpy", "pandas", "sklearn", "matplotlib", "tensorboard"} & set(sys.modules)))
    """
    assert run_python(program, tmp_path) == "[]\n"


def test_a_model_of_ones_own_trains_in_a_few_lines(tmp_path: Path) -> None:
    program = """
        from dataclasses import dataclass

        from torch import nn

        from src import (
            BaseModel, DataOptions, Options, TrainingConfig, create_model, load_data, register_model, tunable,
        )


        @register_model("mlp:basic")
        class MLP(BaseModel):
            '''Two linear layers over the flattened window.'''

            @dataclass(frozen=True)
            class Config(Options):
                hidden_size: int = tunable(16, low=4, high=64, minimum=1, help="width")

            def __init__(self, spec, config):
                super().__init__(spec, config)
                window, features = spec.input_shape
                self.layers = nn.Sequential(
                    nn.Flatten(), nn.Linear(window * features, config.hidden_size), nn.ReLU(),
                    nn.Linear(config.hidden_size, spec.target_shape[0] * spec.target_shape[1]),
                )

            def forward(self, inputs):
                outputs = self.layers(inputs)
                self.log("Custom/output_size", outputs.abs().mean())
                return outputs.view(-1, *self.spec.target_shape)


        data = load_data(DataOptions(data="sample:walk", window=8, horizon=2))
        model = create_model("mlp", data.spec, {"hidden_size": 8})
        result = model.fit(data, TrainingConfig(epochs=2, device="cpu"), tensorboard_log_dir="events")
        batch = next(data.test.batches(5))
        forecast = model.predict(batch.inputs)
        model.save("model.pt")
        again = MLP.load("model.pt")
        assert (again.predict(batch.inputs) == forecast).all()
        print(result.epochs, tuple(forecast.shape), again.config)
    """
    assert run_python(program, tmp_path) == "2 (5, 2, 1) MLP.Config(hidden_size=8)\n"
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))
    header = (tmp_path / "events" / "metrics.csv").read_text().splitlines()[0]
    assert "Custom/output_size" in header.split(",")
