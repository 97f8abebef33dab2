"""A small GPT over characters, written with plain PyTorch, watched through three added lines.

    python examples/small_gpt.py --steps 300
    tensorboard --logdir runs

It learns the text of Python's own help pages, or a file of yours (``--text FILE``). The lines marked ``trainboard 1``
to ``trainboard 3`` are all it takes; without them this is an ordinary script that knows nothing of trainboard. The line
with ``sys.path`` is there because a script in a sub-folder of the checkout does not see the package: after
``pip install .`` leave it out and write ``from trainboard import TrainingLogger``.
"""

import math
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import TrainingLogger  # trainboard 1

CONTEXT, WIDTH, HEADS, BLOCKS, BATCH = 64, 64, 4, 2, 16


class Block(nn.Module):
    """Causal self-attention, then two linear layers, each added to what comes in (normalised before)."""

    def __init__(self) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), -math.inf).triu(1), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """``[batch, time, width]`` to the same."""
        normed = self.first_norm(states)
        mask = self.mask[: states.shape[1], : states.shape[1]]
        attended, _ = self.attention(normed, normed, normed, attn_mask=mask, need_weights=False, is_causal=True)
        states = states + attended
        return states + self.feed_forward(self.second_norm(states))


class SmallGPT(nn.Module):
    """Scores of the next character at every place."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Numbers of characters ``[batch, time]`` to scores ``[batch, time, characters]``."""
        states = self.characters(text) + self.places(torch.arange(text.shape[1], device=text.device))
        return self.head(self.norm(self.blocks(states)))

    @torch.no_grad()
    def write(self, text: Tensor, length: int) -> Tensor:
        """Draw ``length`` more characters after ``text``, ``[1, time]``."""
        for _ in range(length):
            scores = self(text[:, -CONTEXT:])[:, -1]
            text = torch.cat([text, torch.multinomial(scores.softmax(-1), 1)], 1)
        return text


def main(
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps")] = 300,
    text: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="a text file to learn")] = None,
    save: Annotated[Path | None, typer.Option(help="file for the trained weights")] = None,
) -> None:
    """Train a small GPT on characters."""
    torch.manual_seed(0)
    content = "\n".join(topics.values()) if text is None else text.read_text(encoding="utf-8")
    alphabet = sorted(set(content))
    numbers = {character: number for number, character in enumerate(alphabet)}
    data = torch.tensor([numbers[character] for character in content])
    if len(data) <= CONTEXT:
        raise typer.BadParameter(f"the text must have more than {CONTEXT} characters, but has {len(data)}")
    model = SmallGPT(len(alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    logger = TrainingLogger(experiment_name="small_gpt").watch(model, optimizer)  # trainboard 2

    for step in range(steps):
        starts = torch.randint(len(data) - CONTEXT, (BATCH, 1))
        window = data[starts + torch.arange(CONTEXT + 1)]
        scores = model(window[:, :-1])
        loss = functional.cross_entropy(scores.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        logger.step({"loss": loss})  # trainboard 3
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}")

    model.eval()
    print("".join(alphabet[number] for number in model.write(data[None, :8], 80)[0]))
    if save is not None:
        torch.save(model.state_dict(), save)
    print("Look at it: tensorboard --logdir runs")


if __name__ == "__main__":
    typer.run(main)
