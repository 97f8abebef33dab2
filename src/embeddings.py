"""What a trained model makes of samples, as numbers for other tools: a table for Parquet, arrays for NumPy."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from .data.base import Batch
from .data.images import ImageSplit
from .data.options import DataOptions
from .data.series import SeriesData
from .data.tables import Note
from .errors import UserError
from .experiment import cached_data
from .prediction import TrainedRun, read_new, read_new_images, reading_options
from .training.fitting import check_same_data

PARTS = ("train", "validation", "test")
BATCH_SIZE = 256


@dataclass(frozen=True)
class Embeddings:
    """Representations of samples.

    Attributes:
        about: a row per sample: ``image`` and ``label``, or ``series`` and ``origin``, the last date of the window; and
            the ``part`` of the run's own data.
        values: float32 ``[samples, embedding size]``.
        notes: what was found in new data.
    """

    about: pd.DataFrame
    values: np.ndarray
    notes: Sequence[Note] = ()

    def as_table(self) -> pd.DataFrame:
        """Everything in one table, the numbers in columns ``e0``, ``e1`` and so on."""
        names = [f"e{number}" for number in range(self.values.shape[1])]
        numbers = pd.DataFrame(self.values, columns=names)
        return pd.concat([self.about.reset_index(drop=True), numbers], axis=1)

    def as_npz(self) -> bytes:
        """A NumPy archive: ``embeddings`` and an array for each column of ``about``, readable without pickles."""
        arrays = {
            name: column.to_numpy() if column.dtype.kind in "Mif" else column.to_numpy(dtype=str)
            for name, column in self.about.items()
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, embeddings=self.values, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


def embed(trained: TrainedRun, changes: dict[str, Any]) -> Embeddings:
    """Embed the run's own data, all parts of them, or others.

    Args:
        trained: a run whose model has ``embed``.
        changes: fields of ``ReadingOptions`` as given by the user; without ``data`` the run's own are embedded.

    Raises:
        UserError: if the model has no embeddings, or the run's own data are gone.
        DataError: if new data cannot be read.
    """
    if not hasattr(trained.model, "embed"):
        raise UserError(f"embeddings need a run of a representation (jepa:hierarchical), but this is {trained.label}")
    is_image = trained.model.spec.kind == "images"
    if changes:
        data = changes.pop("data", None)
        options = reading_options(trained, data, changes)
        if is_image:
            split, notes = read_new_images(options, trained)
            return Embeddings(_about_images(split), _embedded(trained.model, split), notes)
        new = SeriesData.for_prediction(read_new(options, trained), trained.schema)
        splits = [split for split in (new.windows, new.newest) if len(split)]
        about = pd.concat([_about_windows(split) for split in splits], ignore_index=True)
        return Embeddings(about, np.concatenate([_embedded(trained.model, split) for split in splits]), new.notes)
    # The run's plan names its labels, too; a checkpoint that stands alone knows how to read new data only.
    own = cached_data(DataOptions.from_dict(dict(trained.config.get("data") or trained.schema["options"])))
    if known := trained.config.get("fingerprint"):
        check_same_data(known, own.fingerprint())
    tables, values = [], []
    for part in PARTS:
        split = getattr(own, part)
        about = _about_images(split, own.spec.class_names) if is_image else _about_windows(split)
        tables.append(about.assign(part=part))
        values.append(_embedded(trained.model, split))
    return Embeddings(pd.concat(tables, ignore_index=True), np.concatenate(values))


def _about_images(split: ImageSplit, class_names: Sequence[str] = ()) -> pd.DataFrame:
    columns: dict[str, Any] = {"image": split.names()}
    if class_names:
        columns["label"] = np.asarray(class_names, dtype=object)[split.targets()]
    return pd.DataFrame(columns)


def _about_windows(split: Any) -> pd.DataFrame:
    index = np.arange(len(split))
    return pd.DataFrame({"series": split.series_names(index), "origin": split.origin_dates(index)})


def _embedded(model: Any, split: Any) -> np.ndarray:
    values = np.empty((len(split), model.embedding_size), dtype=np.float32)
    for first in range(0, len(split), BATCH_SIZE):
        batch: Batch = split.select(torch.arange(first, min(first + BATCH_SIZE, len(split))))
        values[first : first + len(batch.inputs)] = model.embed(batch.inputs).float().cpu().numpy()
    return values
