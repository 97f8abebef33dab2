"""What a trained diffusion model draws, by sampler, steps and guidance: is it what captions say, and does it flicker?

    python benchmarks/captioned_video.py runs/<timestamp>/diffusion_video [--captions 200] [--ddpm]

Captions are those of the run's own test part, evenly spaced, and the noise is the same for each row. A row gives the
share of clips in which a reader, fitted to the real training clips, finds the caption that was asked for; of single
frames, and of clips in all their frames, in which it finds the words that a still tells; and the seconds it took. The
last row is what it finds in real clips that were held apart.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from src.data.loading import load_data  # noqa: E402
from src.data.options import DataOptions  # noqa: E402
from src.layers.samplers import Sampling  # noqa: E402
from src.prediction import load_run  # noqa: E402

COLUMNS = ("caption_accuracy", "frame_accuracy", "all_frames_accuracy")


def row(name: str, scores: dict[str, float], seconds: float | None) -> str:
    """A row of the table."""
    cells = [f"{100 * scores[column]:.1f} %" if column in scores else "-" for column in COLUMNS]
    return f"| {name} | {' | '.join(cells)} | {'-' if seconds is None else f'{seconds:.0f}'} |"


def main(
    run: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    captions: int = 200,
    ddpm: Annotated[bool, typer.Option("--ddpm", help="all steps of DDPM as well, which takes minutes")] = False,
    threads: int = 1,
) -> None:
    """Print a row for each way of drawing."""
    torch.set_num_threads(threads)
    trained = load_run(run)
    model: Any = trained.model
    data: Any = load_data(DataOptions.from_dict(dict(trained.schema["options"])))
    index = (torch.arange(captions) * len(data.test)) // captions
    asked, quality = data.test.select(index).targets, model.quality(data, "test")
    ways = [
        *(Sampling("ddim", 25, guidance, 7) for guidance in (1.0, 2.0, 4.0)),
        *(Sampling("ddim", steps, 2.0, 7) for steps in (5, 10, 50)),
        *([Sampling("ddpm", None, 2.0, 7)] if ddpm else []),
    ]
    print("| sampler | captions | frames | all frames | seconds |\n|:--|--:|--:|--:|--:|")
    for way in ways:
        began = time.perf_counter()
        clips = model.generate(asked, way)
        seconds = time.perf_counter() - began
        name = f"{way.sampler}, {way.steps or model.process.timesteps} steps, guidance {way.guidance:g}"
        print(row(name, quality.score(clips, asked), seconds), flush=True)
    print(row("real clips", quality.ceiling, None))


if __name__ == "__main__":
    typer.run(main)
