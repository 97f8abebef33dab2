"""Texts as numbers of tokens, and of the character n-grams within them; fitted to the training part only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import OptionError
from .options import DataOptions

SPECIAL = ("[PAD]", "[UNK]")
"""Tokens 0 and 1: nothing, and what is not in the vocabulary."""

NGRAMS_PER_TOKEN = 32
"""More n-grams of one token than that are left out, from its end."""

MOST_NGRAMS = 50_000
FEWEST_OCCURRENCES = 2
"""Where tokens are known by their n-grams as well, those seen once have no number: one sight teaches nothing much."""

FEWEST_WORDS = 2
"""So many different words an n-gram must occur in to be known."""

_WORDS = re.compile(r"'(?:s|re|ve|ll|d|m|t)\b|\w+(?:['’-]\w+)*|[^\w\s]")


class TextTokenizer:
    """Cuts texts into tokens and numbers them.

    Args:
        values: what ``to_dict`` returned.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.kind = str(values["kind"])
        self.ngram_lengths: tuple[int, int] | None = tuple(values["ngram_lengths"]) if values["ngram_lengths"] else None
        self.pieces = str(values.get("pieces") or "")
        self.tokens = tuple(values["tokens"])
        self.ngrams = tuple(values["ngrams"])
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        self._ngram_numbers = {ngram: number for number, ngram in enumerate(self.ngrams, 1)}
        self._tokenizer: Any = None

    @classmethod
    def fit(cls, texts: Sequence[str], options: DataOptions) -> TextTokenizer:
        """Learn the vocabulary of training texts.

        Raises:
            OptionError: if the lengths of n-grams cannot be read.
        """
        lengths = parse_ngrams(options.char_ngrams)
        values: dict[str, Any] = {"kind": options.tokenizer, "ngram_lengths": lengths, "tokens": SPECIAL, "ngrams": ()}
        if options.tokenizer != "words":
            values["pieces"] = _train_pieces(texts, options)
        counts: Counter[str] = Counter()
        for tokens in cls(values).cut(texts):
            counts.update(tokens)
        often = FEWEST_OCCURRENCES if lengths else 1
        by_frequency = sorted((t for t in counts if counts[t] >= often), key=lambda token: (-counts[token], token))
        values["tokens"] = (*SPECIAL, *by_frequency[: options.vocabulary - len(SPECIAL)])
        if lengths:
            words = Counter(ngram for token in counts for ngram in set(ngrams_of(token, lengths)))
            common = sorted((n for n in words if words[n] >= FEWEST_WORDS), key=lambda n: (-words[n], n))
            values["ngrams"] = tuple(common[:MOST_NGRAMS])
        return cls(values)

    @property
    def width(self) -> int:
        """Numbers per token: its own, and those of its n-grams."""
        return 1 + (NGRAMS_PER_TOKEN if self.ngram_lengths else 0)

    def cut(self, texts: Iterable[str]) -> list[list[str]]:
        """The tokens of every text, as they are spelt."""
        if self.kind == "words":
            return [_WORDS.findall(text.lower()) for text in texts]
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(self.pieces)
        return [encoding.tokens for encoding in self._tokenizer.encode_batch(list(texts))]

    def table(self, tokens: Sequence[str]) -> np.ndarray:
        """int32 ``[tokens, width]``: the number of each token, then those of its n-grams, 0 where there are no more."""
        table = np.zeros((len(tokens), self.width), dtype=np.int32)
        table[:, 0] = [self._numbers.get(token, 1) for token in tokens]
        if self.ngram_lengths:
            for row, token in enumerate(tokens):
                known = [self._ngram_numbers.get(ngram, 0) for ngram in ngrams_of(token, self.ngram_lengths)]
                kept = [number for number in known if number][:NGRAMS_PER_TOKEN]
                table[row, 1 : 1 + len(kept)] = kept
        return table

    def spelt(self, numbers: Iterable[int]) -> str:
        """The words of token numbers, padding left out."""
        return " ".join(self.tokens[number] for number in numbers if number)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for checkpoints and workers."""
        return {
            "kind": self.kind,
            "ngram_lengths": list(self.ngram_lengths) if self.ngram_lengths else None,
            "pieces": self.pieces,
            "tokens": list(self.tokens),
            "ngrams": list(self.ngrams),
        }


def ngrams_of(token: str, lengths: tuple[int, int]) -> list[str]:
    """The character n-grams of a token, its ends marked: ``<so``, ``so>`` of "so" with lengths of 3."""
    marked = f"<{token}>"
    low, high = lengths
    return [marked[at : at + size] for size in range(low, high + 1) for at in range(len(marked) - size + 1)]


def parse_ngrams(text: str | None) -> tuple[int, int] | None:
    """``3-5`` -> ``(3, 5)``, ``3`` -> ``(3, 3)``.

    Raises:
        OptionError: for anything else.
    """
    if text is None or text.lower() in ("none", "0"):
        return None
    match = re.fullmatch(r"(\d)(?:-(\d))?", text.strip())
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high:
        raise OptionError(f"--char-ngrams must be two lengths from 1 to 9 such as 3-5, or none, but got '{text}'")
    return low, high


def _train_pieces(texts: Sequence[str], options: DataOptions) -> str:
    """A tokenizer of word pieces as the library writes it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    special, size = list(SPECIAL), options.vocabulary
    trainer: Any
    if options.tokenizer == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())
