"""Where studies are kept: journals that survive kills, databases, and what is said of those that cannot be used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from src.errors import UserError
from src.tuning.storage import default_storage, hidden, open_storage

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys
import optuna
from src.tuning.storage import open_storage

study = optuna.load_study(storage=open_storage(sys.argv[1]), study_name="study")
print("ready", flush=True)
while True:
    study.set_user_attr(f"note {sys.argv[2]}", "x" * 5000)
"""


def make(place: str) -> optuna.Study:
    return optuna.create_study(storage=open_storage(place), study_name="study")


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
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, place, str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            for number in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(0.05 + attempt * 0.013)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        began = time.monotonic()
        study.set_user_attr("after", attempt)
        assert time.monotonic() - began < 10
        assert optuna.load_study(storage=open_storage(place), study_name="study").user_attrs["after"] == attempt


def test_a_line_that_a_power_cut_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    place = tmp_path / "optuna.journal"
    make(str(place)).set_user_attr("before", 1)
    with open(place, "ab") as file:
        file.write(b'{"op_code": 2, "wor')
    study = optuna.load_study(storage=open_storage(str(place)), study_name="study")
    study.set_user_attr("after", 2)
    again = optuna.load_study(storage=open_storage(str(place)), study_name="study")
    assert again.user_attrs == {"before": 1, "after": 2}


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgresql_works_under_its_usual_address(postgres: str, scheme: str) -> None:
    place = postgres.replace("postgresql+psycopg", scheme)
    study = optuna.create_study(storage=open_storage(place), study_name=f"study {scheme}")
    study.set_user_attr("known", True)
    assert optuna.load_study(storage=open_storage(place), study_name=f"study {scheme}").user_attrs == {"known": True}


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(str(tmp_path / "optuna.journal"))
    make(f"sqlite:///{tmp_path}/studies.db")
    assert capfd.readouterr() == ("", "")


def test_passwords_are_hidden() -> None:
    assert hidden("postgresql://me:secret@server/db") == "postgresql://***@server/db"
    assert hidden("runs/x/optuna.journal") == "runs/x/optuna.journal"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("postgresql://me:secret@127.0.0.1:1/db", r"can be reached.*postgresql://\*\*\*@127.0.0.1:1/db is not"),
        ("postgress://me:secret@server/db", "Did you mean 'postgresql'"),
        ("sqlite:////nowhere/at/all/studies.db", "can be reached and written.*unable to open"),
        ("postgresql://me:secret@server:port/db", r"an address like.*\*\*\*"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_sentence_without_the_password(place: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_storage(place)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("Date,Close\n2020-01-01,5\n2020-01-02,6\n")
    with pytest.raises(UserError, match=r"a journal file of studies, but .*prices\.csv is another kind"):
        open_storage(str(tmp_path / "prices.csv"))
    assert (tmp_path / "prices.csv").read_text().startswith("Date")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="a file that can be written"):
        open_storage(str(tmp_path / "closed" / "optuna.journal"))


def test_a_path_that_is_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a file that can be written"):
        open_storage(str(tmp_path))
