"""Masks of blocks: what is hidden is what is predicted, the rest is the context, and there is always some of both."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from src.errors import OptionError
from src.layers.masking import AREAS, BlockMasks


def made(rows: int, columns: int, blocks: int) -> BlockMasks:
    try:
        return BlockMasks(rows, columns, blocks)
    except OptionError:
        assume(False)
        raise


@given(st.integers(1, 12), st.integers(1, 24), st.integers(1, 4), st.integers(0, 1000))
def test_some_patches_are_hidden_and_some_are_seen(rows: int, columns: int, blocks: int, seed: int) -> None:
    masks = made(rows, columns, blocks)(16, generator=torch.Generator().manual_seed(seed))
    assert masks.shape == (16, rows * columns)
    assert masks.dtype == torch.bool
    hidden = masks.sum(1)
    assert (hidden >= 1).all()
    assert (hidden < rows * columns).all()
    assert (hidden <= blocks * max(1, round(AREAS[1] * rows * columns))).all()


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_a_single_block_is_a_rectangle_of_the_area_asked_for(rows: int, columns: int, seed: int) -> None:
    masks = made(rows, columns, 1)(8, generator=torch.Generator().manual_seed(seed)).reshape(8, rows, columns)
    for mask in masks:
        height, width = int(mask.any(1).sum()), int(mask.any(0).sum())
        assert height * width == int(mask.sum())
        assert height * width <= max(1, round(AREAS[1] * rows * columns))


def test_shares_on_the_grid_of_the_digits() -> None:
    masks = BlockMasks(7, 7, 3)(2000, generator=torch.Generator().manual_seed(0))
    share = masks.float().mean()
    # Three blocks of 15 to 20 % that may overlap: 1 - (1 - 0.17)^3 is about 0.43.
    assert 0.38 < share < 0.46
    # Every patch is hidden now and then, those of the middle more often.
    often = masks.float().mean(0).reshape(7, 7)
    assert often.min() > 0.05
    assert often[3, 3] > often[0, 0]


def test_a_series_has_runs_of_patches() -> None:
    masks = BlockMasks(1, 24, 1)(100, generator=torch.Generator().manual_seed(0))
    starts = (masks[:, 1:] & ~masks[:, :-1]).sum(1) + masks[:, 0]
    assert (starts == 1).all()
    assert set(masks.sum(1).tolist()) <= {4, 5}


def test_masks_come_from_the_generator_alone() -> None:
    draw = BlockMasks(7, 7, 3)
    one, two, other = (draw(4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("rows", "columns", "blocks"), [(1, 3, 1), (2, 2, 4), (1, 4, 4)])
def test_too_few_patches_are_refused(rows: int, columns: int, blocks: int) -> None:
    with pytest.raises(OptionError, match=f"{rows} x {columns} patches"):
        BlockMasks(rows, columns, blocks)
    assert math.prod((rows, columns)) <= 4
