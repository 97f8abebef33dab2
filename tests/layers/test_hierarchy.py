"""Levels of pictures and series: shapes, pooling by hand, and that nothing of a hidden patch is seen."""

import pytest
import torch
from torch import Tensor

from src.layers.hierarchy import (
    ConvolutionHierarchy,
    TokenHierarchy,
    coarser_masks,
    cut_patches,
    level_grids,
    pool_patches,
)
from src.layers.level_predictor import LevelPredictor
from src.layers.views import affine_view


def tokens_encoder(grids: list[tuple[int, int]], token_size: int = 4) -> TokenHierarchy:
    torch.manual_seed(0)
    return TokenHierarchy(token_size, 8, grids, layers=2, heads=2, feed_forward=16, dropout=0.0)


@pytest.mark.parametrize(
    ("rows", "columns", "levels", "grids"),
    [
        (7, 7, 3, [(7, 7), (4, 4), (1, 1)]),
        (1, 12, 4, [(1, 12), (1, 6), (1, 3), (1, 1)]),
        (5, 3, 1, [(5, 3)]),
        (8, 8, 2, [(8, 8), (1, 1)]),
    ],
)
def test_grids(rows: int, columns: int, levels: int, grids: list[tuple[int, int]]) -> None:
    assert level_grids(rows, columns, levels) == grids


def test_pooling_by_hand() -> None:
    values = torch.arange(9.0).reshape(1, 9, 1)  # 0 1 2 / 3 4 5 / 6 7 8
    assert pool_patches(values, (3, 3), (2, 2)).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]
    assert pool_patches(values, (3, 3), (1, 1)).flatten().tolist() == [4.0]


def test_a_coarser_patch_is_hidden_where_half_of_it_is() -> None:
    hidden = torch.tensor([[1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]], dtype=torch.bool)  # 4 x 4
    masks = coarser_masks(hidden, [(4, 4), (2, 2), (1, 1)])
    assert masks[1].tolist() == [[True, False, False, True]]
    assert masks[2].tolist() == [[True]]


@pytest.mark.parametrize("size", [28, 30])
def test_convolutions_see_nothing_of_hidden_patches(size: int) -> None:
    """Also where the last patches reach beyond the picture."""
    torch.manual_seed(0)
    grids = level_grids(-(-size // 4), -(-size // 4), 3)
    encoder = ConvolutionHierarchy(1, 4, 16, grids, background=(-0.4,))
    hidden = torch.zeros(2, grids[0][0] * grids[0][1], dtype=torch.bool)
    hidden[:, [0, 9, 10]] = True
    pictures = torch.randn(2, 1, size, size)
    others = pictures.clone()
    for patch in (0, 9, 10):
        row, column = divmod(patch, grids[0][1])
        others[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 3.0
    one, two, seen = encoder(pictures, hidden), encoder(others, hidden), encoder(others)
    assert [tuple(level.shape) for level in one] == [(2, rows * columns, 16) for rows, columns in grids]
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(seen[0], two[0])


def test_tokens_see_nothing_of_hidden_patches() -> None:
    grids = level_grids(1, 8, 3)
    encoder = tokens_encoder(grids)
    hidden = torch.tensor([[0, 1, 1, 0, 0, 0, 1, 1]], dtype=torch.bool)
    tokens = torch.randn(1, 8, 4)
    changed = tokens + 5.0 * hidden[..., None]
    one, two = encoder(tokens, hidden), encoder(changed, hidden)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not one[0][hidden].any()
    assert not one[1][0, 3].any()  # its two patches are both hidden
    assert one[1][0, :3].abs().sum(-1).all()


def test_without_a_mask_levels_are_pooled_from_all_tokens() -> None:
    grids = level_grids(2, 2, 2)
    encoder = tokens_encoder(grids)
    finest, whole = encoder(torch.randn(3, 4, 4))
    torch.testing.assert_close(whole[:, 0], encoder.coarser[0](finest.mean(1)))


def test_patches_of_pictures_and_windows() -> None:
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert cut_patches(picture, 2)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    padded = cut_patches(picture[..., :3], 2, torch.full((1, 1, 1, 1), 9.0))
    assert padded[0, 1].tolist() == [2, 9, 6, 9]
    window = torch.arange(10.0).reshape(1, 5, 2)
    assert cut_patches(window, 2)[0].tolist() == [[0, 1, 0, 1], [2, 3, 4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize("levels", [1, 3])
def test_the_predictor_answers_for_every_place_and_reads_no_hidden_patch(levels: int) -> None:
    torch.manual_seed(0)
    grids = level_grids(4, 4, levels)
    predictor = LevelPredictor(8, 12, grids, layers=1, heads=2)
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    hidden[:, 5:9] = True
    context = [torch.randn(2, rows * columns, 8) for rows, columns in grids]
    answers = predictor(context, hidden)
    assert [tuple(answer.shape) for answer in answers] == [(2, rows * columns, 8) for rows, columns in grids]
    if levels == 1:
        other = [context[0] + 7.0 * hidden[..., None]]
        assert torch.equal(predictor(other, hidden)[0], answers[0])
    moved = [level + 1.0 for level in context]
    assert not torch.equal(predictor(moved, hidden)[0], answers[0])


def test_views() -> None:
    pictures = torch.rand(3, 2, 12, 12)
    background = torch.tensor([0.2, 0.7]).view(1, 2, 1, 1)
    assert affine_view(pictures, 0.0, background) is pictures
    torch.manual_seed(0)
    one, two = (affine_view(pictures, 1.0, background) for _ in range(2))
    assert one.shape == pictures.shape
    assert not torch.equal(one, two)
    flat: Tensor = background.expand(3, 2, 12, 12)
    torch.testing.assert_close(affine_view(flat.contiguous(), 2.0, background), flat)  # what comes in is background
    torch.testing.assert_close(one.mean(), pictures.mean(), rtol=0.2, atol=0.0)
