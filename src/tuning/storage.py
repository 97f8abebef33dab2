"""Where studies are kept: a journal file in the search's folder by default, or a database that many workers share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.reading.sources import hide_password
from ..errors import UserError, did_you_mean

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL_FILE = "optuna.journal"
SQLITE_WAIT_SECONDS = 60  # for another process that writes
_KINDS = ("sqlite", "postgresql", "mysql+pymysql", "mariadb+pymysql")
_PACKAGES = {"psycopg": '"psycopg[binary]"', "pymysql": "pymysql", "MySQLdb": "mysqlclient"}


def default_storage(root: Path) -> str:
    """The journal file of a search."""
    return str(root.absolute() / JOURNAL_FILE)


def hidden(place: str) -> str:
    """A storage as it may be shown: without user and password."""
    return hide_password(place)


def open_storage(place: str) -> BaseStorage:
    """Open a storage, made if it is new.

    Args:
        place: an address such as ``sqlite:///studies.db`` or ``postgresql://user:password@host/database``, or the path
            of a journal file.

    Raises:
        UserError: if it cannot be used; the message has no password.
    """
    import optuna

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
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"--storage must be an address or a journal file of studies, but {path} is another kind of file; "
            "a database file is named sqlite:///FILE"
        ) from None


def _open_database(place: str) -> BaseStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    shown = hidden(place)
    try:
        url = sqlalchemy.make_url(place)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=_engine_options(url))
        if url.get_backend_name() == "sqlite":
            _write_in_turn(storage.engine)
        return storage
    except NoSuchModuleError:
        kind = place.split(":", 1)[0]
        raise UserError(
            f"--storage must be an address of {', '.join(_KINDS)}, but got {kind}://...; check what stands before ://."
            f"{did_you_mean(kind, _KINDS)}"
        ) from None
    except ImportError as error:
        missing = _PACKAGES.get(getattr(error, "name", None) or "", getattr(error, "name", None) or str(error))
        raise UserError(f"--storage {shown} needs a driver that is missing; try: pip install {missing}") from None
    except (ArgumentError, ValueError):
        raise UserError(
            f"--storage must be an address like postgresql://user:password@host/database, but got {shown}; "
            "write signs such as @ in a password as %40"
        ) from None
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        raise UserError(
            f"--storage must be a database that can be reached and written, but {shown} is not ({reason}); "
            "check address, user and rights"
        ) from None


def _engine_options(url: Any) -> dict[str, Any]:
    """A connection that broke is noticed and replaced; writers of one SQLite file wait for each other."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
    return {"pool_pre_ping": True}


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
