"""Where studies are kept: journals that survive kills, databases, and what is said of those that cannot be used."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from src.data.reading.sources import hide_password
from src.errors import UserError
from src.tuning import storage as storage_module
from src.tuning.storage import absolute, default_storage, open_storage
from tests.conftest_postgres import start_postgres


def make(place: str) -> optuna.Study:
    return optuna.create_study(storage=open_storage(place), study_name="study")


def load(place: str) -> optuna.Study:
    return optuna.load_study(storage=open_storage(place), study_name="study")


def start_writer(place: str) -> int:
    """A process that writes without end; it has begun when this returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            study = load(place)
            os.write(writing, b"ready")
            while True:
                study.set_user_attr(f"note {os.getpid()}", "x" * 5000)
        finally:
            os._exit(1)
    assert os.read(reading, 5) == b"ready"
    os.close(reading)
    os.close(writing)
    return child


# --- journal files


def test_the_default_is_a_journal_in_the_folder_of_the_search(tmp_path: Path) -> None:
    assert default_storage(tmp_path / "runs") == str(tmp_path / "runs" / "optuna.journal")
    make(default_storage(tmp_path / "runs")).enqueue_trial({"x": 1.0})
    study = optuna.load_study(storage=open_storage(default_storage(tmp_path / "runs")), study_name="study")
    assert len(study.trials) == 1


def test_a_journal_named_relative_to_the_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make("here.journal").enqueue_trial({"x": 1.0})
    assert (tmp_path / "here.journal").stat().st_size > 0


def test_a_writer_that_is_killed_locks_nobody_out_and_damages_nothing(tmp_path: Path) -> None:
    place = str(tmp_path / "optuna.journal")
    study = make(place)
    for attempt in range(6):
        writers = [start_writer(place) for _ in range(2)]
        time.sleep(0.02 + attempt * 0.007)
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        began = time.monotonic()
        study.set_user_attr("after", attempt)
        assert time.monotonic() - began < 10
        assert load(place).user_attrs["after"] == attempt


def test_whoever_writes_with_optuna_itself_need_not_wait(tmp_path: Path) -> None:
    place = str(tmp_path / "optuna.journal")
    study = make(place)
    assert not Path(f"{place}.lock").exists(), "Optuna's writers take that for a lock that is held"
    dashboard = optuna.load_study(storage=JournalStorage(JournalFileBackend(place)), study_name="study")
    for number in range(20):
        (study, dashboard)[number % 2].set_user_attr(f"note {number}", number)
    assert len(load(place).user_attrs) == 20


def test_a_disk_that_becomes_full_is_told_and_leaves_a_journal_that_works(tmp_path: Path) -> None:
    place = tmp_path / "optuna.journal"
    study = make(str(place))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (place.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(OSError):
            study.set_user_attr("long", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    study.set_user_attr("after", 1)
    assert load(str(place)).user_attrs == {"after": 1}


def test_a_line_that_a_power_cut_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    place = tmp_path / "optuna.journal"
    make(str(place)).set_user_attr("before", 1)
    with open(place, "ab") as file:
        file.write(b'{"op_code": 2, "wor')
    load(str(place)).set_user_attr("after", 2)
    assert load(str(place)).user_attrs == {"before": 1, "after": 2}


@pytest.mark.parametrize("content", [b"Date,Close\n2020-01-01,5\n", b"one line without an end", b'{"a": 1}', b"SQLite"])
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prices.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"a journal file of studies, but .*prices\.csv is another kind"):
        open_storage(str(tmp_path / "prices.csv"))
    assert (tmp_path / "prices.csv").read_bytes() == content


def test_a_journal_that_is_damaged_is_told(tmp_path: Path) -> None:
    place = tmp_path / "optuna.journal"
    make(str(place)).set_user_attr("known", True)
    place.write_bytes(place.read_bytes().replace(b"worker_id", b"\0\0\0\0\0\0\0\0\0"))
    with pytest.raises(UserError, match="damaged"):
        open_storage(str(place))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="a file that can be written"):
        open_storage(str(tmp_path / "closed" / "optuna.journal"))


def test_a_path_that_is_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a file that can be written"):
        open_storage(str(tmp_path))


@pytest.mark.parametrize("place", ["", " ", "a\0b"])
def test_what_names_no_file_is_told(place: str) -> None:
    with pytest.raises(UserError, match="the path of a file"):
        open_storage(place)


# --- databases


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgresql_works_under_its_usual_address(postgres: str, scheme: str) -> None:
    place = postgres.replace("postgresql+psycopg", scheme)
    study = optuna.create_study(storage=open_storage(place), study_name=f"study {scheme}")
    study.set_user_attr("known", True)
    assert optuna.load_study(storage=open_storage(place), study_name=f"study {scheme}").user_attrs == {"known": True}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_several_may_open_a_new_database_at_the_same_moment(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    together, outcomes = threading.Barrier(4), []

    def open_with_others(place: str) -> None:
        together.wait()
        try:
            outcomes.append(len(open_storage(place).get_all_studies()))
        except UserError as error:
            outcomes.append(str(error))

    for attempt in range(3):
        place = f"sqlite:///{tmp_path}/{attempt}.db"
        if kind == "postgres":
            place = new_database(request.getfixturevalue("postgres"), f"new{attempt}")
        threads = [threading.Thread(target=open_with_others, args=(place,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes == [0] * 12


def new_database(address: str, name: str) -> str:
    """The address of an empty database of a server."""
    engine = sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{address.rpartition('/')[0]}/{name}"


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(str(tmp_path / "optuna.journal"))
    make(f"sqlite:///{tmp_path}/studies.db")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("postgresql://me:secret@server/db", "postgresql://***@server/db"),
        ("postgresql://me:se/cret@server/db", "postgresql://***@server/db"),
        ("postgresql://me:se@cret@server/db", "postgresql://***@server/db"),
        ("postgresql://server/db?user=me&password=secret", "postgresql://server/db?user=me&password=***"),
        ("--storage=postgresql://me:secret@server/db", "--storage=postgresql://***@server/db"),
        ("postgresql://server/db?options=a@b", "postgresql://server/db?options=a@b"),
        ("sqlite:///of me@home.db", "sqlite:///of me@home.db"),
        ("runs/x/optuna.journal", "runs/x/optuna.journal"),
    ],
)
def test_passwords_are_hidden(place: str, shown: str) -> None:
    assert hide_password(place) == shown


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("postgresql://me:secret@127.0.0.1:1/db", r"can be reached.*postgresql://\*\*\*@127.0.0.1:1/db is not"),
        ("postgress://me:secret@server/db", "Did you mean 'postgresql'"),
        ("sqlite:////nowhere/at/all/studies.db", "can be reached and written.*unable to open"),
        ("postgresql://me:secret@server:port/db", r"an address like.*\*\*\*"),
        ("postgresql://me:a@secret@server/db", r"an address like.*@ in a password as %40"),
        ("sqlite://", "several processes can open"),
        ("sqlite:///:memory:", "several processes can open"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_sentence_without_the_password(place: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_storage(place)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "module", "package"),
    [
        ("postgresql://me:secret@server/db", "psycopg", r'"psycopg\[binary\]"'),
        ("mysql+pymysql://me:secret@server/db", "pymysql", "pymysql"),
        ("mysql://me:secret@server/db", "MySQLdb", "mysqlclient"),
    ],
)
def test_a_missing_driver_is_named_as_it_is_installed(
    address: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install {package}$") as caught:
        open_storage(address)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match="timeout"):
        open_storage(f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/db")


def test_tables_of_another_version_are_told(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/studies.db")
    with sqlite3.connect(tmp_path / "studies.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.4.0.a'")
    with pytest.raises(UserError, match="of another version; try: optuna storage upgrade"):
        open_storage(f"sqlite:///{tmp_path}/studies.db")


def test_who_may_only_read_a_database_is_told(postgres: str) -> None:
    place = new_database(postgres, "readonly")
    engine = open_storage(place).engine  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE reader LOGIN")
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    with pytest.raises(UserError, match=r"reached and written.*permission denied"):
        make(place.replace("postgres@", "reader@"))


def test_a_server_that_goes_away_is_told(tmp_path: Path) -> None:
    with start_postgres(tmp_path) as place:
        study = make(place)
    for _ in range(2):  # the connection there was, and a new one
        with pytest.raises(UserError, match="can be reached"):
            study.set_user_attr("after", 1)


def test_a_connection_that_broke_is_replaced(postgres: str) -> None:
    place = new_database(postgres, "restarted")
    study = make(place)
    engine = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'restarted'")
    engine.dispose()
    study.set_user_attr("after", 1)
    assert load(place).user_attrs == {"after": 1}


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("mine.journal", "{here}/mine.journal"),
        ("sqlite:///mine.db", "sqlite:///{here}/mine.db"),
        ("sqlite:////tmp/mine.db", "sqlite:////tmp/mine.db"),
        ("postgresql://server/db", "postgresql://server/db"),
    ],
)
def test_a_storage_is_found_from_any_folder(
    place: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(place) == found.format(here=tmp_path)
