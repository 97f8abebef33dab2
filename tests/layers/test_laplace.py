"""The Laplace posterior against exact answers: conjugate regression, its evidence, and a Hessian by differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.autograd.functional import hessian

from src.errors import OptionError
from src.layers.laplace import MOST_WEIGHTS, PRECISIONS, LaplaceHead

FEATURES = 4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def design_of(states: Tensor) -> Tensor:
    """What the weights and, behind them, the bias are multiplied with."""
    return torch.nn.functional.pad(states, (0, 1), value=1.0)


def regression(seed: int, rows: int, noise: float, size: float) -> tuple[Tensor, Tensor]:
    """Features of a linear model, and values with noise; its weights are as large as ``size``."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, FEATURES, generator=generator, dtype=torch.float64)
    weights = size * torch.randn(FEATURES + 1, generator=generator, dtype=torch.float64)
    return states, design_of(states) @ weights + noise * torch.randn(rows, generator=generator, dtype=torch.float64)


def exact_posterior(states: Tensor, values: Tensor, noise: float, precision: float) -> tuple[Tensor, Tensor]:
    """Mean and precision matrix of the weights."""
    design = design_of(states)
    matrix = design.T @ design / noise**2 + precision * torch.eye(FEATURES + 1, dtype=torch.float64)
    return torch.linalg.solve(matrix, design.T @ values / noise**2), matrix


def log_evidence(states: Tensor, values: Tensor, noise: float, precision: float) -> float:
    """Of the values, the weights being integrated out."""
    design = design_of(states).numpy()
    covariance = noise**2 * np.eye(len(design)) + design @ design.T / precision
    return float(stats.multivariate_normal(np.zeros(len(design)), covariance).logpdf(values.numpy()))


def batches(states: Tensor, curvature: Tensor, size: int = 16):
    return zip(states.split(size), curvature.split(size), strict=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "noise", "size"), [(40, 0.5, 1.0), (12, 1.0, 0.3), (8, 2.0, 1.0), (25, 0.1, 10.0)])
def test_linear_regression_is_exact(rows: int, noise: float, size: float, seed: int) -> None:
    """With the weights of the most probable prior, the chosen one is the most probable of the grid.

    For other priors the evidence at fixed weights is below the exact one, and at the best it is equal to it.
    """
    states, values = regression(seed, rows, noise, size)
    evidences = [log_evidence(states, values, noise, float(precision)) for precision in PRECISIONS]
    best = float(PRECISIONS[int(np.argmax(evidences))])
    mean, matrix = exact_posterior(states, values, noise, best)
    head = LaplaceHead(FEATURES, 1, joint=False).double()
    curvature = torch.full((rows, 1), noise**-2, dtype=torch.float64)
    chosen = head.fit(batches(states, curvature), mean[None, :FEATURES], mean[FEATURES:])
    assert chosen == best
    torch.testing.assert_close(head.covariance[0], torch.linalg.inv(matrix), rtol=1e-6, atol=1e-9)
    new = torch.randn(5, FEATURES, dtype=torch.float64)
    expected = (design_of(new) @ torch.linalg.inv(matrix) * design_of(new)).sum(-1, keepdim=True)
    torch.testing.assert_close(head.variance(new), expected, rtol=1e-6, atol=1e-9)


def test_the_priors_in_question_are_not_all_at_the_end_of_the_grid() -> None:
    chosen = set()
    for size in (0.1, 1.0, 10.0):
        states, values = regression(0, 30, 0.1, size)
        chosen.add(int(np.argmax([log_evidence(states, values, 0.1, float(p)) for p in PRECISIONS])))
    assert len(chosen) == 3 and min(chosen) > 0 and max(chosen) < len(PRECISIONS) - 1


def test_outputs_with_likelihoods_of_their_own_share_a_prior() -> None:
    """Rows with noise of their own, several outputs: a matrix for each, and one evidence for all."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(50, FEATURES, generator=generator, dtype=torch.float64)
    curvature = torch.rand(50, 3, generator=generator, dtype=torch.float64) + 0.2
    weight = torch.randn(3, FEATURES, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    head = LaplaceHead(FEATURES, 3, joint=False).double()
    chosen = head.fit(batches(states, curvature), weight, bias)
    design = design_of(states)
    matrices = [design.T @ (curvature[:, [output]] * design) for output in range(3)]
    eye = torch.eye(FEATURES + 1, dtype=torch.float64)
    squares = float(weight.square().sum() + bias.square().sum())

    def evidence(precision: float) -> float:
        # the prior's log density at the weights, and half the log determinant of the posterior's precision taken off
        prior = stats.multivariate_normal(np.zeros(15), np.eye(15) / precision).logpdf(
            np.full(15, (squares / 15) ** 0.5)
        )
        return prior - 0.5 * sum(float(torch.logdet(matrix + precision * eye)) for matrix in matrices)

    assert chosen == max(map(float, PRECISIONS), key=evidence)
    for output, matrix in enumerate(matrices):
        expected = torch.linalg.inv(matrix + chosen * eye)
        torch.testing.assert_close(head.covariance[output], expected, rtol=1e-6, atol=1e-9)


def softmax_case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, labels, and weights of a linear model of three classes, its bias behind them."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(40, FEATURES, generator=generator, dtype=torch.float64)
    weights = torch.randn(3, FEATURES + 1, generator=generator, dtype=torch.float64)
    return states, torch.randint(0, 3, (40,), generator=generator), weights, design_of(states) @ weights.T


def test_softmax_against_a_hessian_by_differentiation() -> None:
    """Of a linear model the generalised Gauss-Newton matrix is the Hessian."""
    states, labels, weights, logits = softmax_case()

    def loss(weights: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(design_of(states) @ weights.T, labels, reduction="sum")

    side = 3 * (FEATURES + 1)
    exact = hessian(loss, weights).reshape(side, side)
    chances = torch.softmax(logits, -1)
    curvature = torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]
    head = LaplaceHead(FEATURES, 3, joint=True).double()
    chosen = head.fit(batches(states, curvature), weights[:, :FEATURES], weights[:, FEATURES])
    expected = torch.linalg.inv(exact + chosen * torch.eye(side, dtype=torch.float64))
    torch.testing.assert_close(head.covariance[0], expected, rtol=1e-6, atol=1e-9)

    new = torch.randn(5, FEATURES, dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.jacrev(lambda weights, row: weights @ row), (None, 0))(weights, design_of(new))
    slopes = slopes.reshape(5, 3, side)
    torch.testing.assert_close(head.variance(new), slopes @ expected @ slopes.transpose(1, 2), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("joint", [False, True])
def test_batches_of_any_size_make_the_same_posterior(joint: bool) -> None:
    states, _, weights, logits = softmax_case()
    chances = torch.softmax(logits, -1)
    curvature = chances * (1 - chances)
    if joint:
        curvature = torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]
    heads = [LaplaceHead(FEATURES, 3, joint).double() for _ in range(2)]
    for head, size in zip(heads, (1, 40), strict=True):
        head.fit(batches(states, curvature, size), weights[:, :FEATURES], weights[:, FEATURES])
    torch.testing.assert_close(heads[0].covariance, heads[1].covariance)


@pytest.mark.parametrize("joint", [False, True])
def test_draws_have_the_posteriors_variance_and_are_the_same_for_equal_rows(joint: bool) -> None:
    states, _, weights, logits = softmax_case()
    chances = torch.softmax(logits, -1)
    curvature = chances * (1 - chances)
    if joint:
        curvature = torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]
    head = LaplaceHead(FEATURES, 3, joint).double()
    head.fit(batches(states, curvature), weights[:, :FEATURES], weights[:, FEATURES])
    new = torch.randn(2, FEATURES, dtype=torch.float64)[[0, 1, 0]]
    count = 100_000
    drawn = head.draw(new, count, torch.Generator().manual_seed(0))
    assert drawn.shape == (count, 3, 3) and torch.equal(drawn[:, 0], drawn[:, 2])
    torch.testing.assert_close(drawn[:, :1], head.draw(new[:1], count, torch.Generator().manual_seed(0)))
    variance = head.variance(new)
    deviation = variance.diagonal(dim1=1, dim2=2).sqrt() if joint else variance.sqrt()
    assert (drawn.mean(0).abs() / deviation).max() < 5 / count**0.5
    for row in range(2):
        # five standard errors of a covariance, in units of the deviations
        covariance = torch.cov(drawn[:, row].T) / torch.outer(deviation[row], deviation[row])
        expected = variance[row] / torch.outer(deviation[row], deviation[row]) if joint else torch.eye(3).double()
        assert (covariance - expected).abs().max() < 5 * (2 / count) ** 0.5


def test_what_is_far_away_is_less_certain() -> None:
    states, values = regression(0, 60, 0.5, 1.0)
    mean, _ = exact_posterior(states, values, 0.5, 1.0)
    head = LaplaceHead(FEATURES, 1, joint=False).double()
    head.fit(batches(states, torch.full((60, 1), 4.0).double()), mean[None, :FEATURES], mean[FEATURES:])
    assert head.variance(10 * states).mean() > 10 * head.variance(states).mean()


def test_heads_that_are_too_large_are_named() -> None:
    LaplaceHead(MOST_WEIGHTS // 4 - 1, 4, joint=True)
    with pytest.raises(OptionError, match=r"method=laplace .* at most 4096 of them, but got 4100"):
        LaplaceHead(MOST_WEIGHTS // 4, 4, joint=True)
