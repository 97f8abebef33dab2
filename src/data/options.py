"""The options that say which data to read and how to cut them. Free of torch, so that ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options, option

TASKS = ("forecast", "direction")
TRANSFORMS = ("return", "log-return", "level")


@dataclass(frozen=True)
class DataOptions(Options):
    """Which series, which columns, which windows and which parts."""

    data: str = option("sample:goog", help="a CSV file with a date column (may be gzipped), or sample:NAME")
    window: int = option(96, minimum=1, help="look-back window: how many past rows a forecast reads")
    horizon: int = option(1, minimum=1, help="how many rows ahead to forecast")
    target: str | None = option(
        None,
        help="column to forecast, several with commas, or 'all'",
        default_text="adjusted close, close, or last column",
    )
    features: str | None = option(None, help="columns the model reads, with commas", default_text="all numeric columns")
    transform: str | None = option(
        None,
        choices=TRANSFORMS,
        help="forecast the next return, log-return or the level itself",
        default_text="return, or what a sample says",
    )
    task: str = option("forecast", choices=TASKS, help="forecast values, or the direction (up or not)")
    split: str = option(
        "0.7,0.15,0.15",
        help="training, validation, test in time order: fractions, row counts (8640,2880,2880), or the two dates "
        "where validation and test begin",
    )
    gap: int = option(0, minimum=0, help="embargo: rows left out after each border")
