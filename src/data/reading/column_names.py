"""Column names as people write them, and the one spelling by which they are compared."""

from __future__ import annotations

import re

_FOOTNOTES = "*†‡§^"
_SPELLINGS = {
    "adj close": (
        "adj close", "adjclose", "adjusted close", "adjustedclose", "adj close price", "adjusted close price",
        "adjusted closing price", "adj closing price", "close adj", "close adjusted", "adj last",
    ),
    "close": (
        "close", "close price", "closing price", "close last", "last", "last price", "px last", "price close",
        "closeprice", "lastprice", "last close", "closing",
    ),
    "open": ("open", "open price", "opening price", "px open", "price open", "openprice", "opening"),
    "high": ("high", "high price", "highest price", "px high", "price high", "highprice", "highest"),
    "low": ("low", "low price", "lowest price", "px low", "price low", "lowprice", "lowest"),
    "volume": ("volume", "vol", "total volume", "px volume", "trade volume", "trading volume", "shares traded"),
}  # fmt: skip
_CANONICAL = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def clean_name(text: str) -> str:
    """A column's name without blanks around it, footnote marks and trailing dots: ``Adj. Close*`` -> ``Adj. Close``."""
    return " ".join(str(text).split()).strip(_FOOTNOTES + " ").rstrip(".: ") or str(text).strip()


def canonical_name(text: str) -> str:
    """The one spelling of a column's name: lower-case words with single blanks, synonyms replaced.

    >>> [canonical_name(text) for text in ("Adj. Close*", "adjClose", "adjusted_close", "5. adjusted close")]
    ['adj close', 'adj close', 'adj close', 'adj close']
    >>> [canonical_name(text) for text in ("Close/Last", "close_price", "Last", "<CLOSE>", "Volume BTC")]
    ['close', 'close', 'close', 'close', 'volume btc']
    """
    name = re.sub(r"^\d+\.\s+", "", clean_name(text))  # "4. close": numbered by the service that wrote it
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.sub(r"[^\w]+|_+", " ", name.lower()).strip()
    return _CANONICAL.get(words, words or name.lower())
