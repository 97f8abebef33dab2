"""SeriesData: windows, borders, scaling and price terms of whole data sets."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.base import DataSpec
from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.tables import Table
from src.errors import DataError, OptionError

TRANSFORMS = ("level", "return", "log-return")


def make_table(rows, seed=0, name="made", columns=("Open", "Close", "Volume")):
    """Positive prices by the hour."""
    rng = np.random.default_rng(seed)
    values = {column: 50 * np.exp(np.cumsum(rng.normal(0, 0.02, rows))) for column in columns}
    return Table(np.datetime64("2020-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "h"), values, name)


def make(rows=200, seed=0, series=1, **options):
    tables = [make_table(rows + 17 * number, seed + number, f"made-{number}") for number in range(series)]
    return SeriesData.from_tables(tables, DataOptions(**{"data": "made", "window": 8, "horizon": 3, **options}))


def all_of(split):
    batches = list(split.batches(7))
    return [torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "targets", "index")]


def parts_of(data):
    return {"train": data.train, "validation": data.validation, "test": data.test}


# ---- windows and borders


def test_published_protocol_scores_2785_windows():
    data = SeriesData.from_tables(
        [make_table(17420)],
        DataOptions(target="all", transform="level", window=336, horizon=96, split="8640,2880,2880"),
    )
    assert [len(split) for split in parts_of(data).values()] == [8640 - 336 - 96 + 1, 2785, 2785]
    assert data.spec.input_shape == (336, 3) and data.spec.target_shape == (96, 3) and data.spec.period == 24
    first = np.array([0])
    assert data.test.origin_dates(first)[0] == make_table(17420).dates[11519]  # look-back reaches over the border
    assert data.test.target_dates(first)[0, 0] == make_table(17420).dates[11520]
    scaled = all_of(data.test)[1][0, 0].double().numpy()
    training = make_table(17420).columns["Close"][:8640]
    close = make_table(17420).columns["Close"][11520]
    assert scaled[1] == pytest.approx((close - training.mean()) / training.std(), rel=1e-6)


@given(st.sampled_from(TRANSFORMS), st.integers(1, 12), st.integers(1, 5), st.integers(0, 6), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_parts_share_no_target_and_no_window_crosses_series(transform, window, horizon, gap, series):
    data = make(series=series, transform=transform, window=window, horizon=horizon, gap=gap, target="all")
    owner = {}
    for part, split in parts_of(data).items():
        everything = np.arange(len(split))
        inputs, _, index = all_of(split)
        assert index.tolist() == everything.tolist()
        for number, (name, moments) in enumerate(
            zip(split.series_names(everything), split.target_dates(everything), strict=True)
        ):
            table = make_table(200 + 17 * int(name[-1]), int(name[-1]), name)
            row = int(np.searchsorted(table.dates, moments[0]))
            expected = np.column_stack(list(table.columns.values()))[row - window : row + horizon]
            assert len(expected) == window + horizon and row - window >= (transform != "level")
            np.testing.assert_array_equal(split.actual([number])[0], expected[window:])
            last = np.repeat(expected[window - 1 : window], horizon, axis=0)
            np.testing.assert_array_equal(split.persistence([number])[0], last)
            assert split.origin_dates([number])[0] == table.dates[row - 1]
            for moment in moments:
                assert owner.setdefault((name, moment), part) == part
            if number == 0 and transform == "level":  # the scaled look-back, undone, is the file's own rows
                group = int(name[-1])
                undone = inputs[0].double().numpy() * data.scaler.scale[group] + data.scaler.center[group]
                np.testing.assert_allclose(undone, expected[:window], rtol=1e-5)


def test_gap_rows_belong_to_no_part():
    plain, apart = make(split="120,40,40"), make(split="120,40,40", gap=10)
    assert [len(split) for split in parts_of(apart).values()] == [len(plain.train), 28, 28]
    dates = make_table(200).dates
    assert apart.validation.target_dates([0])[0, 0] == dates[130] and apart.test.target_dates([0])[0, 0] == dates[170]


def test_test_targets_do_not_depend_on_window_features_or_transform():
    hashes = {
        make(window=window, transform=transform, features=features).fingerprint()["test_hash"]
        for window in (1, 8, 30)
        for transform in TRANSFORMS
        for features in (None, "Open")
    }
    assert len(hashes) == 1
    for other in ({"horizon": 2}, {"target": "Open"}, {"gap": 1}, {"seed": 1}):
        assert make(**other).fingerprint()["test_hash"] not in hashes


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("task", ["forecast", "direction"])
def test_recut_gives_what_loading_anew_gives(transform, task):
    known = make(rows=300, series=2, transform=transform, task=task)
    recut = known.recut(21, 5)
    anew = make(rows=300, series=2, transform=transform, task=task, window=21, horizon=5)
    assert recut.spec == anew.spec and recut.options == anew.options
    assert recut.fingerprint() == anew.fingerprint()
    for part in parts_of(anew):
        for one, other in zip(all_of(parts_of(recut)[part]), all_of(parts_of(anew)[part]), strict=True):
            assert torch.equal(one, other)
    assert known.spec.input_shape[0] == 8 and next(known.train.batches(2)).inputs.shape[1] == 8
    with pytest.raises(DataError, match="window at most"):
        known.recut(299, 5)


@pytest.mark.parametrize(("row", "matters"), [(159, False), (160, True), (199, True)])
def test_the_test_hash_is_over_the_test_targets_and_nothing_else(row, matters):
    options = DataOptions(window=8, horizon=3, split="120,40,40", transform="level")
    plain, changed = make_table(200), make_table(200)
    changed.columns["Close"][row] += 1
    changed.columns["Open"][row] += 1
    hashes = [SeriesData.from_tables([table], options).fingerprint()["test_hash"] for table in (plain, changed)]
    assert (hashes[0] != hashes[1]) == matters


# ---- scaling


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_validation_and_test_rows_leave_training_bit_identical(transform):
    table = make_table(200)
    changed = copy.deepcopy(table)
    for values in changed.columns.values():
        values[120:] = 3 * values[120:][::-1] + 1
    options = DataOptions(window=8, horizon=3, transform=transform, split="120,40,40", target="all")
    one, other = (SeriesData.from_tables([each], options) for each in (table, changed))
    assert one.scaler.to_dict() == other.scaler.to_dict()
    for left, right in zip(one.train.batches(16), other.train.batches(16), strict=True):
        assert torch.equal(left.inputs, right.inputs) and torch.equal(left.targets, right.targets)
    assert not torch.equal(all_of(one.test)[1], all_of(other.test)[1])
    early = copy.deepcopy(table)
    early.columns["Close"][119] *= 2  # the last training row must count
    assert SeriesData.from_tables([early], options).scaler.to_dict() != one.scaler.to_dict()


def test_training_values_are_standardised():
    inputs = all_of(make(rows=4000, window=1, horizon=1, transform="level").train)[0]
    assert inputs.dtype == torch.float32
    assert inputs.mean(dim=(0, 1)).abs().max() < 0.01 and (inputs.std(dim=(0, 1)) - 1).abs().max() < 0.01
    returns = make(rows=4000, window=1, horizon=1, transform="return")
    assert (all_of(returns.train)[0].std(dim=(0, 1)) - 1).abs().max() < 0.01
    assert (returns.scaler.center == 0).all()


@given(
    st.sampled_from(TRANSFORMS), st.integers(1, 6), st.integers(1, 3), st.sampled_from(["Close", "all", "Volume,Open"])
)
@settings(max_examples=40, deadline=None)
def test_to_units_inverts_exactly(transform, horizon, series, target):
    data = make(series=series, transform=transform, horizon=horizon, target=target)
    for split in parts_of(data).values():
        index = torch.arange(len(split)).flip(0)
        targets = all_of(split)[1].flip(0).numpy()
        np.testing.assert_allclose(split.to_units(index, targets), split.actual(index), rtol=2e-6)  # float32 targets
        actual = split.actual(index)
        last = split.persistence(index)[:, :1]
        path = np.concatenate([last, actual], axis=1)
        steps = {"level": actual, "return": path[:, 1:] / path[:, :-1] - 1, "log-return": np.diff(np.log(path), axis=1)}
        groups = [int(name[-1]) if transform == "level" else 0 for name in split.series_names(index)]
        columns = [data.scaler.columns.index(name) for name in data.spec.target_names]
        center, scale = (values[groups][:, None, columns] for values in (data.scaler.center, data.scaler.scale))
        exact = (steps[transform] - center) / scale
        np.testing.assert_allclose(split.to_units(index, exact), actual, rtol=1e-12)
        np.testing.assert_allclose(targets, exact, rtol=1e-5, atol=1e-6)
        if transform != "level":
            zeros = np.zeros_like(actual)
            np.testing.assert_array_equal(split.to_units(index, zeros), split.persistence(index))


def test_target_scale_turns_scaled_values_into_returns():
    data = make(transform="return", horizon=1, target="Open,Close")
    path = np.concatenate([data.test.persistence([4]), data.test.actual([4])], axis=1)[0]
    scaled = all_of(data.test)[1][4, 0].numpy()
    np.testing.assert_allclose(scaled * data.spec.target_scale, path[1] / path[0] - 1, rtol=1e-5)
    assert make(transform="level").spec.target_scale == ()


# ---- direction


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_direction_is_of_the_level_whatever_the_transform(transform):
    data = make(transform=transform, task="direction", target="Open,Close", series=2)
    for split in parts_of(data).values():
        index = np.arange(len(split))
        path = np.concatenate([split.persistence(index)[:, :1], split.actual(index)], axis=1)
        np.testing.assert_array_equal(all_of(split)[1].numpy(), (np.diff(path, axis=1) > 0).astype(np.float32))
    table = make_table(200)
    if transform == "level":
        alone = make(task="direction", transform=transform, split="120,40,40")
        assert alone.spec.up_share == (float((np.diff(table.columns["Close"][:120]) > 0).mean()),)
    with pytest.raises(OptionError, match="only forecasts have units"):
        data.test.to_units([0], np.zeros((1, 3, 2)))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_direction_comes_with_its_return(transform):
    """Simple returns in the order of the targets, whatever the model reads, each series by itself."""
    data = make(transform=transform, task="direction", target="Close,Open", series=3, cost_bps=7)
    assert data.spec.cost_bps == 7.0 and any("7 basis points" in message for message in data.messages)
    for split in parts_of(data).values():
        index = np.arange(len(split))
        path = np.concatenate([split.persistence(index)[:, :1], split.actual(index)], axis=1)
        returns = torch.cat([batch.returns for batch in split.batches(50)]).numpy()
        np.testing.assert_allclose(returns, path[:, 1:] / path[:, :-1] - 1, rtol=1e-5, atol=1e-8)
        shuffled = next(split.batches(20, torch.Generator().manual_seed(0)))
        np.testing.assert_array_equal(shuffled.returns.numpy(), returns[shuffled.index])
        np.testing.assert_array_equal(shuffled.returns > 0, shuffled.targets > 0.5)


def test_returns_are_cut_in_blocks_like_everything_else(monkeypatch):
    whole = all_returns(make(task="direction", series=3))
    monkeypatch.setattr("src.data.rows.ROWS_AT_ONCE", 37)
    torch.testing.assert_close(all_returns(make(task="direction", series=3)), whole, rtol=0, atol=0)


def all_returns(data):
    return torch.cat([batch.returns for split in parts_of(data).values() for batch in split.batches(64)])


def test_forecasts_have_no_returns():
    data = make()
    assert data._rows.returns is None and data.spec.cost_bps is None
    assert next(data.train.batches(4)).returns is None


def test_values_of_zero_or_below_have_no_returns():
    table = make_table(200)
    table.columns["Close"][150] = -1.0
    data = SeriesData.from_tables(
        [table], DataOptions(data="made", window=8, task="direction", transform="level", target="Close")
    )
    assert data.spec.cost_bps is None and next(data.train.batches(4)).returns is None
    assert any("not simulated" in message for message in data.messages)


def test_returns_of_new_data_are_known_but_for_the_newest():
    trained = make(task="direction")
    new = SeriesData.for_prediction([make_table(90, 5)], trained.schema())
    assert new.windows.select([0, 3]).returns.shape == (2, 3, 1)
    assert new.newest.select([0]).returns is None


# ---- batches


def test_batches_give_every_sample_once_in_an_order_of_the_generator():
    data = make()
    shuffled = [list(data.train.batches(16, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    index = [torch.cat([batch.index for batch in batches]) for batches in shuffled]
    assert torch.equal(index[0], index[1]) and not torch.equal(index[0], index[2])
    assert sorted(index[0].tolist()) == list(range(len(data.train)))
    assert [len(batch.index) for batch in shuffled[0]] == [16] * (len(data.train) // 16) + [len(data.train) % 16]
    inputs, targets, _ = all_of(data.train)
    for batch in shuffled[0]:
        assert batch.inputs.is_contiguous() and batch.index.dtype == torch.int64
        assert torch.equal(batch.inputs, inputs[batch.index]) and torch.equal(batch.targets, targets[batch.index])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("task", ["forecast", "direction"])
def test_batches_on_a_gpu_are_those_of_the_cpu(task):
    plain, moved = make(task=task), make(task=task).to(torch.device("cuda"))
    batches = (data.train.batches(16, torch.Generator().manual_seed(0)) for data in (plain, moved))
    for left, right in zip(*batches, strict=True):
        assert right.inputs.is_cuda and right.index.is_cuda
        assert all(torch.equal(a, b.cpu()) for a, b in zip(left[:3], right[:3], strict=True))
        assert (right.returns is None) == (task == "forecast")
        assert left.returns is None or torch.equal(left.returns, right.returns.cpu())
        np.testing.assert_array_equal(plain.train.actual(left.index), moved.train.actual(right.index))


# ---- columns


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        (("Close", "Adj Close", "Volume"), "Adj Close"),
        (("adjclose", "close", "volume"), "adjclose"),
        (("x", "Adj_Close", "close"), "Adj_Close"),
        (("CLOSE", "Volume"), "CLOSE"),
        (("a", "b", "OT"), "OT"),
    ],
)
def test_default_target_is_said_aloud(columns, target):
    data = SeriesData.from_tables([make_table(200, columns=columns)], DataOptions(window=8))
    assert data.spec.target_names == (target,) and data.spec.feature_names == columns
    assert data.spec.target_channels == (columns.index(target),)
    assert any(message.startswith(f"target: {target} (") for message in data.messages)
    assert data.options.target == target and data.options.transform == "return"


def test_targets_join_the_features_and_options_are_resolved():
    data = make(features="volume", target="Close, Open")
    assert data.spec.feature_names == ("Volume", "Close", "Open") and data.spec.target_channels == (1, 2)
    assert None not in [data.options.to_dict()[name] for name in ("target", "features", "transform")]
    again = SeriesData.from_tables([make_table(200, name="made-0")], data.options)
    assert again.spec == data.spec and again.fingerprint() == data.fingerprint()
    assert DataSpec.from_dict(json.loads(json.dumps(data.spec.to_dict()))) == data.spec


@pytest.mark.parametrize("option", ["target", "features"])
def test_an_unknown_column_names_the_closest(option):
    with pytest.raises(OptionError, match=rf"{option} must .*no 'Clsoe'.*'Close'.*Columns: Open, Close, Volume"):
        make(**{option: "Open,Clsoe"})
    with pytest.raises(OptionError, match="at least one column"):
        make(**{option: " , "})


def test_columns_that_cannot_be_returns_stay_levels():
    table = make_table(200)
    table.columns["Volume"][5] = 0
    data = SeriesData.from_tables([table], DataOptions(window=8, target="Close", split="120,40,40"))
    assert data.scaler.transforms == ("return", "return", "level")
    assert data.scaler.center[0, 2] == pytest.approx(table.columns["Volume"][1:120].mean())
    assert any("Volume" in message and "levels" in message for message in data.messages)
    with pytest.raises(DataError, match=r"column 'Volume' of made is 0 on 2020-01-01 05:00:00 .*--transform level"):
        SeriesData.from_tables([table], DataOptions(window=8, target="Volume", transform="return"))
    table.columns["Close"][5] = 0
    with pytest.raises(DataError, match="column 'Close' of made is 0"):
        SeriesData.from_tables([table], DataOptions(window=8, target="Close"))


def test_a_target_that_is_no_price_and_touches_zero_is_forecast_as_a_level():
    table = make_table(200)
    table.columns["Volume"][5] = 0
    data = SeriesData.from_tables([table], DataOptions(window=8, target="Volume"))
    assert data.options.transform == "level" and data.scaler.transforms == ("level",) * 3
    assert any("no return" in message for message in data.messages)


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        (["Price", "Vol", "Change %"], "Price"),
        (["Schlußkurs", "Stück"], "Schlußkurs"),
        (["humidity", "temperature"], "temperature"),
        (["open interest", "Settle", "Volume"], "Settle"),
        (["volume", "change"], "change"),
    ],
)
def test_the_default_target_is_a_price_and_no_side_column(columns, target):
    table = make_table(100)
    values = dict.fromkeys(columns, table.columns["Close"])
    data = SeriesData.from_tables([Table(table.dates, values, "made")], DataOptions(window=8))
    assert data.spec.target_names == (target,)


# ---- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"rows": 100, "split": "60,20,20", "window": 96, "horizon": 1, "transform": "level"},
            ["97 rows", "training part of made-0", "has 60", "--window at most 59"],
        ),
        ({"rows": 100, "split": "60,20,20", "window": 60, "horizon": 1}, ["61 returns", "has 59", "at most 58"]),
        ({"rows": 100, "split": "60,20,20", "horizon": 30}, ["validation part of made-0", "has 20", "--horizon"]),
        ({"rows": 100, "split": "60,20,20", "gap": 20}, ["validation part", "has 0", "--gap"]),
        ({"split": "2020-01-05,2030-01-01"}, ["test part", "has 0", "--split"]),
        ({"split": "2019-01-05,2020-01-05"}, ["training part", "has 0"]),
        ({"split": "400,10,10"}, ["420 rows", "there are 200"]),
    ],
)
def test_too_few_rows_is_one_line_with_a_fix(options, words):
    with pytest.raises(DataError) as caught:
        make(**options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_the_window_named_as_a_fix_does_fit():
    assert len(make(rows=100, split="60,20,20", window=59, horizon=1, transform="level").train) == 1
    assert len(make(rows=100, split="60,20,20", window=58, horizon=1, transform="return").train) == 1


def test_levels_need_training_rows_in_every_series():
    late = make_table(400, 1, "late")
    late = Table(late.dates[150:], {name: values[150:] for name, values in late.columns.items()}, "late")
    options = DataOptions(window=8, split="2020-01-06,2020-01-08", transform="level")
    with pytest.raises(DataError, match="late has none"):
        SeriesData.from_tables([make_table(400), late], options)
    pooled = SeriesData.from_tables([make_table(400), late], DataOptions(window=8, split=options.split))
    assert set(pooled.train.series_names(np.arange(len(pooled.train)))) == {"made"}
    assert set(pooled.test.series_names(np.arange(len(pooled.test)))) == {"made", "late"}


# ---- whole data sets


def test_a_file_and_its_fingerprint(tmp_path):
    table = make_table(200)
    lines = [
        f"{date},{opened},{closed}"
        for date, opened, closed in zip(
            table.dates.astype("datetime64[s]"), table.columns["Open"], table.columns["Close"], strict=True
        )
    ]
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(["date,Open,Close", *lines]))
    options = DataOptions(data=str(path), window=8)
    fingerprint = load_data(options).fingerprint()
    assert json.loads(json.dumps(fingerprint)) == load_data(options).fingerprint()
    assert fingerprint["rows"] == 200 and fingerprint["columns"] == ["Open", "Close"]
    assert fingerprint["windows"] == {"train": 131, "validation": 30, "test": 30}
    lines[3] = lines[3].replace("2020-01-01T03:00:00", "2020-01-01T03:30:00")
    path.write_text("\n".join(["date,Open,Close", *lines]))
    changed = load_data(options).fingerprint()
    assert changed["sha256"] != fingerprint["sha256"] and changed["test_hash"] == fingerprint["test_hash"]


@pytest.mark.parametrize("name", ["goog", "walk", "seasonal"])
def test_samples_load(name):
    data = load_data(DataOptions(data=f"sample:{name}", window=24))
    inputs, targets, _ = all_of(data.test)
    assert torch.isfinite(inputs).all() and torch.isfinite(targets).all()
    assert data.spec.transform == ("level" if name == "seasonal" else "return")
    assert data.spec.period == (24 if name == "seasonal" else 5)
    assert load_data(DataOptions(data=f"sample:{name}", window=24)).fingerprint() == data.fingerprint()


def test_the_adding_sample_hides_the_sum():
    data = load_data(DataOptions(data="sample:adding", window=20))
    assert [len(split) for split in parts_of(data).values()] == [20000, 1000, 1000]
    assert data.spec.target_channels is None and data.spec.feature_names == ("value", "marker")
    inputs, targets, index = all_of(data.test)
    assert inputs.shape == (1000, 20, 2)
    torch.testing.assert_close(inputs.prod(dim=2).sum(dim=1), targets[:, 0, 0])
    assert data.test.persistence(index) is None
    np.testing.assert_allclose(data.test.actual(index), targets.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(data.test.to_units(index, targets.numpy()), targets.double().numpy())
    assert ((all_of(data.train)[1] - 1) ** 2).mean().item() == pytest.approx(1 / 6, abs=0.005)


@pytest.mark.parametrize(
    "options",
    [{"horizon": 2}, {"task": "direction"}, {"transform": "return"}, {"target": "value"}, {"features": "value,sum"}],
)
def test_the_adding_sample_refuses_what_it_has_not(options):
    with pytest.raises(OptionError, match="sample:adding"):
        load_data(DataOptions(data="sample:adding", window=4, **options))
