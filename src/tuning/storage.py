"""Where studies are kept: a journal file in the search's folder by default, or a database that many workers share."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.reading.sources import hide_password
from ..errors import UserError, did_you_mean

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage

JOURNAL_FILE = "optuna.journal"
SQLITE_WAIT_SECONDS = 60  # for another process that writes
CONNECT_SECONDS = 10  # for a server to answer
PAUSES = (0.1, 0.3, 1.0, 3.0)  # while another process makes the tables
_KINDS = ("sqlite", "postgresql", "mysql+pymysql", "mariadb+pymysql")
_PACKAGES = {"psycopg": '"psycopg[binary]"', "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
_TIMED_DRIVERS = ("psycopg", "psycopg2", "pymysql", "mysqldb")  # that know connect_timeout
_THERE_ALREADY = re.compile(r"already exists|unique constraint|duplicate entry", re.IGNORECASE)
_NO_RIGHTS = re.compile(r"readonly|read-only|denied|disk", re.IGNORECASE)


def default_storage(root: Path) -> str:
    """The journal file of a search."""
    return str(root.absolute() / JOURNAL_FILE)


def absolute(place: str) -> str:
    """The same storage, named so that it is found from any folder."""
    if "://" not in place:
        return str(Path(place).absolute())
    scheme, _, path = place.partition(":///")
    is_relative = scheme.startswith("sqlite") and path and not path.startswith(("/", ":memory:", "file:"))
    return f"{scheme}:///{Path(path).absolute().as_posix()}" if is_relative else place


def open_storage(place: str) -> BaseStorage:
    """Open a storage, made if it is new.

    Args:
        place: an address such as ``sqlite:///studies.db`` or ``postgresql://user:password@host/database``, or the path
            of a journal file.

    Raises:
        UserError: if it cannot be used; the message has no password.
    """
    import optuna

    if not place.strip() or "\0" in place:
        raise UserError(f"--storage must be an address or the path of a file, but got {place!r}; name a file")
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what is worth telling is told by the search
    return _open_database(place) if "://" in place else _open_journal(Path(place))


def _open_journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage

    from .journal import JournalFile

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFile(path))
    except OSError as error:
        raise UserError(
            f"--storage must be a file that can be written, but {path} cannot ({error.strerror or error}); "
            "name another place"
        ) from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise UserError(
            f"--storage must be a journal file that can be read, but {path} is damaged; "
            "begin a new search, or put back a copy"
        ) from None


def _open_database(place: str) -> BaseStorage:
    import optuna
    import sqlalchemy
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    shown = hide_password(place)
    try:
        url = sqlalchemy.make_url(place)
        if "@" in (url.host or ""):
            raise ArgumentError("the rest of a password")
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        _refuse_memory(url)
        storage = _connect(url)
        _tell_of_outages(storage.engine, shown)
        return storage
    except NoSuchModuleError:
        kind = place.split(":", 1)[0]
        raise UserError(
            f"--storage must be an address of {', '.join(_KINDS)}, but got {kind}://...; check what stands before ://."
            f"{did_you_mean(kind, _KINDS)}"
        ) from None
    except ImportError as error:
        module = getattr(error.__cause__ or error, "name", None) or f"a driver for {place.split(':', 1)[0]}"
        raise UserError(
            f"--storage {shown} needs a driver that is missing; try: pip install {_PACKAGES.get(module, module)}"
        ) from None
    except (ArgumentError, ValueError):
        raise UserError(
            f"--storage must be an address like postgresql://user:password@host/database, but got {shown}; "
            "write signs such as @ in a password as %40"
        ) from None
    except RuntimeError:  # so Optuna says that tables are of another version
        raise UserError(
            f"--storage must have tables of Optuna {optuna.__version__}, but those of {shown} are of another version; "
            "try: optuna storage upgrade --storage URL, or: pip install -U optuna"
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        raise UserError(_unusable(shown, _reason(error))) from None


def _unusable(shown: str, reason: str) -> str:
    return (
        f"--storage must be a database that can be reached and written, but {shown} is not ({reason}); "
        "check address, user and rights"
    )


def _tell_of_outages(engine: Any, shown: str) -> None:
    """Let a database that goes away later, or may only be read, be told as one that cannot be opened is."""
    from sqlalchemy import event
    from sqlalchemy.exc import IntegrityError

    @event.listens_for(engine, "handle_error")
    def tell(context: Any) -> UserError | None:
        if context.is_pre_ping or isinstance(context.sqlalchemy_exception, IntegrityError):
            return None  # a connection that broke and is about to be replaced, or a name that is taken
        is_away = context.connection is None or context.is_disconnect
        reason = _reason(context.original_exception)
        return UserError(_unusable(shown, reason)) if is_away or _NO_RIGHTS.search(reason) else None


def _refuse_memory(url: Any) -> None:
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise UserError(
            "--storage must be a database that several processes can open, but one in memory belongs to a single one; "
            "name a file: sqlite:///studies.db"
        )


def _connect(url: Any) -> RDBStorage:
    """Open a database, its tables made if it is new; once more if another process makes them at the same moment."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    for pause in (*PAUSES, None):
        try:
            storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=_engine_options(url))
            break
        except (SQLAlchemyError, StorageInternalError) as error:
            if pause is None or not _THERE_ALREADY.search(_reason(error)):
                raise
            time.sleep(pause)
    if url.get_backend_name() == "sqlite":
        _write_in_turn(storage.engine)
    return storage


def _reason(error: BaseException) -> str:
    """What the database itself says, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())


def _engine_options(url: Any) -> dict[str, Any]:
    """A connection that broke is noticed and replaced; writers of one SQLite file wait for each other."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_driver_name() in _TIMED_DRIVERS and "connect_timeout" not in url.query:
        options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    return options


def _write_in_turn(engine: Any) -> None:
    """Let every transaction of SQLite begin as a writer.

    Otherwise two workers that claim a trial at the same moment both read that it waits, and both get it: SQLite has no
    rows that can be locked, which is what Optuna relies on.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections made before know nothing of this
