"""``search.json``: what is remembered of a search, and that no password is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.errors import OptionError, UserError
from src.experiment import cached_data
from src.tuning.config import HyperparameterConfig
from src.tuning.request import SearchRequest
from src.tuning.search import plan_search, read_search, set_status, write_search
from src.tuning.studies import ModelSearch, create_study, find_search, load_study, shared_storage

STORAGE = "postgresql://me:secret@server/db"
REQUEST = SearchRequest(models=("gru:basic", "linear:dlinear"), config=HyperparameterConfig(2, 1, 1), storage=STORAGE)


@pytest.fixture(scope="module")
def searches() -> list[ModelSearch]:
    found, left_out = plan_search(REQUEST, cached_data(REQUEST.data))
    assert left_out == []
    return found


def test_a_search_is_read_back_and_keeps_no_password(searches: list[ModelSearch], tmp_path: Path) -> None:
    write_search(tmp_path, REQUEST, searches, STORAGE, ["tune_models.py", "--storage", STORAGE])
    text = (tmp_path / "search.json").read_text()
    assert "secret" not in text and "server/db" in text
    known = read_search(tmp_path)
    assert (known.name, known.models, known.status) == (tmp_path.name, REQUEST.models, "running")
    assert known.request.config == REQUEST.config
    set_status(tmp_path, "completed")
    assert read_search(tmp_path).status == "completed"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "--resume needs the folder of a search"), ("[]", "version 1 can be read"), ("{", "not valid JSON")],
)
def test_what_is_no_search_is_told(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "search.json").write_text(content)
    with pytest.raises(UserError, match=said):
        read_search(tmp_path)


def test_a_file_without_what_it_needs_is_told(searches: list[ModelSearch], tmp_path: Path) -> None:
    write_search(tmp_path, REQUEST, searches, STORAGE, [])
    content = json.loads((tmp_path / "search.json").read_text())
    del content["request"]
    (tmp_path / "search.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="cannot be used"):
        read_search(tmp_path)


def test_hyperparameters_shown_unasked_are_those_that_every_model_has(searches: list[ModelSearch]) -> None:
    shown = {search.plan.shown for search in searches}
    assert len(shown) == 1
    (names,) = shown
    assert names[0] == "model" and len(names) >= 5 and "hidden_size" not in names and "lr" in names


@pytest.mark.parametrize("space", [{"horizon": {"low": 1, "high": 3}}, {"gru:*": {"horizon": 2}}])
def test_models_are_searched_at_one_horizon(space: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text(json.dumps(space))
    request = replace(REQUEST, space=str(file))
    with pytest.raises(OptionError, match=r"one horizon.*gru:basic, linear:dlinear; search such models one by one"):
        plan_search(request, cached_data(request.data))
    alone, _ = plan_search(replace(request, models=("gru:basic",)), cached_data(request.data))
    assert len(alone) == 1


def test_all_a_worker_needs_is_in_the_storage(searches: list[ModelSearch], tmp_path: Path) -> None:
    place = str(tmp_path / "optuna.journal")
    for search in searches:
        create_study(shared_storage(place), replace(search, search="mine", root=str(tmp_path)))
    found = find_search(place, None)
    assert [search.model for _, search in found] == list(REQUEST.models)
    for (_, search), before in zip(found, searches, strict=True):
        assert search.plan == before.plan and search.space == before.space and search.config == before.config
    with pytest.raises(UserError, match="needs a name of its own"):
        create_study(shared_storage(place), replace(searches[0], search="mine"))
    with pytest.raises(UserError, match=r"must hold the study mine/tcn:basic"):
        load_study(shared_storage(place), "mine/tcn:basic")


def test_of_several_searches_the_worker_must_be_told_which(searches: list[ModelSearch], tmp_path: Path) -> None:
    place = str(tmp_path / "optuna.journal")
    for name in ("one", "other"):
        create_study(shared_storage(place), replace(searches[0], search=name, root=str(tmp_path)))
    with pytest.raises(UserError, match="holds one, other; name one with --name"):
        find_search(place, None)
    assert [search.search for _, search in find_search(place, "other")] == ["other"]
    with pytest.raises(UserError, match="must hold the search third, but it holds one, other"):
        find_search(place, "third")
