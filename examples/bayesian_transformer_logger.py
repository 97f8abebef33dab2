"""A small Bayesian transformer that tells praise from complaint, logged with ``BayesianTransformerLogger``.

    python examples/bayesian_transformer_logger.py --steps 200
    tensorboard --logdir runs

The sentences are synthetic: made of a few words here, so that the example needs no download. Uncertainty comes from
dropout that stays on (Gal and Ghahramani 2016): several passes vote, and what they disagree on is epistemic.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import BayesianTransformerLogger, CheckpointManager

NEUTRAL = ["the", "a", "movie", "film", "plot", "actor", "scene", "was", "and", "it", "this", "music", "story"]
GOOD, BAD = ["great", "lovely", "brilliant", "moving", "funny"], ["awful", "dull", "clumsy", "boring", "flat"]
WORDS = [*NEUTRAL, *GOOD, *BAD]
NAMES = ("Negative", "Positive")
LENGTH, WIDTH, HEADS, BATCH, PASSES = 8, 32, 4, 32, 8

Batch = dict[str, Tensor]


def synthetic_sentences(count: int, seed: int) -> Batch:
    """Neutral words with one to three words of praise or complaint; one sentence in ten has the wrong label."""
    chance = random.Random(seed)
    sentences, labels = [], []
    for _ in range(count):
        label = chance.randrange(2)
        words = chance.choices(NEUTRAL, k=LENGTH)
        for place in chance.sample(range(LENGTH), chance.randint(1, 3)):
            words[place] = chance.choice((BAD, GOOD)[label])
        sentences.append([WORDS.index(word) for word in words])
        labels.append(label if chance.random() > 0.1 else 1 - label)
    return {"input_ids": torch.tensor(sentences), "labels": torch.tensor(labels)}


class BayesianTransformer(nn.Module):
    """One block of attention; ``return_uncertainty`` lets several passes with dropout vote."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), WIDTH)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.1)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(0.2)
        self.head = nn.Linear(WIDTH, len(NAMES))

    def forward(self, input_ids: Tensor, return_uncertainty: bool = False) -> Batch:
        """``[batch, words]`` -> logits ``[batch, classes]``, attention weights and uncertainty."""
        embedded = self.embedding(input_ids) + self.position
        attended, weights = self.attention(embedded, embedded, embedded, average_attn_weights=False)
        pooled = self.norm(embedded + attended).mean(1)
        outputs = {"logits": self.head(self.dropout(pooled)), "attention_weights": weights}
        if return_uncertainty:
            kept = torch.nn.functional.dropout(pooled.expand(PASSES, -1, -1), 0.2)
            votes = self.head(kept).softmax(-1)
            mean = votes.mean(0)
            outputs["probabilities"] = mean
            outputs["aleatoric_uncertainty"] = torch.special.entr(votes).sum(-1).mean(0)
            outputs["epistemic_uncertainty"] = torch.special.entr(mean).sum(-1) - outputs["aleatoric_uncertainty"]
        return outputs


def batches(data: Batch, steps: int) -> Iterator[Batch]:
    """So many batches drawn at random."""
    for _ in range(steps):
        chosen = torch.randint(len(data["labels"]), (BATCH,))
        yield {name: values[chosen] for name, values in data.items()}


def f1_score(predicted: Tensor, labels: Tensor) -> float:
    """F1 of the class "Positive"."""
    hits = (predicted * labels).sum()
    return float(2 * hits / (predicted.sum() + labels.sum()).clamp_min(1))


@torch.no_grad()
def evaluate(model: nn.Module, data: Batch) -> tuple[float, Batch]:
    """Accuracy, and what the model answered."""
    model.eval()
    outputs = model(data["input_ids"], return_uncertainty=True)
    model.train()
    return float((outputs["probabilities"].argmax(-1) == data["labels"]).float().mean()), outputs


def log_validation(logger: BayesianTransformerLogger, data: Batch, outputs: Batch) -> None:
    """Calibration, attention, and a few sentences with the answers."""
    logger.log_calibration(outputs["probabilities"], data["labels"], outputs["epistemic_uncertainty"])
    logger.log_attention_stats(outputs["attention_weights"])
    sentences = [" ".join(WORDS[word] for word in sentence) for sentence in data["input_ids"][:5].tolist()]
    confidence, predicted = outputs["probabilities"][:5].max(-1)
    logger.log_predictions(sentences, [NAMES[label] for label in predicted], confidence)


def main(
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 200,
    epochs: Annotated[int, typer.Option(min=1, help="Validations on the way.")] = 4,
    output: Annotated[Path, typer.Option(help="Folder for logs and checkpoints.")] = Path("runs"),
) -> None:
    """Train on synthetic sentences and log everything."""
    torch.manual_seed(0)
    train, validation, test = (synthetic_sentences(count, seed) for seed, count in enumerate((800, 200, 200)))
    model, criterion = BayesianTransformer(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    with BayesianTransformerLogger(
        log_dir=output,
        experiment_name="bayesian_transformer_synthetic",
        log_gradients_every=100,  # steps
        log_histograms_every=500,
    ) as logger:
        checkpoint_mgr = CheckpointManager(logger.log_dir / "checkpoints", max_keep=3)
        print(f"Logs: {logger.log_dir} (synthetic sentences)")
        best_val_acc = 0.0
        logger.log_hparams({"lr": 3e-3, "batch_size": BATCH, "num_layers": 1})

        for epoch in range(epochs):
            for batch in batches(train, -(-steps // epochs)):
                # Forward pass
                outputs = model(batch["input_ids"], return_uncertainty=True)
                loss = criterion(outputs["logits"], batch["labels"])

                # Backward pass
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

                # Logging: tensors may be given as they are, nothing waits for them
                predicted = outputs["logits"].argmax(-1)
                accuracy = (predicted == batch["labels"]).float().mean()
                logger.log_metrics(
                    {"loss": loss, "accuracy": accuracy, "f1_score": f1_score(predicted, batch["labels"])},
                    prefix="train",
                )
                logger.log_learning_rate(optimizer)
                logger.log_gradients(model)
                if "epistemic_uncertainty" in outputs:
                    logger.log_uncertainty_metrics(outputs["epistemic_uncertainty"], outputs["aleatoric_uncertainty"])
                logger.log_model_histograms(model)
                logger.increment_step()

            # Validation: at the global step, like everything else, so that curves lie above one another
            val_acc, outputs = evaluate(model, validation)
            logger.log_metrics({"accuracy": val_acc}, prefix="val")
            log_validation(logger, validation, outputs)

            # Save checkpoint
            if val_acc > best_val_acc:
                best_val_acc = val_acc
                checkpoint_mgr.save_checkpoint(
                    model, optimizer, None, epoch, logger.global_step, {"val_accuracy": val_acc}, is_best=True
                )

        test_acc, outputs = evaluate(model, test)
        test_loss = criterion(outputs["logits"], test["labels"])
        logger.log_metrics({"accuracy": test_acc}, prefix="test")
        logger.log_hparams({}, {"final_accuracy": test_acc, "final_loss": test_loss})

    print(f"Test accuracy {test_acc:.2f}")
    print(f"View logs: tensorboard --logdir={logger.log_dir}")


if __name__ == "__main__":
    typer.run(main)
