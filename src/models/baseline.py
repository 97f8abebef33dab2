"""Baselines without gradient descent. A network that does not beat them has learnt nothing worth having.

The first three forecast prices in the textbook way (Hyndman and Athanasopoulos, Forecasting: Principles and Practice,
section 5.2). Where the targets are returns, the window's returns are turned into a price path, the path is continued,
and the continuation is turned back into returns. The last two are fitted by scikit-learn and kept as plain tensors.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.base import DataModule, DataSpec, Split
from ..errors import OptionError
from ..layers.embedding import PADDING
from ..layers.trees import TreeEnsemble
from ..metrics.distributions import ForecastDistribution
from ..options import option, tunable
from ..registry import register_model
from .base_model import BaseModel

MOST_ROWS = 50_000
CERTAIN = 10.0  # the logit to answer where training has seen one direction only


class Baseline(BaseModel):
    """A model that is fitted in one go, or has nothing to fit."""

    uses_gradients = False
    read_channels: Tensor

    def __init__(self, spec: DataSpec, config: Any) -> None:
        super().__init__(spec, config)
        self.register_buffer("read_channels", torch.tensor(spec.target_channels or (), dtype=torch.long), False)

    def own_history(self, inputs: Tensor) -> Tensor:
        """The target channels of a window: ``[batch, time, features]`` -> ``[batch, time, targets]``."""
        return inputs[:, :, self.read_channels]


class PathBaseline(Baseline):
    """A baseline that continues the path of the target itself."""

    tasks: ClassVar[tuple[str, ...]] = ("forecast",)
    scale: Tensor

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        """Besides the usual reasons: there must be a path to continue."""
        reason = super().unsupported(spec)
        if reason is None and spec.kind == "series" and spec.target_channels is None:
            reason = "it continues the target's own history, which is not among the inputs"
        return reason

    def __init__(self, spec: DataSpec, config: Any) -> None:
        super().__init__(spec, config)
        self.register_buffer("scale", torch.tensor(spec.target_scale, dtype=torch.float64), False)

    def continued(self, path: Tensor) -> Tensor:
        """``[batch, points, targets]`` -> the next ``[batch, horizon, targets]`` points."""
        return path[:, -1:].expand(-1, self.spec.target_shape[0], -1)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, time, features]`` -> ``[batch, horizon, targets]`` in the scaled target space."""
        window = self.own_history(inputs)
        if self.spec.transform == "level":
            return self.continued(window)
        # Prices relative to the first one, in double precision so that "no change" stays exactly 0.
        returns = window.double() * self.scale
        log_returns = returns if self.spec.transform == "log-return" else torch.log1p(returns)
        path = torch.cat([torch.zeros_like(returns[:, :1]), log_returns.cumsum(1)], 1).exp()
        future = torch.cat([path[:, -1:], self.continued(path)], 1)
        change = future[:, 1:] / future[:, :-1]
        forecast = change.log() if self.spec.transform == "log-return" else change - 1
        return (forecast / self.scale).to(inputs.dtype)


@register_model("baseline:naive")
class Naive(PathBaseline):
    """Persistence: the last value stays (for directions and classes: their shares in the training part)."""

    kinds: ClassVar[tuple[str, ...]] = ("series", "text")
    tasks: ClassVar[tuple[str, ...]] = ("forecast", "direction", "classify")

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, time, features]`` -> ``[batch, horizon, targets]``; of texts ``[batch, classes]``."""
        if self.spec.task == "forecast":
            return super().forward(inputs)
        if self.spec.task == "classify":
            shares = torch.tensor(self.spec.class_shares, device=inputs.device).clamp(min=1e-6)
            return shares.log().expand(len(inputs), -1)
        share = inputs.new_tensor(self.spec.up_share).clamp(1e-6, 1 - 1e-6)
        return torch.logit(share).expand(len(inputs), *self.spec.target_shape)


@register_model("baseline:drift")
class Drift(PathBaseline):
    """The straight line through the window's first and last value goes on."""

    def continued(self, path: Tensor) -> Tensor:
        """``[batch, points, targets]`` -> the next ``[batch, horizon, targets]`` points."""
        slope = (path[:, -1:] - path[:, :1]) / max(1, path.shape[1] - 1)
        steps = torch.arange(1, self.spec.target_shape[0] + 1, device=path.device, dtype=path.dtype)
        line = path[:, -1:] + slope * steps[:, None]
        # A price path that falls steeply must not go on below zero.
        return line if self.spec.transform == "level" else line.clamp_min(1e-6)


@register_model("baseline:seasonal")
class Seasonal(PathBaseline):
    """The value of one season ago comes again."""

    @dataclass(frozen=True)
    class Config(BaseModel.Config):
        """Options of the seasonal baseline."""

        period: int | None = option(None, minimum=1, help="season length in rows [default: from the dates' spacing]")

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.period = config.period or spec.period or 1
        if self.period > spec.input_shape[0]:
            raise OptionError(
                f"a season must fit into the look-back window, but got period={self.period} and "
                f"window={spec.input_shape[0]}; use --window {self.period} or more"
            )

    def continued(self, path: Tensor) -> Tensor:
        """``[batch, points, targets]`` -> the next ``[batch, horizon, targets]`` points."""
        season = path[:, -self.period :]
        repeats = -(-self.spec.target_shape[0] // self.period)
        return season.repeat(1, repeats, 1)[:, : self.spec.target_shape[0]]


@register_model("baseline:ewma", by_default=False)
class ExponentialVolatility(Naive):
    """The naive forecast with normal intervals as wide as the series has moved of late.

    The variance of the next change is the exponentially weighted mean of past squares (J. P. Morgan, RiskMetrics
    Technical Document, 1996); that of a level h steps ahead is h times as large.
    """

    kinds: ClassVar[tuple[str, ...]] = ("series",)
    tasks: ClassVar[tuple[str, ...]] = ("forecast",)

    @dataclass(frozen=True)
    class Config(BaseModel.Config):
        """Options of the volatility baseline."""

        decay: float = option(0.94, above=0.0, maximum=0.999, help="weight of each step relative to the next newer one")

    config: Config

    @torch.no_grad()
    def distribution(self, inputs: Tensor, draws: int | None = None) -> ForecastDistribution:
        """A normal distribution around the naive forecast."""
        window = self.own_history(inputs)
        steps = window.diff(dim=1) if self.spec.transform == "level" else window
        ages = torch.arange(steps.shape[1] - 1, -1, -1, device=inputs.device, dtype=inputs.dtype)
        weights = self.config.decay**ages
        variance = torch.einsum("btk,t->bk", steps.square(), weights / weights.sum()).clamp(min=1e-8)
        ahead = torch.arange(1, self.spec.target_shape[0] + 1, device=inputs.device, dtype=inputs.dtype)
        growth = ahead if self.spec.transform == "level" else torch.ones_like(ahead)
        aleatoric = variance[:, None] * growth[:, None]
        return ForecastDistribution(self(inputs), torch.zeros_like(aleatoric), aleatoric)


class FittedBaseline(Baseline):
    """Shared by the baselines that scikit-learn fits: which numbers of a window they read."""

    def __init__(self, spec: DataSpec, config: Any) -> None:
        super().__init__(spec, config)
        # Here rather than where it is used: importing it draws random numbers, and a fit has seeded them by then.
        importlib.import_module("sklearn.ensemble")
        # Several targets are forecast by one model, each from its own history; a single one from all channels.
        self.independent = spec.target_channels is not None and len(spec.target_names) > 1
        self.relative = spec.transform == "level" and spec.target_channels is not None

    def windows(self, inputs: Tensor, lags: int) -> tuple[Tensor, Tensor]:
        """What is read of a window.

        Returns:
            ``[batch * targets, lags * channels]`` (``targets`` is 1 unless each is read from its own history), and
            what must be added to the forecast again, ``[batch * targets, 1]`` or ``[batch, targets]``.
        """
        window = inputs[:, -lags:]
        if self.independent:
            window = self.own_history(window)
            base = window[:, -1].reshape(-1, 1)
            window = window.transpose(1, 2).reshape(-1, lags, 1)
        else:
            base = self.own_history(inputs)[:, -1] if self.relative else inputs.new_zeros(len(inputs), 1)
        if self.relative:
            window = window - window[:, -1:]
        else:
            base = torch.zeros_like(base)
        return window.flatten(1), base

    def training_windows(self, data: DataModule, part: str, most: int, seed: int) -> tuple[Tensor, Tensor]:
        """At most ``most`` inputs and targets of a part, drawn with the seed, on the CPU."""
        split = getattr(data, part)
        inputs, targets, count = [], [], 0
        for batch in split.batches(1024, torch.Generator().manual_seed(seed)):
            inputs.append(batch.inputs.cpu())
            targets.append(batch.targets.cpu())
            count += len(batch.index)
            if count >= most:
                break
        return torch.cat(inputs)[:most], torch.cat(targets)[:most]

    def fit_directly(self, data: DataModule, seed: int) -> None:
        """Fit on the CPU, where scikit-learn works, wherever the model is."""
        device = self.device
        self.cpu()
        self.fit_on_cpu(data, seed)
        self.to(device)

    @abstractmethod
    def fit_on_cpu(self, data: DataModule, seed: int) -> None:
        """Fit; the model and what ``training_windows`` gives are on the CPU."""


@register_model("baseline:ridge")
class Ridge(FittedBaseline):
    """Linear regression on the look-back window with an L2 penalty chosen on the validation part.

    For ``direction`` a logistic regression. Fitted by scikit-learn on at most 50,000 windows.
    """

    @dataclass(frozen=True)
    class Config(BaseModel.Config):
        """Options of the ridge baseline."""

        lags: int = tunable(
            96, low=8, high=512, log=True, minimum=1, at_most="window", help="newest steps of the window that are read"
        )

    config: Config
    weight: Tensor
    bias: Tensor

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        window, features = spec.input_shape
        horizon, targets = spec.target_shape
        self.lags = min(config.lags, window)
        outputs = horizon * (1 if self.independent else targets)
        self.register_buffer("weight", torch.zeros(outputs, self.lags * (1 if self.independent else features)))
        self.register_buffer("bias", torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, time, features]`` -> ``[batch, horizon, targets]``."""
        horizon, targets = self.spec.target_shape
        read, base = self.windows(inputs, self.lags)
        forecast = read @ self.weight.T + self.bias
        if self.independent:
            forecast = forecast.view(-1, targets, horizon).transpose(1, 2)
            base = base.view(-1, targets)
        else:
            forecast = forecast.view(-1, horizon, targets)
        return forecast if self.spec.task == "direction" else forecast + base[:, None]

    def fit_on_cpu(self, data: DataModule, seed: int) -> None:
        """Fit on the training part, the penalty chosen by the loss on the validation part."""
        penalties = (1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0)
        rows = max(1, MOST_ROWS // (len(self.spec.target_names) if self.independent else 1))
        inputs, targets = self.training_windows(data, "train", rows, seed)
        read, wanted = self._table(inputs, targets)
        test_inputs, test_targets = self.training_windows(data, "validation", rows, seed)
        best: tuple[float, Tensor, Tensor] | None = None
        for penalty in penalties:
            weight, bias = self._solve(read, wanted, penalty)
            self.weight, self.bias = weight, bias
            loss = float(self.criterion(self(test_inputs), test_targets))
            if best is None or loss < best[0]:
                best = loss, weight, bias
        if best is not None:
            _, self.weight, self.bias = best

    def _table(self, inputs: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Rows for scikit-learn: what is read, and what is wanted of it."""
        read, base = self.windows(inputs, self.lags)
        if self.spec.task == "forecast":
            targets = targets - base.view(len(inputs), 1, -1)
        wanted = targets.transpose(1, 2).reshape(len(read), -1) if self.independent else targets.flatten(1)
        return read.double().numpy(), wanted.double().numpy()

    def _solve(self, read: np.ndarray, wanted: np.ndarray, penalty: float) -> tuple[Tensor, Tensor]:
        from sklearn import linear_model

        if self.spec.task == "forecast":
            fitted = linear_model.Ridge(alpha=penalty).fit(read, wanted)
            weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
        else:
            columns = [_logistic(read, wanted[:, column], penalty) for column in range(wanted.shape[1])]
            weight, bias = np.stack([c[0] for c in columns]), np.array([c[1] for c in columns])
        # In rows, as a loaded model has them: another layout of the same numbers rounds differently.
        weight = np.ascontiguousarray(weight)
        return torch.from_numpy(weight).to(self.weight), torch.from_numpy(bias).to(self.bias)


def _logistic(read: np.ndarray, wanted: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Coefficients and intercept of a logistic regression; of the constant answer where there is only one class."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(wanted)) < 2:
        return np.zeros(read.shape[1]), CERTAIN if wanted[0] > 0 else -CERTAIN
    fitted = LogisticRegression(C=1 / penalty, max_iter=500).fit(read, wanted)
    return fitted.coef_[0], float(fitted.intercept_[0])


@register_model("baseline:boosting")
class Boosting(FittedBaseline):
    """Gradient-boosted trees on the newest steps of the window (scikit-learn's histogram boosting).

    One ensemble forecasts every step and target; which one is asked for is told as two further inputs. Fitted on at
    most 50,000 rows, stopped on the validation part, kept as tensors (``layers/trees.py``).
    """

    @dataclass(frozen=True)
    class Config(BaseModel.Config):
        """Options of the boosting baseline."""

        lags: int = tunable(
            24, low=4, high=96, log=True, minimum=1, at_most="window", help="newest steps of the window that are read"
        )
        trees: int = tunable(100, low=20, high=500, log=True, minimum=1, help="trees at most")
        max_depth: int = tunable(5, low=2, high=8, minimum=1, maximum=8, help="depth of each tree")
        learning_rate: float = tunable(0.05, low=0.01, high=0.3, log=True, above=0.0, help="weight of each tree")

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.lags = min(config.lags, spec.input_shape[0])
        self.ensemble = TreeEnsemble(config.trees, 2 ** (config.max_depth + 1) - 1, config.max_depth)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, time, features]`` -> ``[batch, horizon, targets]``."""
        horizon, targets = self.spec.target_shape
        read, base = self.windows(inputs, self.lags)
        steps = torch.arange(horizon, device=inputs.device)
        if self.independent:
            which = torch.arange(targets, device=inputs.device).repeat(len(inputs))
            rows = self._with_question(read, which, steps)
            forecast = self.ensemble(rows).view(-1, targets, horizon).transpose(1, 2)
            base = base.view(-1, targets)
        else:
            forecast = self.ensemble(self._with_question(read, None, steps)).view(-1, horizon, 1)
        forecast = forecast.to(inputs.dtype)
        return forecast if self.spec.task == "direction" else forecast + base[:, None]

    def fit_on_cpu(self, data: DataModule, seed: int) -> None:
        """Fit on a sample of (window, target, step) triples, stopped early on one of the validation part."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if self.spec.task == "forecast" else HistGradientBoostingClassifier
        booster = kind(
            max_iter=self.config.trees,
            max_depth=self.config.max_depth,
            max_leaf_nodes=None,
            learning_rate=self.config.learning_rate,
            early_stopping=True,
            n_iter_no_change=10,
            random_state=seed,
        )
        read, wanted = self._sample(data, "train", seed)
        if self.spec.task == "direction" and len(np.unique(wanted)) < 2:
            self.ensemble.reset(CERTAIN if wanted[0] > 0 else -CERTAIN)
            return
        test_read, test_wanted = self._sample(data, "validation", seed)
        booster.fit(read, wanted, X_val=test_read, y_val=test_wanted)
        self.ensemble.copy_from(booster)

    def _sample(self, data: DataModule, part: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows for scikit-learn: what is read with the question asked, and the answer."""
        horizon, targets = self.spec.target_shape
        inputs, wanted = self.training_windows(data, part, MOST_ROWS, seed)
        read, base = self.windows(inputs, self.lags)
        if self.spec.task == "forecast":
            wanted = wanted - base.view(len(inputs), 1, -1)
        wanted = wanted.transpose(1, 2).reshape(len(read), horizon)
        generator = torch.Generator().manual_seed(seed)
        steps = torch.randint(horizon, (len(read),), generator=generator)
        rows = torch.randperm(len(read), generator=generator)[:MOST_ROWS]
        which = torch.arange(targets).repeat(len(inputs)) if self.independent else None
        table = self._with_question(read[rows], None if which is None else which[rows], steps[rows], paired=True)
        return table.numpy(), wanted[rows, steps[rows]].double().numpy()

    def _with_question(self, read: Tensor, which: Tensor | None, steps: Tensor, paired: bool = False) -> Tensor:
        """Append the target's number (if there are several) and the step asked for.

        Args:
            read: ``[rows, lags * channels]``.
            which: ``[rows]`` numbers of targets, or None.
            steps: ``[rows]`` if ``paired``, else all steps, each asked of every row.

        Returns:
            ``[rows (* steps), columns]`` in double precision, as scikit-learn compares.
        """
        columns = [read.double()]
        if which is not None:
            columns.append(which[:, None].double())
        table = torch.cat(columns, 1)
        if not paired:
            table, steps = table.repeat_interleave(len(steps), 0), steps.repeat(len(read))
        return torch.cat([table, steps[:, None].double()], 1)


@register_model("baseline:words")
class Words(FittedBaseline):
    """Logistic regression on which words a text has, weighted by how rare they are (tf-idf).

    Character n-grams count as words of their own where the data have them. Fitted by scikit-learn; the penalty is
    chosen on the validation part.
    """

    kinds: ClassVar[tuple[str, ...]] = ("text",)
    tasks: ClassVar[tuple[str, ...]] = ("classify",)
    rarity: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, spec: DataSpec, config: Any) -> None:
        super().__init__(spec, config)
        columns, classes = spec.vocabulary + spec.ngrams, len(spec.class_names)
        self.register_buffer("rarity", torch.ones(columns))
        self.register_buffer("weight", torch.zeros(classes, columns))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """int64 ``[batch, tokens, 1 + n-grams]`` -> logits ``[batch, classes]``."""
        return self._weighed(self.counts(inputs)) @ self.weight.T + self.bias

    def counts(self, inputs: Tensor) -> Tensor:
        """How often each token, and behind them each n-gram, occurs: ``[batch, vocabulary + n-grams]``."""
        counts = torch.zeros(len(inputs), len(self.rarity), device=inputs.device)
        tokens, ngrams = inputs[..., 0], inputs[..., 1:].flatten(1)
        counts.scatter_add_(1, tokens, (tokens != PADDING).float())
        if ngrams.shape[1]:
            counts.scatter_add_(1, ngrams + self.spec.vocabulary, (ngrams != PADDING).float())
        return counts

    def fit_on_cpu(self, data: DataModule, seed: int) -> None:
        """Fit on the training part with several penalties; keep the one with the least validation loss."""
        from sklearn.linear_model import LogisticRegression

        read, wanted = self._table(data.train)
        test_read, test_wanted = self._table(data.validation)
        documents = (read > 0).sum(0)
        self.rarity = torch.from_numpy(np.log((1 + read.shape[0]) / (1 + np.asarray(documents).ravel())) + 1).float()
        read, test_read = (self._weighed_sparse(table) for table in (read, test_read))
        best = np.inf
        for strength in (0.3, 1.0, 3.0, 10.0, 30.0):
            fitted = LogisticRegression(C=strength, max_iter=500).fit(read, wanted)
            chances = np.clip(fitted.predict_proba(test_read), 1e-12, 1.0)
            loss = -float(np.log(chances[np.arange(len(test_wanted)), test_wanted]).mean())
            if loss < best:
                best, weight, bias = loss, fitted.coef_, fitted.intercept_
                if len(weight) == 1:  # of two classes scikit-learn keeps the second one's
                    weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
                self.weight, self.bias = torch.from_numpy(weight).float(), torch.from_numpy(bias).float()

    def _table(self, split: Split) -> tuple[Any, np.ndarray]:
        """Counts of a part as a sparse matrix, and its classes."""
        from scipy.sparse import csr_matrix, vstack

        batches = list(split.batches(256))
        rows = vstack([csr_matrix(self.counts(batch.inputs.cpu()).numpy()) for batch in batches])
        return rows.tocsr(), torch.cat([batch.targets.cpu() for batch in batches]).numpy()

    def _weighed(self, counts: Tensor) -> Tensor:
        return functional.normalize(counts * self.rarity, dim=1)

    def _weighed_sparse(self, counts: Any) -> Any:
        from sklearn.preprocessing import normalize

        return normalize(counts.multiply(self.rarity.numpy()[None]).tocsr())
