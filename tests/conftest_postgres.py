"""A PostgreSQL server of its own for a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_USER = "postgres"


def _binaries() -> Path:
    """Where ``initdb`` is: on the path, or where Debian puts it."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists():
            return place
    pytest.skip("needs the programs of PostgreSQL (initdb, pg_ctl)")


def _run(folder: Path, *command: str) -> None:
    """Run a program of the server; never as root, which PostgreSQL refuses."""
    if os.geteuid() == 0:
        command = ("runuser", "-u", _USER, "--", *command)
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")


@contextmanager
def start_postgres(folder: Path) -> Iterator[str]:
    """Start an empty server and give its SQLAlchemy address; it is stopped and removed afterwards.

    Args:
        folder: an empty folder, such as ``tmp_path``. As root, the files lie in a folder of the server's user instead.
    """
    binaries = _binaries()
    if os.geteuid() == 0:
        import pwd
        import tempfile

        try:
            user = pwd.getpwnam(_USER)
        except KeyError:
            pytest.skip(f"PostgreSQL does not run as root, and there is no user {_USER}")
        folder = Path(tempfile.mkdtemp(prefix="postgres-test-"))
        os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        _run(folder, str(binaries / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust", "-N", "-E", "UTF8")
        control = (str(binaries / "pg_ctl"), "-D", str(data), "-l", str(folder / "log"), "-w", "-m", "immediate")
        _run(folder, *control[:-2], "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/postgres"
        finally:
            _run(folder, *control, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
