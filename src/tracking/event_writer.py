"""``EventWriter``: PyTorch's ``SummaryWriter`` made cheap and safe, and ``SilentWriter``, which writes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from . import event_file
from .event_file import EventFile, cut_event_files
from .model_graph import model_table, trace_model
from .tags import MODEL_SUMMARY, NONFINITE_COUNT, spec_of

__all__ = ["BorrowedWriter", "EventWriter", "SilentWriter", "cut_event_files"]

_HISTOGRAM_BINS = 64
_logger = logging.getLogger(__name__)


class EventWriter(SummaryWriter):
    """A ``SummaryWriter`` for one run folder.

    It writes one event file, each event at once (nothing is lost when the process is killed). Trouble with the disk is
    reported once through ``logging`` and then silences the writer: it never ends training. Every ``add_*`` method of
    ``SummaryWriter`` works; its methods that make sub-runs (``add_scalars``, ``add_hparams``) still make them.

    Attributes:
        scalar_tags: tags of all scalars written by ``add_values`` so far.
    """

    file_writer: Any
    all_writers: Any

    def __init__(self, log_dir: str | Path) -> None:
        """Make ``log_dir`` if needed and open a new event file that sorts after those already there."""
        self._event_file: EventFile | None = None
        self._before_flush: list[Callable[[], None]] = []
        self.scalar_tags: set[str] = set()
        super().__init__(str(log_dir))

    def _get_file_writer(self) -> EventFile:
        # SummaryWriter calls this before everything it writes, also the first time and after close().
        if self._event_file is None:
            self._event_file = EventFile(self.log_dir)
        if self.file_writer is None:
            self.file_writer = self._event_file
            self.all_writers = {self.log_dir: self._event_file}
        return self._event_file

    def add_values(self, values: Mapping[str, float], step: int, wall_time: float | None = None) -> None:
        """Write many scalars of one step as one event, which is cheaper than one ``add_scalar`` each.

        Args:
            values: tag to value; NaN and infinity are stored as such.
            step: the epoch or the global step, whichever axis the tags have.
            wall_time: seconds since 1970; now by default.
        """
        if values:
            self.scalar_tags.update(values)
            entries = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
            self._get_file_writer().add_summary(Summary(value=entries), step, wall_time)

    def call_before_flush(self, write_what_waits: Callable[[], None]) -> None:
        """Enter a function that ``flush`` calls first: whoever holds values back for a while writes them there."""
        self._before_flush.append(write_what_waits)

    def flush(self) -> None:
        """Write everything that waits."""
        for write_what_waits in self._before_flush:
            write_what_waits()
        super().flush()

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, float], global_step: Any = None, walltime: Any = None
    ) -> None:
        """As in ``SummaryWriter``: one sub-run per key, so that one chart shows several curves."""
        self._get_file_writer()
        for name, value in tag_scalar_dict.items():
            folder = f"{self.log_dir}/{main_tag.replace('/', '_')}_{name}"
            if folder not in self.all_writers:
                self.all_writers[folder] = EventFile(folder)
            summary = Summary(value=[Summary.Value(tag=main_tag, simple_value=float(value))])
            self.all_writers[folder].add_summary(summary, global_step, walltime)

    def add_hparams(self, *args: Any, **kwargs: Any) -> None:
        """As in ``SummaryWriter``, sub-run included; ``start_session`` does the same without one."""
        self._unless_disk_fails(super().add_hparams, *args, **kwargs)

    def add_embedding(self, *args: Any, **kwargs: Any) -> None:
        """As in ``SummaryWriter``; its files lie beside the event file."""
        self._unless_disk_fails(super().add_embedding, *args, **kwargs)

    def _unless_disk_fails(self, method: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(*args, **kwargs)
        except OSError as error:
            _logger.warning("%s wrote nothing to %s: %s. Training goes on.", method.__name__, self.log_dir, error)

    def add_histograms(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Write the distributions of many tensors as one event.

        Empty tensors are skipped. Values that are not finite are left out; if there were any, their number over all
        tensors is written as ``health/nonfinite_count``. Nothing in the data can make this raise.

        Args:
            tensors: tag to a tensor of any shape, type and device.
            step: the epoch or the global step.
        """
        entries: list[Summary.Value] = []
        nonfinite_count = 0
        for tag, tensor in tensors.items():
            values = _flat_values(tensor)
            is_finite = torch.isfinite(values)
            if not is_finite.all():
                nonfinite_count += int((~is_finite).sum())
                values = values[is_finite]
            if values.numel():
                entries.append(Summary.Value(tag=tag, histo=_histogram(values)))
        if nonfinite_count:
            entries.append(Summary.Value(tag=NONFINITE_COUNT, simple_value=nonfinite_count))
        if entries:
            self._get_file_writer().add_summary(Summary(value=entries), step)

    def add_figure(
        self, tag: str, figure: Any, global_step: Any = None, close: bool = True, walltime: float | None = None
    ) -> None:
        """As in ``SummaryWriter``; a single figure takes half the time, which is a training's time."""
        if isinstance(figure, list):
            super().add_figure(tag, figure, global_step, close, walltime)
            return
        from .pictures import close_figure, png_of

        self.add_encoded_image(tag, *png_of(figure), global_step)
        if close:
            close_figure(figure)

    def add_encoded_image(
        self, tag: str, encoded: bytes, height: int, width: int, channels: int, step: int | None = None
    ) -> None:
        """Write a picture that is encoded already; an animated GIF plays in the IMAGES tab.

        Args:
            tag: its name.
            encoded: the whole file, PNG, JPEG or GIF.
            height, width, channels: its size.
            step: the epoch or the global step.
        """
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=encoded)
        self._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def add_model_graph(self, model: nn.Module, example_inputs: Any) -> bool:
        """Write the model's graph (GRAPHS tab) and its table of layers (TEXT tab, ``Model/summary``).

        The model is traced in evaluation mode without gradients; its modes, parameters, buffers, gradients, hooks and
        the random state are as before afterwards.

        Args:
            model: any module; it may return a tensor, a tuple, a dict.
            example_inputs: what ``forward`` takes: one value, or a tuple of positional arguments; tensors may be nested
                in lists, tuples, dicts and packed sequences.

        Returns:
            Whether there is a graph. If not, the reason stands in the text; nothing is ever raised.
        """
        graph, reason = trace_model(model, example_inputs)
        if graph is not None:
            self._get_file_writer().add_event(Event(graph_def=graph.SerializeToString()))
        note = "" if graph is not None else f"\n\nThere is no graph of this model: {reason}"
        self.add_text(MODEL_SUMMARY, model_table(model) + note, 0)
        return graph is not None

    def start_session(
        self,
        hparams: Mapping[str, str | float | int | bool | None],
        *,
        group_name: str,
        metrics: Sequence[str] | None,
        known_hparams: Sequence[str] | Mapping[str, Any] = (),
        main_hparams: Sequence[str] = (),
    ) -> None:
        """Enter this run in the HPARAMS tab, in the run's own event file.

        TensorBoard shows one line per group and averages the last value of each metric over the runs of the group. The
        line's hyperparameters are those of the group's first run: leave out what differs within a group, like the seed.

        Args:
            hparams: name to value; None is left out, other values than text, number and bool are written as text.
            group_name: runs with the same name (the seeds of one model) form one line.
            metrics: tags of scalars, one column each. None if they are not known yet: ``declare_columns`` names them
                later, and until some run of the folder does, TensorBoard has a column for every scalar.
            known_hparams: names that other runs use, or a mapping from these names to a value, which gives their
                columns a type. TensorBoard takes the columns of all runs from whichever run it finds first, so each
                run must name them all.
            main_hparams: names of the columns that TensorBoard puts first and shows unasked; none means all are equal.
        """
        if metrics is not None:
            self.declare_columns(hparams, metrics, known_hparams, main_hparams)
        start = plugin_data_pb2.SessionStartInfo(group_name=group_name, start_time_secs=time.time())
        for name, value in hparams.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, (int, float)):
                start.hparams[name].number_value = value
            elif value is not None:
                start.hparams[name].string_value = str(value)
        self._add_session_data(
            metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)
        )

    def declare_columns(
        self,
        hparams: Mapping[str, str | float | int | bool | None],
        metrics: Sequence[str],
        known_hparams: Sequence[str] | Mapping[str, Any] = (),
        main_hparams: Sequence[str] = (),
    ) -> None:
        """Name the columns of the HPARAMS tab; arguments as in ``start_session``. The first call of a run counts."""
        experiment = Experiment(
            hparam_infos=_hparam_infos(hparams, known_hparams, main_hparams),
            metric_infos=[_metric_info(tag) for tag in metrics],
            time_created_secs=time.time(),
        )
        self._add_session_data(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))

    def end_session(self, status: Literal["success", "failure"]) -> None:
        """Note how the run ended; the first note counts. Before it, TensorBoard shows the status as unknown."""
        code = STATUS_SUCCESS if status == "success" else STATUS_FAILURE
        end = plugin_data_pb2.SessionEndInfo(status=code, end_time_secs=time.time())
        self._add_session_data(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))

    def _add_session_data(self, tag: str, data: plugin_data_pb2.HParamsPluginData) -> None:
        entry = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
        self._get_file_writer().add_summary(Summary(value=[entry]))

    def byte_lengths(self) -> dict[str, int]:
        """Name to size in bytes of every event file of this folder, for ``cut_event_files`` when a run is resumed."""
        self.flush()
        try:
            return event_file.byte_lengths(self.log_dir)
        except OSError:
            return {}


class BorrowedWriter(EventWriter):
    """What ``EventWriter`` has on top, for a ``SummaryWriter`` of somebody else: same event file, never closed.

    Args:
        writer: PyTorch's own.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._borrowed = writer
        super().__init__(writer.log_dir)

    def _get_file_writer(self) -> Any:
        self.file_writer = self._borrowed._get_file_writer()
        if self.all_writers is None:
            self.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer

    def close(self) -> None:
        """Write what waits; the owner closes the file."""
        self.flush()


class SilentWriter:
    """Takes every call that ``EventWriter`` takes and does nothing: for runs without TensorBoard."""

    log_dir = ""

    def __init__(self) -> None:
        self.scalar_tags: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        # Only what a writer has: a misspelt method must fail here too, and so must the protocols of copy and pickle.
        if name.startswith("_") or not hasattr(EventWriter, name):
            raise AttributeError(f"a writer has no '{name}'")
        return _do_nothing

    def add_model_graph(self, model: nn.Module, example_inputs: Any) -> bool:
        """No graph is written."""
        return False

    def byte_lengths(self) -> dict[str, int]:
        """There are no event files."""
        return {}

    def get_logdir(self) -> str:
        """There is no folder."""
        return self.log_dir

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    """Stand in for any method that writes."""


def _flat_values(tensor: Tensor) -> Tensor:
    """All stored values as one row of floats on the CPU; complex numbers by their magnitude."""
    if torch.nn.parameter.is_lazy(tensor):
        return torch.empty(0)
    values = tensor.detach()
    if values.layout != torch.strided:
        values = values.coalesce().values() if values.layout == torch.sparse_coo else values.to_dense()
    if values.is_quantized:
        values = values.dequantize()
    if values.is_complex():
        values = values.abs()
    values = values.cpu().reshape(-1)
    if values.dtype in (torch.float32, torch.float64):
        return values
    return values.float() if values.is_floating_point() else values.double()


def _histogram(values: Tensor) -> HistogramProto:
    """Equal bins between the least and the greatest of the values (finite, not empty)."""
    low, high = (float(bound) for bound in values.aminmax())
    if low < high and not 1e-30 < high - low < 1e30:
        # 64 bits, and a little less than they hold, so that no difference overflows or vanishes.
        values = values.double().clamp_(-1e300, 1e300)
        low, high = (float(bound) for bound in values.aminmax())
    if low == high:
        limits, counts = [high], [float(values.numel())]
    else:
        # Counted between 0 and 1, which the outermost values reach exactly: none falls out of the outermost bins.
        places = values.sub(low).div_(high - low)
        counts = torch.histc(places, _HISTOGRAM_BINS, 0.0, 1.0).tolist()
        limits = [low + (high - low) * edge / _HISTOGRAM_BINS for edge in range(1, _HISTOGRAM_BINS)] + [high]
    return HistogramProto(
        min=low,
        max=high,
        num=values.numel(),
        sum=float(values.sum(dtype=torch.float64)),
        sum_squares=_sum_of_squares(values),
        bucket_limit=limits,
        bucket=counts,
    )


def _sum_of_squares(values: Tensor) -> float:
    norm = float(torch.linalg.vector_norm(values, dtype=torch.float64))
    return norm * norm  # infinity for huge values, where ``**`` would raise


def _hparam_infos(
    hparams: Mapping[str, Any], known_hparams: Sequence[str] | Mapping[str, Any], main_hparams: Sequence[str]
) -> list[HParamInfo]:
    examples = known_hparams if isinstance(known_hparams, Mapping) else {}
    infos = []
    for name in dict.fromkeys([*hparams, *known_hparams]):
        value = examples.get(name) if hparams.get(name) is None else hparams[name]
        # ``differs`` is what makes TensorBoard put a column forward.
        info = HParamInfo(name=name, differs=not main_hparams or name in main_hparams)
        if isinstance(value, bool):
            info.type = DATA_TYPE_BOOL
        elif isinstance(value, (int, float)):
            info.type = DATA_TYPE_FLOAT64
        elif value is not None:
            info.type = DATA_TYPE_STRING
        infos.append(info)
    return infos


def _metric_info(tag: str) -> MetricInfo:
    spec = spec_of(tag)
    return MetricInfo(
        name=MetricName(group="", tag=tag), display_name=tag, description=spec.help if spec is not None else ""
    )
