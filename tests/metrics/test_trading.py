"""What simulated trades earn, in closed form."""

import numpy as np
import pytest
import torch

from src.metrics.trading import TradingSums, net_returns, position

RETURNS = np.array([0.02, -0.01, 0.04, -0.02])


def earned(probability, cost_bps=0.0, returns=RETURNS):
    trading = TradingSums(cost_bps)
    trading.add(np.asarray(probability, dtype=float), returns)
    return trading.results()


def test_a_probability_is_a_position():
    np.testing.assert_array_equal(position(np.array([0.0, 0.25, 0.5, 1.0])), [-1.0, -0.5, 0.0, 1.0])


def test_knowing_everything_earns_every_move():
    assert earned(RETURNS > 0)["simulated_return"] == pytest.approx(np.abs(RETURNS).mean())
    assert earned(RETURNS < 0)["simulated_return"] == pytest.approx(-np.abs(RETURNS).mean())


def test_always_long_is_buy_and_hold_less_costs():
    results = earned(np.ones(4), cost_bps=30)
    assert results["buy_and_hold_return"] == pytest.approx(RETURNS.mean())
    assert results["simulated_return"] == pytest.approx(RETURNS.mean() - 0.003)
    assert (results["calls"], results["call_returns"]) == (4, pytest.approx(RETURNS.sum()))


def test_no_position_costs_nothing():
    assert earned(np.full(4, 0.5), cost_bps=100) == {
        "simulated_return": 0.0,
        "buy_and_hold_return": pytest.approx(RETURNS.mean()),
        "calls": 0,
        "call_returns": 0.0,
    }


def test_costs_are_of_the_size_of_a_trade_long_or_short():
    assert earned([0.75, 0.25, 0.5, 0.5], 10)["simulated_return"] == pytest.approx(
        (0.5 * 0.02 + 0.5 * 0.01 - 2 * 0.5 * 0.001) / 4
    )


def test_calls_are_paid_at_the_full_return_before_costs():
    results = earned([0.51, 0.9, 0.5, 0.1], cost_bps=10)
    assert (results["calls"], results["call_returns"]) == (2, pytest.approx(0.02 - 0.01))


def test_tensors_earn_what_arrays_earn_and_have_gradients():
    probability = torch.tensor([0.9, 0.2, 0.5, 0.7], dtype=torch.float64, requires_grad=True)
    net = net_returns(position(probability), torch.from_numpy(RETURNS), 5.0)
    assert net.mean().item() == pytest.approx(earned(probability.detach().numpy(), 5.0)["simulated_return"])
    net.sum().backward()
    sides = np.array([1, -1, 0, 1])  # a position of zero costs nothing to leave either way
    np.testing.assert_allclose(probability.grad.numpy(), 2 * RETURNS - 2 * sides * 0.0005)
