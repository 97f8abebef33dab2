"""Captioned clips as a data module: pixels from -1 to 1, and captions as numbers of words."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, OptionError
from .base import Batch, DataSpec
from .options import DataOptions
from .reading.findings import plural
from .tables import Note
from .text import LEAST_PER_CLASS, parse_fractions, stratified_parts
from .tokenizer import TextTokenizer

FRAME_RATE = 8.0
"""Frames per second where clips say nothing of it."""


@dataclass(frozen=True)
class CaptionedClips:
    """Clips as they were read.

    Attributes:
        clips: uint8 ``[clips, frames, height, width, channels]``, in memory or mapped from a file.
        captions: what each shows.
        names: where each comes from.
        frame_rate: frames per second; None where nothing is known.
        parts: 0, 1 or 2 for training, validation or test, int64 ``[clips]``, where that is decided already.
        resized: whether any was brought to another size.
        extent: of drawn landmarks, what fills the canvas.
        notes: what was found, for the user to read.
    """

    clips: np.ndarray
    captions: tuple[str, ...]
    names: tuple[str, ...]
    frame_rate: float | None = None
    parts: np.ndarray | None = None
    resized: bool = False
    extent: float | None = None
    notes: tuple[Note, ...] = ()


class VideoData:
    """Captioned clips, cut into a training, a validation and a test part.

    Clips that are alike to the last bit are in the same part, captions that repeat have the same share of each part,
    and the cut is the same for every run. With a test set of its own, the other two parts come from the data.

    Attributes:
        spec: shapes and sizes of the vocabulary, for models.
        train, validation, test: the three parts.
        options: the options with nothing left open.
        tokenizer: of words, fitted to the captions of the training part.
        notes: what was found, chosen and done, for the user to read.
    """

    def __init__(
        self,
        clips: CaptionedClips,
        options: DataOptions,
        test_clips: CaptionedClips | None = None,
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        """Cut clips and number captions; files come through ``load_data``.

        Args:
            clips: with their captions.
            options: how to cut them.
            test_clips: those of a separate test set, of the same shape.
            tokenizer: fitted to these data before; by default it is fitted now.

        Raises:
            DataError: if there are too few clips.
            OptionError: if the task or the split does not go with clips.
        """
        if options.task not in (None, "generate"):
            raise OptionError(f"captioned clips have the task generate, but got --task {options.task}; leave it out")
        self.notes: list[Note] = list(clips.notes)
        frames, height, _, channels = clips.clips.shape[1:]
        self.options = replace(
            options,
            task="generate",
            transform="level",
            tokenizer="words",
            char_ngrams=None,
            image_size=height if clips.resized else None,
            colour="colour" if channels == 3 else "grey",
        )
        _check_alike(clips, test_clips)
        parts = _parts(clips, test_clips, options, self.notes)
        several = [clips] if test_clips is None else [clips, test_clips]
        captions = tuple(caption for each in several for caption in each.captions)
        names = tuple(name for each in several for name in each.names)
        known = [caption for caption, part in zip(captions, parts, strict=True) if part == 0]
        self.tokenizer = tokenizer or TextTokenizer.fit(known, self.options)
        most = max(1, min(options.max_tokens, max(map(len, self.tokenizer.cut(known)))))
        self.spec = DataSpec(
            "captioned_video",
            "generate",
            (frames, channels, *clips.clips.shape[2:4]),
            (most,),
            target_names=("caption",),
            vocabulary=len(self.tokenizer.tokens),
            frame_rate=options.frame_rate or clips.frame_rate or FRAME_RATE,
        )
        tokens = caption_tokens(captions, self.tokenizer, most)
        self._store = ClipStore([each.clips for each in several], captions, tokens, names)
        self.train, self.validation, self.test = (
            VideoSplit(self._store, np.flatnonzero(parts == part)) for part in range(3)
        )
        distinct = len(set(known))
        self.notes += [
            Note("captions", f"{distinct:,} different ones of {len(self.tokenizer.tokens) - 2:,} words"),
            Note(
                "parts", f"{len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test"
            ),
        ]

    @property
    def messages(self) -> list[str]:
        """The notes as sentences."""
        return [f"{note.topic}: {note.text}" for note in self.notes]

    def fitted(self) -> dict[str, Any]:
        """What was learnt from the training part, for other processes."""
        return {"tokenizer": self.tokenizer.to_dict()}

    def to(self, device: torch.device) -> VideoData:
        """Move what batches are gathered from to ``device``; returns itself."""
        self._store.to(device)
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data, as JSON values; ``test_hash`` is over the test part's clips and captions."""
        sha256, test_hash = self._hashes
        return {
            "source": self.options.data,
            "rows": len(self._store.captions),
            "sha256": sha256,
            "windows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "test_hash": test_hash,
        }

    @functools.cached_property
    def _hashes(self) -> tuple[str, str]:
        """Of all clips and of the test part; once, as large clips come from a disk."""
        return _hash(VideoSplit(self._store, np.arange(len(self._store.captions)))), _hash(self.test)

    def schema(self) -> dict[str, Any]:
        """What a trained model needs to read new captions as it read these, as plain values for a checkpoint."""
        counts: dict[str, int] = {}
        for caption in self.train.captions():
            counts[caption] = counts.get(caption, 0) + 1
        frequent = sorted(counts, key=lambda caption: (-counts[caption], caption))[:KNOWN_CAPTIONS]
        return {
            "options": self.options.to_dict(),
            "tokenizer": self.tokenizer.to_dict(),
            "spec": self.spec.to_dict(),
            "captions": frequent,
        }


KNOWN_CAPTIONS = 50
"""Of the training part's captions the most frequent ones, kept with a trained model to be shown."""


class ClipStore:
    """All clips of a data set, shared by its parts.

    Clips in memory are on the device, as bytes; those mapped from a file stay there and are gathered batch by batch.

    Attributes:
        tokens: of the captions, int64 ``[clips, most tokens]``, on the device.
        captions: what each shows.
        names: where each comes from.
        is_mapped: whether clips stay in a file.
        device: where batches are.
    """

    def __init__(
        self, clips: Sequence[np.ndarray], captions: Sequence[str], tokens: Tensor, names: Sequence[str]
    ) -> None:
        """``clips``: uint8 ``[clips, frames, height, width, channels]``, one or several; ``tokens``: of captions."""
        self.is_mapped = any(isinstance(each, np.memmap) for each in clips)
        self.device = tokens.device
        self._mapped, self._clips = list(clips), None
        if not self.is_mapped:
            together = np.concatenate(clips) if len(clips) > 1 else clips[0]
            self._mapped, self._clips = [], torch.from_numpy(together.transpose(0, 1, 4, 2, 3).copy())
        self.captions, self.names, self.tokens = tuple(captions), tuple(names), tokens

    def to(self, device: torch.device) -> None:
        """Move everything that is in memory to a device."""
        self.device, self.tokens = device, self.tokens.to(device)
        if self._clips is not None:
            self._clips = self._clips.to(device)

    def pixels(self, places: Tensor) -> Tensor:
        """The clips of these numbers as bytes, uint8 ``[clips, frames, channels, height, width]``, on the device."""
        if self._clips is not None:
            return self._clips[places.to(self.device)]
        numbers, first = places.cpu().numpy(), 0
        gathered = np.empty((len(numbers), *self._mapped[0].shape[1:]), dtype=np.uint8)
        for each in self._mapped:
            inside = (numbers >= first) & (numbers < first + len(each))
            gathered[inside] = each[numbers[inside] - first]
            first += len(each)
        return torch.from_numpy(np.ascontiguousarray(gathered.transpose(0, 1, 4, 2, 3))).to(self.device)

    def batch(self, places: Tensor, index: Tensor) -> Batch:
        """The clips of these numbers as a batch.

        Args:
            places: which clips, int64 ``[batch]``.
            index: what the batch calls them.
        """
        clips = self.pixels(places).float() / 127.5 - 1
        return Batch(clips, self.tokens[places.to(self.device)], index.to(self.device))


class VideoSplit:
    """One part of the clips.

    Args:
        store: all clips.
        members: which of them, int64 ``[clips of the part]``.
    """

    def __init__(self, store: ClipStore, members: np.ndarray) -> None:
        self._store, self._members = store, members

    def __len__(self) -> int:
        return len(self._members)

    def select(self, index: Any) -> Batch:
        """The samples of these numbers within the part, from numpy or torch on any device."""
        order = torch.as_tensor(index, dtype=torch.int64).cpu()
        return self._store.batch(torch.from_numpy(self._members)[order], order)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Every clip once: in a random order drawn from ``generator``, in the order of the source without one.

        The order is drawn on the CPU, so that it does not depend on the device. The last batch may be smaller. Clips
        that are mapped from a file are fetched while the batch before is used.
        """
        count = len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        pieces = order.split(batch_size)
        yield from _one_ahead(self.select, pieces) if self._store.is_mapped else map(self.select, pieces)

    def tokens(self, index: Any = None) -> Tensor:
        """The captions' numbers of words, all of the part or those of an index, int64 ``[clips, most tokens]``."""
        return self._store.tokens[torch.from_numpy(self._places(index)).to(self._store.device)]

    def captions(self, index: Any = None) -> list[str]:
        """What the clips show, all of the part or those of an index."""
        return [self._store.captions[place] for place in self._places(index).tolist()]

    def names(self, index: Any = None) -> list[str]:
        """Where the clips come from, all of the part or those of an index."""
        return [self._store.names[place] for place in self._places(index).tolist()]

    def clips(self, index: Any = None) -> np.ndarray:
        """The clips as they were read, uint8 ``[clips, frames, height, width, channels]``."""
        return self._store.pixels(torch.from_numpy(self._places(index))).permute(0, 1, 3, 4, 2).cpu().numpy()

    def _places(self, index: Any) -> np.ndarray:
        if index is None:
            return self._members
        return self._members[torch.as_tensor(index, dtype=torch.int64).cpu().numpy()]


def caption_tokens(captions: Sequence[str], tokenizer: TextTokenizer, most: int) -> Tensor:
    """Captions as numbers of words, int64 ``[captions, most]``: 0 where there are no more, 1 for unknown ones."""
    tokens = torch.zeros(len(captions), most, dtype=torch.long)
    for row, words in enumerate(tokenizer.cut(captions)):
        numbers = tokenizer.table(words[:most])[:, 0]
        tokens[row, : len(numbers)] = torch.from_numpy(numbers.astype(np.int64))
    return tokens


def _check_alike(clips: CaptionedClips, test_clips: CaptionedClips | None) -> None:
    if test_clips is not None and test_clips.clips.shape[1:] != clips.clips.shape[1:]:
        shapes = (" x ".join(map(str, each.clips.shape[1:])) for each in (test_clips, clips))
        raise DataError(
            "test clips must have the shape of the training clips (frames, height, width, channels), but are {} and "
            "{}; use --frames and --image-size".format(*shapes)
        )


def _one_ahead(fetch: Callable[[Tensor], Batch], pieces: Sequence[Tensor]) -> Iterator[Batch]:
    """What ``fetch`` makes of every piece, in their order, the next one in a thread while the last one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="clips") as thread:
        coming = [thread.submit(fetch, piece) for piece in pieces[:1]]
        for place in range(len(pieces)):
            batch = coming.pop().result()
            coming += [thread.submit(fetch, piece) for piece in pieces[place + 1 : place + 2]]
            yield batch


def _parts(
    clips: CaptionedClips, test_clips: CaptionedClips | None, options: DataOptions, notes: list[Note]
) -> np.ndarray:
    """The part of each clip, of the test set's last: 0, 1 or 2."""
    if clips.parts is not None:
        return clips.parts
    fractions = parse_fractions(options.split, test_clips is not None, "captioned clips")
    keys = _keys(clips.clips)
    first_captions = dict(reversed(list(zip(keys, clips.captions, strict=True))))
    different = Counter(first_captions.values())
    repeat = min(different[caption] for caption in set(clips.captions)) > LEAST_PER_CLASS
    if not repeat and len(first_captions) < LEAST_PER_CLASS + 1:
        raise DataError(
            f"there must be at least {LEAST_PER_CLASS + 1} different clips, but {options.data} has "
            f"{len(first_captions)}; add some"
        )
    # Shuffled before, as captions may follow an order of people or cameras; without repeats all are one class.
    order = np.random.default_rng(0).permutation(len(keys))
    labels = [first_captions[keys[place]] if repeat else "" for place in order]
    parts = np.empty(len(keys), dtype=np.int64)
    parts[order] = stratified_parts([keys[place] for place in order], labels, fractions, "clips")
    if test_clips is None:
        return parts
    shared = sum(key in first_captions for key in _keys(test_clips.clips))
    if shared:
        text = f"{shared:,} of its {plural(len(test_clips.captions), 'clip')} are among the data as well: not unseen"
        notes.append(Note("test data", text, "--test-data", warning=True))
    return np.append(parts, np.full(len(test_clips.captions), 2))


def _keys(clips: np.ndarray) -> list[bytes]:
    """A hash of each clip, the same for those that are alike to the last bit."""
    return [hashlib.blake2b(np.ascontiguousarray(clip).data, digest_size=16).digest() for clip in clips]


def _hash(split: VideoSplit) -> str:
    digest = hashlib.sha256()
    for first in range(0, len(split), 256):
        index = np.arange(first, min(first + 256, len(split)))
        digest.update(split.clips(index).tobytes())
    for caption in split.captions():
        digest.update(caption.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
