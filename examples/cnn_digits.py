"""A convolutional network that reads digits, written with plain PyTorch, watched through three added lines.

    python examples/cnn_digits.py --steps 300
    tensorboard --logdir runs

The pictures, 1797 of 8x8 points, come with scikit-learn. The lines marked ``trainboard 1`` to ``trainboard 3`` are all
it takes; without them this is an ordinary script that knows nothing of trainboard. The line with ``sys.path`` is there
because a script in a sub-folder of the checkout does not see the package: after ``pip install .`` leave it out and
write ``from trainboard import TrainingLogger``.
"""

import itertools
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, random_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import TrainingLogger  # trainboard 1


def main(
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps")] = 300,
    save: Annotated[Path | None, typer.Option(help="file for the trained weights")] = None,
) -> None:
    """Train a convolutional network on digits."""
    torch.manual_seed(0)
    pictures, digits = load_digits(return_X_y=True)
    inputs = torch.tensor(pictures, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    train, test = random_split(TensorDataset(inputs, torch.tensor(digits)), [0.8, 0.2])
    loader = DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    logger = TrainingLogger(experiment_name="cnn_digits").watch(model, optimizer)  # trainboard 2

    batches = itertools.chain.from_iterable(itertools.repeat(loader))  # shuffled anew in every epoch
    for step, (images, targets) in enumerate(itertools.islice(batches, steps)):
        scores = model(images)
        loss = functional.cross_entropy(scores, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = (scores.argmax(1) == targets).float().mean()
        logger.step({"loss": loss, "accuracy": accuracy})  # trainboard 3
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}  accuracy {accuracy.item():.2f}")

    model.eval()
    with torch.no_grad():
        images, targets = next(iter(DataLoader(test, batch_size=len(test))))
        print(f"accuracy on {len(test)} other pictures: {(model(images).argmax(1) == targets).float().mean():.3f}")
    if save is not None:
        torch.save(model.state_dict(), save)
    print("Look at it: tensorboard --logdir runs")


if __name__ == "__main__":
    typer.run(main)
