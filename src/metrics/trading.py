"""What a directional forecast would have earned: positions, costs, calls and what came of them.

Every forecast is a trade of its own, opened for one step and closed again: batches have no order, so no trade can be
carried over into the next. A probability p of "up" means the position 2p - 1, from -1 (all short) to 1 (all long). A
call is a forecast with p > 0.5. Returns are simple returns p[t] / p[t-1] - 1, and so is all that is made of them.

The functions take and give numpy arrays or tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", np.ndarray, "Tensor")
BASIS_POINT = 1e-4


def position(probability: Values) -> Values:
    """The share of the capital that is put on a rise: 2p - 1, below zero on a fall."""
    return 2 * probability - 1


def net_returns(position: Values, returns: Values, cost_bps: float) -> Values:
    """What every trade earned after costs: position x return - abs(position) x costs.

    Args:
        position: from -1 to 1, of any shape.
        returns: simple returns of the same shape.
        cost_bps: of a trade, in basis points of its size.
    """
    return position * returns - abs(position) * (cost_bps * BASIS_POINT)


class TradingSums:
    """Running sums over forecasts, in double precision.

    Args:
        cost_bps: of a trade, in basis points of its size.

    Attributes:
        forecasts: how many there were.
        net: sum of what the trades earned after costs.
        held: sum of all returns, which is what always being long would have earned without trading.
        calls: how many forecasts were calls.
        call_returns: sum of the returns that the calls turned out to have, before costs.
    """

    def __init__(self, cost_bps: float) -> None:
        self.cost_bps = cost_bps
        self.forecasts = self.calls = 0
        self.net = self.held = self.call_returns = 0.0

    def add(self, probability: np.ndarray, returns: np.ndarray) -> None:
        """Add a batch; both of the same shape."""
        probability, returns = probability.astype(np.float64), returns.astype(np.float64)
        called = probability > 0.5
        self.forecasts += probability.size
        self.net += float(net_returns(position(probability), returns, self.cost_bps).sum())
        self.held += float(returns.sum())
        self.calls += int(called.sum())
        self.call_returns += float(returns[called].sum())

    def results(self) -> dict[str, Any]:
        """``simulated_return`` and ``buy_and_hold_return`` as means per forecast, ``calls`` and ``call_returns`` as
        sums."""
        if not self.forecasts:
            return {}
        return {
            "simulated_return": self.net / self.forecasts,
            "buy_and_hold_return": self.held / self.forecasts,
            "calls": self.calls,
            "call_returns": self.call_returns,
        }
