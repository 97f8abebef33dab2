"""Layers with posteriors over their weights: against ``torch.distributions``, drawn weights and PyTorch's layers."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from src.layers.bayesian import (
    START_DEVIATION,
    VariationalConvolution,
    VariationalLinear,
    VariationalRecurrent,
    WeightPosterior,
    divergence,
    make_variational,
    tie_dropout,
)
from src.layers.convolution import causal_convolution, grid_convolution
from src.layers.recurrent import RecurrentLayers
from src.layers.stochastic import Dropout, drawn_networks
from src.models import create_model
from src.models.tcn import CausalConvolution
from tests.contract_cases import SMALL, inputs_of, make_data

DRAWS = 3
RECURRENT = list(itertools.product([nn.LSTM, nn.GRU], [1, 2], [False, True], [False, True]))
RECURRENT_NAMES = [
    f"{kind.__name__} {layers}{' bidirectional' * both}{' packed' * packed}" for kind, layers, both, packed in RECURRENT
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def spread_out(network: nn.Module) -> nn.Module:
    """Give every weight a deviation of its own, from .05 to .4."""
    for module in network.modules():
        if isinstance(module, WeightPosterior):
            deviation = torch.empty_like(module.mean).uniform_(0.05, 0.4)
            module.raw_deviation.data = deviation.expm1().log()
    return network


# --- one posterior ----------------------------------------------------------------------------------------------------


def test_posterior_begins_at_the_weight_and_narrow() -> None:
    weight = torch.randn(4, 3)
    posterior = WeightPosterior(weight, 0.5)
    assert torch.equal(posterior.mean, weight)
    torch.testing.assert_close(posterior.deviation, torch.full((4, 3), START_DEVIATION * 0.5))


@pytest.mark.parametrize("prior_deviation", [0.1, 1.0, 7.0])
def test_divergence_is_that_of_normal_distributions(prior_deviation: float) -> None:
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2, bias=False), nn.GRU(2, 3, 2, batch_first=True))
    make_variational(network, prior_deviation)
    spread_out(network.double())
    posteriors = [module for module in network.modules() if isinstance(module, WeightPosterior)]
    assert len(posteriors) == 3 + 8
    expected = sum(
        kl_divergence(Normal(p.mean, p.deviation), Normal(torch.zeros_like(p.mean), prior_deviation)).sum()
        for p in posteriors
    )
    torch.testing.assert_close(divergence(network), expected)


def test_divergence_of_the_prior_from_itself_is_0() -> None:
    posterior = WeightPosterior(torch.zeros(10, 10, dtype=torch.float64), 0.3)
    posterior.raw_deviation.data.fill_(torch.tensor(0.3).double().expm1().log())
    assert float(posterior.divergence().detach()) == pytest.approx(0, abs=1e-12)


def test_draws_have_the_posteriors_mean_and_deviation() -> None:
    posterior = spread_out(WeightPosterior(torch.randn(3, 4), 1.0))
    many = 40_000
    single = torch.stack([posterior.draw() for _ in range(2000)]), 2000
    generator = torch.Generator().manual_seed(0)
    for drawn, count in ((posterior.draw(many, generator), many), (posterior.draw(many), many), single):
        assert drawn.shape == (count, 3, 4)
        # five standard errors of a mean and of a deviation
        assert ((drawn.mean(0) - posterior.mean) / posterior.deviation).abs().max() < 5 / count**0.5
        assert (drawn.std(0) / posterior.deviation - 1).abs().max() < 5 / (2 * count) ** 0.5


# --- the local reparametrisation --------------------------------------------------------------------------------------

ROWS = 200_000
"""Means of so many draws are within 5 / sqrt(200,000) = 1.1 % of a deviation, deviations within .8 % of themselves."""


def check_moments(outputs: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Of independent draws, ``[draws, ...]``."""
    deviation = variance.sqrt()
    assert ((outputs.mean(0) - mean) / deviation).abs().max() < 5 / ROWS**0.5
    assert (outputs.std(0) / deviation - 1).abs().max() < 5 / (2 * ROWS) ** 0.5


@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_in_training_is_distributed_as_with_drawn_weights(has_bias: bool) -> None:
    layer = spread_out(VariationalLinear(nn.Linear(4, 2, bias=has_bias), 1.0))
    row = torch.randn(1, 4)
    with torch.no_grad():
        locally = layer(row.expand(ROWS, 4))
        with drawn_networks(layer, ROWS):
            of_weights = layer(row.expand(ROWS, 4))
        # by hand: sums of independent normal distributions
        mean = row[0] @ layer.weight.mean.T
        variance = row[0].square() @ layer.weight.deviation.square().T
        if layer.bias is not None:
            mean, variance = mean + layer.bias.mean, variance + layer.bias.deviation.square()
    check_moments(locally, mean, variance)
    check_moments(of_weights, mean, variance)


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_in_training_is_distributed_as_with_drawn_weights(kernel: int, grid: bool) -> None:
    module = CausalConvolution(2, 2, kernel, 2) if kernel > 1 else nn.Conv1d(2, 2, 1)
    layer = spread_out(VariationalConvolution(module, 1.0))
    nn.init.normal_(layer.bias.mean)
    row = torch.randn(1, 2, 5)
    arguments = (2, 2) if grid else ()
    with torch.no_grad():
        locally = layer(row.expand(ROWS, 2, 5), *arguments)
        by_weights = torch.func.vmap(lambda weight, bias: run_convolution(row, weight, bias, arguments))
        of_weights = by_weights(layer.weight.draw(ROWS), layer.bias.draw(ROWS))[:, 0]
        mean = layer.eval()(row, *arguments)[0]
    assert locally.shape == of_weights.shape == (ROWS, 2, 2 if grid else 5)
    variance = of_weights.var(0)
    assert ((locally.mean(0) - mean) / variance.sqrt()).abs().max() < 5 / ROWS**0.5
    assert ((of_weights.mean(0) - mean) / variance.sqrt()).abs().max() < 5 / ROWS**0.5
    assert (locally.var(0) / variance - 1).abs().max() < 5 * (4 / ROWS) ** 0.5, "two estimates, each with its error"


def run_convolution(states: Tensor, weight: Tensor, bias: Tensor, arguments: tuple[int, ...]) -> Tensor:
    if arguments:
        return grid_convolution(states, weight, bias, *arguments)
    return causal_convolution(states, weight, bias, 2 if weight.shape[-1] > 1 else 1)


def test_every_row_of_a_training_batch_has_noise_of_its_own() -> None:
    layer = spread_out(VariationalLinear(nn.Linear(4, 2), 1.0))
    outputs = layer(torch.randn(1, 4).expand(2000, 4)) - layer.eval()(torch.zeros(1, 4))
    correlation = torch.corrcoef(torch.stack([outputs[:1000, 0], outputs[1000:, 0]]))[0, 1]
    assert abs(float(correlation.detach())) < 5 / 1000**0.5


def test_gradient_of_the_noise_is_finite_where_all_inputs_are_0() -> None:
    layer = VariationalLinear(nn.Linear(4, 2, bias=False), 1.0)
    layer(torch.zeros(3, 4)).sum().backward()
    assert torch.isfinite(layer.weight.mean.grad).all() and torch.isfinite(layer.weight.raw_deviation.grad).all()


# --- evaluation and drawn networks ------------------------------------------------------------------------------------


def with_weights(module: nn.Module, weights: list[Tensor]) -> nn.Module:
    """The module with other weights, in the order of its parameters."""
    twin = copy.deepcopy(module)
    parameters = list(twin.parameters())
    assert [weight.shape for weight in weights] == [parameter.shape for parameter in parameters]
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)
    return twin.eval()


def posteriors_of(layer: nn.Module) -> list[WeightPosterior]:
    return [module for module in layer.modules() if isinstance(module, WeightPosterior)]


def check_against(module: nn.Module, layer: nn.Module, inputs: Tensor) -> None:
    """In evaluation the module with the mean weights; block ``i`` of drawn networks the one with weights ``i``."""
    spread_out(layer).eval()
    posteriors = posteriors_of(layer)
    expected = with_weights(module, [posterior.mean for posterior in posteriors])(inputs)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-6, atol=1e-6)
    with drawn_networks(layer, DRAWS, seed=4):
        outputs = layer(torch.cat([inputs] * DRAWS)).unflatten(0, (DRAWS, -1))
    with drawn_networks(layer, DRAWS, seed=4):
        drawn = [posterior.draw(DRAWS, layer.generator) for posterior in posteriors]
    for draw in range(DRAWS):
        expected = with_weights(module, [weight[draw] for weight in drawn])(inputs)
        torch.testing.assert_close(outputs[draw], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4), (5, 7, 4)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_against_torch(shape: tuple[int, ...], has_bias: bool) -> None:
    module = nn.Linear(4, 3, bias=has_bias)
    check_against(module, VariationalLinear(module, 1.0), torch.randn(shape))


@pytest.mark.parametrize("dilation", [1, 3])
def test_convolution_against_the_plain_one(dilation: int) -> None:
    module = CausalConvolution(4, 3, 2, dilation)
    check_against(module, VariationalConvolution(module, 1.0), torch.randn(5, 4, 9))


def test_convolution_of_one_tap_against_torch() -> None:
    module = nn.Conv1d(4, 3, 1)
    check_against(module, VariationalConvolution(module, 1.0), torch.randn(5, 4, 9))


def recurrent_case(kind: type[nn.RNNBase], layers: int, both: bool, packed: bool) -> tuple[nn.RNNBase, list[Any]]:
    """A module, and inputs for ``DRAWS`` blocks of rows that are not alike: other values, other lengths."""
    module = kind(4, 5, layers, batch_first=True, bidirectional=both)
    lengths = ([4, 7, 1], [2, 2, 6], [7, 3, 5])  # the middle block is padded further than it is long
    blocks = []
    for length in lengths:
        rows = torch.randn(3, 7, 4)
        blocks.append(
            pack_padded_sequence(rows, torch.tensor(length), batch_first=True, enforce_sorted=False) if packed else rows
        )
    return module, blocks


def joined(blocks: list[Any]) -> Any:
    """All blocks as one batch."""
    if not isinstance(blocks[0], PackedSequence):
        return torch.cat(blocks)
    padded = [pad_packed_sequence(block, batch_first=True, total_length=7) for block in blocks]
    rows, lengths = (torch.cat(parts) for parts in zip(*padded, strict=True))
    return pack_padded_sequence(rows, lengths, batch_first=True, enforce_sorted=False)


def tensors_of(results: tuple[Any, Any]) -> tuple[Tensor, ...]:
    """States, zeros behind their ends, and the last states: ``[rows, ...]`` all of them."""
    states, last = results
    if isinstance(states, PackedSequence):
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=7)
    return states, *(part.transpose(0, 1) for part in (last if isinstance(last, tuple) else (last,)))


@pytest.mark.parametrize(("kind", "layers", "both", "packed"), RECURRENT, ids=RECURRENT_NAMES)
def test_recurrent_in_evaluation_is_torchs_with_the_mean_weights(
    kind: type[nn.RNNBase], layers: int, both: bool, packed: bool
) -> None:
    module, blocks = recurrent_case(kind, layers, both, packed)
    layer = spread_out(VariationalRecurrent(module, 1.0)).eval()
    inputs = joined(blocks)
    ours, theirs = layer(inputs), module(inputs)
    assert type(ours[0]) is type(theirs[0]) and type(ours[1]) is type(theirs[1])
    for our, their in zip(tensors_of(ours), tensors_of(theirs), strict=True):
        torch.testing.assert_close(our, their, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("kind", "layers", "both", "packed"), RECURRENT, ids=RECURRENT_NAMES)
def test_recurrent_draws_are_torchs_with_the_drawn_weights(
    kind: type[nn.RNNBase], layers: int, both: bool, packed: bool
) -> None:
    module, blocks = recurrent_case(kind, layers, both, packed)
    layer = spread_out(VariationalRecurrent(module, 1.0)).eval()
    with drawn_networks(layer, DRAWS, seed=4):
        outputs = layer(joined(blocks))
    with drawn_networks(layer, DRAWS, seed=4):
        drawn = [posterior.draw(DRAWS, layer.generator) for posterior in posteriors_of(layer)]
    ours = [part.chunk(DRAWS) for part in tensors_of(outputs)]
    for draw, block in enumerate(blocks):
        theirs = tensors_of(with_weights(module, [weight[draw] for weight in drawn])(block))
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our[draw], their, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_draws_weights_once_per_training_batch(kind: type[nn.RNNBase]) -> None:
    layer = spread_out(VariationalRecurrent(kind(4, 5, 2, batch_first=True, dropout=0.0), 1.0))
    row = torch.randn(1, 7, 4)
    first, second = (layer(row.expand(3, 7, 4))[0] for _ in range(2))
    torch.testing.assert_close(first, first[:1].expand_as(first))
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(("kind", "layers", "both", "packed"), RECURRENT, ids=RECURRENT_NAMES)
def test_recurrent_layers_are_torchs(kind: type[nn.RNNBase], layers: int, both: bool, packed: bool) -> None:
    module, blocks = recurrent_case(kind, layers, both, packed)
    inputs = joined(blocks)
    for our, their in zip(tensors_of(RecurrentLayers(module)(inputs)), tensors_of(module(inputs)), strict=True):
        torch.testing.assert_close(our, their, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("packed", [False, True])
def test_dropout_stands_between_recurrent_layers_and_nowhere_else(packed: bool) -> None:
    """With a draw's units dropped by hand; the last layer's states are whole."""
    module, blocks = recurrent_case(nn.LSTM, 2, False, packed)
    module.dropout = 0.5
    layers = RecurrentLayers(module).eval()
    with drawn_networks(layers, DRAWS, seed=4):
        ours = tensors_of(layers(joined(blocks)))
    with drawn_networks(layers, DRAWS, seed=4):
        masks = layers.between(torch.ones(DRAWS, 5))
    assert set(masks.flatten().tolist()) == {0.0, 2.0}
    weights = list(module.parameters())
    first = with_weights(nn.LSTM(4, 5, batch_first=True), weights[:4])
    second = with_weights(nn.LSTM(5, 5, batch_first=True), weights[4:])
    for draw, block in enumerate(blocks):
        states, (hidden, cell) = first(block)
        if packed:
            padded, lengths = pad_packed_sequence(states, batch_first=True)
            states = pack_padded_sequence(padded * masks[draw], lengths, batch_first=True, enforce_sorted=False)
        else:
            states = states * masks[draw]
        states, (top_hidden, top_cell) = second(states)
        theirs = tensors_of((states, (torch.cat([hidden, top_hidden]), torch.cat([cell, top_cell]))))
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our.chunk(DRAWS)[draw], their, rtol=1e-5, atol=1e-6)


# --- whole models -----------------------------------------------------------------------------------------------------

FAMILIES = ("lstm", "gru", "tcn", "transformer")


def model_of(family: str, method: str, **options: Any) -> Any:
    known = {"hidden_size", "num_layers", "dropout"} | ({"num_heads", "feed_forward"} if "former" in family else set())
    sizes = {name: value for name, value in {**SMALL, "num_layers": 2, "dropout": 0.4}.items() if name in known}
    return create_model(f"{family}:bayesian", make_data().spec, {**sizes, "method": method, **options})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_map_of_a_variational_model_has_a_posterior(family: str) -> None:
    model = model_of(family, "variational")
    plain = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.RNNBase | CausalConvolution)
    ]
    assert not plain
    kinds = {type(module) for module in model.modules()}
    assert VariationalLinear in kinds
    assert (VariationalRecurrent in kinds) == (family in ("lstm", "gru"))
    assert (VariationalConvolution in kinds) == (family == "tcn")
    others = {name for name, _ in model.named_parameters() if not name.endswith((".mean", ".raw_deviation"))}
    assert all(any(part in name for part in ("norm", "positions", "shares")) for name in others), others


@pytest.mark.parametrize("family", FAMILIES)
def test_a_variational_model_drops_no_units(family: str) -> None:
    """The noise is in the weights, between recurrent layers too."""
    model = model_of(family, "variational")
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    assert layers and all(layer.share == 0 for layer in layers)


@pytest.mark.parametrize("likelihood", ["normal", "student", "quantiles"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_all_means_and_deviations(family: str, likelihood: str) -> None:
    model = model_of(family, "variational", likelihood=likelihood, kl_weight=0.0).train()
    model.losses(make_data().train.select(torch.arange(16)))["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        if not name.endswith("shares") and not is_key_bias(name):
            assert parameter.grad.abs().max() > 0, name


def is_key_bias(name: str) -> bool:
    """Whether a parameter moves all scores of a query alike, which attention cannot see but through rounding."""
    return ".key" in name and ".bias." in name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrow_posterior_is_the_network_it_was_made_of(family: str) -> None:
    torch.manual_seed(3)
    plain = model_of(family, "laplace").eval()
    torch.manual_seed(3)
    model = model_of(family, "variational").eval()
    inputs = inputs_of(make_data())
    with torch.no_grad():
        expected = plain(inputs)
        torch.testing.assert_close(model(inputs), expected, rtol=1e-5, atol=1e-6)
        for posterior in posteriors_of(model):
            posterior.raw_deviation.fill_(-30.0)
        drawn = model(inputs, draws=DRAWS)[..., 0]
        torch.testing.assert_close(drawn, expected.expand_as(drawn), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_tied_dropout_reaches_every_layer(family: str) -> None:
    model = model_of(family, "dropout")
    layers = [module for module in model.networks.modules() if isinstance(module, Dropout)]
    assert layers and all(layer.tied and layer.share == 0.4 for layer in layers)
    wrapped = {name for name, module in model.named_modules() if isinstance(module, RecurrentLayers)}
    bare = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.RNNBase) and module.dropout and name.rpartition(".")[0] not in wrapped
    ]
    assert not bare


def test_tying_leaves_evaluation_as_it_was() -> None:
    module = nn.Sequential(nn.LSTM(4, 5, 2, batch_first=True, dropout=0.5)).eval()
    inputs = torch.randn(3, 7, 4)
    expected = module(inputs)[0]
    tie_dropout(module)
    assert isinstance(module[0], RecurrentLayers)
    torch.testing.assert_close(module.eval()(inputs)[0], expected, rtol=1e-6, atol=1e-7)
