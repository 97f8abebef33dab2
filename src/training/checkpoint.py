"""Checkpoint files: tensors and plain values only, written atomically, checked when read."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..tracking.run_folder import write_atomically

FORMAT_VERSION = 1


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` so that ``path`` always holds either the old or the new file, whole."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer())


def write_with_previous(path: Path, content: dict[str, Any]) -> None:
    """As ``write_checkpoint``, the file that stood there before being kept as ``<name>.previous``."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    previous = previous_of(path)
    if path.exists():
        os.replace(path, previous)
    write_atomically(path, buffer.getbuffer())


def previous_of(path: Path) -> Path:
    """Where the checkpoint before ``path`` is kept."""
    return path.with_name(path.name + ".previous")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: if the file is missing, damaged (its checksums do not fit) or of a newer format.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        # torch writes a ZIP archive with a checksum per tensor but does not look at it when reading.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise UserError(f"the checkpoint {path} is damaged (in {damaged}); use an earlier one")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the checkpoint {path} is damaged ({type(error).__name__}); use an earlier one") from error
    if not isinstance(content, dict) or "model" not in content:
        raise UserError(f"{path} is not a checkpoint of this program")
    if content.get("format", 0) > FORMAT_VERSION:
        raise UserError(f"{path} was written by a newer version (format {content['format']}); update trainboard")
    return content


def read_latest(path: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint of ``path`` and the one before it, or None if there is neither."""
    for candidate in (path, previous_of(path)):
        try:
            return read_checkpoint(candidate)
        except UserError:
            continue
    return None
