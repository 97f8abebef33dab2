"""Checks of the environment: what would keep training or TensorBoard from working, each with its fix."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OLDEST_PYTHON = (3, 11)
TENSORBOARD_PORT = 6006
LITTLE_MEMORY = 1 << 30
LITTLE_DISK = 200 * 1024**2
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*==\s*([^\s;#]+)")
_SECONDS = 60.0

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: ``note`` is worth knowing, ``problem`` keeps something from working.
        text: what was found.
        fix: what to do; empty if nothing needs to be done.
    """

    name: str
    status: Status
    text: str
    fix: str = ""


def examine_environment(root: Path) -> Iterator[Check]:
    """All checks of Python, packages, hardware, TensorBoard and disk; ``root`` is where runs go."""
    checks: tuple[Callable[[], Iterator[Check]], ...] = (
        check_python,
        check_packages,
        check_torch,
        check_processor,
        check_tensorboard,
        check_port,
        check_other_tensorboards,
        lambda: check_writable(root),
        lambda: check_disk(root),
    )
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # a broken package can raise anything; the other checks must go on
            name = getattr(check, "__name__", "check").removeprefix("check_").replace("<lambda>", "disk")
            yield Check(
                name, "problem", f"could not be checked ({type(error).__name__}: {' '.join(str(error).split())})"
            )


def check_python() -> Iterator[Check]:
    """Version of Python, and whether its C library is the one that keeps freed memory when told to."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield Check("Python", "problem", version, f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    else:
        yield Check("Python", "ok", f"{version}, {sys.executable}")
    library, library_version = platform.libc_ver()
    if sys.platform == "linux" and library != "glibc":
        yield Check(
            "C library", "note", f"{library or 'not glibc'}: freed memory goes back, recurrent models are slower"
        )
    elif sys.platform == "linux":
        yield Check("C library", "ok", f"{library} {library_version}")


# ---- packages ----


def check_packages() -> Iterator[Check]:
    """Installed versions against the pinned ones."""
    pins = pinned_versions()
    if not pins:
        yield Check("packages", "note", "there is no list of requirements to compare with")
        return
    missing, others = [], []
    for name, wanted in pins.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{name}=={wanted}")
            continue
        if found.split("+")[0] != wanted:  # 2.13.0+cpu is 2.13.0 built for the CPU
            others.append(f"{name} {found}, not {wanted}")
    install = f"{shlex.quote(sys.executable)} -m pip install"
    if missing:
        yield Check("packages", "problem", f"missing: {', '.join(missing)}", f"{install} {' '.join(missing)}")
    if others:
        fix = (
            f"{install} -r requirements.txt"
            if _requirements_file()
            else f"{install} --upgrade --force-reinstall trainboard"
        )
        yield Check(
            "packages", "note", f"results may differ from those of the pinned versions: {'; '.join(others)}", fix
        )
    if not missing and not others:
        yield Check("packages", "ok", f"{len(pins)} installed in the pinned versions")


def pinned_versions() -> dict[str, str]:
    """Package to version, from ``requirements.txt`` in a checkout, else from the metadata of the installed wheel."""
    file = _requirements_file()
    if file is not None:
        lines = file.read_text(encoding="utf-8").splitlines()
    else:
        try:
            lines = importlib.metadata.requires(__package__.partition(".")[0]) or []
        except importlib.metadata.PackageNotFoundError:
            lines = []
    return {match[1]: match[2] for match in map(_REQUIREMENT.match, lines) if match}


def _requirements_file() -> Path | None:
    file = Path(__file__).resolve().parents[2] / "requirements.txt"
    return file if file.is_file() and (file.parent / "src").is_dir() else None


# ---- hardware ----


def check_torch() -> Iterator[Check]:
    """Build of torch and the devices it sees."""
    try:
        import torch
    except Exception as error:  # missing, or a library of the system that does not fit
        yield Check("torch", "problem", f"cannot be imported: {error}", f"{sys.executable} -m pip install torch")
        return
    yield Check("torch", "ok", torch.__version__)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            yield Check(f"GPU {number}", "ok", f"{properties.name}, {properties.total_memory / 1024**3:.0f} GiB")
    elif torch.backends.mps.is_available():
        yield Check("GPU", "ok", "Apple MPS")
    elif Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi"):
        reason = "torch is built without CUDA" if torch.version.cuda is None else "the driver does not fit"
        fix = "install torch for CUDA: https://pytorch.org/get-started/locally/"
        yield Check("GPU", "problem", f"there is an NVIDIA driver, but torch cannot use it ({reason})", fix)
    else:
        yield Check("GPU", "ok", "none; training runs on the CPU")


def check_processor() -> Iterator[Check]:
    """Cores this process may use, thread settings that fight with ``--threads``, and free memory."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total = os.cpu_count() or cores
    of_all = f" of {total}" if total != cores else ""
    yield Check("processor", "ok", f"{cores} cores{of_all}; up to {cores} models are trained at the same time")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = os.environ.get(name)
        if value and value != "1":
            yield Check("threads", "note", f"{name}={value} is set; training uses --threads instead")
    free = psutil.virtual_memory().available
    text = f"{free / 1024**3:.1f} GiB free"
    if free < LITTLE_MEMORY:
        yield Check("memory", "note", text, "end other programs, or train with --jobs 1")
    else:
        yield Check("memory", "ok", text)


# ---- TensorBoard ----


def check_tensorboard() -> Iterator[Check]:
    """Whether TensorBoard starts; up to 2.20 it needs ``pkg_resources``, which setuptools 82 removed."""
    try:
        version = importlib.metadata.version("tensorboard")
    except importlib.metadata.PackageNotFoundError:
        fix = f"{sys.executable} -m pip install 'tensorboard>=2.21'"
        yield Check("TensorBoard", "problem", "is not installed", fix)
        return
    ended = subprocess.run(
        [sys.executable, "-c", "import tensorboard.main"], capture_output=True, text=True, timeout=_SECONDS
    )
    if ended.returncode == 0:
        yield Check("TensorBoard", "ok", version)
        return
    last = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
    fix = f"{sys.executable} -m pip install --force-reinstall 'tensorboard>=2.21'"
    if "pkg_resources" in last:
        last = f"needs pkg_resources, which setuptools {_version_of('setuptools')} no longer has"
    yield Check("TensorBoard", "problem", f"{version} does not start: {last}", fix)


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def check_port(port: int = TENSORBOARD_PORT) -> Iterator[Check]:
    """Whether TensorBoard's usual port is free."""
    with socket.socket() as connection:
        connection.settimeout(1.0)
        taken = connection.connect_ex(("127.0.0.1", port)) == 0
    if taken:
        yield Check("port", "note", f"{port} is taken", "none needed: view_tensorboard.py takes the next free one")
    else:
        yield Check("port", "ok", f"{port} is free")


def check_other_tensorboards() -> Iterator[Check]:
    """TensorBoards that run already; each holds all the runs it shows in memory."""
    import psutil

    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if not _is_tensorboard(words):
            continue
        shown = next((after for word, after in itertools.pairwise(words) if word == "--logdir"), "")
        text = f"process {process.info['pid']} is running" + (f" on {shown}" if shown else "")
        yield Check("TensorBoard", "note", text, f"if it is no longer needed: kill {process.info['pid']}")


def _is_tensorboard(words: list[str]) -> bool:
    """By the program that is run, so that an editor with such a file open does not count."""
    program = [os.path.basename(word) for word in words[:2]]
    return "tensorboard" in program or words[1:3] == ["-m", "tensorboard.main"] or words[1:3] == ["-m", "tensorboard"]


# ---- disk ----


def check_writable(root: Path) -> Iterator[Check]:
    """Whether runs can be written, by writing."""
    place = _existing(root)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = "choose another place with --output, or change its permissions"
        yield Check("output", "problem", f"nothing can be written to {place} ({error.strerror})", fix)
        return
    text = f"{root} can be written" if place == root else f"{root} is not there yet and can be made"
    yield Check("output", "ok", text)


def check_disk(root: Path) -> Iterator[Check]:
    """Free space against what the runs take so far."""
    from .runs import size_of

    free, used = shutil.disk_usage(_existing(root)).free, size_of(root)[0]
    text = f"{_gigabytes(free)} free; the runs take {_gigabytes(used)}"
    fix = "archive or delete runs: `list --sort size` shows the largest"
    if free < LITTLE_DISK:
        yield Check("disk", "problem", text, fix)
    elif free < used:
        yield Check("disk", "note", text, fix)
    else:
        yield Check("disk", "ok", text)


def _existing(root: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    absolute = Path(os.path.abspath(root))
    nearest = next(folder for folder in (absolute, *absolute.parents) if folder.is_dir())
    return root if nearest == absolute else nearest


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
