"""How much of a GPU's memory tensors take, and how busy it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch

from .system_sampler import GpuReader, gpu_reader
from .tag_tables.system import GPU_UTILIZATION

MemoryReader = Callable[[], Mapping[str, float]]
GIB = 1024**3


def gpu_memory() -> dict[str, float]:
    """Memory of the current GPU in GiB, without waiting for it; empty where there is none.

    Returns:
        ``gpu_memory_allocated_gb``, what tensors take now; ``peak_memory_gb``, the most since the last
        ``torch.cuda.reset_peak_memory_stats()`` (not on Apple's GPUs, which do not keep it).
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return {
            "gpu_memory_allocated_gb": torch.cuda.memory_allocated() / GIB,
            "peak_memory_gb": torch.cuda.max_memory_allocated() / GIB,
        }
    if torch.backends.mps.is_available():
        return {"gpu_memory_allocated_gb": torch.mps.current_allocated_memory() / GIB}
    return {}


def gpu_state() -> dict[str, float]:
    """``gpu_memory`` and ``gpu_utilization_percent``, where the GPU's driver can be asked for it."""
    found = gpu_memory()
    if "peak_memory_gb" in found:
        reader = _driver(torch.cuda.current_device())
        utilization = reader().get(GPU_UTILIZATION) if reader is not None else None
        if utilization is not None:
            found["gpu_utilization_percent"] = utilization
    return found


@functools.cache
def _driver(index: int) -> GpuReader | None:
    return gpu_reader(torch.device("cuda", index))
