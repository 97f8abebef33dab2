"""Checkpoint files: tensors and plain values only, written atomically, checked when read."""

from __future__ import annotations

import io
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..tracking.run_folder import write_atomically

FORMAT_VERSION = 1
_logger = logging.getLogger(__name__)


class DamagedCheckpoint(UserError):
    """A checkpoint that is not whole any more, or never was one."""


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` so that ``path`` always holds either the old or the new file, whole."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer())


def write_with_previous(path: Path, content: dict[str, Any]) -> None:
    """As ``write_checkpoint``, the file that stood there before being kept as ``<name>.previous``.

    The new file is on disk before the old ones move, so a full disk leaves both as they were.
    """
    new = path.with_name(path.name + ".new")
    write_checkpoint(new, content)
    if path.exists():
        os.replace(path, previous_of(path))
    os.replace(new, path)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before ``path`` is kept."""
    return path.with_name(path.name + ".previous")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        DamagedCheckpoint: if its checksums do not fit or it is no such file at all.
        UserError: if the file is missing, cannot be read, is of another kind or of a newer format.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        # torch writes a ZIP archive with a checksum per tensor but does not look at it when reading.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DamagedCheckpoint(f"the checkpoint {path} is damaged (in {damaged}); use an earlier one")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DamagedCheckpoint:
        raise
    except (PermissionError, MemoryError) as error:  # which say nothing about the file
        raise UserError(f"the checkpoint {path} cannot be read ({type(error).__name__}); mend that first") from None
    except Exception as error:
        kind = type(error).__name__
        raise DamagedCheckpoint(f"the checkpoint {path} is damaged ({kind}); use an earlier one") from error
    if not isinstance(content, dict) or "model" not in content:
        raise UserError(f"{path} is not a checkpoint of this program")
    if content.get("format", 0) > FORMAT_VERSION:
        raise UserError(f"{path} was written by a newer version (format {content['format']}); update trainboard")
    return content


def read_latest(path: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint of ``path`` and the one before it, or None if there is neither.

    Damaged ones are moved out of the way (``<name>.damaged``), so that they never take the place of a sound one, and a
    warning says what is used instead.

    Raises:
        UserError: if one is whole but cannot be used here.
    """
    content, damaged = None, []
    for candidate in (path, previous_of(path)):
        if content is None and candidate.exists():
            try:
                content = read_checkpoint(candidate)
            except DamagedCheckpoint:
                damaged.append(candidate.name)
                set_aside(candidate)
    if damaged:
        instead = "the run starts anew" if content is None else "the checkpoint before it is used"
        _logger.warning("%s in %s damaged (checksums do not fit); %s", " and ".join(damaged), path.parent, instead)
    return content


def set_aside(path: Path) -> None:
    """Rename a damaged file, for whoever wants to look at it."""
    os.replace(path, path.with_name(path.name + ".damaged"))
