"""What the machine does, sampled in the background: values, threads, forks and failures."""

import os
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from src.tracking.system_sampler import GIB, SystemSampler, gpu_reader, nvidia_values
from src.tracking.tag_tables import system as tags

MACHINE = {tags.CPU_UTILIZATION, tags.RAM_USAGE, tags.PROCESS_RAM}


def samples(sampler, count=1, seconds=10.0):
    """Wait for so many new samples; returns the newest."""
    deadline = time.monotonic() + seconds
    newest = sampler.latest()
    for _ in range(count):
        while sampler.latest() is newest:
            assert time.monotonic() < deadline, "no sample came"
            time.sleep(0.005)
        newest = sampler.latest()
    return newest


def test_the_machine_is_sampled():
    with SystemSampler(0.02) as sampler:
        assert sampler.latest() == {}
        values = samples(sampler, 2)
    assert set(values) == MACHINE
    assert 0 <= values[tags.CPU_UTILIZATION] <= 100
    assert values[tags.PROCESS_RAM] == pytest.approx(psutil.Process().memory_info().rss / GIB, rel=0.2)
    assert values[tags.PROCESS_RAM] < values[tags.RAM_USAGE] + 1
    assert 0.1 * psutil.virtual_memory().used < values[tags.RAM_USAGE] * GIB < 10 * psutil.virtual_memory().used


def test_a_gpu_may_be_injected_and_may_fail():
    answers = iter([{tags.GPU_UTILIZATION: 40.0}, None, {tags.GPU_UTILIZATION: 60.0}])

    def gpu():
        answer = next(answers, {tags.GPU_UTILIZATION: 60.0})
        if answer is None:
            raise RuntimeError("lost")
        return answer

    with SystemSampler(0.02, gpu) as sampler:
        first, second, third = samples(sampler), samples(sampler), samples(sampler)
    assert set(first) == set(third) == MACHINE | {tags.GPU_UTILIZATION}
    assert set(second) == MACHINE
    assert third[tags.GPU_UTILIZATION] == 60.0


def test_no_thread_is_left_behind():
    before = threading.active_count()
    sampler = SystemSampler(30.0)
    for _ in range(3):
        assert sampler.start() is sampler.start()
        assert threading.active_count() == before + 1
        started = time.monotonic()
        sampler.stop()
        assert time.monotonic() - started < 5  # it does not sleep its interval out
        assert threading.active_count() == before
    sampler.stop()
    with pytest.raises(ZeroDivisionError), sampler:
        _ = 1 / 0
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_stop_and_start_it():
    with SystemSampler(0.02) as sampler:
        samples(sampler)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert not sampler.is_running  # threads do not come along
                sampler.start()
                samples(sampler)
                sampler.stop()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        samples(sampler)


def test_reading_costs_little():
    """Measured: about 0.1 milliseconds a second, of one processor."""
    with SystemSampler(0.01) as sampler:
        samples(sampler)
        started, spent = time.monotonic(), time.process_time()
        newest = samples(sampler, 10)
        assert newest
        share = (time.process_time() - spent) / (time.monotonic() - started)
    assert share < 0.5  # at a hundred times the usual pace, this test's own waiting included


class Nvml:
    """As much of nvidia-ml-py as is asked; this card does not know its power."""

    NVML_TEMPERATURE_GPU = 0

    def nvmlDeviceGetUtilizationRates(self, handle):
        return SimpleNamespace(gpu=37, memory=12)

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=3 * GIB, total=80 * GIB)

    def nvmlDeviceGetTemperature(self, handle, kind):
        return 55

    def nvmlDeviceGetPowerUsage(self, handle):
        raise RuntimeError("Not Supported")


def test_values_of_a_card():
    assert nvidia_values(Nvml(), object()) == {
        tags.GPU_UTILIZATION: 37.0,
        tags.GPU_MEMORY: 3.0,
        tags.GPU_TEMPERATURE: 55.0,
    }
    knows = Nvml()
    knows.nvmlDeviceGetPowerUsage = lambda handle: 250_000
    assert nvidia_values(knows, object())[tags.GPU_POWER] == 250.0


def test_without_a_gpu_there_is_no_reader():
    import torch

    assert gpu_reader("cpu") is None
    if not torch.cuda.is_available():
        assert gpu_reader("cuda") is None
    reader = gpu_reader("mps")
    assert reader is not None


def test_the_table_holds_every_tag():
    constants = {value for name, value in vars(tags).items() if name.isupper() and isinstance(value, str)}
    assert {spec.tag for spec in tags.SPECS} == constants
    assert all(spec.timed for spec in tags.SPECS)
