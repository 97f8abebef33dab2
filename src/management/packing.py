"""Folders packed into one file and unpacked, the copy compared with the original before anybody removes that."""

from __future__ import annotations

import filecmp
import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import IO

from ..errors import UserError
from ..tracking.run_folder import LOCK_FILE

_CHUNK = 1 << 20


def pack_folder(folder: Path, target: Path) -> None:
    """Pack ``folder`` into a ``.tar.gz`` and compare what was packed, byte by byte.

    Raises:
        OSError: if it cannot be written, or what was packed differs from the folder.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with tarfile.open(temporary, "w:gz", compresslevel=6) as packed:
            packed.add(folder, arcname=folder.name, filter=_without_lock)
        _verify_packed(folder, temporary)
        write_to_disk(temporary)
        os.rename(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unpack_folder(packed: Path, target: Path) -> None:
    """Unpack what ``pack_folder`` wrote; ``target`` is there only when it is whole.

    Raises:
        UserError: if the file is damaged or would write outside its own folder.
        OSError: if it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            _check_sum(packed)
            with tarfile.open(packed, "r:gz") as file:
                file.extractall(temporary, filter="data")
        except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
            raise UserError(f"the archive {packed} is damaged ({type(error).__name__}); nothing was restored") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise UserError(f"the archive {packed} is damaged ({error}); nothing was restored") from None
        inner = list(temporary.iterdir())
        if len(inner) != 1 or not inner[0].is_dir():
            raise UserError(f"{packed} does not hold one folder of a run; nothing was restored")
        os.rename(inner[0], target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def verify_copy(source: Path, copy: Path) -> None:
    """Compare two folders, byte by byte.

    Raises:
        OSError: naming the first file that differs.
    """
    names = _files(source)
    if names != _files(copy):
        raise OSError(f"the copy of {source} does not hold the same files; nothing was removed")
    for name in names:
        one, other = source / name, copy / name
        same = os.readlink(one) == os.readlink(other) if one.is_symlink() else filecmp.cmp(one, other, shallow=False)
        if not same:
            raise OSError(f"the copy of {one} differs; nothing was removed")


def write_to_disk(path: Path) -> None:
    """Have a file, or every file of a folder, on disk: an original is not removed while its copy is in memory alone."""
    if os.name != "posix":  # elsewhere only a file opened for writing can be flushed
        return
    for file in [path] if path.is_file() else [path / name for name in _files(path)]:
        if not file.is_symlink():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


def _files(folder: Path) -> list[str]:
    found = [Path(place, file).relative_to(folder).as_posix() for place, _, files in os.walk(folder) for file in files]
    return sorted(found)


def _check_sum(packed: Path) -> None:
    """Read to the very end, where the checksum stands; ``tarfile`` stops before it and would not notice damage."""
    with gzip.open(packed) as file:
        while file.read(_CHUNK):
            pass


def _without_lock(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(member.name).name == LOCK_FILE else member


def _verify_packed(folder: Path, packed: Path) -> None:
    expected = {name for name in _files(folder) if Path(name).name != LOCK_FILE}
    with tarfile.open(packed, "r:gz") as file:
        for member in file:
            if member.isdir():
                continue
            name = Path(member.name).relative_to(folder.name).as_posix()
            expected.discard(name)
            content = file.extractfile(member) if member.isfile() or member.islnk() else None
            if content is not None and not _same_content(content, folder / name):
                raise OSError(f"what was packed of {folder / name} differs; nothing was removed")
    if expected:
        raise OSError(f"{min(expected)} of {folder} was not packed; nothing was removed")


def _same_content(content: IO[bytes], file: Path) -> bool:
    with open(file, "rb") as original:
        while True:
            one, other = content.read(_CHUNK), original.read(_CHUNK)
            if one != other:
                return False
            if not one:
                return True
