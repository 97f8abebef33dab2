"""Time of a training step, ours against a bare hand-written loop of the plain computation, side by side.

    python benchmarks/step_speed.py [--pairs 5] [--steps 60]

Both sides use one thread, batch 64, window 96, width 64, 2 layers (4 blocks), 7 features, horizon 1 and the default
options. The bare side steps over tensors that lie ready in memory; ours goes through ``BaseModel.fit``. Every
measurement is a fresh process, in the order A B A B; medians are compared. Before timing, both sides get the same
weights and take the same 20 steps without dropout: their losses must agree.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MODELS = ("lstm:basic", "gru:basic", "tcn:residual", "transformer:basic")
GOALS = {"lstm:basic": 0.55, "tcn:residual": 0.30, "transformer:basic": 0.60}
BATCH, WINDOW, WIDTH, FEATURES = 64, 96, 64, 7


def plain_network(model: str, dropout: float):
    """The textbook network: all time steps are computed, the last one is read."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Recurrent(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.cell = kind(FEATURES, WIDTH, 2, batch_first=True, dropout=dropout)
            self.head = nn.Linear(WIDTH, 1)

        def forward(self, x):
            states, _ = self.cell(x)
            return self.head(functional.dropout(states[:, -1], dropout, self.training))[:, None]

    class Convolutional(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [FEATURES] + [WIDTH] * 4
            self.first = nn.ModuleList(nn.Conv1d(widths[i], WIDTH, 3, dilation=2**i) for i in range(4))
            self.second = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, dilation=2**i) for i in range(4))
            self.match = nn.Conv1d(FEATURES, WIDTH, 1)
            self.drop = nn.Dropout1d(dropout)
            self.head = nn.Linear(WIDTH, 1)

        def forward(self, x):
            x = x.transpose(1, 2)
            for i in range(4):
                pad = (2 * 2**i, 0)
                hidden = self.drop(torch.relu(self.first[i](functional.pad(x, pad))))
                hidden = self.drop(torch.relu(self.second[i](functional.pad(hidden, pad))))
                x = hidden + (self.match(x) if i == 0 else x)
            return self.head(functional.dropout(x[:, :, -1], dropout, self.training))[:, None]

    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Linear(FEATURES, WIDTH)
            self.positions = nn.Parameter(torch.randn(WINDOW, WIDTH) * 0.02)
            layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout, "gelu", batch_first=True, norm_first=True)
            layer.self_attn.dropout = 0.0  # as in ours: attention weights are not dropped
            self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
            self.head = nn.Linear(WIDTH, 1)

        def forward(self, x):
            x = functional.dropout(self.embedding(x) + self.positions, dropout, self.training)
            return self.head(functional.dropout(self.encoder(x)[:, -1], dropout, self.training))[:, None]

    makers = {
        "lstm:basic": lambda: Recurrent(nn.LSTM),
        "gru:basic": lambda: Recurrent(nn.GRU),
        "tcn:residual": Convolutional,
        "transformer:basic": Attending,
    }
    return makers[model]()


def weights_for_plain(model: str, ours) -> dict:
    """Our weights under the plain network's names."""
    import torch

    names = {"lstm.": "cell.", "gru.": "cell."}
    if model in ("lstm:basic", "gru:basic"):
        return {key.replace("lstm.", names["lstm."]).replace("gru.", names["gru."]): v for key, v in ours.items()}
    if model == "tcn:residual":
        renamed = {}
        for key, value in ours.items():
            parts = key.split(".")
            if parts[0] == "blocks":
                key = f"match.{parts[3]}" if parts[2] == "match" else f"{parts[2]}.{parts[1]}.{parts[3]}"
            renamed[key] = value
        return renamed
    renamed = {}
    for key, value in ours.items():
        for old, new in (
            ("layers.", "encoder.layers."),
            ("final_norm.", "encoder.norm."),
            ("attention_norm.", "norm1."),
            ("mlp_norm.", "norm2."),
            ("expand.", "linear1."),
            ("contract.", "linear2."),
            ("attention.output.", "self_attn.out_proj."),
        ):
            key = key.replace(old, new) if old != "layers." or key.startswith("layers.") else key
        renamed[key] = value
    for layer in range(2):
        for kind in ("weight", "bias"):
            stem = f"encoder.layers.{layer}."
            query = renamed.pop(f"{stem}attention.query.{kind}")
            rest = renamed.pop(f"{stem}attention.key_value.{kind}")
            renamed[f"{stem}self_attn.in_proj_{kind}"] = torch.cat([query, rest])
    return renamed


def our_model_and_data(model: str, steps: int, dropout: float):
    """Our network and data that make ``steps`` batches an epoch."""
    import numpy as np
    import pandas as pd
    import torch

    from src import DataOptions, SeriesData, create_model
    from src.data.tables import Table

    rows = WINDOW + BATCH * steps + 2 * (WINDOW + 1)
    values = np.random.default_rng(0).standard_normal((rows, FEATURES))
    dates = pd.date_range("2020-01-01", periods=rows, freq="h").to_numpy().astype("datetime64[ns]")
    table = Table(dates, {f"x{i}": values[:, i] for i in range(FEATURES)}, "noise", ())
    split = f"{WINDOW + BATCH * steps},{WINDOW + 1},{WINDOW + 1}"
    data = SeriesData.from_tables([table], DataOptions(transform="level", window=WINDOW, split=split))
    torch.manual_seed(0)
    return create_model(model, data.spec, {"normalisation": "none", "dropout": dropout}), data


def time_ours(model: str, steps: int) -> float:
    """Median milliseconds of a step inside ``fit``."""
    from src import Observer, TrainingConfig

    class Clock(Observer):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step(self, report) -> None:
            self.times.append(time.perf_counter())

    network, data = our_model_and_data(model, steps, dropout=0.1)
    clock = Clock()
    network.fit(data, TrainingConfig(epochs=1), observers=[clock])
    return _median_step(clock.times)


def time_bare(model: str, steps: int) -> float:
    """Median milliseconds of a step of the hand-written loop."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = plain_network(model, dropout=0.1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    inputs, targets = torch.randn(steps, BATCH, WINDOW, FEATURES), torch.randn(steps, BATCH, 1, 1)
    times = []
    for x, y in zip(inputs, targets, strict=True):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter())
    return _median_step(times)


def _median_step(times: list[float]) -> float:
    return 1000 * statistics.median(after - before for before, after in itertools.pairwise(times[5:]))


def largest_difference(model: str, steps: int = 20) -> float:
    """The largest relative difference of the losses of both sides over the same steps from the same weights."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    ours, data = our_model_and_data(model, steps, dropout=0.0)
    plain = plain_network(model, dropout=0.0)
    plain.load_state_dict(weights_for_plain(model, ours.state_dict()))
    optimizers = [torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01) for network in (ours, plain)]
    worst = 0.0
    for batch in data.train.batches(BATCH):
        losses = []
        for network, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(batch.inputs), batch.targets)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        worst = max(worst, abs(losses[0] - losses[1]) / losses[1])
    return worst


def main(
    pairs: Annotated[int, typer.Option(help="measurements of each side")] = 5,
    steps: Annotated[int, typer.Option(help="steps in each measurement")] = 60,
    models: Annotated[str, typer.Option(help="with commas")] = ",".join(MODELS),
    side: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Compare both sides for every model."""
    if side:
        print(json.dumps((time_ours if side == "ours" else time_bare)(models, steps)))
        return
    print(f"{'model':<18} {'ours ms':>8} {'bare ms':>8} {'ratio':>6}  {'goal':>5}  largest difference of losses")
    for model in models.split(","):
        times: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(pairs):
            for which in times:
                command = [sys.executable, __file__, "--side", which, "--models", model, "--steps", str(steps)]
                times[which].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
        ours, bare = statistics.median(times["ours"]), statistics.median(times["bare"])
        ratio = statistics.median(a / b for a, b in zip(times["ours"], times["bare"], strict=True))
        goal = f"{GOALS[model]:.2f}" if model in GOALS else "-"
        difference = largest_difference(model)
        print(f"{model:<18} {ours:8.2f} {bare:8.2f} {ratio:6.2f}  {goal:>5}  {difference:.1e}", flush=True)


if __name__ == "__main__":
    typer.run(main)
