"""Run folders, ``runs/<timestamp>/<family_variant>/[seed_<k>/]``, and files written so that none is ever half there."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import UserError

PLAN_FILE = "plan.json"
SEARCH_FILE = "search.json"
CONFIG_FILE = "config.json"
RESULTS_FILE = "results.json"
METRICS_FILE = "metrics.csv"
PREDICTIONS_FILE = "predictions.csv"
LEADERBOARD_FILE = "leaderboard.csv"
LOG_FILE = "train.log"
LOCK_FILE = ".lock"
CHECKPOINT_FOLDER = "checkpoints"


def folder_name(model: str) -> str:
    """The folder of a model: ``gru:residual`` -> ``gru_residual`` (a colon cannot stand in a Windows path)."""
    return model.replace(":", "_")


def create_root(output: Path, name: str | None) -> Path:
    """Make and return the folder of one command: ``<output>/<name>``, the name being the time by default.

    Two commands in the same second get two folders.

    Raises:
        UserError: if the folder cannot be made, or a name given by the user is taken.
    """
    if name is not None and not (output / name).resolve().is_relative_to(output.resolve()):
        raise UserError(f"the run folder must lie in {output}, but got --name {name}; use --output for another place")
    base = name or datetime.now().strftime("%Y%m%d_%H%M%S")
    for attempt in range(1, 1000):
        root = output / (base if attempt == 1 else f"{base}_{attempt}")
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            if not output.is_dir():
                raise UserError(f"the output folder must be a folder, but {output} is a file; use --output") from None
            if name is not None:
                raise UserError(
                    f"the run folder must be new, but {root} exists; use another --name, or --resume {root}"
                ) from None
        except OSError as error:
            raise UserError(
                f"the run folder {root} cannot be made ({error.strerror}); use --output to name another place"
            ) from None
        else:
            return root
    raise UserError(f"no free run folder like {output / base}; use --name")


def is_command_folder(folder: Path) -> bool:
    """Whether a folder is that of a command: of one that trained models, or of a search."""
    return any((folder / file).is_file() for file in (PLAN_FILE, SEARCH_FILE))


@contextlib.contextmanager
def only_command_on(root: Path) -> Iterator[None]:
    """Hold the folder for this process while it trains; the lock ends with the process, however that ends.

    Raises:
        UserError: if another process is training in the folder.
    """
    lock = root / LOCK_FILE
    with open(lock, "a+b") as file:
        try:
            lock_file(file)
        except OSError:
            raise UserError(
                f"only one command may train in a run folder at a time, but another one is in {root}; wait for it"
            ) from None
        try:
            yield
        finally:
            if sys.platform != "win32":  # where a file that is open cannot be deleted
                lock.unlink(missing_ok=True)


def lock_file(file: BinaryIO, *, wait: bool = False) -> None:
    """Lock an open file for its process, or its thread if it has opened the file itself.

    Args:
        wait: until whoever holds the lock lets it go or ends; otherwise OSError if somebody does.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return
            except OSError:  # LK_LOCK gives up after ten seconds
                if not wait:
                    raise
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock_file(file: BinaryIO) -> None:
    """Let the lock of ``lock_file`` go."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file so that a crash leaves either the old or the new one, whole and on disk."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of writers that were killed, here and in sub-folders."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON atomically; values that are not finite become null, as JSON has no word for them."""
    write_atomically(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: if it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
