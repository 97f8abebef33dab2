"""trainboard: train many architectures on your series and see in one TensorBoard which is really better, and why.

The public names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .data.loading import load_data
    from .data.options import DataOptions
    from .data.series import SeriesData
    from .errors import DataError, OptionError, TrainingError, UserError
    from .layers.attention import attention_weights
    from .models import create_model
    from .models.base_model import BaseModel
    from .models.sequence_model import SequenceModel
    from .options import Options, option, tunable
    from .prediction import forecast, load_model, load_run
    from .registry import register_model
    from .tracking.bayesian_logger import BayesianTransformerLogger
    from .tracking.diffusion_logger import DiffusionLogger
    from .tracking.event_writer import EventWriter
    from .tracking.hjepa_logger import HJEPATensorBoardLogger
    from .tracking.training_logger import TrainingLogger
    from .training.checkpoint_manager import CheckpointManager
    from .training.config import TrainingConfig
    from .training.loop import Observer
    from .tuning.config import HyperparameterConfig

_HOMES = {
    "BaseModel": ".models.base_model",
    "BayesianTransformerLogger": ".tracking.bayesian_logger",
    "CheckpointManager": ".training.checkpoint_manager",
    "DataError": ".errors",
    "DataOptions": ".data.options",
    "DiffusionLogger": ".tracking.diffusion_logger",
    "EventWriter": ".tracking.event_writer",
    "HJEPATensorBoardLogger": ".tracking.hjepa_logger",
    "HyperparameterConfig": ".tuning.config",
    "Observer": ".training.loop",
    "OptionError": ".errors",
    "Options": ".options",
    "SequenceModel": ".models.sequence_model",
    "SeriesData": ".data.series",
    "TrainingConfig": ".training.config",
    "TrainingError": ".errors",
    "TrainingLogger": ".tracking.training_logger",
    "UserError": ".errors",
    "attention_weights": ".layers.attention",
    "create_model": ".models",
    "forecast": ".prediction",
    "load_data": ".data.loading",
    "load_model": ".prediction",
    "load_run": ".prediction",
    "option": ".options",
    "register_model": ".registry",
    "tunable": ".options",
}

__all__ = [
    "BaseModel",
    "BayesianTransformerLogger",
    "CheckpointManager",
    "DataError",
    "DataOptions",
    "DiffusionLogger",
    "EventWriter",
    "HJEPATensorBoardLogger",
    "HyperparameterConfig",
    "Observer",
    "OptionError",
    "Options",
    "SequenceModel",
    "SeriesData",
    "TrainingConfig",
    "TrainingError",
    "TrainingLogger",
    "UserError",
    "attention_weights",
    "create_model",
    "forecast",
    "load_data",
    "load_model",
    "load_run",
    "option",
    "register_model",
    "tunable",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
