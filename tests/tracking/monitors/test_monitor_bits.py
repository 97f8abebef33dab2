"""Training that is watched ends with the same bits as training that is not."""

import pytest
import torch

from src import registry
from src.models import create_model, load_all
from src.tracking.monitors.base import WatchedEpoch, WatchedRun, WatchedStep
from src.tracking.monitors.defaults import default_monitors

load_all()
NEURAL = [entry.name for entry in registry.entries() if entry.model_class.uses_gradients]


def train(name, data, logger=None, steps=3):
    """Weights, random state and modes after a few steps; watched if there is a logger."""
    torch.manual_seed(1)
    model = create_model(name, data.spec).train()
    modes = [module.training for module in model.modules()]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    monitors = [*default_monitors(), *model.monitors()] if logger else []
    for monitor in monitors:
        monitor.on_start(WatchedRun(model, logger, optimizer, 100, 3, lambda step: 1e-3, data))
    seen = {}
    generator = torch.Generator().manual_seed(0)
    for number, batch in zip(range(steps), data.train.batches(16, generator), strict=False):
        for monitor in monitors:
            monitor.before_step()
        optimizer.zero_grad()
        losses = model.losses(batch)
        losses["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.after_step()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        step = WatchedStep(
            number * 100, 0, number != 1, losses, gradients,
            norm, (1 / (norm + 1e-6)).clamp(max=1), 1.0, 1e-3, 16, batch, {}, [losses["loss"].detach()] * 5, [norm],
        )  # fmt: skip
        for monitor in monitors:
            seen |= monitor.on_step(step)
    for monitor in monitors:
        seen |= monitor.on_epoch_end(WatchedEpoch(0, steps, {}, {}, True, 1.0, 48))
        monitor.on_end()
    assert [module.training for module in model.modules()] == modes
    return model, torch.get_rng_state(), seen


@pytest.mark.parametrize("task", ["forecast", "direction"])
@pytest.mark.parametrize("name", NEURAL)
def test_watching_changes_no_bit(name, task, make_data, logger):
    data = make_data(task=task)
    if registry.entry(name).model_class.unsupported(data.spec) is not None:
        pytest.skip("another kind of data")
    plain, random_state, _ = train(name, data)
    watched, random_state_watched, seen = train(name, data, logger)
    assert len(seen) > 10
    assert torch.equal(random_state, random_state_watched)
    for (parameter, one), other in zip(plain.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other), parameter
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.modules())
