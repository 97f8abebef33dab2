"""``TrainingLogger``: TensorBoard, monitors and diagnosis for anybody's own PyTorch loop."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..metrics.attention import attention_entropy as entropy_of
from ..metrics.attention import normalised_entropy
from .event_writer import BorrowedWriter, EventWriter, SilentWriter
from .layout import Dashboard
from .monitors.base import by_layer
from .pending_values import Listener, PendingValues
from .tag_tables import logger as names
from .tag_tables import monitors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .watching import Watching


class TrainingLogger:
    """Logs a training to ``<log_dir>/<experiment_name>/``, in any loop.

    Three lines do it:

    >>> logger = TrainingLogger(experiment_name="mine").watch(model, optimizer)  # doctest: +SKIP
    >>> for batch in batches:  # doctest: +SKIP
    ...     ...  # forward, backward, optimizer.step()
    ...     logger.step({"loss": loss})

    or every number by itself with the ``log_*`` methods. They never wait for the device: numbers are gathered, read
    together and written as one event a step, every two seconds, and when the logger is closed or the program ends. A
    disk that fails is reported once and never ends training.

    Attributes:
        log_dir: folder of the event file.
        global_step: what values are logged at; ``increment_step`` counts it up.
        writer: the ``SummaryWriter`` itself, for whatever has no method here.
    """

    def __init__(
        self,
        log_dir: str | Path = "runs",
        experiment_name: str | None = None,
        log_gradients_every: int = 100,
        log_histograms_every: int = 500,
        *,
        writer: EventWriter | SilentWriter | None = None,
    ) -> None:
        """Open an event file.

        Args:
            log_dir: base folder.
            experiment_name: sub-folder; the time as ``YYYYMMDD_HHMMSS`` by default.
            log_gradients_every: steps from one call of ``log_gradients`` that writes to the next.
            log_histograms_every: the same for ``log_model_histograms``.
            writer: an open writer to use instead; it stays open, and ``log_dir`` is its folder.

        Raises:
            UserError: if an interval is below 1, or the folder cannot be made or written.
        """
        for name, value in (
            ("log_gradients_every", log_gradients_every),
            ("log_histograms_every", log_histograms_every),
        ):
            if value < 1:
                raise UserError(f"{name} must be at least 1 step, but got {value}; 100 and 500 are usual")
        self.log_gradients_every, self.log_histograms_every = log_gradients_every, log_histograms_every
        self._owns_writer = writer is None
        if writer is None:
            writer = _open_writer(Path(log_dir) / (experiment_name or datetime.now().strftime("%Y%m%d_%H%M%S")))
        self.writer: EventWriter | SilentWriter = writer
        self.log_dir = Path(writer.log_dir)
        self.global_step = 0
        self._pending = PendingValues(writer)
        self._watching: Watching | None = None
        self._hparams: dict[str, Any] | None = None  # of the session in the HPARAMS tab, where there is one
        # With ``fit``'s writer, what is epoch by epoch lays out the dashboards.
        is_ours = self._owns_writer or isinstance(writer, BorrowedWriter)
        self._dashboard = Dashboard(writer) if is_ours else None
        if self._owns_writer:
            atexit.register(self.close)

    # --- numbers ----------------------------------------------------------------------------------------------------

    def log_values(
        self, values: Mapping[str, Tensor | float], step: int | None = None, *, observed: bool = True
    ) -> None:
        """Log numbers under their full tags.

        Args:
            values: tag to number or tensor (a tensor of several values counts by its mean).
            step: ``global_step`` by default.
            observed: whether whoever listens (the diagnosis) is shown them too.
        """
        self._pending.add(values, self.global_step if step is None else step, observed=observed)

    def observe(self, values: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Show numbers to whoever listens (the diagnosis) without writing them."""
        self._pending.add(values, self.global_step if step is None else step, written=False)

    def log_metrics(
        self, metrics: Mapping[str, Tensor | float], prefix: str = "train", step: int | None = None
    ) -> None:
        """Log numbers as ``<prefix>/<name>``, e.g. ``train/loss``, ``val/accuracy``; an empty prefix adds nothing."""
        self.log_values({f"{prefix}/{name}" if prefix else name: value for name, value in metrics.items()}, step)

    def log_learning_rate(self, optimizer: torch.optim.Optimizer, step: int | None = None) -> None:
        """Log the first parameter group's learning rate, and every group's by itself where there are several."""
        rates = [group["lr"] for group in optimizer.param_groups]
        values = {monitors.LEARNING_RATE: rates[0]}
        if len(rates) > 1:
            values |= {names.LEARNING_RATE_GROUP.format(number=number): rate for number, rate in enumerate(rates)}
        self.log_values(values, step)

    def log_gradients(self, model: nn.Module, step: int | None = None) -> None:
        """Log gradient norms, at every ``log_gradients_every``-th step: total, per parameter, mean per layer.

        Call it after ``backward``, and before clipping if there is any. Parameters without a gradient are left out.
        """
        step = self.global_step if step is None else step
        if step % self.log_gradients_every:
            return
        found = gradient_norms(model)
        if not found:
            return
        parameters, norms = list(found), torch.stack(list(found.values()))
        values: dict[str, Tensor | float] = {monitors.GRADIENT_NORM_TOTAL: torch.linalg.vector_norm(norms)}
        for name, norm in found.items():
            values[names.GRADIENT_NORM_PARAMETER.format(parameter=name)] = norm
        for layer, places in by_layer(parameters).items():
            values[names.GRADIENT_NORM_LAYER_MEAN.format(layer=layer)] = norms[places].mean()
        self.log_values(values, step)

    def log_attention_stats(
        self,
        attention_weights: Tensor | Mapping[str, Tensor] | Sequence[Tensor],
        attention_entropy: Tensor | float | None = None,
        step: int | None = None,
    ) -> None:
        """Log how sharp attention is: entropy, mean and deviation of the weights, and the same per layer.

        Args:
            attention_weights: ``[batch, heads, queries, keys]`` of one layer, or of several: layer name to weights, or
                a list.
            attention_entropy: entropy in nats as computed elsewhere, any shape; by default it is computed here.
            step: ``global_step`` by default.
        """
        layers = _named_layers(attention_weights)
        entropies = {name: entropy_of(weights).mean() for name, weights in layers.items()}
        if not layers:
            return
        stacked = torch.stack(list(entropies.values()))
        entropy = stacked.mean() if attention_entropy is None else attention_entropy
        values: dict[str, Tensor | float] = {
            names.ATTENTION_ENTROPY_MEAN: entropy,
            names.ATTENTION_WEIGHT_MEAN: torch.stack([w.float().mean() for w in layers.values()]).mean(),
            names.ATTENTION_WEIGHT_STD: torch.stack([w.float().std() for w in layers.values()]).mean(),
        }
        for name, weights in layers.items():
            share = normalised_entropy(entropies[name], weights.shape[-1])
            values[monitors.ATTENTION_ENTROPY_NORMALISED.format(layer=name)] = share  # what the diagnosis looks at
            if not isinstance(attention_weights, Tensor):
                values[monitors.ATTENTION_ENTROPY.format(layer=name)] = entropies[name]
                values[names.ATTENTION_WEIGHT_STD_LAYER.format(layer=name)] = weights.float().std()
        self.log_values(values, step)

    def log_uncertainty_metrics(
        self,
        epistemic_uncertainty: Tensor,
        aleatoric_uncertainty: Tensor | None = None,
        step: int | None = None,
    ) -> None:
        """Log mean and distribution of uncertainties, tensors of any shape, one value per sample or output."""
        values: dict[str, Tensor | float] = {names.UNCERTAINTY_EPISTEMIC_MEAN: epistemic_uncertainty}
        histograms = {names.UNCERTAINTY_EPISTEMIC: epistemic_uncertainty}
        if aleatoric_uncertainty is not None:
            values[names.UNCERTAINTY_ALEATORIC_MEAN] = aleatoric_uncertainty
            histograms[names.UNCERTAINTY_ALEATORIC] = aleatoric_uncertainty
        self.log_values(values, step)
        step = self.global_step if step is None else step
        if step % self.log_gradients_every == 0:  # distributions are dearer than means
            self.writer.add_histograms(histograms, step)

    # --- distributions, text, pictures ------------------------------------------------------------------------------

    def log_model_histograms(self, model: nn.Module, step: int | None = None) -> None:
        """Log the distributions of all parameters and gradients, at every ``log_histograms_every``-th step."""
        step = self.global_step if step is None else step
        if step % self.log_histograms_every:
            return
        tensors = {}
        for name, parameter in model.named_parameters():
            tensors[names.PARAMETERS.format(parameter=name)] = parameter.detach()
            if parameter.grad is not None:
                tensors[names.PARAMETER_GRADIENTS.format(parameter=name)] = parameter.grad
        self.writer.add_histograms(tensors, step)

    def log_histogram(self, tag: str, values: Any, step: int | None = None) -> None:
        """Log a distribution: a tensor or array of any shape; empty ones and values that are not finite are skipped."""
        self.writer.add_histograms({tag: torch.as_tensor(values)}, self.global_step if step is None else step)

    def log_text(self, tag: str, text: str, step: int | None = None) -> None:
        """Log a text; TensorBoard renders Markdown."""
        self.writer.add_text(tag, text, self.global_step if step is None else step)

    def log_image(self, tag: str, image: Any, step: int | None = None) -> None:
        """Log a picture.

        Args:
            tag: its name.
            image: a matplotlib figure; or a tensor or array ``[height, width]``, ``[channels, height, width]`` or
                ``[height, width, channels]`` with 1, 3 or 4 channels, bytes or numbers from 0 to 1.
            step: ``global_step`` by default.

        Raises:
            UserError: if it is none of these.
        """
        from .pictures import as_picture

        if hasattr(image, "savefig"):
            self.log_figure(tag, image, step)
        else:
            picture = as_picture(image)
            self.writer.add_image(tag, picture, self.global_step if step is None else step, dataformats="HWC")

    def log_figure(self, tag: str, figure: Figure, step: int | None = None) -> None:
        """Log a matplotlib figure and close it."""
        from .pictures import close_figure

        self.writer.add_figure(tag, figure, self.global_step if step is None else step, close=False)
        close_figure(figure)

    def log_video(self, tag: str, video: Any, step: int | None = None, fps: float = 8) -> None:
        """Log a video as an animated GIF in the IMAGES tab.

        Args:
            tag: its name.
            video: tensor or array ``[time, channels, height, width]``, or ``[batch, time, channels, height, width]``:
                the samples of a batch stand side by side; 1 or 3 channels, bytes or numbers from 0 to 1.
            step: ``global_step`` by default.
            fps: frames per second.

        Raises:
            UserError: if the shape is another one.
        """
        from .pictures import animated_gif

        self.writer.add_encoded_image(tag, *animated_gif(video, fps), self.global_step if step is None else step)

    def log_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, Tensor | float] | None = None) -> None:
        """Enter hyperparameters and results in the HPARAMS tab, in this run itself (no stray sub-run).

        Args:
            hparams: name to text, number or bool.
            metrics: tag to result; logged as numbers too. May be given in a later call, when they are known.
        """
        if hparams or self._hparams is None:
            self._hparams = {**(self._hparams or {}), **hparams}
            self.writer.start_session(self._hparams, group_name=self.log_dir.name, metrics=None)
        if metrics:
            self.writer.declare_columns(self._hparams, list(metrics))
            self.log_values(metrics)

    # --- the step ---------------------------------------------------------------------------------------------------

    def increment_step(self) -> None:
        """Count the step up; what waits is written when it is time to."""
        self.global_step += 1
        self._pending.flush_if_due()

    def watch(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, **options: Any) -> Self:
        """Attach the monitors and the diagnosis; ``step`` then feeds them.

        Args:
            model: what is trained.
            optimizer: what trains it: learning rates are then logged, and gradients are seen before they are zeroed.
            **options: ``monitors`` (a list instead of the default ones), ``budget_percent`` (of a step's time that
                logging may take, 5 by default), ``rules`` (a TOML file of the diagnosis).

        Returns:
            the logger itself.
        """
        from .watching import Watching

        self._watching = Watching(self, model, optimizer, **options)
        return self

    def step(self, metrics: Mapping[str, Tensor | float], prefix: str = "train") -> None:
        """Everything for one step: ``log_metrics``, what ``watch`` attached, ``increment_step``.

        Args:
            metrics: numbers of this step; ``loss`` is what the diagnosis follows.
            prefix: in front of their names.
        """
        self.log_metrics(metrics, prefix)
        if self._watching is not None:
            self._watching.after_step(metrics)
        self.increment_step()

    # --- the end ----------------------------------------------------------------------------------------------------

    @property
    def listeners(self) -> list[Listener]:
        """Functions that are told ``(step, values)`` whenever values have been read."""
        return self._pending.listeners

    def flush(self) -> None:
        """Read and write everything that waits; the dashboards learn of new tags."""
        self._pending.flush()
        self.writer.flush()
        if self._dashboard is not None:
            self._dashboard.update(self.global_step)

    def close(self) -> None:
        """Write everything and close the event file; closing twice is fine."""
        atexit.unregister(self.close)
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.end()
        self.flush()
        if self._hparams is not None:
            self.writer.end_session("success")
            self._hparams = None
        if self._owns_writer:
            self.writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._hparams is not None:
            self.writer.end_session("failure")
            self._hparams = None
        self.close()


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Parameter name to Euclidean norm of its gradient, 0-dimensional; those without a gradient are left out."""
    gradients = {name: _dense(p.grad.detach()) for name, p in model.named_parameters() if p.grad is not None}
    return dict(zip(gradients, torch._foreach_norm(list(gradients.values())), strict=True)) if gradients else {}


def _open_writer(folder: Path) -> EventWriter:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"log_dir must be a folder that can be written, but {folder}: {error.strerror}") from None
    return EventWriter(folder)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.layout == torch.sparse_coo else gradient


def _named_layers(weights: Tensor | Mapping[str, Tensor] | Sequence[Tensor]) -> dict[str, Tensor]:
    if isinstance(weights, Tensor):
        return {"attention": weights.detach()}
    named = weights if isinstance(weights, Mapping) else {f"layer_{n}": layer for n, layer in enumerate(weights)}
    return {name: layer.detach() for name, layer in named.items()}
