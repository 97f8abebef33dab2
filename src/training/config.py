"""How to train. Free of torch, so that ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options, option, tunable

SCHEDULES = ("plateau", "cosine", "one-cycle", "constant")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainingConfig(Options):
    """Options of the training loop, the same for every architecture."""

    epochs: int = option(50, minimum=1, help="epochs at most")
    patience: int = option(10, minimum=1, help="stop after so many epochs without a better validation value")
    batch_size: int = tunable(64, search=(16, 32, 64, 128, 256), minimum=1, help="windows per step")
    lr: float = tunable(1e-3, low=1e-5, high=1e-1, log=True, above=0.0, help="learning rate (its peak, for schedules)")
    weight_decay: float = tunable(0.01, low=1e-6, high=0.1, log=True, minimum=0.0, help="of AdamW")
    schedule: str = option("plateau", choices=SCHEDULES, help="learning-rate schedule")
    warmup: float = option(0.0, minimum=0.0, help="epochs over which the learning rate first rises")
    clip: float = option(1.0, minimum=0.0, help="largest gradient norm; 0 clips nothing")
    epoch_fraction: float = option(
        1.0, above=0.0, maximum=1.0, help="share of the training windows drawn anew for each epoch"
    )
    checkpoint_minutes: float = option(
        10.0, above=0.0, help="minutes between checkpoints inside a long epoch; every epoch ends with one"
    )
    seed: int = option(0, minimum=0, help="random seed")
    device: str = option("auto", help="auto, cpu, cuda, cuda:N or mps")
    threads: int = option(1, minimum=1, help="CPU threads per training process")
    precision: str = option("float32", choices=PRECISIONS, help="arithmetic of forward and backward pass")
    compile: bool = option(False, help="use torch.compile (worth it on a GPU)")
    deterministic: bool = option(False, help="only deterministic algorithms, also on a GPU (slower)")
