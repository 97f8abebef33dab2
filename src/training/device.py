"""Where to compute, and how to set up the process for it."""

from __future__ import annotations

import ctypes
import os
import random
import sys
from typing import Any

import numpy as np
import torch

from ..errors import OptionError
from .config import TrainingConfig

# glibc's mallopt parameters (malloc.h) and the values that make it keep memory instead of handing it back.
_KEEP_MEMORY = ((-4, 0), (-1, 2**31 - 1), (-2, 64 * 2**20))  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD


def select_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes a CUDA GPU, else Apple's, else the CPU.

    Raises:
        OptionError: if the name is no device or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"device must be auto, cpu, cuda, cuda:N or mps, but got '{name}'") from None
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= available:
        raise OptionError(f"device {name} is not available on this machine; use --device auto")
    return device


def prepare_process(config: TrainingConfig) -> None:
    """Set threads, memory handling and determinism of this process for a training run."""
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    # Needed before CUDA starts; harmless where there is none.
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if config.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(config.deterministic)  # imports the compiler: close to a second
    torch.backends.cudnn.benchmark = not config.deterministic


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step.

    Half of an LSTM step on a CPU is the kernel taking pages back and handing them out again; kept pages make it
    twice as fast for some more resident memory. Does nothing where the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)  # what reading the data has left over is not worth keeping
    for parameter, value in _KEEP_MEMORY:
        mallopt(parameter, value)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - plugins may draw from NumPy's global generator
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """The states of all random generators as tensors and plain values."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.array(keys, dtype=np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Undo everything drawn since ``random_states``."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
