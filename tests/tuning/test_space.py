"""The search space: what is searched for whom, and that no configuration of it ever fails to be built."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from hypothesis import given as hypothesis_given
from hypothesis import strategies

from src import registry
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.errors import OptionError
from src.experiment import cached_data
from src.models import create_model, load_all
from src.models.linear import LinearModel, WindowConfig
from src.options import tunable
from src.training.config import TrainingConfig
from src.tuning.config import HyperparameterConfig
from src.tuning.dimension import Dimension
from src.tuning.samplers import PhaseSampler
from src.tuning.space import NothingToSearch, SearchSpace, build_space

load_all()
NAMES = [known.name for known in registry.entries() if "series" in known.model_class.kinds]
NOTHING = ["baseline:naive", "baseline:drift", "baseline:seasonal", "baseline:ewma"]
SEARCHED = [name for name in NAMES if name not in NOTHING]
NETWORKS = [name for name in SEARCHED if registry.entry(name).model_class.uses_gradients]
TRAINING = ["batch_size", "lr", "weight_decay"]
PRICES = DataOptions()


def space_of(name, options=PRICES, file=None, *, given=(), models=None, training=None, **settings):
    """The space as the command builds it."""
    data = cached_data(options)
    own = create_model(name, data.spec, settings).config.to_dict()
    training = training or TrainingConfig()
    basis = (name, data.spec, data.options, training, own)
    return build_space(*basis, file, given={*given, *settings}, models=models)


def by_name(space):
    return {dimension.name: dimension for dimension in space.dimensions}


def random_values(space, count, seed=0):
    generator = random.Random(seed)
    for _ in range(count):
        yield space.repaired({d.name: d.from_unit(generator.random()) for d in space.dimensions})


def built(space, values, data):
    """The model of a configuration, made as a run makes it."""
    parts = space.split(values)
    shape = {"window": data.options.window, "horizon": data.options.horizon, **parts["data"]}
    TrainingConfig.from_dict(parts["training"])
    spec = replace(
        data.spec,
        input_shape=(shape["window"], *data.spec.input_shape[1:]),
        target_shape=(shape["horizon"], *data.spec.target_shape[1:]),
    )
    return create_model(space.model, spec, parts["model"])


# --- no configuration fails -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize(
    ("options", "count"),
    [
        pytest.param(PRICES, 60, id="forecast"),
        pytest.param(DataOptions(task="direction", window=30), 15, id="direction"),
        pytest.param(DataOptions(data="sample:seasonal", target="all", horizon=24), 15, id="levels"),
        pytest.param(DataOptions(data="sample:walk", window=20), 15, id="one-channel"),
    ],
)
def test_every_configuration_can_be_built(name, options, count):
    if (options.task or "forecast") not in registry.entry(name).model_class.tasks:
        pytest.skip(f"{name} does not do the task {options.task}")
    data, space = cached_data(options), space_of(name, options)
    configurations = [space.defaults(), *random_values(space, count)]
    for values in configurations:
        with torch.device("meta"):  # nothing is computed
            built(space, values, data)
    assert all(map(space.is_valid, configurations[:20]))


@pytest.mark.parametrize("name", NETWORKS)
def test_configurations_forecast_and_learn(name):
    small = {"hidden_size": 16, "num_layers": 2} if "hidden_size" in by_name(space_of(name)) else {}
    data, space = cached_data(PRICES), space_of(name, **small)
    for values in random_values(space, 4, seed=1):
        parts = space.split(values)
        cut = data.recut(parts["data"]["window"], data.options.horizon)
        model = built(space, values, data)
        batch = cut.validation.select(torch.arange(3))
        model.losses(batch)["loss"].backward()
        assert model.predict(batch.inputs).shape == (3, 1, 1)


def test_a_search_with_the_real_space_proposes_valid_configurations_only():
    space = space_of("transformer:patch")
    config = HyperparameterConfig(n_random_trials=6, n_bayesian_trials=6, n_fine_tune_trials=4)
    study = optuna.create_study(sampler=PhaseSampler(space, config, 0))
    for slot in range(config.total):
        study.enqueue_trial({}, user_attrs={"slot": slot, "phase": config.phase_of(slot), "attempt": 0})
    seen = []
    for _ in range(config.total):
        trial = study.ask()
        values = {dimension.name: dimension.suggest(trial) for dimension in space.dimensions}
        assert values == space.repaired(values) == trial.params and space.is_valid(values)
        study.tell(trial, abs(values["window"] - 100) + values["dropout"])
        seen.append(values)
    assert seen[0] == space.defaults() and all(seen.count(values) == 1 for values in seen)


def test_looking_whether_a_model_can_be_built_draws_no_random_number_and_is_remembered(monkeypatch):
    space = space_of("transformer:basic", hidden_size=16)
    values = next(random_values(space, 1))
    state = torch.get_rng_state()
    assert space.is_valid(values)
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(SearchSpace, "_built", None)
    assert space.is_valid(values)


def test_what_cannot_be_built_is_known():
    space = space_of("transformer:basic")
    values = space.defaults() | {"hidden_size": 30, "num_heads": 4}
    assert not space.is_valid(values) and "must divide hidden_size" in space.problem(values)
    assert not space.is_valid(space.defaults() | {"patch": 24, "window": 20})
    assert not space_of("lstm:basic").is_valid(space_of("lstm:basic").defaults() | {"hidden_size": 0})


# --- constraints ------------------------------------------------------------------------------------------------------


def test_a_width_becomes_the_nearest_multiple_of_the_heads_within_its_range():
    space = space_of("transformer:basic")

    def width(hidden_size, heads):
        return space.repaired(space.defaults() | {"hidden_size": hidden_size, "num_heads": heads})["hidden_size"]

    assert [width(size, 8) for size in (16, 19, 21, 509, 512, 9999, 1)] == [16, 16, 24, 512, 512, 512, 16]
    assert [width(size, 1) for size in (17, 511)] == [17, 511]


def test_heads_that_were_set_hold_for_every_width():
    space = space_of("transformer:basic", num_heads=6, hidden_size=66)
    assert "num_heads" not in by_name(space) and "hidden_size" not in by_name(space)
    space = space_of("transformer:basic", file={"num_heads": 6})
    widths = {values["hidden_size"] for values in random_values(space, 50)}
    assert all(width % 6 == 0 for width in widths) and len(widths) > 10 and {18, 24} <= widths


def test_a_width_that_was_set_leaves_the_heads_that_divide_it():
    assert by_name(space_of("transformer:basic", hidden_size=20))["num_heads"].choices == (1, 2, 4)
    assert by_name(space_of("transformer:basic", file={"d_model": 20}))["num_heads"].choices == (1, 2, 4)


def test_patches_fit_into_the_window():
    set_window = space_of("transformer:patch", DataOptions(window=20), given=["window"])
    assert by_name(set_window)["patch"].choices == (8, 16) and set_window.fixed["window"] == 20
    searched = space_of("transformer:patch")
    assert all(values["patch"] <= values["window"] for values in random_values(searched, 100))
    assert searched.repaired(searched.defaults() | {"window": 24, "patch": 32})["patch"] == 24
    assert by_name(space_of("lstm:basic", patch=50))["window"].low == 50
    assert by_name(space_of("lstm:basic", DataOptions(window=2), given=["window"], file={"patch": [1, 2]}))


def test_lags_end_with_the_window():
    assert by_name(space_of("baseline:ridge"))["lags"].high == 96
    wide = by_name(space_of("baseline:ridge", DataOptions(window=300)))["lags"]
    assert (wide.low, wide.high, wide.default) == (8, 300, 96)


# --- what is searched -------------------------------------------------------------------------------------------------


def test_a_networks_space_is_its_own_options_those_of_training_and_the_window():
    space = space_of("lstm:attention")
    own = ["normalisation", "loss", "hidden_size", "num_layers", "dropout", "channels", "patch", "bidirectional"]
    assert list(by_name(space)) == [*own, *TRAINING, "window"]
    assert [d.part for d in space.dimensions] == ["model"] * 8 + ["training"] * 3 + ["data"]
    assert by_name(space)["hidden_size"] == Dimension("hidden_size", "model", "int", 64, 16, 512, True)
    assert by_name(space)["window"] == Dimension("window", "data", "int", 96, 24, 336, True)
    assert space.fixed == {} and space.notes == ()


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        (PRICES, {"weight_alpha", "weight_beta"}),
        (DataOptions(task="direction"), {"loss"}),
        (DataOptions(data="sample:walk"), {"weight_alpha", "weight_beta", "channels"}),
        (DataOptions(data="sample:adding"), {"weight_alpha", "weight_beta", "channels", "normalisation", "window"}),
    ],
)
def test_what_has_no_effect_on_the_data_is_left_out(options, left_out):
    everything = {field for field, value in registry.entry("gru:basic").model_class.Config.__dataclass_fields__.items()}
    names = by_name(space_of("gru:basic", options))
    left_out = {*left_out, "word_dropout"}  # of texts only
    assert everything | {*TRAINING, "window"} == names.keys() | left_out and not names.keys() & left_out


def test_weights_of_returns_need_returns(tmp_path):
    file = tmp_path / "levels.csv"
    pd.DataFrame({"date": pd.date_range("2020-01-01", periods=400), "x": np.sin(np.arange(400))}).to_csv(file)
    names = by_name(space_of("gru:basic", DataOptions(data=str(file), target="x", task="direction", transform="level")))
    assert "hidden_size" in names and not names.keys() & {"weight_alpha", "weight_beta", "loss"}


def test_what_tells_two_models_apart_is_not_searched():
    assert space_of("tcn:basic").fixed == {"residual": False} and space_of("tcn:residual").fixed == {"residual": True}
    assert by_name(space_of("tcn:residual", file={"residual": [True, False]}))["residual"].choices == (True, False)


def test_models_without_gradients_are_searched_over_their_own_options():
    assert list(by_name(space_of("baseline:boosting"))) == ["lags", "trees", "max_depth", "learning_rate"]
    assert {dimension.part for dimension in space_of("baseline:boosting").dimensions} == {"model"}


@pytest.mark.parametrize("name", NOTHING)
def test_models_without_options_have_nothing_to_search(name):
    with pytest.raises(NothingToSearch, match=f"{name} has nothing to search"):
        space_of(name)


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("options", [PRICES, DataOptions(data="sample:seasonal")], ids=["returns", "levels"])
def test_the_default_configuration_is_the_model_without_a_search(name, options):
    data, space = cached_data(options), space_of(name, options)
    assert space.repaired(space.defaults()) == space.defaults()
    parts = space.split(space.defaults())
    torch.manual_seed(0)
    tuned = create_model(name, data.spec, parts["model"])
    torch.manual_seed(0)
    plain = create_model(name, data.spec)
    assert TrainingConfig.from_dict(parts["training"]) == TrainingConfig()
    assert parts["data"].get("window", 96) == 96
    if tuned.uses_gradients:
        inputs = data.validation.select(torch.arange(4)).inputs
        assert torch.equal(tuned.predict(inputs), plain.predict(inputs))


@pytest.mark.parametrize(("sample", "meaning"), [("sample:goog", "none"), ("sample:seasonal", "revin")])
def test_a_default_that_follows_from_the_data_is_searched_as_what_it_means(sample, meaning):
    dimension = by_name(space_of("gru:basic", DataOptions(data=sample)))["normalisation"]
    assert (dimension.default, dimension.choices) == (meaning, ("revin", "last", "none"))
    assert space_of("gru:basic", DataOptions(data=sample), normalisation="auto").fixed == {"normalisation": "auto"}


def test_what_was_given_is_kept():
    training = TrainingConfig(lr=0.01)
    space = space_of(
        "lstm:basic", DataOptions(window=48), given=["lr", "window", "epochs"], training=training, dropout=0.3
    )
    assert space.fixed == {"dropout": 0.3, "lr": 0.01, "window": 48}
    assert not by_name(space).keys() & space.fixed.keys()
    parts = space.split(space.defaults())
    assert (parts["model"]["dropout"], parts["training"]["lr"], parts["data"]) == (0.3, 0.01, {"window": 48})


def test_a_value_outside_the_range_makes_it_wider_unless_it_was_given():
    training = TrainingConfig(lr=0.5, batch_size=100)
    names = by_name(space_of("lstm:basic", DataOptions(window=20), training=training))
    assert (names["lr"].high, names["lr"].default) == (0.5, 0.5) and names["batch_size"].choices[-1] == 100
    assert (names["window"].low, names["window"].default) == (20, 20)


def test_a_space_with_everything_set_is_refused():
    with pytest.raises(NothingToSearch, match="all its options are set"):
        space_of("baseline:ridge", lags=10)


# --- windows ----------------------------------------------------------------------------------------------------------


def prices(folder, rows, name="prices.csv"):
    """A file of daily prices."""
    values = 100 * np.exp(np.random.default_rng(rows).normal(0, 0.01, rows).cumsum())
    pd.DataFrame({"date": pd.date_range("2020-01-01", periods=rows), "close": values}).to_csv(
        folder / name, index=False
    )
    return folder / name


def test_windows_leave_half_of_the_training_rows_and_all_others(tmp_path):
    options = DataOptions(data=str(prices(tmp_path, 400)))
    window = by_name(space_of("gru:basic", options))["window"]
    data = cached_data(options)
    ends = [data.recut(int(end), 1) for end in (window.low, window.high)]
    assert (window.low, window.high) == (24, 140)
    assert len(ends[1].train) * 2 >= len(data.recut(1, 1).train) > 2 * len(data.recut(141, 1).train)
    hashes = {cut.fingerprint()["test_hash"] for cut in ends}
    assert len(hashes) == 1 and len({len(cut.validation) for cut in ends}) == 1


def test_a_window_that_leaves_little_to_train_on_is_the_longest_searched(tmp_path):
    window = by_name(space_of("gru:basic", DataOptions(data=str(prices(tmp_path, 200)))))["window"]
    assert (window.low, window.high, window.default) == (24, 96, 96)


@pytest.mark.parametrize("kind", ["short series", "test series", "adding"])
def test_a_window_that_decides_which_rows_are_forecast_is_not_searched(tmp_path, kind):
    options = DataOptions(data="sample:adding")
    if kind == "short series":  # the first validation rows of the second have no look-back of 96 rows
        prices(tmp_path, 500, "a.csv"), prices(tmp_path, 120, "b.csv")
        options = DataOptions(data=str(tmp_path))
    if kind == "test series":
        data, test = prices(tmp_path, 500, "a.csv"), prices(tmp_path, 300, "b.csv")
        options = DataOptions(data=str(data), test_data=str(test))
    space = space_of("gru:basic", options)
    assert space.fixed == {"window": 96} and "window is not searched" in space.notes[0]
    with pytest.raises(OptionError, match="it decides which; take it out of the space file and use --window"):
        space_of("gru:basic", options, {"window": [48, 96]})


def test_a_file_cannot_ask_for_windows_that_change_what_is_tested(tmp_path):
    options = DataOptions(data=str(prices(tmp_path, 200)))
    with pytest.raises(OptionError, match="window may be at most 138 here, but the space file says 150"):
        space_of("gru:basic", options, {"seq_length": {"low": 48, "high": 150}})
    assert by_name(space_of("gru:basic", options, {"seq_length": {"low": 48, "high": 130}}))["window"].high == 130
    assert by_name(space_of("gru:basic", options, {"window": {"low": 48}}))["window"].high == 96
    assert space_of("gru:basic", options, {"window": 60}).fixed == {"window": 60}


def test_a_horizon_is_searched_when_the_file_says_so(tmp_path):
    options = DataOptions(data=str(prices(tmp_path, 200)))
    space = space_of("gru:basic", options, {"time_window": [1, 5, 20]})
    assert by_name(space)["horizon"].choices == (1, 5, 20) and by_name(space)["horizon"].part == "data"
    values = space.defaults() | {"horizon": 20}
    assert space.is_valid(values) and built(space, values, cached_data(options)).spec.target_shape == (20, 1)
    with pytest.raises(OptionError, match="asks for too much: a horizon of 40 needs"):
        space_of("gru:basic", options, {"horizon": {"low": 1, "high": 40}})


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_narrows_fixes_and_adds():
    file = {
        "d_model": {"low": 100, "high": 600},
        "dropout_rate": [0.1, 0.3],
        "num_layers": 3,
        "learning_rate": {"high": 0.01},
        "batch_size": {"low": 10, "high": 40},
        "clip": {"low": 0.1, "high": 10, "log": True},
        "schedule": ["cosine", "plateau"],
        "warmup": 1,
        "normalisation": ["auto", "last"],
        "kernel": [2, 3],
    }
    space = space_of("lstm:basic", file=file)
    names = by_name(space)
    assert names["hidden_size"] == Dimension("hidden_size", "model", "int", 100, 100, 600, True)
    assert names["dropout"] == Dimension("dropout", "model", "choice", 0.1, choices=(0.1, 0.3))
    assert names["lr"] == Dimension("lr", "training", "float", 1e-3, 1e-5, 0.01, True)
    assert names["batch_size"] == Dimension("batch_size", "training", "int", 40, 10, 40)
    assert names["clip"] == Dimension("clip", "training", "float", 1.0, 0.1, 10.0, True)
    assert (names["schedule"].default, names["schedule"].choices) == ("plateau", ("cosine", "plateau"))
    assert names["normalisation"].choices == ("auto", "last")
    assert space.fixed == {"num_layers": 3, "warmup": 1.0} and "kernel" not in names
    for values in random_values(space, 30):
        assert space.is_valid(values)
        assert space.split(values)["training"]["warmup"] == 1.0 and space.split(values)["model"]["num_layers"] == 3


def test_a_single_choice_and_a_range_of_one_value_are_fixed():
    space = space_of("lstm:basic", file={"dropout": [0.4], "num_layers": {"low": 2, "high": 2}})
    assert space.fixed == {"dropout": 0.4, "num_layers": 2}


def test_tables_of_models_win():
    file = {"num_layers": 1, "lstm:basic": {"num_layers": [2, 3]}, "gru:*": {"num_layers": [4, 5]}}
    found = {name: space_of(name, file=file) for name in ("lstm:basic", "gru:residual", "tcn:basic")}
    assert by_name(found["lstm:basic"])["num_layers"].choices == (2, 3)
    assert by_name(found["gru:residual"])["num_layers"].choices == (4, 5)
    assert found["tcn:basic"].fixed["num_layers"] == 1


def test_an_option_that_is_not_searched_by_itself_can_be():
    space = space_of("baseline:seasonal", file={"period": {"low": 1, "high": 60}})
    assert by_name(space)["period"] == Dimension("period", "model", "int", 1, 1, 60)
    with pytest.raises(
        OptionError, match="cannot be built with period=97: a season must fit into the look-back window"
    ):
        space_of("baseline:seasonal", file={"period": [5, 97]})


def test_what_has_no_effect_is_said():
    space = space_of("lstm:basic", file={"weight_alpha": [0.5, 2.0]})
    assert space.notes == ("weight_alpha of the space file is left out: it has no effect on the task forecast",)


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("lstm:basic", {"hiden_size": 3}, "names hiden_size, .* Did you mean 'hidden_size'"),
        ("lstm:basic", {"kernel": [2, 3]}, "names kernel, but that is no option of lstm:basic that can be searched"),
        ("lstm:basic", {"gru:basic": {"dropout": 0.1}}, "a table for gru:basic, but that is none of the models"),
        ("baseline:ridge", {"learning_rate": 0.1}, "names learning_rate, but that is no option of baseline:ridge"),
        ("lstm:basic", {"epochs": 3}, "names epochs, but"),
        ("lstm:basic", {"transform": "level"}, "names transform, but"),
        ("lstm:basic", {"d_model": 0}, "d_model in the space file is not allowed: hidden_size must be at least 1"),
        ("lstm:basic", {"d_model": [16, 16.5]}, "hidden_size must be of type int, but got 16.5"),
        ("lstm:basic", {"d_model": {"low": 1.5}}, "hidden_size must be of type int, but got 1.5"),
        ("lstm:basic", {"d_model": {"low": 600}}, "it would go from 600 to 512; give both ends"),
        ("lstm:basic", {"lr": {"low": 0}}, "lr must be greater than 0"),
        ("lstm:basic", {"dropout": {"high": 0.99}}, "dropout must be between 0.0 and 0.95"),
        ("lstm:basic", {"dropout": {"high": 0.3, "log": True}}, "a logarithmic range begins above 0, but got low=0.0"),
        ("lstm:basic", {"loss": {"low": 1}}, "loss in the space file is not allowed: only numbers have a range"),
        ("lstm:basic", {"loss": ["mse", "mea"]}, "loss must be one of mse, mae, huber, but got 'mea'. Did you mean"),
        ("lstm:basic", {"clip": {"low": 0.1}}, "both low and high are needed"),
        ("lstm:basic", {"patch": [1, 500]}, "cannot be built with patch=500: it goes with none"),
        ("transformer:basic", {"num_heads": [3, 4], "d_model": 64}, "num_heads=3: num_heads must divide hidden_size"),
        ("transformer:patch", {"patch": 16, "window": [8, 96]}, "window=8: patch must be at most the look-back window"),
        ("transformer:basic", {"num_heads": [3], "d_model": [16, 32]}, "num_heads must divide hidden_size"),
        ("transformer:basic", {"num_heads": [2, 4], "d_model": [16, 33]}, "hidden_size=33: it goes with none"),
        ("transformer:inverted", {"channels": ["mixed", "independent"]}, "channels=independent: transformer:inverted"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(name, file, expected):
    with pytest.raises(OptionError, match=expected):
        space_of(name, file=file, models=[name])


def test_an_option_that_another_model_has_is_no_mistake():
    assert space_of("lstm:basic", file={"kernel": [2, 3]}, models=["lstm:basic", "tcn:basic"]).fixed == {}


@pytest.mark.parametrize("written", ["hidden_size", "d_model"])
def test_an_option_given_twice_is_refused(written):
    with pytest.raises(OptionError, match=f"hidden_size is given on the command line and {written} stands in"):
        space_of("lstm:basic", file={written: 64}, hidden_size=128)
    with pytest.raises(OptionError, match="window is given on the command line and seq_length stands in"):
        space_of("lstm:basic", DataOptions(window=50), {"seq_length": [20, 50]}, given=["window"])


# --- dimensions -------------------------------------------------------------------------------------------------------

DIMENSIONS = [
    Dimension("rate", "training", "float", 1e-3, 1e-5, 1e-1, True),
    Dimension("share", "model", "float", 0.1, 0.0, 0.5),
    Dimension("width", "model", "int", 64, 16, 512, True),
    Dimension("layers", "model", "int", 2, 1, 6),
    Dimension("one", "model", "int", 1, 1, 3, True),
    Dimension("flag", "model", "choice", None, choices=(True, None, "c", 0.5)),
]


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
@hypothesis_given(position=strategies.floats(0, 1, exclude_max=True))
def test_every_position_has_a_value_that_optuna_accepts_and_that_leads_back(dimension, position):
    value, distribution = dimension.from_unit(position), dimension.distribution()
    assert distribution._contains(distribution.to_internal_repr(value))
    assert dimension.nearest(value) == value and 0 <= dimension.to_unit(value) <= 1
    again = dimension.from_unit(dimension.to_unit(value))
    assert again == (pytest.approx(value, rel=1e-9) if dimension.kind == "float" else value)
    if dimension.kind == "float":
        assert dimension.to_unit(value) == pytest.approx(position, abs=1e-9)


@pytest.mark.parametrize("dimension", [DIMENSIONS[3], DIMENSIONS[5]], ids=["layers", "flag"])
def test_values_have_parts_of_the_same_length(dimension):
    counts = Counter(dimension.from_unit(place / 1200) for place in range(1200))
    assert len(counts) == len(dimension.choices or range(6)) and set(counts.values()) == {1200 // len(counts)}


def test_a_logarithmic_range_of_whole_numbers_is_even_on_its_scale():
    counts = Counter(DIMENSIONS[2].from_unit(place / 10_000) // 128 for place in range(10_000))
    assert counts[0] > counts[1] > counts[2] and counts[0] == pytest.approx(6000, rel=0.03)  # 16-127: log(8) / log(33)
    assert {DIMENSIONS[2].from_unit(0.0), DIMENSIONS[2].from_unit(1 - 1e-12)} == {16, 512}


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
def test_what_is_suggested_has_the_distribution_that_was_announced(dimension):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    value = dimension.suggest(trial)
    assert trial.distributions == {dimension.name: dimension.distribution()} and trial.params[dimension.name] == value


# --- what is stored ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEARCHED)
def test_a_space_survives_json(name):
    task = "direction" if "direction" in registry.entry(name).model_class.tasks else "forecast"
    space = space_of(name, DataOptions(task=task), {"horizon": [1, 2]})
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    values = next(random_values(space, 1))
    assert again.split(values) == space.split(values) and again.is_valid(values)
    assert [d.distribution() for d in again.dimensions] == [d.distribution() for d in space.dimensions]


def test_reading_a_space_needs_no_model():
    space = space_of("lstm:basic", dropout=0.2).to_dict() | {"model": "nobody:here"}
    again = SearchSpace.from_dict(space)
    assert again.split(again.defaults())["model"]["dropout"] == 0.2 and again.repaired({}) == again.defaults()


# --- models of users --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_model(monkeypatch):
    """Registers a model for one test."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    def register(annotations, construct=None):
        class Own(LinearModel):
            def __init__(self, spec, config):
                super().__init__(spec, config)
                self.linear = self.linear_map()
                if construct is not None:
                    construct(self, config)

            def extrapolate(self, window):
                return self.apply_map(self.linear, window)

        fields = {name: value for name, (_, value) in annotations.items()}
        types = {name: kind for name, (kind, _) in annotations.items()}
        Own.Config = dataclass(frozen=True)(type("Config", (WindowConfig,), {"__annotations__": types, **fields}))
        registry.register_model("plugin:own")(Own)
        return "plugin:own"

    return register


def test_lists_as_values_are_searched_as_text_and_built_as_lists(own_model):
    widths = tunable((64, 32), search=((64, 32), (16,), None), help="widths")
    name = own_model({"widths": (tuple[int, ...] | None, widths)})
    space = space_of(name)
    assert by_name(space)["widths"] == Dimension(
        "widths", "model", "choice", "64,32", choices=("64,32", "16", None), items="int"
    )
    values = space.defaults()
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space and again.split(values)["model"]["widths"] == (64, 32)
    assert space.split(values | {"widths": None})["model"]["widths"] is None
    assert by_name(space)["widths"].to_unit([64, 32]) == pytest.approx(1 / 6)
    fixed = space_of(name, file={"widths": [8, 8]})
    assert fixed.fixed == {"widths": (8, 8)}
    assert SearchSpace.from_dict(json.loads(json.dumps(fixed.to_dict()))) == fixed
    assert by_name(space_of(name, file={"widths": [[8, 8], [4]]}))["widths"].choices == ("8,8", "4")


def test_a_model_that_refuses_by_any_error_is_not_proposed(own_model):
    def construct(model, config):
        if config.depth > 3:
            raise ValueError("too deep")

    name = own_model({"depth": (int, tunable(2, low=1, high=6, help="depth"))}, construct)
    space = space_of(name)
    assert space.is_valid(space.defaults()) and not space.is_valid(space.defaults() | {"depth": 4})
    assert space.problem(space.defaults() | {"depth": 4}) == "ValueError: too deep"


def test_a_model_that_looks_at_its_weights_can_be_searched(own_model):
    def construct(model, config):
        if float(model.linear.weight.detach().abs().max()) > 1 or not torch.isfinite(model.linear.weight).all():
            raise ValueError("no proper weights")

    space = space_of(own_model({"depth": (int, tunable(2, low=1, high=6, help="depth"))}, construct))
    state = torch.get_rng_state()
    assert all(space.is_valid(values) for values in random_values(space, 5))
    assert torch.equal(torch.get_rng_state(), state)


def test_data_are_not_read_again_for_the_windows(monkeypatch):
    data = cached_data(PRICES)
    monkeypatch.setattr(SeriesData, "__init__", None)
    assert by_name(space_of("gru:basic"))["window"].high == 336 and cached_data(PRICES) is data
