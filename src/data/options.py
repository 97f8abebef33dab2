"""The options that say which data to read and how to cut them. Free of torch, so that ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options, option, tunable

TASKS = ("forecast", "direction", "classify", "represent", "generate")
TOKENIZERS = ("words", "bpe", "wordpiece")
TRANSFORMS = ("return", "log-return", "level")
LAYOUTS = ("single", "long", "wide")
DUPLICATES = ("last", "first", "mean", "refuse")


@dataclass(frozen=True)
class ReadingOptions(Options):
    """Where the data are, and how to read them where the reader's own guess is wrong."""

    data: str = option(
        "sample:goog",
        help="series or labelled texts: file (CSV, TSV, Parquet; gzip, zip, xz), folder or glob of files, - for "
        "standard input, database URL, or sample:NAME; images: folder or zip of pictures, IDX file or .npz; captioned "
        "clips: folder of GIF, MP4, .npz, .pose or folders of frames, or CSV of landmarks",
    )
    query: str | None = option(None, help="SQL query that gives the rows, where --data is a database URL")
    series: str | None = option(None, several=True, help="read only these series (tickers)", default_text="all")
    separator: str | None = option(
        None, help="what stands between cells: comma, semicolon, tab, pipe, space or a character", default_text="found"
    )
    decimal: str | None = option(None, choices=("point", "comma"), help="decimal sign", default_text="found")
    thousands: str | None = option(
        None,
        choices=("none", "comma", "point", "space", "apostrophe"),
        help="what groups the digits of large numbers",
        default_text="found",
    )
    encoding: str | None = option(None, help="text encoding, such as utf-8 or cp1252", default_text="found")
    header: str | None = option(None, help="row of the column names, from 1, or none", default_text="found")
    date_column: str | None = option(
        None, help="column of dates, or two with a comma: date,time", default_text="found by name, then by content"
    )
    date_format: str | None = option(
        None,
        help="day-first, month-first, epoch-s, epoch-ms, epoch-us, or a pattern such as %d.%m.%Y",
        default_text="found",
    )
    layout: str | None = option(
        None,
        choices=LAYOUTS,
        help="one series, a row per date and series (long), or a column per series (wide)",
        default_text="found",
    )
    series_column: str | None = option(
        None, help="column that names the series of a row (long layout)", default_text="found"
    )
    missing: str | None = option(
        None, help="values that mean missing, with commas, such as -200,-1; or none", default_text="found"
    )
    fill_limit: int = option(10, minimum=0, help="longest gap, in rows, that is filled with the last value before it")
    duplicates: str | None = option(
        None,
        choices=DUPLICATES,
        help="which row to keep where a date stands more than once",
        default_text="last, if they are few",
    )
    text_column: str | None = option(None, help="text: column of the texts", default_text="found by name or content")
    label_column: str | None = option(None, help="text: column of the classes", default_text="found by name or content")
    labels: str | None = option(
        None,
        help="images: file of the labels of an IDX file or .npz (IDX, or text with one in each line); clips: captions "
        "of the classes of a table of landmarks, one in each line",
        default_text="found beside the images",
    )
    image_size: int | None = option(
        None,
        minimum=2,
        help="images and clips: side of the square they are resized to",
        default_text="as they are if all are alike, else 64",
    )
    colour: str | None = option(
        None,
        choices=("grey", "colour"),
        help="images and clips: what they are read as",
        default_text="colour if any has",
    )
    captions: str | None = option(
        None,
        help="clips: table of files and captions",
        default_text="captions.csv among the clips, or texts beside them",
    )
    frames: int | None = option(
        None, minimum=1, help="clips: frames that each is brought to", default_text="the median, at most 16"
    )
    landmarks: int | None = option(
        None, minimum=1, help="clips: a table of landmarks, so many in each frame", default_text="1"
    )
    frame_rate: float | None = option(
        None, above=0.0, help="clips: frames per second", default_text="that of the clips, else 8"
    )


@dataclass(frozen=True)
class DataOptions(ReadingOptions):
    """Which series, which columns, which windows and which parts."""

    test_data: str | None = option(None, help="separate test set, scored once; validation then comes from --data")
    test_labels: str | None = option(
        None, help="images: file of the labels of --test-data", default_text="found beside the images"
    )
    cache: str | None = option(
        None, help="folder where large inputs are kept for the next time", default_text="the user's cache folder"
    )
    window: int = tunable(
        96,
        low=24,
        high=336,
        log=True,
        minimum=1,
        tasks=("forecast", "direction"),
        help="look-back window: how many past rows a forecast reads",
    )
    horizon: int = option(1, minimum=1, tasks=("forecast", "direction"), help="how many rows ahead to forecast")
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
    task: str | None = option(
        None,
        choices=TASKS,
        help="forecast values, or the direction (up or not); classify texts or images; represent images; generate "
        "clips",
        default_text="classify for text and images with labels, represent for images without, generate for clips, "
        "else forecast",
    )
    cost_bps: float = option(
        5.0, minimum=0.0, help="task direction: what a simulated trade costs, in basis points of its size"
    )
    split: str = option(
        "0.7,0.15,0.15",
        help="training, validation, test in time order: fractions, row counts (8640,2880,2880), or the two dates "
        "where validation and test begin; of texts and images fractions, drawn at random from each class",
    )
    gap: int = option(0, minimum=0, help="embargo: rows left out after each border")
    tokenizer: str = option("words", choices=TOKENIZERS, help="text: what a token is; pieces of words are learnt")
    vocabulary: int = option(20_000, minimum=3, help="text: how many tokens to know, the most frequent ones")
    char_ngrams: str | None = option(
        None,
        help="text: lengths of character n-grams that words are known by as well, such as 3-5",
        default_text="none",
    )
    max_tokens: int = option(256, minimum=1, help="text: longer ones are cut after so many tokens")
