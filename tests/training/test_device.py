"""Promises of devices and arithmetic: clear refusals, random states that can be put back, options that are obeyed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data.series import SeriesData
from src.errors import OptionError
from src.models import create_model
from src.training.config import TrainingConfig
from src.training.device import prepare_process, random_states, restore_random_states, seed_everything, select_device

ROOT = Path(__file__).resolve().parents[2]


def trained(data: SeriesData, name: str = "lstm:basic", **values: Any) -> tuple[float, dict[str, torch.Tensor]]:
    config = TrainingConfig(**{"epochs": 2, "lr": 0.01, "device": "cpu", "epoch_fraction": 0.3, **values})
    torch.manual_seed(0)
    model = create_model(name, data.spec, {"hidden_size": 8})
    return model.fit(data, config).best, model.state_dict()


def test_devices_are_chosen_by_name() -> None:
    assert select_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert select_device("auto").type == expected


@pytest.mark.parametrize("name", ["gpu", "", "cpux", "cuda:x", "0"])
def test_what_is_no_device_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(OptionError, match=f"device must be auto, cpu, cuda, cuda:N or mps, but got '{name}'"):
        select_device(name)


@pytest.mark.parametrize("name", ["cuda:63", "cpu:1", "meta", "xpu"])
def test_a_device_this_machine_has_not_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"device {name} is not available on this machine; use --device auto"):
        select_device(name)


def draw() -> list[Any]:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.normal(), torch.rand(3).tolist()]  # noqa: NPY002


def test_random_states_go_to_a_file_and_back(tmp_path: Path) -> None:
    seed_everything(3)
    draw()
    torch.save(random_states(), tmp_path / "states.pt")
    expected = [draw(), draw()]
    seed_everything(4)
    assert draw() != expected[0]
    restore_random_states(torch.load(tmp_path / "states.pt", weights_only=True))
    assert [draw(), draw()] == expected


def test_one_seed_decides_all_generators() -> None:
    seed_everything(2**40 + 7)
    first = draw()
    seed_everything(2**40 + 7)
    assert draw() == first
    seed_everything(8)
    assert draw() != first


@pytest.mark.parametrize("model", ["lstm:basic", "gru:residual"])
def test_bfloat16_trains_on_the_cpu_to_nearly_the_same_loss(walk: SeriesData, model: str) -> None:
    plain, weights = trained(walk, model)
    half, half_weights = trained(walk, model, precision="bfloat16")
    assert half == pytest.approx(plain, rel=0.02)
    assert all(value.dtype == weights[name].dtype == torch.float32 for name, value in half_weights.items())
    assert any(not torch.equal(value, weights[name]) for name, value in half_weights.items()), "else nothing was done"


def test_deterministic_allows_no_other_algorithms_and_leaves_no_trace(walk: SeriesData) -> None:
    try:
        first = trained(walk, deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        again = trained(walk, deterministic=True)
        assert first[0] == again[0] and all(torch.equal(value, again[1][name]) for name, value in first[1].items())
        trained(walk)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_threads_are_those_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            prepare_process(TrainingConfig(threads=threads))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_compiled_training_comes_to_nearly_the_same_loss(tmp_path: Path) -> None:
    program = (
        "from src import DataOptions, TrainingConfig, create_model, load_data\n"
        "import torch\n"
        "data = load_data(DataOptions(data='sample:walk', window=8))\n"
        "for compiled in (False, True):\n"
        "    torch.manual_seed(0)\n"
        "    model = create_model('linear:nlinear', data.spec)\n"
        "    config = TrainingConfig(epochs=2, device='cpu', compile=compiled)\n"
        "    print(model.fit(data, config, run_dir=f'run_{compiled}').best)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    plain, compiled = map(float, ended.stdout.split())
    assert compiled == pytest.approx(plain, rel=1e-3)
    weights = torch.load(tmp_path / "run_True" / "checkpoints" / "best.pt", weights_only=True)["model"]
    assert not any("_orig_mod" in name for name in weights), "a compiled model's weights load into a plain one"
