"""Who may import whom: one direction, no cycles, read from the imports themselves."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

# From the outermost to the innermost; a module may import from its own layer and from those after it.
# A package of several layers (data, tracking, training) is named where its outermost part belongs.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("tuning", "management"),
    ("experiment", "hparams", "prediction", "embeddings", "generation", "fanout", "fanout_worker"),
    ("plan", "starting"),
    ("models",),
    ("comparison", "training"),
    ("tracking",),
    ("data",),
    ("metrics", "layers"),
)
COMMON = {"errors", "registry", "options"}

# Where the code deliberately differs from the rule above, each with its reason.
DIFFERENCES = {
    ("plan", "training"): "a plan holds the TrainingConfig that the command line resolved",
    ("comparison.forecast_figures", "training.loop"): "the figures are drawn by an observer, whose base is the loop's",
    ("comparison.decision_figures", "training.loop"): "as for the figures of forecasts",
    ("comparison.class_figures", "training.loop"): "as for the figures of forecasts",
    ("models.base_model", "training.fitting"): "`model.fit(...)` is the public door to training; imported when called",
    ("models.base_model", "training.checkpoint"): "`save` and `load`; imported when called",
    ("models.base_model", "training.config"): "names of types only",
    ("models.base_model", "training.loop"): "names of types only",
}

FRAMEWORK = {
    "models",
    "models.base_model",
    "models.sequence_model",
    "models.bayesian_model",
    "models.representation_model",
    "models.diffusion_model",
    "models.captioned_diffusion",
}
# What an architecture file may import. `training.loop` is not there: it is trained, it does not train.
FOR_ARCHITECTURES = {
    "models.base_model",
    "models.sequence_model",
    "models.bayesian_model",
    "models.representation_model",
    "models.diffusion_model",
    "models.captioned_diffusion",
    "data.base",
    "tracking.monitors",
    "registry",
    "options",
    "errors",
}
FOR_ARCHITECTURES_PACKAGES = ("layers.", "metrics.", "tracking.monitors.")


def modules() -> dict[str, Path]:
    """Dotted name below ``src`` (the package itself is ``""``) to file."""
    found = {}
    for file in sorted(SRC.rglob("*.py")):
        parts = file.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def imports(name: str, *, types_too: bool = True) -> Iterator[tuple[int, str]]:
    """Every import of a module: how many dots it has (0 for an absolute one) and what is imported.

    Relative imports are given as dotted names below ``src``, the module where it is one, else the package.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types_too:
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield 0, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, target) for target in _targets(name, node))


def _targets(name: str, node: ast.ImportFrom) -> Iterator[str]:
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part]
    base = package[: len(package) - (node.level - 1)] + (node.module.split(".") if node.module else [])
    for alias in node.names:
        full = ".".join([*base, alias.name])
        yield full if full in MODULES else ".".join(base)


@functools.cache
def graph(*, types_too: bool) -> dict[str, set[str]]:
    return {
        name: {target for level, target in imports(name, types_too=types_too) if level} - {name} for name in MODULES
    }


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name.split(".")[0] in layer)


def is_excused(name: str, target: str) -> bool:
    return any(
        name == known and (target == allowed or target.startswith(f"{allowed}.")) for known, allowed in DIFFERENCES
    )


def test_there_is_something_to_look_at() -> None:
    known = graph(types_too=True)
    assert {"models.base_model", "registry", "options"} <= known["models.lstm"] | known["models.sequence_model"]
    assert "tracking.tags" in known["experiment"] and "models" in known["plan"]


@pytest.mark.parametrize("name", MODULES)
def test_inside_the_package_imports_are_relative(name: str) -> None:
    own = {"src", "trainboard"}
    assert [target for level, target in imports(name) if not level and target.split(".")[0] in own] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name and name.split(".")[0] not in COMMON])
def test_imports_go_in_one_direction(name: str) -> None:
    wrong = [
        target
        for target in sorted(graph(types_too=True)[name])
        if target
        and target.split(".")[0] not in COMMON
        and layer_of(target) < layer_of(name)
        and not is_excused(name, target)
    ]
    assert wrong == [], f"{name} must not import what stands further out; see LAYERS and DIFFERENCES"


def test_neighbours_of_one_layer_that_should_not_know_each_other_do_not() -> None:
    known = graph(types_too=True)
    for name, targets in known.items():
        families = {target.split(".")[0] for target in targets if not is_excused(name, target)}
        if name.split(".")[0] == "training":
            assert "comparison" not in families, name
        if name.split(".")[0] == "comparison":
            assert "training" not in families, name
        if name.startswith("fanout"):
            own = {"fanout", "fanout_worker"}
            assert families <= COMMON | own, "the fan-out runs any callable and knows nothing of training"
        if name.split(".")[0] in ("metrics", "layers"):
            assert families <= {name.split(".")[0], *COMMON}, name


@pytest.mark.parametrize("name", sorted(COMMON))
def test_what_all_import_imports_at_most_errors(name: str) -> None:
    assert graph(types_too=True)[name] <= {"errors"}


def test_every_difference_is_still_one() -> None:
    known = graph(types_too=True)
    for name, target in DIFFERENCES:
        found = [other for other in known[name] if other == target or other.startswith(f"{target}.")]
        assert found, f"{name} no longer imports {target}; take the entry out"


def test_there_are_no_cycles() -> None:
    known = graph(types_too=False)
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in finished:
            for target in sorted(known.get(name, ())):
                if not _is_late(name, target):
                    visit(target, (*path, name))
            finished.add(name)

    for name in MODULES:
        visit(name, ())


@functools.cache
def _is_late(name: str, target: str) -> bool:
    """Whether the import happens inside a function, when all modules are there."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    inside = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom)
    }
    places = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level and target in set(_targets(name, node))
    ]
    return bool(places) and all(node in inside for node in places)


ARCHITECTURES = [name for name in MODULES if name.startswith("models.") and name not in FRAMEWORK]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_know_the_framework_and_neither_one_another_nor_the_loop(name: str) -> None:
    assert len(ARCHITECTURES) >= 6
    wrong = [
        target
        for target in graph(types_too=True)[name]
        if target not in FOR_ARCHITECTURES
        and not target.startswith(FOR_ARCHITECTURES_PACKAGES)
        and target not in ("layers", "metrics")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "training"])
def test_training_knows_no_architecture(name: str) -> None:
    assert [target for target in graph(types_too=True)[name] if target.split(".")[0] in ("models", "layers")] == []


@pytest.mark.parametrize("name", MODULES)
def test_nothing_parses_arguments_by_hand_or_unpickles(name: str) -> None:
    forbidden = {"argparse", "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
    assert [target for level, target in imports(name) if not level and target.split(".")[0] in forbidden] == []
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called.isdisjoint({"eval", "exec"})


@pytest.mark.parametrize("file", sorted(ROOT.glob("*.py")), ids=lambda file: file.name)
def test_entry_scripts_are_thin(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.ImportFrom) and str(node.module).startswith("src.cli") for node in imported)


def test_packages_are_light_but_for_the_models() -> None:
    for name, file in MODULES.items():
        if file.name == "__init__.py" and name not in ("", "models"):
            assert list(imports(name)) == [], f"{name}/__init__.py should hold a docstring only"
