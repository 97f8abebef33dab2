"""Where studies are kept: a journal file by default, or a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..data.reading.sources import hide_password

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def default_storage(root: Path) -> str:
    return str(root / "optuna.journal")


def hidden(place: str) -> str:
    return hide_password(place)


def open_storage(place: str) -> BaseStorage:
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "://" not in place:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(place))
    url = place.replace("postgresql://", "postgresql+psycopg://")
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
