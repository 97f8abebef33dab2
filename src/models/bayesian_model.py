"""``BayesianModel``: a sequence model that says how sure it is, made of any sequence family by composition.

What is learnt is not one network but a distribution of them, by one of four methods:

- ``dropout``: units are dropped when predicting as well (Gal and Ghahramani 2016, arXiv 1506.02142);
- ``variational``: weights have normal posteriors (Blundell et al. 2015, arXiv 1505.05424; ``layers/bayesian``);
- ``ensemble``: several networks from different starts (Lakshminarayanan et al. 2017, arXiv 1612.01474);
- ``laplace``: a normal posterior of the head's weights, fitted after training (``layers/laplace``).

A forecast is a distribution: mean and scale, both functions of the inputs, or quantiles. Predictions average over drawn
networks; how far they disagree is the epistemic uncertainty, what they all expect the aleatoric one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.distributions import StudentT
from torch.nn import functional

from ..data.base import Batch, DataModule, DataSpec
from ..errors import OptionError
from ..layers.bayesian import divergence, make_variational, tie_dropout
from ..layers.laplace import LaplaceHead
from ..layers.spread import LEAST_DEVIATION, MEDIAN, QUANTILES, SpreadHead
from ..layers.stochastic import drawn_networks
from ..layers.volatility import WindowVolatility
from ..metrics.distributions import ClassDistribution, ForecastDistribution
from ..metrics.uncertainty import class_uncertainty, forecast_uncertainty
from ..options import Options, option, tunable
from .base_model import BaseModel, class_metrics
from .sequence_model import SequenceModel

METHODS = ("dropout", "variational", "ensemble", "laplace")
LIKELIHOODS = ("normal", "student", "quantiles")
VALIDATION_DRAWS = 4
"""Networks that the validation loss of an epoch is averaged over: few, as there are many epochs."""
MOST_NUMBERS = {"cpu": 2**20, "cuda": 2**26}
"""Numbers of repeated inputs that are computed at once, by kind of device: what a CPU's cache can hold."""
NORMAL_95 = 1.6448536269514722
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
TEMPERATURES = (0.25, 4.0)
"""Between these a temperature, or a factor of all deviations, is sought on the validation part."""


@dataclass(frozen=True)
class BayesianOptions(Options):
    """What every Bayesian variant has on top of its network's options."""

    dropout: float = tunable(0.1, low=0.02, high=0.5, minimum=0.0, maximum=0.95, help="share of units dropped")
    loss: str = option("mse", choices=("mse",), help="of no use here: training goes by the likelihood")
    method: str = option("dropout", choices=METHODS, help="how networks are distributed")
    likelihood: str = option("normal", choices=LIKELIHOODS, help="series: what a forecast is, with its own scale")
    samples: int = option(30, minimum=2, help="networks drawn for a prediction")
    members: int = option(5, minimum=2, help="method ensemble: how many networks")
    prior_deviation: float = option(0.3, above=0.0, help="method variational: deviation of the weights' prior")
    kl_weight: float = option(0.1, minimum=0.0, help="method variational: of the divergence from the prior")
    kl_annealing: float = option(3.0, minimum=0.0, help="method variational: epochs over which kl_weight grows from 0")
    calibrate: bool = option(
        True, help="after training, fit a temperature, or a factor of all deviations, on the validation part"
    )


class BayesianModel(BaseModel):
    """Base of the variants ``:bayesian``; a subclass names its ``network_class`` and joins both ``Config`` classes."""

    network_class: ClassVar[type[SequenceModel]]
    kinds = ("series", "text")
    tasks = ("forecast", "direction", "classify")

    training_samples: Tensor
    annealing_steps: Tensor
    step: Tensor
    temperature: Tensor

    def __init__(self, spec: DataSpec, config: Any) -> None:
        super().__init__(spec, config)
        _check(config, spec)
        own = {name: getattr(config, name) for name in self.network_class.Config.names()}
        network_config = self.network_class.Config.from_dict(own)
        members = config.members if config.method == "ensemble" else 1
        self.networks = nn.ModuleList(self.network_class(spec, network_config) for _ in range(members))
        self.spreads = nn.ModuleList()
        if spec.task == "forecast":
            self.spreads.extend(self._spread_of(self.network(number)) for number in range(members))
        if config.method == "variational":
            for part in (self.networks, self.spreads):
                make_variational(part, config.prior_deviation)
        elif config.method == "dropout":
            tie_dropout(self.networks)
        self.laplace = None
        if config.method == "laplace":
            network = self.network(0)
            self.laplace = LaplaceHead(network.encoded_size, network.output_size, joint=spec.task == "classify")
        self.register_buffer("training_samples", torch.ones(()))
        self.register_buffer("annealing_steps", torch.zeros(()))
        self.register_buffer("step", torch.zeros(()))
        self.register_buffer("temperature", torch.ones(()))

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        """What keeps its network from such data keeps it as well."""
        return cls.network_class.unsupported(spec)

    def _spread_of(self, network: SequenceModel) -> SpreadHead:
        spec, volatility = self.spec, None
        if spec.transform != "level" and spec.target_channels is not None:
            volatility = WindowVolatility(spec.input_shape[0], spec.target_channels)
        return SpreadHead(
            network.encoded_size, network.output_size, spec.target_shape[1], self.config.likelihood, volatility
        )

    def network(self, number: int) -> SequenceModel:
        """One of the networks."""
        return self.networks[number]  # type: ignore[return-value]

    # --- what the networks say ------------------------------------------------------------------------------------

    def forward(self, inputs: Tensor, return_uncertainty: bool = False, draws: int = 0) -> Any:
        """What the model says of inputs.

        Args:
            inputs: as its network takes them.
            return_uncertainty: give the answer of drawn networks with its uncertainties, see ``uncertainty``.
            draws: give the parameters of so many drawn networks, ``[draws, batch, *target_shape, parameters]``.

        Returns:
            in evaluation what the networks say without noise, in the shape of other models' outputs; in training what
            the loss reads, ``[members, batch, *target_shape, parameters]``: logits, mean and log-deviation, or
            quantiles.
        """
        if return_uncertainty:
            return self.uncertainty(inputs)
        if draws:
            return self._draw(inputs, draws)
        outputs = self._all_parameters(inputs)
        return outputs if self.training else self._location(outputs.mean(0))

    def uncertainty(self, inputs: Tensor) -> dict[str, Tensor]:
        """The answer of drawn networks, and how sure it is.

        Returns:
            for classes ``logits`` (logarithms of the mean probabilities) and ``probabilities`` ``[batch, classes]``,
            ``epistemic_uncertainty`` (mutual information), ``aleatoric_uncertainty`` (expected entropy) and
            ``total_uncertainty`` in nats, ``[batch]``; for forecasts ``prediction`` and variances of the same names,
            scaled, ``[batch, horizon, targets]``; for ``direction`` as for classes, but logits and probabilities of
            "up", all ``[batch, horizon, targets]``.
        """
        distribution = self.distribution(inputs)
        if isinstance(distribution, ForecastDistribution):
            return {
                "prediction": distribution.mean,
                "epistemic_uncertainty": distribution.epistemic,
                "aleatoric_uncertainty": distribution.aleatoric,
                "total_uncertainty": distribution.variance,
            }
        chances = distribution.probabilities
        is_direction = self.spec.task == "direction"
        epistemic = distribution.epistemic
        return {
            "logits": torch.logit(chances, 1e-7) if is_direction else chances.clamp(min=1e-12).log(),
            "probabilities": chances,
            "epistemic_uncertainty": torch.zeros_like(distribution.aleatoric) if epistemic is None else epistemic,
            "aleatoric_uncertainty": distribution.aleatoric,
            "total_uncertainty": distribution.total,
        }

    @torch.no_grad()
    def distribution(self, inputs: Tensor, draws: int | None = None) -> ForecastDistribution | ClassDistribution:
        """What the model says, as a distribution; in evaluation mode, and always the same for the same inputs.

        Args:
            inputs: as of ``forward``.
            draws: how many networks are drawn; by default the option ``samples``.
        """
        was_training = self.training
        self.eval()
        try:
            outputs = self(inputs.to(self.device), draws=draws or self.config.samples).float()
        finally:
            self.train(was_training)
        if self.spec.task == "forecast":
            return self._forecast(outputs)
        return self._chances(outputs.squeeze(-1) / self.temperature)

    def predict(self, inputs: Tensor) -> Tensor:
        """The mean of the distribution; see ``BaseModel.predict``."""
        distribution = self.distribution(inputs)
        return distribution.mean if isinstance(distribution, ForecastDistribution) else distribution.probabilities

    def _chances(self, logits: Tensor) -> ClassDistribution:
        if self.spec.task == "direction":
            up = torch.sigmoid(logits)
            parts = class_uncertainty(torch.stack([1 - up, up], -1))
            chances = parts.probabilities[..., 1]
        else:
            parts = class_uncertainty(torch.softmax(logits, -1))
            chances = parts.probabilities
        return ClassDistribution(chances.float(), parts.epistemic.float(), parts.aleatoric.float())

    def _forecast(self, outputs: Tensor) -> ForecastDistribution:
        """Drawn parameters ``[draws, batch, horizon, targets, parameters]`` -> one distribution."""
        factor = self.temperature
        if self.config.likelihood == "quantiles":
            return self._quantile_forecast(outputs)
        means, variances, degrees = outputs[..., 0], (2 * outputs[..., 1]).exp(), None
        if self.config.likelihood == "student":
            degrees = torch.stack([spread.degrees for spread in self._spread_heads()]).mean(0)
            variances = variances * degrees / (degrees - 2)
        parts = forecast_uncertainty(means, variances)
        epistemic, aleatoric = (factor.square() * part.float() for part in (parts.epistemic, parts.aleatoric))
        return ForecastDistribution(parts.mean.float(), epistemic, aleatoric, degrees)

    def _quantile_forecast(self, outputs: Tensor) -> ForecastDistribution:
        """Drawn quantiles -> their mean, stretched around the median by what the draws disagree about."""
        quantiles = outputs.mean(0).sort(-1).values  # curves that cross are put in order (Chernozhukov et al. 2010)
        median = quantiles[..., MEDIAN : MEDIAN + 1]
        width = quantiles[..., QUANTILES.index(0.95)] - quantiles[..., QUANTILES.index(0.05)]
        noise = (width / (2 * NORMAL_95)).square().clamp(min=LEAST_DEVIATION**2)
        spread = outputs[..., MEDIAN].var(0, correction=0)
        stretch = self.temperature * ((noise + spread) / noise).sqrt().unsqueeze(-1)
        factor = self.temperature.square()
        return ForecastDistribution(
            median.squeeze(-1),
            factor * spread,
            factor * noise,
            quantiles=median + stretch * (quantiles - median),
            levels=QUANTILES,
        )

    def _draw(self, inputs: Tensor, draws: int) -> Tensor:
        """Parameters of drawn networks (an ensemble has its members), ``[draws, batch, *target_shape, parameters]``."""
        if self.config.method == "ensemble":
            return self._all_parameters(inputs)
        if self.laplace is not None:
            return self._draw_heads(inputs, draws)
        most = MOST_NUMBERS.get(inputs.device.type, MOST_NUMBERS["cpu"])
        rows = max(1, most // (draws * inputs.shape[1] * self.config.hidden_size))
        drawn = []
        for part in inputs.split(rows):
            repeated = part.repeat(draws, *(1 for _ in part.shape[1:]))
            with drawn_networks(self, draws):
                drawn.append(self._outputs_of(0, repeated).unflatten(0, (draws, -1)))
        return torch.cat(drawn, 1)

    def _draw_heads(self, inputs: Tensor, draws: int) -> Tensor:
        """The head drawn from its posterior, on top of one network."""
        network = self.network(0)
        encoded, statistics = network.encode_inputs(inputs)
        outputs = self._of_encoded(0, inputs, encoded, statistics)
        noise = self.laplace.draw(encoded, draws, torch.Generator().manual_seed(0))  # type: ignore[union-attr]
        noise = torch.stack([network.in_shape(part) for part in noise])
        if self.spec.task == "forecast":  # the noise is in the units of the network's outputs, before ``restore``
            noise = noise * network.normaliser.restore_deviation(torch.ones_like(noise[0]), statistics)
        location = outputs[..., :1] + noise[..., None]
        return torch.cat([location, outputs[..., 1:].expand(draws, *outputs[..., 1:].shape)], -1)

    def _all_parameters(self, inputs: Tensor) -> Tensor:
        """What every network says, ``[members, batch, *target_shape, parameters]``."""
        return torch.stack([self._outputs_of(number, inputs) for number in range(len(self.networks))])

    def _outputs_of(self, number: int, inputs: Tensor) -> Tensor:
        """What one network says: ``[batch, *target_shape, parameters]``."""
        return self._of_encoded(number, inputs, *self.network(number).encode_inputs(inputs))

    def _of_encoded(self, number: int, inputs: Tensor, encoded: Tensor, statistics: Any) -> Tensor:
        network = self.network(number)
        encoded = network.drop(encoded)
        location = network.in_shape(network.head(encoded))
        if self.spec.task != "forecast":
            return location.unsqueeze(-1)
        location = network.normaliser.restore(location, statistics)
        spread = self._spread_heads()[number]
        raw = [network.in_shape(part) for part in spread.raw(encoded)]
        unit = network.normaliser.restore_deviation(torch.ones_like(location), statistics)
        return spread(location, raw, unit, inputs)

    def _spread_heads(self) -> list[SpreadHead]:
        return [spread for spread in self.spreads if isinstance(spread, SpreadHead)]

    def _location(self, outputs: Tensor) -> Tensor:
        """The point that a distribution's parameters ``[..., parameters]`` stand for."""
        place = MEDIAN if self.spec.task == "forecast" and self.config.likelihood == "quantiles" else 0
        return outputs[..., place]

    # --- training -------------------------------------------------------------------------------------------------

    def before_training(self, data: DataModule, steps_per_epoch: int, epochs: int) -> None:
        """See how many samples the divergence is to be weighed against, and how long its weight grows."""
        self.training_samples.fill_(len(data.train))
        self.annealing_steps.fill_(self.config.kl_annealing * steps_per_epoch)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean over members of the negative log-likelihood; for ``variational`` the evidence lower bound.

        That is ``loss = negative_log_likelihood + weight x divergence``: the divergence of the posterior from the
        prior in nats per training sample, its weight growing linearly to ``kl_weight``.
        """
        outputs = self(batch.inputs) if self.training else self._all_parameters(batch.inputs)
        members = [self._member_losses(output, batch, number) for number, output in enumerate(outputs)]
        losses = {name: torch.stack([member[name] for member in members]).mean() for name in members[0]}
        if self.config.method != "variational":
            return losses
        grown = (self.step / self.annealing_steps.clamp(min=1)).clamp(max=1.0) if self.config.kl_annealing else 1.0
        weight = self.config.kl_weight * grown
        spent = divergence(self) / self.training_samples
        likelihood = losses["loss"]
        return losses | {
            "loss": likelihood + weight * spent,
            "negative_log_likelihood": likelihood,
            "divergence": spent,
            "divergence_weight": torch.as_tensor(weight, device=spent.device),
        }

    def _member_losses(self, outputs: Tensor, batch: Batch, number: int) -> dict[str, Tensor]:
        if self.spec.task != "forecast":
            return self._losses_of(outputs.squeeze(-1), batch)
        if self.config.likelihood == "quantiles":
            errors = batch.targets.unsqueeze(-1) - outputs
            shares = errors.new_tensor(QUANTILES)
            return {"loss": 2 * torch.maximum(shares * errors, (shares - 1) * errors).mean()}
        mean, log_scale = outputs.unbind(-1)
        if self.config.likelihood == "student":
            degrees = self._spread_heads()[number].degrees
            return {"loss": -StudentT(degrees, mean, log_scale.exp()).log_prob(batch.targets).mean()}
        return {
            "loss": (HALF_LOG_2_PI + log_scale + 0.5 * ((batch.targets - mean) * (-log_scale).exp()).square()).mean()
        }

    def after_step(self) -> None:
        """Count the steps, which the weight of the divergence grows with."""
        self.step += 1

    def evaluation_metrics(self, batch: Batch) -> dict[str, Tensor]:
        """As of ``BaseModel``, of the distribution of a few drawn networks; ``loss`` is its negative log-likelihood,
        or for quantiles its continuous ranked probability score."""
        distribution = self.distribution(batch.inputs, min(self.config.samples, VALIDATION_DRAWS))
        if isinstance(distribution, ForecastDistribution):
            scores = distribution.nll(batch.targets)
            scores = distribution.crps(batch.targets) if scores is None else scores
            error = functional.mse_loss(distribution.mean, batch.targets)
            return {"loss": scores.float().mean(), "mse": error}
        chances = distribution.probabilities
        if self.spec.task == "direction":
            logits = torch.logit(chances, 1e-7)
            return self._losses_of(logits, batch) | self._decisions(logits, batch)
        loss = functional.nll_loss(chances.clamp(min=1e-12).log(), batch.targets)
        return {"loss": loss, **class_metrics(chances, batch.targets)}

    def after_training(self, data: DataModule) -> None:
        """Fit what is fitted to the trained network: the Laplace posterior on the training part, then the temperature
        on the validation part."""
        self.eval()
        if self.laplace is not None:
            self.fit_laplace(data)
        if self.config.calibrate:
            self.fit_temperature(data)

    @torch.no_grad()
    def fit_laplace(self, data: DataModule) -> float:
        """Fit the posterior of the head on the training part; returns the precision of its prior."""
        network = self.network(0)
        head: Any = network.head

        def encodings() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in data.train.batches(64):
                encoded, statistics = network.encode_inputs(batch.inputs.to(self.device))
                outputs = self._of_encoded(0, batch.inputs.to(self.device), encoded, statistics)
                factor = network.normaliser.restore_deviation(torch.ones_like(outputs[..., 0]), statistics)
                yield encoded, self._curvature(outputs, factor)

        return self.laplace.fit(encodings(), head.weight, head.bias)  # type: ignore[union-attr]

    def _curvature(self, outputs: Tensor, factor: Tensor) -> Tensor:
        """Of the loss in the outputs of the head: Fisher's information.

        Args:
            outputs: parameters ``[batch, *target_shape, parameters]``.
            factor: how many scaled units one unit of the head is, ``[batch, *target_shape]``.
        """
        if self.spec.task == "classify":
            chances = torch.softmax(outputs.squeeze(-1), -1)
            return torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]
        if self.spec.task == "direction":
            up = torch.sigmoid(outputs.squeeze(-1))
            return self.network(0).out_of_shape(up * (1 - up))
        information = (factor * (-outputs[..., 1]).exp()).square()
        if self.config.likelihood == "student":
            degrees = self._spread_heads()[0].degrees
            information = information * (degrees + 1) / (degrees + 3)
        return self.network(0).out_of_shape(information)

    @torch.no_grad()
    def fit_temperature(self, data: DataModule) -> None:
        """Find the factor of all deviations, or the divisor of all logits, that suits the validation part best.

        (Guo et al. 2017, arXiv 1706.04599; for forecasts Laves et al. 2020, arXiv 2104.12376, who scale by likelihood.)
        """
        batches = list(data.validation.batches(64))
        drawn = [self(batch.inputs.to(self.device), draws=self.config.samples).float() for batch in batches]
        targets = [batch.targets.to(self.device) for batch in batches]

        def score(log_temperature: float) -> float:
            self.temperature.fill_(math.exp(log_temperature))
            return sum(float(self._score(outputs, target)) for outputs, target in zip(drawn, targets, strict=True))

        low, high = map(math.log, TEMPERATURES)
        best = minimize_scalar(score, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
        self.temperature.fill_(math.exp(best.x))

    @torch.no_grad()
    def take_over_temperature(self) -> None:
        """Make the factor of all deviations part of the spread heads, whose noise the Laplace posterior goes by."""
        for spread in self._spread_heads():
            spread.linear.bias.add_(self.temperature.log())
        self.temperature.fill_(1.0)

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over samples of what a temperature is judged by."""
        if self.spec.task == "forecast":
            distribution = self._forecast(outputs)
            scores = distribution.nll(targets)
            return (distribution.crps(targets) if scores is None else scores).sum()
        chances = self._chances(outputs.squeeze(-1) / self.temperature).probabilities
        if self.spec.task == "direction":
            return functional.binary_cross_entropy(chances.clamp(1e-7, 1 - 1e-7), targets, reduction="sum")
        return functional.nll_loss(chances.clamp(min=1e-12).log(), targets, reduction="sum")


def _check(config: Any, spec: DataSpec) -> None:
    """Raise ``OptionError`` for options that do not go together."""
    if config.method == "dropout" and not config.dropout:
        raise OptionError("method=dropout needs units to drop, but got dropout=0; raise it or use another method")
    if config.method == "laplace" and config.likelihood == "quantiles" and spec.task == "forecast":
        raise OptionError("method=laplace needs a density, which likelihood=quantiles has not; use normal or student")


def with_laplace(model: BaseModel, data: DataModule) -> BayesianModel:
    """A trained network with a Laplace approximation of its head's weights, fitted afterwards.

    Of forecasts, the noise is what is left on the validation part, measured against how much each window moves.

    Args:
        model: any trained sequence model that reads its forecast, or its class, out of one linear head.
        data: what it was trained on.

    Raises:
        OptionError: if the model is no such one, or its head is too large.
    """
    kind: Any = type(model)
    if isinstance(model, BayesianModel):
        raise OptionError(f"{model.name} says how sure it is by itself; leave --laplace out")
    if not isinstance(model, SequenceModel) or kind.read_out is not SequenceModel.read_out:
        raise OptionError(
            f"a Laplace approximation needs a sequence model with one linear head, but {model.name} is none; "
            "use lstm, gru, tcn or transformer:basic"
        )
    config_class: Any = dataclass(frozen=True)(type("Config", (BayesianOptions, kind.Config), {"__annotations__": {}}))
    bayesian_class = type("WithLaplace", (BayesianModel,), {"network_class": kind, "Config": config_class})
    config = config_class(**{**model.config.to_dict(), "method": "laplace"})
    bayesian: BayesianModel = bayesian_class(model.spec, config)
    bayesian.name = model.name
    bayesian.network(0).load_state_dict(model.state_dict())
    bayesian.to(model.device).eval()
    if model.spec.task == "forecast":
        bayesian.fit_temperature(data)
        bayesian.take_over_temperature()
    bayesian.after_training(data)
    return bayesian
