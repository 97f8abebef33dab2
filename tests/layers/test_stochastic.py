"""Drawn networks: one fixed network for all rows of a batch, and nothing of it left behind."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from src.layers.bayesian import VariationalConvolution, VariationalLinear, VariationalRecurrent
from src.layers.embedding import TokenEmbedding
from src.layers.recurrent import RecurrentLayers
from src.layers.stochastic import Dropout, StochasticLayer, drawn_networks

DRAWS = 5


class States(nn.Module):
    """What recurrent layers say, without their last states."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)[0]


def wide(network: nn.Module) -> nn.Module:
    """Give posteriors deviations that nobody overlooks."""
    for name, parameter in network.named_parameters():
        if name.endswith("raw_deviation"):
            nn.init.constant_(parameter, -0.5)
    return network


def dropout_network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), Dropout(0.3), nn.Tanh(), nn.Linear(20, 4), Dropout(0.5))


def channels_network() -> nn.Module:
    return nn.Sequential(nn.Conv1d(6, 20, 2), Dropout(0.3, whole_channels=True), nn.Conv1d(20, 3, 2))


def linear_network() -> nn.Module:
    return wide(nn.Sequential(VariationalLinear(nn.Linear(6, 8), 1.0), nn.Tanh()))


def convolution_network() -> nn.Module:
    return wide(VariationalConvolution(nn.Conv1d(6, 8, 1), 1.0))


def recurrent_network() -> nn.Module:
    return wide(States(VariationalRecurrent(nn.LSTM(6, 8, 2, batch_first=True), 1.0)))


def recurrent_dropout_network() -> nn.Module:
    return States(RecurrentLayers(nn.GRU(6, 8, 3, batch_first=True, dropout=0.4)))


def words_network() -> nn.Module:
    return TokenEmbedding(40, 0, 5, 0.5)


ROW_SHAPES: dict[Callable[[], nn.Module], tuple[int, ...]] = {
    dropout_network: (7, 6),
    channels_network: (6, 7),
    linear_network: (7, 6),
    convolution_network: (6, 7),
    recurrent_network: (7, 6),
    recurrent_dropout_network: (7, 6),
    words_network: (7, 1),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=list(ROW_SHAPES), ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    """A network with noise in it, and four rows for it."""
    torch.manual_seed(0)
    network = request.param().eval()
    shape = (4, *ROW_SHAPES[request.param])
    rows = torch.randint(2, 40, shape) if request.param is words_network else torch.randn(shape)
    return network, rows


def drawn(network: nn.Module, rows: Tensor, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """``[draws, rows, ...]``."""
    with torch.no_grad(), drawn_networks(network, draws, seed):
        return network(torch.cat([rows] * draws)).unflatten(0, (draws, -1))


def test_a_row_depends_on_neither_neighbours_nor_random_state(case: tuple[nn.Module, Tensor]) -> None:
    network, rows = case
    together = drawn(network, rows)
    torch.manual_seed(12345)
    torch.randn(17)
    torch.testing.assert_close(drawn(network, rows[2:3])[:, 0], together[:, 2])
    torch.testing.assert_close(drawn(network, rows.flip(0)).flip(1), together)


def test_drawing_leaves_the_global_generator_alone(case: tuple[nn.Module, Tensor]) -> None:
    before = torch.get_rng_state()
    drawn(*case)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_draw_is_one_network_for_all_rows(case: tuple[nn.Module, Tensor]) -> None:
    network, rows = case
    same = drawn(network, rows[:1].expand(4, *rows.shape[1:]))
    torch.testing.assert_close(same, same[:, :1].expand_as(same))


def test_draws_and_seeds_differ(case: tuple[nn.Module, Tensor]) -> None:
    network, rows = case
    outputs = drawn(network, rows)
    assert (torch.cdist(outputs.flatten(1), outputs.flatten(1)) + torch.eye(DRAWS) > 1e-3).all()
    assert torch.equal(drawn(network, rows), outputs)
    assert not torch.allclose(drawn(network, rows, seed=1), outputs)


def test_training_mode_changes_nothing_in_a_drawn_network(case: tuple[nn.Module, Tensor]) -> None:
    network, rows = case
    expected = drawn(network, rows)
    assert torch.equal(drawn(network.train(), rows), expected)


def test_nothing_is_left_behind(case: tuple[nn.Module, Tensor]) -> None:
    network, rows = case
    before = network(rows)

    def check() -> None:
        layers = [layer for layer in network.modules() if isinstance(layer, StochasticLayer)]
        assert layers and all(layer.draws == 0 and layer.generator is None for layer in layers)
        assert torch.equal(network(rows), before)

    drawn(network, rows)
    check()
    with pytest.raises(RuntimeError, match="on purpose"), drawn_networks(network, DRAWS):
        raise RuntimeError("on purpose")
    check()


def test_copies_and_pickles_are_the_same_networks(case: tuple[nn.Module, Tensor]) -> None:
    network, rows = case
    expected = drawn(network, rows)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(drawn(twin, rows), expected)
        assert torch.equal(twin(rows), network(rows))


@pytest.mark.parametrize("layers_alike", [False, True])
def test_layers_of_a_network_draw_for_themselves(layers_alike: bool) -> None:
    """Two layers one after the other drop different units; so does one that is used twice."""
    first = Dropout(0.5)
    network = nn.Sequential(first, first if layers_alike else Dropout(0.5))
    kept = drawn(network, torch.ones(1, 4000))
    assert (kept > 0).double().mean() == pytest.approx(0.25, abs=0.02)


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("how", ["training", "tied", "channels", "drawn", "drawn channels"])
def test_shares_are_right_and_the_mean_is_kept(share: float, how: str) -> None:
    torch.manual_seed(0)
    layer = Dropout(share, whole_channels="channels" in how)
    layer.tied = how == "tied"
    axes = (100, 400, 1) if "channels" in how else (100, 1, 400)
    is_drawn = how.startswith("drawn")
    outputs = drawn(layer, torch.ones(1, *axes[1:]), draws=100) if is_drawn else layer(torch.ones(axes))
    kept = outputs[outputs > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)))
    # 40,000 units: six standard errors are at most .015
    assert (outputs == 0).double().mean() == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize("how", ["tied", "channels", "drawn", "drawn channels"])
def test_the_same_units_are_dropped_at_all_steps(how: str) -> None:
    torch.manual_seed(0)
    layer = Dropout(0.5, whole_channels="channels" in how)
    layer.tied = how == "tied"
    states = torch.ones(3, 40, 9) if "channels" in how else torch.ones(3, 9, 40)
    outputs = drawn(layer, states).flatten(0, 1) if "drawn" in how else layer(states)
    steps = outputs.unbind(2 if "channels" in how else 1)
    assert all(torch.equal(step, steps[0]) for step in steps)
    rows = steps[0]
    if how == "tied":
        assert not torch.equal(rows[0], rows[1]), "every row of a training batch has units of its own"


def test_dropout_that_is_not_tied_takes_other_units_at_every_step() -> None:
    torch.manual_seed(0)
    outputs = Dropout(0.5)(torch.ones(3, 9, 40))
    assert not torch.equal(outputs[:, 0], outputs[:, 1])


def test_dropout_is_off_in_evaluation_and_at_share_0() -> None:
    states = torch.randn(3, 5)
    assert torch.equal(Dropout(0.5).eval()(states), states)
    assert torch.equal(Dropout(0.0)(states), states)
    assert torch.equal(drawn(Dropout(0.0), states), states.expand(DRAWS, 3, 5))


@pytest.mark.parametrize("whole_channels", [False, True])
def test_states_need_not_lie_in_order(whole_channels: bool) -> None:
    layer = Dropout(0.5, whole_channels)
    states = torch.randn(DRAWS * 2, 8, 12)
    for changed in (states.transpose(1, 2), states[:, ::2], states[..., 3:], states.permute(2, 0, 1)[: DRAWS * 2]):
        with drawn_networks(layer, DRAWS):
            expected = layer(changed.contiguous())
        with drawn_networks(layer, DRAWS):
            assert torch.equal(layer(changed), expected)


def test_gradients_go_through_the_units_that_are_kept() -> None:
    states = torch.ones(DRAWS, 30, requires_grad=True)
    layer = Dropout(0.5)
    with drawn_networks(layer, DRAWS):
        outputs = layer(states)
    outputs.sum().backward()
    assert torch.equal(states.grad, outputs.detach()), "the derivative is 0 or 1 / (1 - share)"
