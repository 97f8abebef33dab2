"""What the machine does while a model trains, on the global-step axis."""

from __future__ import annotations

from .spec import MetricSpec

CPU_UTILIZATION = "system/cpu_utilization_percent"
RAM_USAGE = "system/ram_usage_gb"
PROCESS_RAM = "system/process_ram_gb"
GPU_UTILIZATION = "system/gpu_utilization_percent"
GPU_MEMORY = "system/gpu_memory_gb"
GPU_TEMPERATURE = "system/gpu_temperature_celsius"
GPU_POWER = "system/gpu_power_watts"


def _system(tag: str, unit: str, help: str, chart: str = "") -> MetricSpec:
    return MetricSpec(tag, unit, "none", "step", "cheap", "14 System", help, chart=chart, timed=True)


SPECS: tuple[MetricSpec, ...] = (
    _system(CPU_UTILIZATION, "percent", "Use of all processors of the machine, mean over a second.", "Utilisation"),
    _system(GPU_UTILIZATION, "percent", "Share of the last second in which the GPU computed.", "Utilisation"),
    _system(RAM_USAGE, "GiB", "Memory in use on the machine, by all processes.", "Memory"),
    _system(PROCESS_RAM, "GiB", "Memory that this process takes.", "Memory"),
    _system(GPU_MEMORY, "GiB", "Memory in use on the GPU, by all processes.", "Memory"),
    _system(GPU_TEMPERATURE, "degrees Celsius", "Temperature of the GPU."),
    _system(GPU_POWER, "watts", "Power that the GPU draws."),
)
