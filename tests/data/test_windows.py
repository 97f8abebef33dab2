"""Windows: exact counts, borders, and equality with a slow, obvious loop."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from src.data.windows import WindowStarts, gather_windows, window_starts


def obvious_starts(row_range, series_range, window, horizon):
    found = []
    for first_target in range(series_range[0], series_range[1]):
        targets = range(first_target, first_target + horizon)
        look_back = range(first_target - window, first_target)
        in_part = all(row_range[0] <= row < row_range[1] and row < series_range[1] for row in targets)
        if in_part and all(row >= series_range[0] for row in look_back):
            found.append(first_target)
    return found


def test_published_protocol_has_2785_test_windows_whatever_the_look_back():
    for window in (96, 336, 512):
        assert len(window_starts((11520, 14400), (0, 17420), window, 96)) == 2785
    assert len(window_starts((0, 8640), (0, 17420), 336, 96)) == 8640 - 336 - 96 + 1


@given(st.data())
def test_starts_equal_the_obvious_loop(data):
    series_first = data.draw(st.integers(0, 20))
    series_last = series_first + data.draw(st.integers(0, 40))
    row_first = data.draw(st.integers(0, 60))
    row_last = row_first + data.draw(st.integers(0, 40))
    window, horizon = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    arguments = (row_first, row_last), (series_first, series_last), window, horizon
    starts = window_starts(*arguments)
    assert list(starts) == obvious_starts(*arguments)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_gathered_windows_equal_a_slow_loop(window, horizon, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(30, columns, generator=generator)
    starts = torch.randint(window, 30 - horizon + 1, (7,), generator=generator)
    windows = gather_windows(rows, starts, window, horizon)
    assert windows.shape == (7, window + horizon, columns) and windows.is_contiguous()
    for sample, start in zip(windows, starts.tolist(), strict=True):
        assert torch.equal(sample, torch.stack([rows[row] for row in range(start - window, start + horizon)]))
    assert torch.equal(gather_windows(rows, starts, window, 0), windows[:, :window])
    assert torch.equal(gather_windows(rows, starts, 0, horizon), windows[:, window:])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=6))
def test_starts_kept_as_runs_equal_the_list_of_them(runs):
    ranges, first = [], 0
    for gap, count in runs:
        ranges.append(range(first + gap, first + gap + count))
        first += gap + count
    everything = [number for run in ranges for number in run]
    starts = WindowStarts(ranges)
    assert len(starts) == len(everything)
    if everything:
        order = torch.randperm(len(everything))
        assert starts.at(order).tolist() == torch.tensor(everything)[order].tolist()
