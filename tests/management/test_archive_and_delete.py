"""Runs are moved whole or not at all, and nothing outside their root is ever touched."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.management import archiving, packing
from src.management.archiving import archive, default_archive, delete, move_folder, removable
from src.management.restoring import archived_names, restore
from src.management.runs import find_runs, is_training

Hold = Callable[[Path], subprocess.Popen[str]]
STORE = Path("runs_archive")
SEED_0 = "first/linear_nlinear/seed_0"


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes; folders with an empty one."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def planned(root: Path, command: str = "first") -> list[str]:
    return sorted(run["folder"] for run in json.loads((root / command / "plan.json").read_text())["runs"])


def files(root: Path) -> dict[str, str]:
    """All but the plans, whose order may change."""
    return {name: digest for name, digest in contents(root).items() if not name.endswith("plan.json")}


@pytest.mark.parametrize("pack", [False, True], ids=["moved", "packed"])
@pytest.mark.parametrize("name", ["first", "first/linear_nlinear", SEED_0, "second/baseline_naive"])
def test_archive_and_restore_leave_everything_as_it_was(root: Path, name: str, pack: bool) -> None:
    before, plans = files(root), {command: planned(root, command) for command in ("first", "second")}
    [moved] = archive(root, [name], pack=pack)
    assert moved.path.exists() and moved.path.parent == STORE and not (root / name).exists()
    assert not [run for run in find_runs(root) if f"{run.name}/".startswith(f"{name}/")]
    [back] = restore(STORE, [name])
    assert back.path == root / name and back.runs == moved.runs
    assert files(root) == before
    assert {command: planned(root, command) for command in ("first", "second")} == plans
    assert list(STORE.iterdir()) == []


def test_an_archived_run_leaves_the_plan_so_that_resuming_does_not_train_it_again(root: Path) -> None:
    archive(root, [SEED_0])
    assert planned(root) == ["baseline_naive", "linear_nlinear/seed_1"]
    restore(STORE, ["runs/" + SEED_0])
    assert planned(root) == ["baseline_naive", "linear_nlinear/seed_0", "linear_nlinear/seed_1"]


def test_a_run_is_restored_even_where_its_command_is_gone(root: Path) -> None:
    archive(root, [SEED_0])
    delete(root, removable(root, ["first"]))
    restore(STORE, [SEED_0])
    assert planned(root) == ["linear_nlinear/seed_0"]
    assert [run.state for run in find_runs(root) if run.name == SEED_0] == ["completed"]


def test_a_run_goes_back_into_its_command_never_beside_an_archived_one(root: Path) -> None:
    before = files(root)
    archive(root, [SEED_0])
    archive(root, ["first"])
    with pytest.raises(UserError, match="belongs to 'first', which is in the archive as well; restore that first"):
        restore(STORE, [SEED_0])
    restore(STORE, ["first"])
    restore(STORE, [SEED_0])
    assert files(root) == before


def test_nothing_is_archived_or_restored_over_what_exists(root: Path, tmp_path: Path) -> None:
    archive(root, ["first"])
    shutil.copytree(root / "second", root / "first")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="over what exists, but there is a 'runs/first'"):
        restore(STORE, ["first"])
    for pack in (False, True):
        with pytest.raises(UserError, match="over what exists, but there is a 'runs_archive/first'"):
            archive(root, ["first"], pack=pack)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("store", ["runs/archive", "runs", "link"])
def test_an_archive_that_tensorboard_would_still_show_is_refused(root: Path, store: str) -> None:
    Path("link").symlink_to("runs")
    before = contents(root)
    with pytest.raises(UserError, match="must lie outside 'runs', or TensorBoard shows it still"):
        archive(root, ["first"], Path(store))
    assert contents(root) == before


def test_an_archive_that_cannot_be_made_is_one_line_and_nothing_moves(root: Path, tmp_path: Path) -> None:
    before = contents(root)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="files cannot be moved or deleted to the archive 'file': "):
        archive(root, ["first"], Path("file"))
    assert contents(root) == before


def test_the_archive_and_the_runs_can_be_moved_together(root: Path, tmp_path: Path) -> None:
    archive(root, ["first"])
    place = tmp_path / "other" / "place"
    place.mkdir(parents=True)
    root.rename(place / "runs")
    STORE.rename(place / "runs_archive")
    restore(place / "runs_archive", ["first"])
    assert (place / "runs" / "first" / "plan.json").is_file()


def test_an_unknown_name_or_a_damaged_note_is_one_line(root: Path) -> None:
    with pytest.raises(UserError, match="there is no archive 'runs_archive'"):
        restore(STORE, ["first"])
    assert archived_names(STORE) == []
    archive(root, ["first"])
    assert archived_names(STORE) == ["first"] and default_archive(root) == STORE
    with pytest.raises(UserError, match=r"there is no 'frist' in the archive 'runs_archive'. Did you mean 'first'\?"):
        restore(STORE, ["frist"])
    (STORE / "first.archive.json").write_text('{"version": 1, "name": "../first", "root": "../runs"}')
    with pytest.raises(UserError, match="is no name of a run"):
        restore(STORE, ["first"])
    (STORE / "first.archive.json").write_text("[]")
    with pytest.raises(UserError, match="is damaged"):
        restore(STORE, ["first"])


# ---- packed ----


@pytest.mark.parametrize("place", [1, 4, 8, 15])
def test_a_damaged_packed_run_is_refused_and_stays(root: Path, tmp_path: Path, place: int) -> None:
    [moved] = archive(root, ["first"], pack=True)
    content = bytearray(moved.path.read_bytes())
    content[place * len(content) // 16] ^= 0x10
    moved.path.write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"is damaged .* nothing was restored"):
        restore(STORE, ["first"])
    assert contents(tmp_path) == before


def test_a_packed_run_that_was_cut_off_is_refused(root: Path) -> None:
    [moved] = archive(root, ["first"], pack=True)
    for length in (moved.path.stat().st_size - 4, 100, 0):
        os.truncate(moved.path, length)
        with pytest.raises(UserError, match=r"is damaged .* nothing was restored"):
            restore(STORE, ["first"])
    assert not (root / "first").exists()


def test_a_packed_run_that_would_write_elsewhere_is_refused(root: Path, tmp_path: Path) -> None:
    [moved] = archive(root, ["first"], pack=True)
    with tarfile.open(moved.path, "w:gz") as file:
        member = tarfile.TarInfo("first/../../../outside")
        member.size = 4
        file.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(UserError, match=r"is damaged \(OutsideDestinationError"):
        restore(STORE, ["first"])
    assert not list(tmp_path.rglob("outside")) and not (root / "first").exists()


def test_a_pack_that_lacks_a_file_is_thrown_away_and_the_original_stays(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(root)
    monkeypatch.setattr(packing, "_without_lock", lambda member: None if "plan" in member.name else member)
    with pytest.raises(UserError, match=r"plan\.json of runs/first was not packed; nothing was removed"):
        archive(root, ["first"], pack=True)
    assert contents(root) == before and list((tmp_path / STORE).iterdir()) == []


# ---- another file system ----


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_runs_move_to_another_file_system_and_back(root: Path, elsewhere: Path) -> None:
    before = contents(root)
    archive(root, ["first"], elsewhere / "store")
    assert not (root / "first").exists()
    restore(elsewhere / "store", ["first"])
    assert contents(root) == before and list((elsewhere / "store").iterdir()) == []


def test_a_copy_that_differs_is_thrown_away_and_the_original_stays(
    root: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(root)
    copy = shutil.copytree

    def damaging(source: Any, target: Any, *more: Any, **options: Any) -> Any:
        copy(source, target, *more, **options)
        for file in Path(target).glob("plan.json"):
            file.write_bytes(bytes(reversed(file.read_bytes())))

    monkeypatch.setattr(shutil, "copytree", damaging)
    with pytest.raises(OSError, match="differs; nothing was removed"):
        move_folder(root / "first", elsewhere / "first")
    assert contents(root) == before and list(elsewhere.iterdir()) == []


# ---- delete ----


def test_exactly_what_was_chosen_is_deleted(root: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    choices = removable(root, [SEED_0])
    assert files(tmp_path) == before, "asking what would go deletes nothing"
    size = choices[0].runs[0].size
    assert delete(root, choices) == size
    gone = {name for name in before if f"{name}/".startswith(f"runs/{SEED_0}/")}
    assert set(before) - set(files(tmp_path)) == gone
    assert planned(root) == ["baseline_naive", "linear_nlinear/seed_1"]


def test_the_folder_of_a_model_goes_with_its_last_seed(root: Path) -> None:
    delete(root, removable(root, ["first/linear_nlinear/seed_0"]))
    delete(root, removable(root, ["first/linear_nlinear/seed_1"]))
    assert not (root / "first" / "linear_nlinear").exists() and planned(root) == ["baseline_naive"]
    delete(root, removable(root, ["first/baseline_naive"]))
    assert not (root / "first").exists(), "a command without runs is nothing to keep"


def test_a_run_that_has_not_begun_is_taken_out_of_the_plan(root: Path) -> None:
    shutil.rmtree(root / SEED_0)
    with pytest.raises(UserError, match="has no folder yet"):
        archive(root, [SEED_0])
    delete(root, removable(root, [SEED_0]))
    assert planned(root) == ["baseline_naive", "linear_nlinear/seed_1"]


@pytest.mark.parametrize("place", ["first", "first/linear_nlinear", SEED_0])
def test_what_is_reached_through_a_link_is_never_touched(root: Path, tmp_path: Path, place: str) -> None:
    (root / place).rename(tmp_path / "precious")
    (root / place).symlink_to(tmp_path / "precious")
    before = contents(tmp_path / "precious")
    name = f"{place}/{SEED_0.removeprefix(place).strip('/')}".rstrip("/")
    for given in dict.fromkeys((place, name)):
        with pytest.raises(UserError, match="is a link to"):
            removable(root, [given])
        with pytest.raises(UserError, match="is a link to"):
            archive(root, [given])
    assert contents(tmp_path / "precious") == before


def test_a_folder_put_in_place_of_a_run_after_asking_is_not_followed(root: Path, tmp_path: Path) -> None:
    choices = removable(root, ["first"])
    (root / "first").rename(tmp_path / "precious")
    (root / "first").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="is a link to"):
        delete(root, choices)
    assert (tmp_path / "precious" / "plan.json").is_file()


def test_a_folder_that_holds_other_things_beside_runs_is_refused(root: Path) -> None:
    (root / "first" / "linear_nlinear" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds other things as well"):
        removable(root, ["first/linear_nlinear"])
    delete(root, removable(root, ["first/linear_nlinear/seed_0"]))
    delete(root, removable(root, ["first/linear_nlinear/seed_1"]))
    assert (root / "first" / "linear_nlinear" / "thesis.txt").exists()


@pytest.mark.parametrize("held", ["first", SEED_0], ids=["by its command", "by a worker"])
@pytest.mark.parametrize("name", ["first", SEED_0])
def test_what_is_being_trained_is_left_alone(root: Path, holding: Hold, name: str, held: str) -> None:
    holding(root / held)
    before = contents(root)
    for operation in (lambda: removable(root, [name]), lambda: archive(root, [name])):
        with pytest.raises(UserError, match="is still training; stop it or wait for its end"):
            operation()
    assert contents(root) == before


def test_nobody_can_begin_to_train_while_a_run_is_moved(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for name in ("move_folder", "remove_folder"):
        real = getattr(archiving, name)

        def watching(source: Path, *target: Path, real: Callable[..., None] = real) -> None:
            seen.append(is_training(root / "first"))
            real(source, *target)

        monkeypatch.setattr(archiving, name, watching)
    archive(root, [SEED_0])
    delete(root, removable(root, ["first/baseline_naive"]))
    assert seen == [True, True] and not is_training(root / "first")


def test_training_that_began_after_asking_is_left_alone(root: Path, holding: Hold) -> None:
    choices = removable(root, ["first"])
    holding(root / "first")
    with pytest.raises(UserError, match="is still training"):
        delete(root, choices)
    assert (root / SEED_0 / "config.json").is_file()


def test_a_lock_left_by_a_killed_command_stops_nobody(root: Path, holding: Hold) -> None:
    for process in (holding(root / "first"), holding(root / SEED_0)):
        process.kill()
        process.wait()
    archive(root, ["first"])
    assert not list(STORE.rglob(".lock"))
