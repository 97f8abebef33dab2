"""The library's Bayesian transformer on real sentences, in a training loop of your own, logged while it learns.

    python examples/real_data_demo.py --data sst2_train.txt --epochs 5
    tensorboard --logdir runs

``--data`` is anything that ``train_models.py`` reads as labelled texts: lines of label and sentence, a table with a
column of each, a folder for each class. Without it, made-up reviews stand in.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import BayesianTransformerLogger, CheckpointManager, create_model, load_data
from src.data.options import DataOptions
from src.layers.attention import attention_weights
from src.metrics.attention import attention_entropy

OPTIONS = {"num_layers": 1, "dropout": 0.3, "method": "dropout"}


def validate(model: Any, data: Any, logger: BayesianTransformerLogger) -> float:
    """Answers with their uncertainty on the validation part; returns the accuracy."""
    model.eval()
    outputs: list[dict[str, torch.Tensor]] = []
    labels, index = [], []
    for batch in data.validation.batches(64):
        outputs.append(model(batch.inputs, return_uncertainty=True))
        labels.append(batch.targets)
        index.append(batch.index)
    said = {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
    targets, places = torch.cat(labels), torch.cat(index)
    correct = said["logits"].argmax(-1) == targets
    accuracy = float(correct.float().mean())
    loss = torch.nn.functional.nll_loss(said["logits"], targets)
    logger.log_metrics({"loss": loss, "accuracy": accuracy}, prefix="val")
    logger.log_uncertainty_metrics(said["epistemic_uncertainty"], said["aleatoric_uncertainty"])
    logger.log_calibration(said["probabilities"], targets, said["total_uncertainty"])
    doubtful = said["total_uncertainty"].argsort(descending=True)[:4].tolist()
    logger.log_predictions(
        data.validation.texts(places[doubtful]),
        [data.spec.class_names[number] for number in said["logits"][doubtful].argmax(-1)],
        said["probabilities"][doubtful].max(-1).values,
    )
    return accuracy


def main(
    data: Annotated[str, typer.Option(help="labelled texts")] = "sample:reviews",
    epochs: Annotated[int, typer.Option(min=1)] = 8,
    output: Annotated[str, typer.Option(help="folder of the run")] = "runs",
) -> None:
    """Train, validate after every epoch, keep the best."""
    torch.manual_seed(0)
    texts = load_data(DataOptions(data=data))
    model = create_model("transformer:bayesian", texts.spec, OPTIONS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    checkpoints = CheckpointManager(Path(output) / "real_data_demo" / "checkpoints", max_keep=3)
    best = 0.0
    with BayesianTransformerLogger(log_dir=output, experiment_name="real_data_demo") as logger:
        for epoch in range(epochs):
            model.train()
            for batch in texts.train.batches(32, torch.Generator().manual_seed(epoch)):
                optimizer.zero_grad()
                with attention_weights(model) as weights:
                    loss = model.losses(batch)["loss"]
                loss.backward()
                logger.log_gradients(model)
                optimizer.step()
                model.after_step()
                logger.log_metrics({"loss": loss}, prefix="train")
                logger.log_learning_rate(optimizer)
                if logger.global_step % 20 == 0:
                    shares = next(iter(weights.values()))
                    logger.log_attention_stats(shares, attention_entropy(shares))
                logger.log_model_histograms(model)
                logger.increment_step()
            accuracy = validate(model, texts, logger)
            checkpoints.save_checkpoint(
                model, optimizer, None, epoch, logger.global_step, {"val_accuracy": accuracy}, is_best=accuracy > best
            )
            best = max(best, accuracy)
            print(f"epoch {epoch}: validation accuracy {accuracy:.3f}")
        logger.log_hparams({"lr": 2e-3, "batch_size": 32, "num_layers": 1}, {"final_accuracy": best})


if __name__ == "__main__":
    typer.run(main)
