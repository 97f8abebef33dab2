"""A tiny hierarchical joint-embedding model (H-JEPA), logged with ``HJEPATensorBoardLogger``.

    python examples/hjepa_logger.py --steps 100
    tensorboard --logdir runs

It trains on random images, so nothing useful is learned: the example shows the loop and what is logged. The same loop
works with a real model; what it has to offer is in ``HJEPA`` below.
"""

import copy
import math
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import HJEPATensorBoardLogger

IMAGE, PATCH, WIDTH, BATCH = 32, 4, 32, 16
GRID = IMAGE // PATCH  # patches of a row; 8 x 8 at level 0, 4 x 4 at level 1, 2 x 2 at level 2
CONFIG: dict[str, Any] = {
    "model": {"num_hierarchies": 3, "ema": {"momentum_start": 0.996, "momentum_end": 1.0}},
    "loss": {"hierarchy_weights": [1.0, 0.7, 0.3]},
    "clip_grad": 1.0,
    "log_frequency": 10,
}


class Encoder(nn.Module):
    """Patches of an image and a class token, through one transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.position = nn.Parameter(torch.randn(1, GRID * GRID, WIDTH) * 0.5)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.hidden = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.block = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, 3, height, width]`` -> ``[batch, 1 + patches, width]``; patches under the mask are not seen."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        if mask is not None:
            patches = torch.where(mask[..., None], self.hidden, patches)
        tokens = torch.cat([self.cls.expand(len(images), -1, -1), patches + self.position], dim=1)
        return self.block(tokens)


class HJEPA(nn.Module):
    """The encoder of the visible patches predicts, at three levels, what the target encoder sees of all of them."""

    def __init__(self, config: dict[str, Any], total_steps: int) -> None:
        super().__init__()
        self.config, self.total_steps = config["model"], total_steps
        self.context_encoder = Encoder()
        self.target_encoder = copy.deepcopy(self.context_encoder).requires_grad_(False)
        self.predictor = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(self.config["num_hierarchies"]))

    def forward(self, images: Tensor, mask: Tensor, return_all_levels: bool = True) -> dict[str, Any]:
        """Predictions and targets, one ``[batch, patches, width]`` a level, and the context encoder's features."""
        context = self.context_encoder(images, mask)
        with torch.no_grad():
            target = self.target_encoder(images)
        levels = len(self.predictor) if return_all_levels else 1
        return {
            "predictions": [self.predictor[level](pooled(context[:, 1:], level)) for level in range(levels)],
            "targets": [pooled(target[:, 1:], level) for level in range(levels)],
            "context_features": context,
        }

    def get_num_patches(self) -> int:
        """Patches of an image at the finest level."""
        return GRID * GRID

    @torch.no_grad()
    def update_target_encoder(self, global_step: int) -> float:
        """Let the target follow; its momentum rises from start to end along half a cosine. Returns the momentum."""
        start, end = self.config["ema"]["momentum_start"], self.config["ema"]["momentum_end"]
        momentum = end - (end - start) * (1 + math.cos(math.pi * global_step / self.total_steps)) / 2
        for own, followed in zip(self.target_encoder.parameters(), self.context_encoder.parameters(), strict=True):
            own.lerp_(followed, 1 - momentum)
        return momentum


def pooled(patches: Tensor, level: int) -> Tensor:
    """Means over squares of patches: each level has a quarter of the patches of the one before."""
    grid = patches.transpose(1, 2).unflatten(2, (GRID, GRID))
    return functional.avg_pool2d(grid, 2**level).flatten(2).transpose(1, 2)


def masking_fn(batch_size: int) -> Tensor:
    """``[batch, patches]``: True for the patches that are hidden, about half."""
    return torch.rand(batch_size, GRID * GRID) < 0.5


def loss_fn(predictions: list[Tensor], targets: list[Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Smooth L1 loss of every level and their weighted sum."""
    losses = {
        f"h{level}": functional.smooth_l1_loss(found, functional.layer_norm(wanted, (WIDTH,)))
        for level, (found, wanted) in enumerate(zip(predictions, targets, strict=True))
    }
    weights = config["loss"]["hierarchy_weights"]
    total = torch.stack([weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]).sum()
    return {"loss": total, **losses}


def random_images(seed: int, count: int) -> list[dict[str, Tensor]]:
    """So many batches of random images."""
    generator = torch.Generator().manual_seed(seed)
    return [{"image": torch.rand(BATCH, 3, IMAGE, IMAGE, generator=generator)} for _ in range(count)]


def visualize_patches(images: Tensor, predictions: Tensor, targets: Tensor, mask: Tensor) -> Figure:
    """Three images, where their predictions agree with the targets, and what was hidden."""
    fig = Figure(figsize=(9, 9))
    axes = fig.subplots(3, 3)
    similarity = functional.cosine_similarity(predictions, targets, dim=-1)
    for i in range(3):
        # Original
        axes[i, 0].imshow(images[i].permute(1, 2, 0).cpu().numpy())

        # Prediction similarity heatmap, patches back in their places
        axes[i, 1].imshow(similarity[i].detach().reshape(GRID, GRID).cpu().numpy(), cmap="RdYlGn", vmin=-1, vmax=1)

        # Mask overlay
        axes[i, 2].imshow(mask[i].reshape(GRID, GRID).cpu().numpy(), cmap="gray")
    return fig


class HJEPATrainer:
    """The training loop."""

    def __init__(self, config: dict[str, Any], total_steps: int, output: Path) -> None:
        self.config = config
        self.model = HJEPA(config, total_steps)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3)
        self.lr_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, total_steps)
        self.clip_grad, self.log_frequency = config["clip_grad"], config["log_frequency"]
        self.tb_logger = HJEPATensorBoardLogger(
            num_hierarchies=config["model"]["num_hierarchies"],
            hierarchy_weights=config["loss"]["hierarchy_weights"],
            log_dir=output,
            experiment_name="hjepa_random_images",
        )
        self.loss_history: deque[Tensor] = deque(maxlen=100)
        self.global_step = 0

    def train_step(self, images: Tensor) -> None:
        """One batch."""
        mask = masking_fn(images.shape[0])

        # Forward pass
        forward_start = time.perf_counter()
        output = self.model(images, mask, return_all_levels=True)
        loss_dict = loss_fn(output["predictions"], output["targets"], self.config)
        loss = loss_dict["loss"]
        forward_time = time.perf_counter() - forward_start

        # Backward pass
        backward_start = time.perf_counter()
        self.optimizer.zero_grad()
        loss.backward()
        backward_time = time.perf_counter() - backward_start

        self.loss_history.append(loss.detach())
        if self.global_step % self.log_frequency == 0:  # before clipping, which changes the gradients
            self.log_step(images, mask, output, loss_dict, (forward_time, backward_time))
        global_norm_before = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), max_norm=self.clip_grad or float("inf")
        )
        if self.global_step % self.log_frequency == 0:
            self.tb_logger.log_gradient_clipping(
                global_norm_before=global_norm_before,
                clip_threshold=self.clip_grad or float("inf"),
                global_step=self.global_step,
            )

        # Optimizer step, then the target encoder follows
        self.optimizer.step()
        self.lr_scheduler.step()
        current_momentum = self.model.update_target_encoder(self.global_step)
        if self.global_step % 500 == 0:
            self.tb_logger.log_ema_dynamics(
                context_encoder=self.model.context_encoder,
                target_encoder=self.model.target_encoder,
                current_momentum=current_momentum,
                target_momentum=self.config["model"]["ema"]["momentum_end"],
                global_step=self.global_step,
            )
        self.global_step += 1

    def log_step(
        self,
        images: Tensor,
        mask: Tensor,
        output: dict[str, Any],
        loss_dict: dict[str, Tensor],
        times: tuple[float, float],
    ) -> None:
        """Everything that is watched; values are read later, together."""
        logger, step = self.tb_logger, self.global_step
        logger.log_hierarchical_losses(loss_dict, global_step=step)
        logger.log_masking_statistics(mask=mask, num_patches=self.model.get_num_patches(), global_step=step)
        logger.log_prediction_quality(predictions=output["predictions"], targets=output["targets"], global_step=step)
        context_features = output["context_features"][:, 1:, :]  # without the class token
        for level in range(logger.num_hierarchies):
            logger.log_collapse_metrics(
                features=pooled(context_features, level).reshape(-1, WIDTH),
                level=level,
                global_step=step,
                prefix="train/",
            )
        logger.log_gradient_flow(self.model, global_step=step)
        logger.log_learning_rate(self.optimizer, global_step=step)
        logger.log_hierarchy_feature_stats(output["predictions"], output["targets"], global_step=step)
        logger.log_training_stability(
            current_loss=loss_dict["loss"], loss_history=list(self.loss_history), global_step=step
        )
        logger.log_performance_metrics(
            batch_size=images.shape[0], forward_time=times[0], backward_time=times[1], global_step=step
        )
        if step % 1000 == 0:
            fig = visualize_patches(images, output["predictions"][0], output["targets"][0], mask)
            logger.log_image("patches/detailed_analysis", fig, step)
            for level, features in enumerate(output["predictions"]):
                logger.log_histogram(f"feature_distributions/level{level}", features.reshape(-1), step)

    def validate(self, val_loader: list[dict[str, Tensor]]) -> None:
        """Metrics over the whole validation set, not its last batch."""
        self.model.eval()
        validation = self.tb_logger.validation()
        with torch.no_grad():
            for batch in val_loader:
                images = batch["image"]
                output = self.model(images, masking_fn(images.shape[0]), return_all_levels=True)
                context_features = output["context_features"][:, 1:, :]
                levels = [pooled(context_features, level) for level in range(self.tb_logger.num_hierarchies)]
                validation.add(output["predictions"], output["targets"], features=levels)
        validation.log(global_step=self.global_step)
        self.model.train()


def main(
    steps: Annotated[int, typer.Option(min=3, help="Training steps.")] = 100,
    output: Annotated[Path, typer.Option(help="Folder for the logs.")] = Path("runs"),
) -> None:
    """Train a tiny H-JEPA on random images and log everything."""
    torch.manual_seed(0)
    trainer = HJEPATrainer(CONFIG, steps, output)
    with trainer.tb_logger:
        for batch in random_images(seed=0, count=steps):
            trainer.train_step(batch["image"])
        trainer.validate(random_images(seed=1, count=4))
    print(f"Random images, {steps} steps. View logs: tensorboard --logdir={trainer.tb_logger.log_dir}")


if __name__ == "__main__":
    typer.run(main)
