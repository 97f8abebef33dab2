"""What to train: every run resolved and checked before the first epoch, and the file that remembers it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import registry
from .data.loading import Data
from .data.options import DataOptions
from .data.reading.sources import hide_password
from .data.snapshot import is_repeatable
from .errors import OptionError, UserError, did_you_mean
from .models import create_model, load_all
from .starting import StartingPoint
from .tracking.options import LoggingOptions
from .tracking.run_folder import PLAN_FILE, SEARCH_FILE, folder_name, read_json, write_json
from .training.config import TrainingConfig

PLAN_VERSION = 1
SAMPLES_OF_KINDS = {"images": "sample:digits", "captioned_video": "sample:moving-digits"}
_NEEDED = {"model": str, "options": dict, "data": dict, "training": dict}


@dataclass(frozen=True)
class RunPlan:
    """Everything that decides one run.

    Attributes:
        model: registered name.
        options: the model's option values, all of them.
        data: which data and how they are cut, nothing left open.
        training: how to train; its ``seed`` is this run's.
        folder: the run's folder below the command's folder, e.g. ``lstm_basic/seed_1``.
        tensorboard: whether to write events.
        plugins: files of models to import first.
        logging: what to log and to watch.
        label: what the run is called where it is compared with others; its model by default.
        search_epochs: what a search trained before it came to these options, in epochs.
        init_from: checkpoint whose encoder the model starts from; "" for none.
        shown: hyperparameters that the HPARAMS tab shows unasked, the same for all runs of a search.
    """

    model: str
    options: Mapping[str, Any]
    data: DataOptions
    training: TrainingConfig
    folder: str
    tensorboard: bool = False
    plugins: tuple[str, ...] = ()
    logging: LoggingOptions = field(default_factory=LoggingOptions)
    label: str = ""
    search_epochs: int = 0
    shown: tuple[str, ...] = ()
    init_from: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``plan.json`` and ``config.json``."""
        return {
            "model": self.model,
            "options": dict(self.options),
            "data": self.data.to_dict(),
            "training": self.training.to_dict(),
            "folder": self.folder,
            "tensorboard": self.tensorboard,
            "plugins": list(self.plugins),
            "logging": self.logging.to_dict(),
            **({"label": self.label} if self.label else {}),
            **({"search_epochs": self.search_epochs} if self.search_epochs else {}),
            **({"shown": list(self.shown)} if self.shown else {}),
            **({"init_from": self.init_from} if self.init_from else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunPlan:
        """Read back what ``to_dict`` wrote; further keys (versions, fingerprint) are passed over.

        Raises:
            UserError: if a key is missing or a value is not allowed.
        """
        for key, kind in _NEEDED.items():
            if not isinstance(values, Mapping) or not isinstance(values.get(key), kind):
                raise UserError(
                    f"a run's configuration needs {', '.join(_NEEDED)}, but its {key} is missing or no {kind.__name__}"
                )
        return cls(
            values["model"],
            values["options"],
            DataOptions.from_dict(values["data"]),
            TrainingConfig.from_dict(values["training"]),
            str(values.get("folder", folder_name(values["model"]))),
            bool(values.get("tensorboard", False)),
            tuple(map(str, values.get("plugins") or ())),
            LoggingOptions.from_dict(values.get("logging") or {}),
            str(values.get("label", "")),
            int(values.get("search_epochs", 0)),
            tuple(map(str, values.get("shown") or ())),
            str(values.get("init_from", "")),
        )


@dataclass(frozen=True)
class Selection:
    """Which models to train and what to set on them, as typed by the user.

    Attributes:
        models: names and patterns; empty for all that run by default.
        settings: ``name=value`` or ``model.name=value``.
        seeds: how many seeds to train each network with, counted up from the training seed.
        plugins: files of models.
        tensorboard: whether to write events.
        logging: what to log and to watch.
        presets: option values by model, which settings override.
        default_data: whether no data were named, so that ``default_data_for`` chooses them.
        start: an encoder to start from, whose shape the models then have unless settings say otherwise.
    """

    models: Sequence[str] = ()
    settings: Sequence[str] = ()
    seeds: int = 1
    plugins: Sequence[str] = ()
    tensorboard: bool = False
    logging: LoggingOptions = field(default_factory=LoggingOptions)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    start: StartingPoint | None = None
    default_data: bool = False


def plan_runs(selection: Selection, data: Data, training: TrainingConfig) -> tuple[list[RunPlan], list[str]]:
    """Resolve and check everything before the first epoch: every model is built once.

    Returns:
        the runs, and sentences about models that were left out because they cannot work on such data.

    Raises:
        OptionError: for an unknown model or option, or a model named by the user that cannot work on the data.
    """
    load_all(selection.plugins)
    named = _named(selection.models, data.spec.kind)
    settings = parse_settings(selection.settings)
    left_out: list[str] = []
    plans: list[RunPlan] = []
    used: set[str] = set()
    for name in named or _of_kind(registry.default_names(data.spec.kind), data.spec.kind):
        known = registry.entry(name)
        values, keys = _settings_for(known, settings)
        used |= keys
        reason = None if named else known.model_class.unsupported(data.spec)
        if reason is None:
            try:
                model = create_model(name, data.spec, {**_preset(selection, known), **values})
                if selection.start is not None:
                    selection.start.give_to(model)
            except OptionError as error:
                if named or keys:
                    raise OptionError(f"{name}: {error}" if name not in str(error) else str(error)) from None
                reason = str(error)
        if reason is not None:
            left_out.append(f"{name} is left out: {reason}")
            continue
        seeds = selection.seeds if model.uses_gradients else 1
        for seed in range(training.seed, training.seed + seeds):
            folder = folder_name(name) + (f"/seed_{seed}" if seeds > 1 else "")
            options = {**training.to_dict(), "seed": seed}
            plans.append(
                RunPlan(
                    name,
                    model.config.to_dict(),
                    data.options,
                    TrainingConfig.from_dict(options),
                    folder,
                    selection.tensorboard,
                    tuple(str(Path(plugin).resolve()) for plugin in selection.plugins),
                    selection.logging,
                    init_from="" if selection.start is None else str(selection.start.file),
                )
            )
    _check_all_used(settings, used, named or registry.default_names(data.spec.kind))
    if not plans:
        raise OptionError("none of the models can work on this data; " + "; ".join(left_out))
    return plans, left_out


def default_data_for(selection: Selection, options: DataOptions) -> DataOptions:
    """The data where none were named: a sample of pictures, or of clips, if all models named are made for such ones."""
    if not (selection.default_data and selection.models):
        return options
    load_all(selection.plugins)
    kinds = {registry.entry(name).model_class.kinds[0] for name in registry.resolve(selection.models)}
    sample = SAMPLES_OF_KINDS.get(kinds.pop()) if len(kinds) == 1 else None
    return dataclasses.replace(options, data=sample) if sample else options


def _preset(selection: Selection, known: registry.ModelEntry) -> dict[str, Any]:
    """A model's option values before the user's settings."""
    shape = {} if selection.start is None else selection.start.options
    names = known.model_class.Config.names()
    return {name: value for name, value in shape.items() if name in names} | dict(selection.presets.get(known.name, {}))


def _named(patterns: Sequence[str], kind: str) -> list[str]:
    """The models that were named; a pattern such as ``tcn:*`` stands for those that read such data."""
    exact = registry.resolve(pattern for pattern in patterns if not set(pattern) & set("*?["))
    every = registry.resolve(patterns)
    fitting = _of_kind(every, kind)
    named = [name for name in every if name in exact or name in fitting]
    if every and not named:
        raise OptionError(f"none of {', '.join(every)} works on {kind}; leave --models out for all that do")
    return named


def _of_kind(names: Sequence[str], kind: str) -> list[str]:
    return [name for name in names if kind in registry.entry(name).model_class.kinds]


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """Split ``name=value`` texts.

    Raises:
        OptionError: if one has no equals sign.
    """
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (name and equals):
            raise OptionError(f"--set takes name=value, but got '{setting}'; for example --set hidden_size=128")
        parsed[name.strip()] = value.strip()
    return parsed


def _settings_for(known: registry.ModelEntry, settings: Mapping[str, str]) -> tuple[dict[str, Any], set[str]]:
    """The settings that reach a model, parsed, and their keys; those with the model's name win over general ones."""
    config_class = known.model_class.Config
    general = {key: key for key in settings if "." not in key and key in config_class.names()}
    own = {key.rpartition(".")[2]: key for key in settings if _is_for(known, key.rpartition(".")[0])}
    keys = general | own
    values = config_class.parse_strings({name: settings[key] for name, key in keys.items()})
    return values, set(keys.values()) | (set(general))


def _is_for(known: registry.ModelEntry, target: str) -> bool:
    return bool(target) and known.name in (target, f"{target}:basic")


def _check_all_used(settings: Mapping[str, str], used: set[str], names: Sequence[str]) -> None:
    for key in settings:
        if key in used:
            continue
        target, _, name = key.rpartition(".")
        if target and registry.entry(target).name not in names:
            raise OptionError(f"--set {key} names the model {target}, which is not among those to train")
        options = sorted({option for model in names for option in registry.entry(model).model_class.Config.names()})
        hint = did_you_mean(name, options)
        if name in TrainingConfig.names() or name in DataOptions.names():
            hint = f" It is an option of the command: use --{name.replace('_', '-')}."
        raise OptionError(f"--set {key}: no selected model has the option '{name}'.{hint} Known: {', '.join(options)}")


def write_plan(root: Path, plans: Sequence[RunPlan], command: Sequence[str]) -> None:
    """Write ``plan.json``: every run wanted, resolved. Data that lie in the folder are named relative to it."""
    runs = [plan.to_dict() for plan in plans]
    for values in runs:
        path = Path(values["data"]["data"])
        if path.is_relative_to(root.absolute()):
            values["data"]["data"] = path.relative_to(root.absolute()).as_posix()
    words = [hide_password(word) for word in command]
    write_json(root / PLAN_FILE, {"version": PLAN_VERSION, "command": words, "runs": runs})


def read_plan(root: Path) -> list[RunPlan]:
    """Read ``plan.json``.

    Raises:
        UserError: if there is none or it cannot be used.
    """
    file = root / PLAN_FILE
    if not file.is_file():
        if (root / SEARCH_FILE).is_file():
            raise UserError(
                f"--resume goes on with trained runs, but {root} is a search that has none yet; "
                f"go on with it: tune_models.py --resume {root}"
            )
        raise UserError(f"--resume needs a run folder with a {PLAN_FILE}, but {root} has none")
    content = read_json(file)
    runs = content.get("runs") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not runs:
        raise UserError(f"a plan needs a list of runs, but {file} has none; start anew without --resume")
    if content.get("version") != PLAN_VERSION:
        raise UserError(
            f"plans of version {PLAN_VERSION} can be read, but {file} has version {content.get('version')}; "
            "use the trainboard that wrote it"
        )
    try:
        plans = [RunPlan.from_dict(values) for values in runs]
    except UserError as error:
        raise UserError(f"{file} cannot be used: {error}") from None
    return [dataclasses.replace(plan, data=_located(plan.data, root)) for plan in plans]


def _located(options: DataOptions, root: Path) -> DataOptions:
    """Paths in a plan are absolute, but for those of data that lie in the run folder."""
    path = root.absolute() / options.data
    inside = is_repeatable(options.data) and not options.data.startswith("sample:") and path.exists()
    return dataclasses.replace(options, data=str(path)) if inside else options
