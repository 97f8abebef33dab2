"""The doctor finds what is wrong, names a fix, and never fails itself."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from src.management import doctor
from src.management.doctor import Check
from src.management.runs_health import examine_runs

SEED_0 = Path("first/linear_nlinear/seed_0")


def by_status(checks: Iterable[Check], status: str) -> list[Check]:
    return [check for check in checks if check.status == status]


def test_a_sound_folder_has_no_problems_and_no_notes(root: Path) -> None:
    checks = list(examine_runs(root, deep=True))
    assert {check.status for check in checks} == {"ok"}
    assert "5 completed" in checks[0].text and checks[-1].name == "checkpoints"
    assert [check.status for check in examine_runs(Path("nowhere"))] == ["ok"]


def test_what_is_not_ok_has_a_fix(root: Path) -> None:
    (root / SEED_0 / "results.json").write_text("{")
    (root / "second" / "linear_nlinear" / "results.json").unlink()
    shutil.rmtree(root / "second" / "baseline_naive")
    (root / "second" / ".lock").touch()
    (root / "second" / ".plan.json.123.tmp").touch()
    checks = list(examine_runs(root))
    [problem] = by_status(checks, "problem")
    assert SEED_0.as_posix() in problem.text and "results.json" in problem.text
    notes = " ".join(f"{check.text} {check.fix}" for check in by_status(checks, "note"))
    assert (
        "2 runs of second did not end" in notes
        and "--resume runs/second" in notes
        and ".lock" in notes
        and ".plan.json.123.tmp" in notes
    )
    assert all(check.fix for check in checks if check.status != "ok")


def test_files_of_a_command_that_is_training_are_not_left_over(
    root: Path, holding: Callable[[Path], subprocess.Popen[str]]
) -> None:
    (root / SEED_0 / ".last.pt.123.tmp").touch()
    process = holding(root / "first")
    assert by_status(examine_runs(root), "note") == []
    process.kill()
    process.wait()
    assert [check.name for check in by_status(examine_runs(root), "note")] == ["locks", "files"]


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_a_flipped_bit_in_a_checkpoint_is_found_when_looking_deep(root: Path, name: str) -> None:
    file = root / SEED_0 / "checkpoints" / name
    content = bytearray(file.read_bytes())
    content[content.rindex(b"PK\x01\x02") - 200] ^= 1
    for place in range(200, len(content) // 2, 97):
        content[place] ^= 1
    file.write_bytes(content)
    assert by_status(examine_runs(root), "problem") == []
    [problem] = by_status(examine_runs(root, deep=True), "problem")
    assert str(file) in problem.text and problem.fix


# ---- environment ----


def test_this_environment_can_be_examined(root: Path) -> None:
    names = [check.name for check in doctor.examine_environment(root)]
    assert {"Python", "packages", "torch", "processor", "memory", "TensorBoard", "output", "disk"} <= set(names)


def test_a_check_that_fails_is_a_line_and_the_others_go_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> Iterable[Check]:
        raise RuntimeError("broken\nlibrary")

    monkeypatch.setattr(doctor, "check_torch", failing)
    monkeypatch.setattr(doctor, "check_tensorboard", lambda: iter(()))
    checks = list(doctor.examine_environment(root))
    assert [check.text for check in by_status(checks, "problem")] == [
        "could not be checked (RuntimeError: broken library)"
    ]
    assert checks[-1].name == "disk"


def test_pins_are_those_of_the_requirements_file() -> None:
    pins = doctor.pinned_versions()
    assert {"torch", "tensorboard", "psycopg", "SQLAlchemy"} <= set(pins)
    assert all(version[0].isdigit() for version in pins.values())


def test_missing_packages_are_problems_and_other_versions_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    typer = importlib.metadata.version("typer")
    monkeypatch.setattr(doctor, "pinned_versions", lambda: {"no-such-package": "1.0", "typer": "0.0.1", "torch": "0"})
    [problem, note] = doctor.check_packages()
    assert problem.status == "problem" and "pip install no-such-package==1.0" in problem.fix
    assert note.status == "note" and f"typer {typer}, not 0.0.1" in note.text
    monkeypatch.setattr(doctor, "pinned_versions", lambda: {"typer": typer})
    assert [check.status for check in doctor.check_packages()] == ["ok"]


def test_in_a_wheel_the_pins_come_from_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements_file", lambda: None)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["torch==2.13.0", "psycopg[binary]==3.3.9 ; x"])
    assert doctor.pinned_versions() == {"torch": "2.13.0", "psycopg": "3.3.9"}


def test_a_tensorboard_that_needs_pkg_resources_is_told_from_a_sound_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").touch()
    (tmp_path / "tensorboard" / "main.py").write_text("import pkg_resources\n")
    (tmp_path / "pkg_resources.py").write_text("raise ModuleNotFoundError(\"No module named 'pkg_resources'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [check] = doctor.check_tensorboard()
    assert check.status == "problem" and "setuptools" in check.text and "tensorboard>=2.21" in check.fix


def test_a_taken_port_is_a_note() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        [check] = doctor.check_port(port)
        assert check.status == "note"
    [check] = doctor.check_port(port)
    assert check.status == "ok"


def test_another_tensorboard_is_found_and_an_editor_is_not(tmp_path: Path) -> None:
    programs = {"tensorboard": 1, "editor": 0}
    for name, count in programs.items():
        script = tmp_path / name
        script.write_text("import time; print('started', flush=True); time.sleep(60)")
        command = [sys.executable, str(script), "--logdir", f"{tmp_path}/runs", "tensorboard"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline()
            found = [check for check in doctor.check_other_tensorboards() if f"process {process.pid} " in check.text]
            process.kill()
        assert len(found) == count
        assert all(f"{tmp_path}/runs" in check.text and check.status == "note" for check in found)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder in which nobody can write")
def test_a_place_where_nothing_can_be_written_is_a_problem(tmp_path: Path) -> None:
    [check] = doctor.check_writable(Path("/proc/self/runs"))
    assert check.status == "problem" and "--output" in check.fix
    [check] = doctor.check_writable(tmp_path / "not" / "there" / "yet")
    assert check.status == "ok" and not (tmp_path / "not").exists()


@pytest.mark.parametrize(("free", "status"), [(100, "problem"), (300 * 1024**2, "ok")])
def test_little_disk_space_is_said(root: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    usage = shutil.disk_usage(root)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    [check] = doctor.check_disk(root)
    assert check.status == status and ("archive or delete" in check.fix) is (status != "ok")
