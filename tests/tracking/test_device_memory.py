"""What a GPU says of itself, shown with one that is made up, and nothing where there is none."""

from __future__ import annotations

import pytest
import torch

from src.tracking import device_memory
from src.tracking.tag_tables.system import GPU_UTILIZATION


def test_without_a_gpu_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_memory.gpu_state() == {} == device_memory.gpu_memory()


@pytest.mark.parametrize("has_driver", [True, False])
def test_memory_is_in_gib_and_utilization_in_percent(monkeypatch: pytest.MonkeyPatch, has_driver: bool) -> None:
    device_memory._driver.cache_clear()
    for name, value in (
        ("is_available", True), ("is_initialized", True), ("current_device", 0),
        ("memory_allocated", 3 * 1024**3), ("max_memory_allocated", 4.5 * 1024**3),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    reader = (lambda: {GPU_UTILIZATION: 93.0}) if has_driver else None
    monkeypatch.setattr(device_memory, "gpu_reader", lambda device: reader)
    expected = {"gpu_memory_allocated_gb": 3.0, "peak_memory_gb": 4.5}
    assert device_memory.gpu_state() == (expected | {"gpu_utilization_percent": 93.0} if has_driver else expected)
    device_memory._driver.cache_clear()
