"""Labelled texts as a data module: numbers of tokens, in batches of texts of about the same length."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..errors import DataError, OptionError
from .base import Batch, DataSpec
from .options import DataOptions
from .reading.sources import hide_password
from .tables import Note
from .text_reading.texts import LabelledTexts
from .tokenizer import TextTokenizer

BATCHES_SORTED = 50
"""So many batches are drawn and sorted by length together: little padding, and yet another order in every epoch."""

LEAST_PER_CLASS = 2


class TextData:
    """Texts of several classes, cut into a training, a validation and a test part at random.

    Every class has the same share of each part, texts that are alike are in the same part, and the cut is the same for
    every run. With a test set of its own, the other two parts come from the data.

    Attributes:
        spec: shapes, classes and sizes of the vocabulary, for models.
        train, validation, test: the three parts.
        options: the options with nothing left open.
        tokenizer: fitted to the training part.
        notes: what was found, chosen and done, for the user to read.
    """

    def __init__(
        self,
        texts: LabelledTexts,
        options: DataOptions,
        test_texts: LabelledTexts | None = None,
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        """Cut and number texts; files come through ``load_data``.

        Args:
            texts: with their labels.
            options: how to cut and to number them.
            test_texts: those of a separate test set.
            tokenizer: fitted to these data before; by default it is fitted now.

        Raises:
            DataError: if there are too few texts of a class, or the test set has classes that are new.
            OptionError: if the task or the split does not go with text.
        """
        if options.task not in (None, "classify"):
            raise OptionError(f"text has the task classify, but got --task {options.task}; leave it out")
        self.options = replace(options, task="classify", transform="level")
        self.notes: list[Note] = list(texts.notes)
        everything, labels, parts = _parts(texts, test_texts, options, self.notes)
        classes = sorted({label for label, part in zip(labels, parts, strict=True) if part == 0}, key=class_order)
        numbers = {name: number for number, name in enumerate(classes)}
        unknown = sorted({label for label in labels if label not in numbers})
        if unknown:
            raise DataError(
                f"classes of the test set must be among those trained with ({', '.join(classes)}), but it has "
                f"{', '.join(unknown[:5])}; leave those texts out"
            )
        targets = np.array([numbers[label] for label in labels])
        self.tokenizer = tokenizer or TextTokenizer.fit(
            [text for text, part in zip(everything, parts, strict=True) if part == 0], options
        )
        store = TextStore(everything, targets, self.tokenizer, options.max_tokens)
        self._store = store
        self.train, self.validation, self.test = (TextSplit(store, np.flatnonzero(parts == part)) for part in range(3))
        counts = np.bincount(targets[parts == 0], minlength=len(classes))
        self.spec = DataSpec(
            "text",
            "classify",
            (int(min(options.max_tokens, max(store.lengths.max(), 1))), self.tokenizer.width),
            (len(classes),),
            target_names=("label",),
            class_names=tuple(classes),
            class_shares=tuple((counts / counts.sum()).tolist()),
            vocabulary=len(self.tokenizer.tokens),
            ngrams=len(self.tokenizer.ngrams) + 1 if self.tokenizer.ngram_lengths else 0,
        )
        self.notes += _found(self.spec, store, parts)

    @property
    def messages(self) -> list[str]:
        """The notes as sentences."""
        return [f"{note.topic}: {note.text}" for note in self.notes]

    def fitted(self) -> dict[str, Any]:
        """What was learnt from the training part, for other processes."""
        return {"tokenizer": self.tokenizer.to_dict()}

    def to(self, device: torch.device) -> TextData:
        """Move what batches are gathered from to ``device``; returns itself."""
        self._store.to(device)
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data, as JSON values; ``test_hash`` is over the test part's texts and labels."""
        store = self._store
        return {
            "source": self.options.data,
            "rows": len(store.texts),
            "classes": list(self.spec.class_names),
            "sha256": _hash(store.texts, store.targets),
            "windows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "test_hash": _hash(self.test.texts(), self.test.targets()),
        }

    def schema(self) -> dict[str, Any]:
        """What a trained model needs to read new texts as it read these, as plain values for a checkpoint."""
        return {
            "options": replace(self.options, data=hide_password(self.options.data)).to_dict(),
            "tokenizer": self.tokenizer.to_dict(),
            "spec": self.spec.to_dict(),
        }


class TextStore:
    """All texts of a data set as numbers.

    Every different token stands once in a table of its number and those of its n-grams; texts are rows of that table.

    Attributes:
        texts: as they were read.
        targets: classes, int64 ``[texts]``; -1 where unknown.
        lengths: tokens of each text that are kept, int64 ``[texts]``.
        cut_off: how many texts are longer than that.
    """

    def __init__(self, texts: Sequence[str], targets: np.ndarray, tokenizer: TextTokenizer, most: int) -> None:
        self.texts = list(texts)
        self.targets = targets.astype(np.int64)
        cut = tokenizer.cut(self.texts)
        self.cut_off = sum(len(tokens) > most for tokens in cut)
        known: dict[str, int] = {}
        rows = [known.setdefault(token, len(known)) + 1 for tokens in cut for token in tokens[:most]]
        self.lengths = np.array([max(1, min(len(tokens), most)) for tokens in cut], dtype=np.int64)
        self._offsets = torch.zeros(len(cut) + 1, dtype=torch.int64)
        self._offsets[1:] = torch.from_numpy(np.cumsum([min(len(tokens), most) for tokens in cut]))
        self._rows = torch.tensor(rows, dtype=torch.int64)
        padding = np.zeros((1, tokenizer.width), dtype=np.int32)
        self._table = torch.from_numpy(np.concatenate([padding, tokenizer.table(list(known))]))
        self._targets = torch.from_numpy(self.targets)

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self._offsets, self._rows = self._offsets.to(device), self._rows.to(device)
        self._table, self._targets = self._table.to(device), self._targets.to(device)

    def batch(self, index: np.ndarray) -> Batch:
        """The texts of these numbers as a batch, padded to the longest of them; ``index`` is left to the caller."""
        places = torch.as_tensor(index, device=self._rows.device)
        begin, end = self._offsets[places], self._offsets[places + 1]
        steps = torch.arange(int(self.lengths[index].max()), device=self._rows.device)
        at = begin[:, None] + steps
        inside = at < end[:, None]
        rows = torch.zeros_like(at)
        rows[inside] = self._rows[at[inside]]
        inputs = self._table[rows].long()
        # A text without any token is one unknown token, so that there is something to read.
        inputs[:, 0, 0] = torch.where(begin == end, 1, inputs[:, 0, 0])
        return Batch(inputs, self._targets[places], places)


class TextSplit:
    """One part of the texts.

    Args:
        store: all texts.
        members: which of them, int64 ``[texts of the part]``.
    """

    def __init__(self, store: TextStore, members: np.ndarray) -> None:
        self._store, self._members = store, members

    def __len__(self) -> int:
        return len(self._members)

    def select(self, index: Any) -> Batch:
        """The samples of these numbers within the part, padded to the longest of them."""
        index = torch.as_tensor(index, dtype=torch.int64).cpu().numpy()
        batch = self._store.batch(self._members[index])
        return batch._replace(index=torch.from_numpy(index).to(batch.inputs.device))

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """All samples once, texts of about the same length together; shortest first without a ``generator``."""
        lengths = self._store.lengths[self._members]
        if generator is None:
            order = np.argsort(lengths, kind="stable")
            starts = range(0, len(order), batch_size)
            yield from (self.select(order[start : start + batch_size]) for start in starts)
            return
        drawn = torch.randperm(len(self), generator=generator).numpy()
        pool = BATCHES_SORTED * batch_size
        pieces = [drawn[start : start + pool] for start in range(0, len(drawn), pool)]
        order = np.concatenate([piece[np.argsort(lengths[piece], kind="stable")] for piece in pieces])
        count = -(-len(order) // batch_size)
        for number in torch.randperm(count, generator=generator).tolist():
            yield self.select(order[number * batch_size : (number + 1) * batch_size])

    def texts(self, index: Any = None) -> list[str]:
        """The texts as they were read, all of the part or those of an index."""
        members = self._members if index is None else self._members[np.asarray(index)]
        return [self._store.texts[member] for member in members]

    def targets(self) -> np.ndarray:
        """The classes, int64 ``[texts]``."""
        return self._store.targets[self._members]


def new_texts(texts: Sequence[str], schema: Mapping[str, Any]) -> TextSplit:
    """Texts without labels for a model that was trained on others, numbered as those were."""
    tokenizer = TextTokenizer(schema["tokenizer"])
    store = TextStore(texts, np.full(len(texts), -1), tokenizer, schema["spec"]["input_shape"][0])
    return TextSplit(store, np.arange(len(texts)))


def _parts(
    texts: LabelledTexts, test_texts: LabelledTexts | None, options: DataOptions, notes: list[Note]
) -> tuple[list[str], list[str], np.ndarray]:
    """All texts with their labels, and the part of each: 0, 1 or 2."""
    labels = list(texts.labels or ())
    fractions = parse_fractions(options.split, test_texts is not None)
    parts = stratified_parts(list(map(_normal, texts.texts)), labels, fractions)
    if test_texts is None:
        return list(texts.texts), labels, parts
    shared = len(set(map(_normal, texts.texts)) & set(map(_normal, test_texts.texts)))
    if shared:
        notes.append(
            Note(
                "test data",
                f"{shared} of its texts are among the data as well: not unseen",
                "--test-data",
                warning=True,
            )
        )
    everything = [*texts.texts, *test_texts.texts]
    return everything, [*labels, *(test_texts.labels or ())], np.append(parts, np.full(len(test_texts.texts), 2))


def parse_fractions(split: str, own_test: bool, kind: str = "text") -> tuple[float, float, float]:
    """Shares of the three parts; with a test set of its own, of the first two. ``kind`` of data is for the message.

    Raises:
        OptionError: if they are no two or three fractions.
    """
    try:
        values = [float(part) for part in split.split(",")]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or any(not 0 <= value < 1 for value in values) or not values[0] or not values[1]:
        raise OptionError(f"--split of {kind} must be fractions such as 0.8,0.1,0.1, but got '{split}'")
    if own_test:
        values = [values[0], values[1], 0.0]
    elif len(values) == 2 or not values[2]:
        raise OptionError(f"--split needs a share for the test part too, but got '{split}'; or give --test-data")
    train, validation, test = (value / sum(values) for value in values)
    return train, validation, test


def stratified_parts(
    keys: Sequence[Hashable], labels: Sequence[str], fractions: Sequence[float], noun: str = "texts"
) -> np.ndarray:
    """The part of every sample: of each class the same shares, drawn at random, samples that are alike together.

    Args:
        keys: of the samples, the same for those that are alike.
        labels: of the samples.
        fractions: shares of the three parts.
        noun: what the samples are called in messages.

    Returns:
        0, 1 or 2 for training, validation or test, int64 ``[samples]``.

    Raises:
        DataError: if a class has too few different samples.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    by_class: dict[str, list[list[int]]] = {}
    for members in groups.values():
        by_class.setdefault(labels[members[0]], []).append(members)
    parts = np.zeros(len(keys), dtype=np.int64)
    needed = LEAST_PER_CLASS + (fractions[2] > 0)
    for name in sorted(by_class):
        alike = by_class[name]
        if len(alike) < needed:
            raise DataError(
                f"every class needs at least {needed} different {noun}, some for each part, but {name} has "
                f"{len(alike)}; add some, or leave the class out"
            )
        order = np.random.default_rng(0).permutation(len(alike))
        borders = np.cumsum(fractions)[:2] * len(alike)
        first = min(max(1, round(float(borders[0]))), len(alike) - (needed - 1))
        second = min(max(first + 1, round(float(borders[1]))), len(alike) - (fractions[2] > 0))
        for rank, number in enumerate(order):
            parts[alike[number]] = 0 if rank < first else 1 if rank < second or not fractions[2] else 2
    return parts


def _found(spec: DataSpec, store: TextStore, parts: np.ndarray) -> list[Note]:
    lengths = store.lengths[parts == 0]
    notes = [
        Note(
            "tokens",
            f"{spec.vocabulary - 2:,} different ones, {np.median(lengths):.0f} in a text, {lengths.max()} at most",
        ),
    ]
    if spec.ngrams:
        notes.append(Note("n-grams", f"{spec.ngrams - 1:,} that occur in several words"))
    if store.cut_off:
        most = spec.input_shape[0]
        notes.append(Note("length", f"{store.cut_off} texts are longer than {most} tokens and are cut", "--max-tokens"))
    return notes


def class_order(name: str) -> tuple[int, float, str]:
    """Numbers in order of their value, then names in alphabetical order."""
    try:
        value = float(name)
    except ValueError:
        value = math.nan
    return (1, 0.0, name) if math.isnan(value) else (0, value, name)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _hash(texts: Sequence[str], targets: np.ndarray) -> str:
    digest = hashlib.sha256(targets.tobytes())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
