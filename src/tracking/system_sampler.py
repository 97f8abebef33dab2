"""What the machine does, sampled in a thread of its own: asking takes time, and right after a step all is idle."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .tag_tables import system as names

GIB = 1024**3

GpuReader = Callable[[], Mapping[str, float]]
"""Returns the values of a GPU by tag; whatever it does not know is left out."""


FIRST_SECONDS = 0.1


class SystemSampler:
    """Samples processors, memory and GPU every second while it runs.

    Args:
        interval_seconds: from one sample to the next.
        gpu: asked for the GPU's values; by default none is, see ``gpu_reader``.
    """

    def __init__(self, interval_seconds: float = 1.0, gpu: GpuReader | None = None) -> None:
        self.interval_seconds = interval_seconds
        self._gpu = gpu
        self._latest: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = 0

    def latest(self) -> dict[str, float]:
        """The newest sample, tag to value: the same object until there is a new one; empty before the first."""
        return self._latest

    def start(self) -> SystemSampler:
        """Begin; a sampler that runs goes on. In a forked child, where no thread has come along, it starts anew."""
        if not self.is_running:
            self._stopped = threading.Event()
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._run, args=(self._stopped,), name="system-sampler", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread, and wait for it a moment; what was sampled last can still be read."""
        self._stopped.set()
        thread, self._thread = self._thread, None
        if thread is not None and self._process == os.getpid() and thread is not threading.current_thread():
            thread.join(timeout=2 * self.interval_seconds + 1)

    @property
    def is_running(self) -> bool:
        """Whether the thread lives, in this process."""
        return self._thread is not None and self._process == os.getpid() and self._thread.is_alive()

    def __enter__(self) -> SystemSampler:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self, stopped: threading.Event) -> None:
        import psutil

        process = psutil.Process()
        _quietly(lambda: {"": psutil.cpu_percent()})  # the first call has nothing to compare with
        gpu = self._gpu
        pause = min(FIRST_SECONDS, self.interval_seconds)  # so that a short run has a sample too
        while not stopped.wait(pause):
            pause = self.interval_seconds
            sample = _quietly(lambda: _machine(psutil, process))
            if gpu is not None:
                sample |= _quietly(gpu)
            if sample:
                self._latest = sample


def gpu_reader(device: Any) -> GpuReader | None:
    """How to ask for the values of a device's GPU; None where there is none, or no way of asking.

    Args:
        device: a ``torch.device`` or its name. For CUDA the library nvidia-ml-py is asked, if it is installed and
            works; for ``mps`` torch knows the memory.
    """
    import torch

    device = torch.device(device)
    if device.type == "mps":
        return lambda: {names.GPU_MEMORY: torch.mps.current_allocated_memory() / GIB}
    if device.type != "cuda":
        return None
    try:
        import pynvml  # type: ignore[import-not-found, unused-ignore]

        pynvml.nvmlInit()
        handle = _handle(pynvml, torch.cuda.get_device_properties(device))
    except Exception:  # not installed, no driver, a device it does not know: there is nothing to show then
        return None
    return lambda: nvidia_values(pynvml, handle)


def nvidia_values(nvml: Any, handle: Any) -> dict[str, float]:
    """What nvidia-ml-py says of one GPU; what it does not say, as some cards do not, is left out."""
    questions: dict[str, Callable[[], float]] = {
        names.GPU_UTILIZATION: lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        names.GPU_MEMORY: lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / GIB,
        names.GPU_TEMPERATURE: lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        names.GPU_POWER: lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    }
    values: dict[str, float] = {}
    for tag, question in questions.items():
        values |= _quietly(lambda tag=tag, question=question: {tag: question()})  # type: ignore[misc]
    return values


def _handle(nvml: Any, properties: Any) -> Any:
    """By the card's identity: numbers differ where CUDA_VISIBLE_DEVICES hides some."""
    uuid = str(properties.uuid)
    return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")


def _machine(psutil: Any, process: Any) -> dict[str, float]:
    return {
        names.CPU_UTILIZATION: float(psutil.cpu_percent()),
        names.RAM_USAGE: psutil.virtual_memory().used / GIB,
        names.PROCESS_RAM: process.memory_info().rss / GIB,
    }


def _quietly(question: Callable[[], Mapping[str, float]]) -> dict[str, float]:
    """The answer, or nothing: what cannot be sampled must not end a thread, and certainly no training."""
    try:
        return dict(question())
    except Exception:
        return {}
