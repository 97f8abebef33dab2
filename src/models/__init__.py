"""The architectures: one file per family, found by name.

``create_model("gru:residual", spec)`` imports ``gru.py`` and no other family. Adding a file to this folder is enough
to make its models known to the command line, the tests and the dashboards.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import registry
from ..errors import OptionError, UserError

if TYPE_CHECKING:
    from ..data.base import DataSpec
    from .base_model import BaseModel

_FRAMEWORK = (
    "base_model",
    "sequence_model",
    "bayesian_model",
    "representation_model",
    "diffusion_model",
    "captioned_diffusion",
)
# The order in which the families are listed and trained; files not named here follow in alphabetical order.
_ORDER = ("lstm", "gru", "tcn", "transformer", "linear", "baseline", "jepa", "pixels", "diffusion")


def families() -> list[str]:
    """The families in this folder: every file that is not part of the framework."""
    found = [module.name for module in pkgutil.iter_modules(__path__) if module.name not in _FRAMEWORK]
    return sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def load_all(plugins: Iterable[str] = ()) -> None:
    """Import every family and the given plugin files, so that the registry is complete."""
    for family in families():
        importlib.import_module(f".{family}", __name__)
    for plugin in plugins:
        load_plugin(plugin)


def load_plugin(path: str) -> None:
    """Import a user's file of models; each registers itself with ``@register_model``.

    Raises:
        UserError: if the file is missing, is not Python, fails on import or registers nothing.
    """
    file = Path(path).resolve()
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"--plugin must name a Python file, but got '{path}'")
    name = f"trainboard_plugin_{file.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(file):
        return
    before = len(registry.entries())
    module_spec = importlib.util.spec_from_file_location(name, file)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"--plugin {path} cannot be read as a Python module")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"--plugin {path} fails on import: {type(error).__name__}: {error}") from error
    if len(registry.entries()) == before:
        raise UserError(f"--plugin {path} registers no model; put @register_model('family:variant') on a class")


def find(name: str) -> registry.ModelEntry:
    """The registered model of that name, its family imported when needed.

    Raises:
        OptionError: if there is no such model.
    """
    family = name.partition(":")[0]
    if family in families():
        importlib.import_module(f".{family}", __name__)
    try:
        return registry.entry(name)
    except OptionError:
        load_all()  # so that "did you mean" knows every name
        return registry.entry(name)


def create_model(name: str, spec: DataSpec, config: Mapping[str, Any] | None = None) -> BaseModel:
    """Build the model registered under ``name``.

    Args:
        name: ``family:variant``.
        spec: the data it will see.
        config: option values that differ from the variant's defaults.

    Raises:
        OptionError: for an unknown name or option, or data this architecture cannot learn from.
    """
    known = find(name)
    model_class: type[BaseModel] = known.model_class
    reason = model_class.unsupported(spec)
    if reason is not None:
        raise OptionError(f"{known.name} cannot be used here: {reason}")
    model = model_class(spec, model_class.Config.from_dict({**known.presets, **(config or {})}))
    model.name = known.name
    return model
