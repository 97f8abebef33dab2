"""Promises of checkpoint files: whole or refused, never half; no pickled objects; the one before is used if need be."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from src.errors import UserError
from src.training.checkpoint import previous_of, read_checkpoint, read_latest, write_checkpoint, write_with_previous

ROOT = Path(__file__).resolve().parents[2]


def content_of(number: int, size: int = 2000) -> dict[str, Any]:
    return {"format": 1, "model": {"weight": torch.full((size,), float(number))}, "progress": {"epoch": number}}


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return torch.equal(first["model"]["weight"], second["model"]["weight"]) and first["progress"] == second["progress"]


def test_what_was_written_is_read_and_holds_no_pickled_objects(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_checkpoint(path, content_of(3))
    assert equal(read_checkpoint(path), content_of(3))
    assert equal(torch.load(path, weights_only=True), content_of(3))
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"], "no temporary file is left"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_and_the_one_before_is_used(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.pt"
    write_with_previous(path, content_of(1))
    write_with_previous(path, content_of(2))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"last\.pt is damaged .*use an earlier one"):
        read_checkpoint(path)
    latest = read_latest(path)
    assert latest is not None and equal(latest, content_of(1))


def test_a_flipped_bit_anywhere_is_refused_or_without_effect(tmp_path: Path) -> None:
    path, content = tmp_path / "last.pt", content_of(7, size=200)
    write_checkpoint(path, content)
    data = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    weight_at = data.index(content["model"]["weight"].numpy().tobytes()[:64])
    for position in [*draw.sample(range(len(data)), 300), *range(weight_at, weight_at + 800, 40)]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            read = read_checkpoint(path)
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            refused += 1
            assert read_latest(path) is None
        else:
            assert equal(read, content), f"a flipped bit at {position} went unseen"
            assert not weight_at <= position < weight_at + 800
    assert refused > 100


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    with pytest.raises(UserError, match="there is no checkpoint"):
        read_checkpoint(path)
    for wrong in (b"", b"date,close\n2020-01-01,3\n", os.urandom(5000)):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match="damaged"):
            read_checkpoint(path)
    for something in ([1, 2], {"weights": torch.zeros(2)}):
        torch.save(something, path)
        with pytest.raises(UserError, match="is not a checkpoint of this program"):
            read_checkpoint(path)
    write_checkpoint(path, content_of(1) | {"format": 99})
    with pytest.raises(UserError, match="written by a newer version"):
        read_checkpoint(path)
    assert read_latest(tmp_path / "nowhere.pt") is None
    with pytest.raises(UserError, match="there is no checkpoint"):
        read_checkpoint(tmp_path)


class Dangerous:
    def __reduce__(self) -> Any:
        return (print, ("code from a file was run",))


def test_a_file_with_code_in_it_is_refused_without_running_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "last.pt"
    torch.save({"model": {}, "extra": Dangerous()}, path)
    with pytest.raises(UserError):
        read_checkpoint(path)
    assert "code from a file" not in capsys.readouterr().out


def test_the_newest_two_checkpoints_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    for number in range(4):
        write_with_previous(path, content_of(number))
    assert equal(read_checkpoint(path), content_of(3)) and equal(read_checkpoint(previous_of(path)), content_of(2))
    path.unlink()
    latest = read_latest(path)
    assert latest is not None and equal(latest, content_of(2))


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best.pt"
    write_checkpoint(path, content_of(1))

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, content_of(2))
    assert equal(read_checkpoint(path), content_of(1))
    assert [file.name for file in tmp_path.iterdir()] == ["best.pt"]


# Forks writers of ever newer checkpoints, kills each in the middle and looks at what is left.
KILLED_WRITERS = """
    import os, random, signal, sys, time
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from src.training.checkpoint import read_checkpoint, read_latest, write_checkpoint, write_with_previous

    folder, draw = Path(sys.argv[1]), random.Random(1)
    last, best = folder / "last.pt", folder / "best.pt"

    def content(number):
        return {"format": 1, "model": {"w": torch.full((50_000,), float(number))}, "number": number}

    write_checkpoint(best, content(0))
    write_with_previous(last, content(0))
    newest = 0
    for attempt in range(40):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            for number in range(newest + 1, 10_000):
                write_checkpoint(best, content(number))
                write_with_previous(last, content(number))
                os.write(writer, b"x")
        os.close(writer)
        os.read(reader, 1)
        time.sleep(draw.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = newest + 1
        while chunk := os.read(reader, 65536):
            done += len(chunk)
        os.close(reader)
        found = [read_checkpoint(best), read_latest(last)]
        assert all(bool((one["model"]["w"] == one["number"]).all()) for one in found)
        assert found[0]["number"] >= done, (found[0]["number"], done)
        assert found[1]["number"] >= done, (found[1]["number"], done)
        newest = found[0]["number"]
    print("sound", newest)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_a_writer_killed_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    script = tmp_path / "killed_writers.py"
    script.write_text(textwrap.dedent(KILLED_WRITERS))
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    word, newest = ended.stdout.split()
    assert word == "sound" and int(newest) > 40
