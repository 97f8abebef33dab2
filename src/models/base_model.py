"""``BaseModel``: everything an architecture gets for free: losses, fit, predict, save, load and a built-in writer."""

from __future__ import annotations

import inspect
import itertools
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.base import Batch, DataModule, DataSpec
from ..errors import OptionError, UserError
from ..metrics.distributions import ClassDistribution, ForecastDistribution
from ..metrics.trading import net_returns, position
from ..options import Options
from ..tracking.event_writer import EventWriter, SilentWriter

if TYPE_CHECKING:
    from ..tracking.monitors.base import Monitor
    from ..tracking.options import LoggingOptions
    from ..training.config import TrainingConfig
    from ..training.loop import Observer, TrainingResult

FORMAT_VERSION = 1


class BaseModel(nn.Module, ABC):
    """Base of all architectures.

    A subclass gives a frozen ``Config``, ``__init__(spec, config)`` and ``forward(inputs)``; all else has a default.
    The training loop knows only ``losses``, ``evaluation_metrics``, ``after_step``, ``validation_metrics``,
    ``selection_metric`` and what every ``nn.Module`` has.

    Attributes:
        spec: what the data look like.
        config: the options of this instance.
        name: ``family:variant``, set by ``create_model``.
        logged_sums: what ``log`` was given since the last epoch ended, sum and count by name; a checkpoint within an
            epoch keeps it.
    """

    @dataclass(frozen=True)
    class Config(Options):
        """No options."""

    kinds: ClassVar[tuple[str, ...]] = ("series",)
    """Kinds of data it learns from, its own first: without ``--data``, models of pictures get a sample of pictures."""
    tasks: ClassVar[tuple[str, ...]] = ("forecast", "direction")
    uses_gradients: ClassVar[bool] = True
    """False for baselines that are fitted in one go by ``fit_directly`` (or have nothing to fit)."""
    selection_metric: ClassVar[tuple[str, str]] = ("loss", "min")
    """Which validation value decides what is "best", and whether less (``min``) or more (``max``) of it is better."""

    def __init__(self, spec: DataSpec, config: Options) -> None:
        super().__init__()
        self.spec = spec
        self.config: Any = config
        self._check_loss_weights()
        self.name = ""
        self._writer: EventWriter | SilentWriter = SilentWriter()
        self.logged_sums: dict[str, tuple[Tensor | float, int]] = {}

    # --- what a subclass may change -------------------------------------------------------------------------------

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        """The reason why this architecture cannot learn from such data, or None if it can."""
        if spec.kind not in cls.kinds:
            return f"it works on {' and '.join(cls.kinds)}, not on {spec.kind}"
        if spec.task not in cls.tasks:
            return f"it does the task {' or '.join(cls.tasks)}, not {spec.task}"
        return None

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The scalar to minimise under ``loss``, and any named parts of it, as 0-dimensional tensors.

        For the task ``direction`` that is ``weight_alpha`` x ``criterion`` - ``weight_beta`` x the expected return of
        the positions that the probabilities stand for, after costs (see ``metrics/trading.py``). With a
        ``weight_beta`` other than 0 both are named parts: ``cross_entropy`` and ``expected_return``.
        """
        return self._losses_of(self(batch.inputs), batch)

    def evaluation_metrics(self, batch: Batch) -> dict[str, Tensor]:
        """What evaluation asks for instead of ``losses``: these, and further means over samples, 0-dimensional.

        For the task ``forecast``, ``mse``, the mean squared error of scaled values, where the loss is another one:
        hyperparameter searches compare by it. For ``classify``, ``accuracy`` and ``brier``, the squared error of the
        probabilities summed over classes (Brier, Monthly Weather Review 1950). For ``direction``, averaged over the
        batch, steps ahead and targets: ``accuracy``, the share of right answers; ``brier``, the mean squared error of
        the probabilities of up; ``actual_calls``, the share of calls (p > 0.5); and, where samples have returns,
        ``simulated_return``, position x return after costs, and ``actual_call_returns``, the return where called, else
        0. All come from one forward pass, unless a model has ``losses`` of its own, which take another.
        """
        own_losses = type(self).losses is not BaseModel.losses
        if self.spec.task == "classify":
            outputs = self(batch.inputs)
            losses = self.losses(batch) if own_losses else self._losses_of(outputs, batch)
            return losses | class_metrics(torch.softmax(outputs.float(), -1), batch.targets)
        if self.spec.task != "direction":
            if own_losses or getattr(self.config, "loss", "mse") == "mse":
                return self.losses(batch)
            outputs = self(batch.inputs)
            return self._losses_of(outputs, batch) | {"mse": functional.mse_loss(outputs, batch.targets)}
        if own_losses:
            return self.losses(batch) | self._decisions(self(batch.inputs), batch)
        outputs = self(batch.inputs)
        return self._losses_of(outputs, batch) | self._decisions(outputs, batch)

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of outputs against targets, both ``[batch, horizon, targets]``.

        For the task ``classify`` outputs are logits ``[batch, classes]``, targets the classes' numbers ``[batch]``, and
        the loss is the cross-entropy. For ``direction`` outputs are logits and the loss is the binary cross-entropy;
        for ``forecast`` it is what the option ``loss`` names (the mean squared error if there is no such option).
        """
        if self.spec.task == "direction":
            return functional.binary_cross_entropy_with_logits(outputs, targets)
        if self.spec.task == "classify":
            return functional.cross_entropy(outputs, targets)
        kind = getattr(self.config, "loss", "mse")
        if kind == "mae":
            return functional.l1_loss(outputs, targets)
        if kind == "huber":
            return functional.huber_loss(outputs, targets)
        return functional.mse_loss(outputs, targets)

    def _losses_of(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        loss = self.criterion(outputs, batch.targets)
        if self.spec.task != "direction":
            return {"loss": loss}
        alpha, beta = self._loss_weights
        if not beta:
            return {"loss": alpha * loss}
        if batch.returns is None:
            raise UserError("weight_beta needs batches with returns, but these have none; use weight_beta=0")
        probability = torch.sigmoid(outputs.float())
        expected = net_returns(position(probability), batch.returns, self.spec.cost_bps or 0.0).mean()
        return {"loss": alpha * loss - beta * expected, "cross_entropy": loss, "expected_return": expected}

    def _decisions(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        probability = torch.sigmoid(outputs.float())
        called = probability > 0.5
        values = {
            "accuracy": (called == (batch.targets > 0.5)).float().mean(),
            "brier": (probability - batch.targets).square().mean(),
            "actual_calls": called.float().mean(),
        }
        if batch.returns is not None and self.spec.cost_bps is not None:
            net = net_returns(position(probability), batch.returns, self.spec.cost_bps)
            values |= {"simulated_return": net.mean(), "actual_call_returns": (called * batch.returns).mean()}
        return values

    @property
    def _loss_weights(self) -> tuple[float, float]:
        """Of cross-entropy and of expected return; a model without such options has the first alone."""
        return getattr(self.config, "weight_alpha", 1.0), getattr(self.config, "weight_beta", 0.0)

    def _check_loss_weights(self) -> None:
        alpha, beta = self._loss_weights
        if self.spec.task == "direction" and not (alpha or beta):
            raise OptionError("weight_alpha and weight_beta must not both be 0, or nothing is learnt; raise one")
        if self.spec.task == "direction" and beta and self.spec.cost_bps is None:
            raise OptionError(
                f"weight_beta needs returns, which values of zero or below do not have, but got {beta:g}; "
                "use weight_beta=0"
            )

    def before_training(self, data: DataModule, steps_per_epoch: int, epochs: int) -> None:
        """Called once before the first step; a resumed run then puts its own state back."""

    def after_training(self, data: DataModule) -> None:
        """Called once after training, on the best weights: what is fitted to a trained network belongs here.

        State that changes must be in buffers, which the best checkpoint then takes over.
        """

    def after_step(self) -> None:
        """Called after every optimiser step, e.g. to move a target network."""

    def validation_metrics(self, data: DataModule) -> dict[str, float]:
        """Further values over the whole validation part, computed once an epoch (a probe, for one).

        A value named by ``selection_metric`` here decides what is best.
        """
        return {}

    def part_metrics(self, data: DataModule, part: str) -> dict[str, float]:
        """Further values of ``validation`` or ``test`` after training, beside those of its predictions."""
        return {}

    def monitors(self) -> Sequence[Monitor | Observer]:
        """What this architecture brings along: monitors, asked beside those that every model has, or observers."""
        return ()

    def fit_directly(self, data: DataModule, seed: int) -> None:
        """Fit a model that has ``uses_gradients = False``."""

    def distribution(self, inputs: Tensor, draws: int | None = None) -> ForecastDistribution | ClassDistribution | None:
        """What the model says of inputs with how sure it is; None if it says values without that.

        For the task ``classify``, the probabilities of ``predict``, whose whole entropy counts as aleatoric. Models
        that draw networks take ``draws`` of them.
        """
        if self.spec.task != "classify":
            return None
        chances = self.predict(inputs)
        return ClassDistribution(chances, None, -(chances * chances.clamp(min=1e-12).log()).sum(-1))

    # --- what everybody uses --------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Forecast in evaluation mode.

        Args:
            inputs: ``[batch, look-back window, features]``, scaled as in training.

        Returns:
            ``[batch, horizon, targets]``: scaled values (task ``forecast``) or probabilities of "up" (``direction``);
            ``[batch, classes]``: probabilities (``classify``).
        """
        was_training = self.training
        self.eval()
        try:
            outputs = self(inputs.to(self.device))
        finally:
            self.train(was_training)
        return self.as_prediction(outputs)

    def as_prediction(self, outputs: Tensor) -> Tensor:
        """What ``forward`` returns as ``predict`` shows it: logits as probabilities."""
        if self.spec.task == "classify":
            return torch.softmax(outputs, -1)
        return torch.sigmoid(outputs) if self.spec.task == "direction" else outputs

    # --- going on from other runs -------------------------------------------------------------------------------------

    def encoder_options(self) -> dict[str, Any]:
        """The options that another model needs for its encoder to have the same shape."""
        return self.config.to_dict()

    def encoder_weights(self) -> Mapping[str, Tensor]:
        """What another model may start from: weights by their names within the encoder; by default all."""
        return self.state_dict()

    def start_from(self, weights: Mapping[str, Tensor]) -> list[str]:
        """Take over weights of another model's encoder that this one has, too.

        Returns:
            their names.

        Raises:
            OptionError: if one is of another shape.
        """
        return self._take(self, weights)

    def _take(self, module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
        """Copy weights into those of a module that have the same names."""
        own = module.state_dict()
        shared = [name for name in weights if name in own]
        for name in shared:
            if own[name].shape != weights[name].shape:
                raise OptionError(
                    f"{self.name} can start only from an encoder of its own shape, but its {name} is "
                    f"{list(own[name].shape)} and the other's {list(weights[name].shape)}; use the same data columns, "
                    "--window and options"
                )
        with torch.no_grad():
            for name in shared:
                own[name].copy_(weights[name])
        return shared

    @property
    def device(self) -> torch.device:
        """Where the model's parameters or buffers live (the CPU if it has none)."""
        tensor = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def parameter_count(self) -> int:
        """Number of trainable values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @property
    def writer(self) -> Any:
        """A ``SummaryWriter`` on this run's event file; a silent one where nothing is logged to TensorBoard."""
        return self._writer

    def set_writer(self, writer: EventWriter | SilentWriter) -> None:
        """Hand the model the writer of its run; done by ``fit``."""
        self._writer = writer

    def log(self, name: str, value: Tensor | float) -> None:
        """Log a scalar, e.g. ``self.log("Custom/gate_mean", gate.mean())``, from anywhere inside the model.

        What reaches TensorBoard and ``metrics.csv`` is the mean over the epoch's training steps. Tensors stay on
        their device until the epoch ends, so that logging never waits for the device. Calls during evaluation are
        left out.
        """
        if self.training:
            total, count = self.logged_sums.get(name, (0.0, 0))
            value = value.detach().float().mean() if isinstance(value, Tensor) else float(value)
            self.logged_sums[name] = (total + value, count + 1)

    def collect_logged(self) -> dict[str, float]:
        """The means of all that was logged since the last call."""
        means = {name: float(total) / count for name, (total, count) in self.logged_sums.items()}
        self.logged_sums = {}
        return means

    def __getstate__(self) -> dict[str, Any]:
        # A writer holds threads and an open file: copies and pickles of a model go on without one.
        return {**super().__getstate__(), "_writer": SilentWriter(), "logged_sums": {}}

    def fit(
        self,
        data: DataModule,
        config: TrainingConfig | None = None,
        *,
        tensorboard_log_dir: str | Path | None = None,
        run_dir: str | Path | None = None,
        observers: Sequence[Observer] = (),
        resume: bool = False,
        logging: LoggingOptions | None = None,
    ) -> TrainingResult:
        """Train on ``data`` and leave the model with its best weights.

        Args:
            data: what to train on and what to validate on.
            config: how to train; defaults as on the command line.
            tensorboard_log_dir: folder for the event file; None writes none.
            run_dir: folder for ``metrics.csv`` and ``checkpoints/``; by default ``tensorboard_log_dir``. With
                neither, nothing is written.
            observers: further observers, called after the built-in ones.
            resume: go on from ``run_dir``'s last checkpoint, to the same bits as without the interruption; from the
                start if there is none.
            logging: what to log and to watch; by default monitors and diagnosis, without every batch.

        Raises:
            TrainingError: if a loss or gradient is not finite.
            UserError: if a folder cannot be made or the device is not there.
        """
        from ..training.fitting import fit

        return fit(
            self,
            data,
            config,
            tensorboard_log_dir=tensorboard_log_dir,
            run_dir=run_dir,
            observers=observers,
            resume=resume,
            logging=logging,
        )

    def save(self, path: str | Path) -> None:
        """Write weights, options and data spec to one file of tensors and plain values (no pickled objects)."""
        from ..training.checkpoint import write_checkpoint

        write_checkpoint(Path(path), self.checkpoint())

    def checkpoint(self) -> dict[str, Any]:
        """What ``load`` needs to build this model again, tensors under ``model``."""
        return {
            "format": FORMAT_VERSION,
            "name": self.name,
            "config": self.config.to_dict(),
            "spec": self.spec.to_dict(),
            "model": self.state_dict(),
        }

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Build the model that ``save`` (or a training run, as ``checkpoints/best.pt``) wrote.

        Raises:
            UserError: if the file is damaged, of a newer format, holds another class of model, or one that was not
                made by ``create_model`` and so can be loaded by its own class only.
        """
        from ..training.checkpoint import read_checkpoint
        from . import create_model

        content = read_checkpoint(Path(path))
        spec = DataSpec.from_dict(content["spec"])
        if content["name"]:
            model = create_model(content["name"], spec, content["config"])
        elif cls is BaseModel or inspect.isabstract(cls):
            raise UserError(f"{path} holds a model without a registered name; call load on the model's own class")
        else:
            model = cls(spec, cls.Config.from_dict(content["config"]))
        model.load_state_dict(content["model"])
        if not isinstance(model, cls):
            raise UserError(f"{path} holds a {content['name']}, which is not a {cls.__name__}")
        return model.eval()


def class_metrics(probabilities: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """``accuracy`` and ``brier``, the squared error summed over classes, of probabilities ``[batch, classes]``."""
    truth = functional.one_hot(targets, probabilities.shape[-1])
    return {
        "accuracy": (probabilities.argmax(-1) == targets).float().mean(),
        "brier": (probabilities - truth).square().sum(-1).mean(),
    }
