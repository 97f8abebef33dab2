"""The monitors that every training gets, and those of a user's own file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path

from ...errors import UserError
from .activations import Activations
from .attention import AttentionEntropy
from .base import Monitor
from .calibration import Calibration
from .echo import Echo
from .ema import ExponentialMovingAverage
from .gradients import Clipping, GradientNorms
from .inputs import Inputs
from .learning_rate import LearningRate
from .performance import Performance
from .representation import RepresentationCollapse
from .stability import LossStability
from .weights import UpdateRatios, WeightStatistics


def default_monitors() -> list[Monitor]:
    """A fresh instance of each; those that find nothing to look at in a model cost next to nothing."""
    return [
        GradientNorms(),
        Clipping(),
        UpdateRatios(),
        WeightStatistics(),
        Activations(),
        AttentionEntropy(),
        LearningRate(),
        LossStability(),
        Performance(),
        RepresentationCollapse(),
        ExponentialMovingAverage(),
        Calibration(),
        Inputs(),
        Echo(),
    ]


def load_monitors(path: str | Path) -> list[Monitor]:
    """One instance of every ``Monitor`` that is defined in a user's file, in its order.

    Raises:
        UserError: if the file is missing, is not Python, fails on import, defines no monitor, or one cannot be made.
    """
    file = Path(path).resolve()
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"--monitor must name a Python file, but got '{path}'")
    name = f"trainboard_monitor_{file.stem}"
    module_spec = importlib.util.spec_from_file_location(name, file)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"--monitor {path} cannot be read as a Python module")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
        kinds = [kind for kind in vars(module).values() if _is_monitor(kind, name)]
        monitors: list[Monitor] = [kind() for kind in kinds]
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UserError(f"--monitor {path} fails: {type(error).__name__}: {error}") from error
    if not monitors:
        raise UserError(f"--monitor {path} defines no monitor; derive a class from src.tracking.monitors.base.Monitor")
    return monitors


def _is_monitor(kind: object, module: str) -> bool:
    """A class of the file itself (not one it imports) that can be made; names with an underscore are its bases."""
    return (
        inspect.isclass(kind)
        and issubclass(kind, Monitor)
        and kind.__module__ == module
        and not kind.__name__.startswith("_")
        and not inspect.isabstract(kind)
    )
