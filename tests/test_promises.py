"""``docs/promises.md`` accounts for every promise once, and names only what there is."""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import typer

import src
from src.tracking.rules import load_rules
from src.tracking.tag_tables import logger as free_names
from src.tracking.tags import SPECS, spec_of

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
LAST = {"S0": 83, "S1": 38, "S2": 36, "S3": 40, "S4": 53}
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TEXT.splitlines()
    if re.match(r"\| S\d-", line)
]
NOT_HERE = ("Left out", "Comes with", "Corrected")
NOT_EXPORTED = {
    "BatchLog": "src.tracking.batch_log",
    "DiffusionLoggingConfig": "src.tracking.diffusion_logger",
    "HJEPAValidation": "src.tracking.hjepa_logger",
    "JEPA": "src.models.jepa",
    "SystemSampler": "src.tracking.system_sampler",
    "TrialLogger": "src.tracking.trial_logger",
}
FREE = {"train/loss", "train/accuracy", "train/f1_score"}
"""What stands in no table by name: a loop of one's own may log anything under ``train/``."""
CATCH_ALL = {free_names.METRIC_TRAIN, free_names.METRIC_VALIDATION, free_names.METRIC_TEST}


def spans(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def places() -> list[str]:
    """What stands in backticks in the column that says where things are, and in the text around the tables."""
    around = "\n".join(line for line in TEXT.splitlines() if not line.startswith("| S"))
    return spans("\n".join([*(row[2] for row in ROWS), around]))


def promised_ids() -> list[str]:
    """Every id, ranges such as ``S0-60..70`` drawn out."""
    found = []
    for row in ROWS:
        for guide, first, last in re.findall(r"(S\d)-(\d+)(?:\.\.(\d+))?", row[0]):
            found += [f"{guide}-{number}" for number in range(int(first), int(last or first) + 1)]
    return found


@functools.cache
def options() -> dict[str, set[str]]:
    """Entry script (and sub-command) to the flags it knows."""
    known = {}
    scripts = {"train_models": "train", "tune_models": "tune", "predict": "predict", "view_tensorboard": "view"}
    for script, module in scripts.items():
        command = typer.main.get_command(importlib.import_module(f"src.cli.{module}").app)
        known[f"{script}.py"] = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    manage = typer.main.get_command(importlib.import_module("src.cli.manage").app)
    for name, command in manage.commands.items():  # type: ignore[attr-defined]
        flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        known[f"manage_runs.py {name}"] = flags
    return known


def test_every_promise_is_accounted_for_once() -> None:
    expected = [f"{guide}-{number}" for guide, last in LAST.items() for number in range(1, last + 1)]
    found = promised_ids()
    assert [name for name, count in Counter(found).items() if count > 1] == []
    assert found == expected
    assert [row for row in ROWS if len(row) != 3 or not all(row)] == []


def test_what_works_says_where() -> None:
    assert [row for row in ROWS if not row[2].startswith(NOT_HERE) and not spans(row[2])] == []


def test_files_exist() -> None:
    folders = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and path.name not in ("runs", "build"))
    files = [place for place in places() if place.startswith(folders) or re.fullmatch(r"[\w/]+\.(py|md|sh|txt)", place)]
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(files) > 30 and links
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert [name for name in links if not (ROOT / "docs" / name).exists()] == []


def test_tags_are_in_the_registry() -> None:
    groups = {spec.tag.partition("/")[0] for spec in SPECS if "/" in spec.tag}
    tags = [
        span for row in ROWS for span in spans(" ".join(row[1:])) if span.partition("/")[0] in groups and "/" in span
    ]
    wildcards = [tag for tag in tags if tag.endswith("/*")]
    named = [tag for tag in tags if tag not in wildcards and tag not in FREE]
    assert len(named) > 150
    specs = {tag: spec_of(tag) for tag in named}
    assert [tag for tag, spec in specs.items() if spec is None or spec.tag in CATCH_ALL] == []
    assert [tag for tag in wildcards if not any(spec.tag.startswith(tag[:-1]) for spec in SPECS)] == []


def test_commands_have_these_flags() -> None:
    checked = 0
    every = set().union(*options().values())
    for place in places():
        command = next((name for name in sorted(options(), key=len, reverse=True) if place.startswith(name)), "")
        flags = re.findall(r"(?<!\S)--[a-z][\w-]*", place)
        if place.startswith("tensorboard "):
            continue
        assert set(flags) <= (options()[command] if command else every), place
        assert not place.startswith("manage_runs.py") or command, place
        checked += len(flags)
    assert checked > 40


def test_methods_exist() -> None:
    names = {place for place in places() if re.fullmatch(r"[A-Z][A-Za-z]+(\.[a-z]\w+)?", place)}
    assert len(names) > 50
    for name in sorted(names - {"README.md", "SummaryWriter"}):
        kind, _, method = name.partition(".")
        owner = getattr(importlib.import_module(NOT_EXPORTED[kind]) if kind in NOT_EXPORTED else src, kind)
        assert not method or hasattr(owner, method), name


def test_rules_exist() -> None:
    known = {rule.name for rule in load_rules()}
    named = re.findall(r"\brules? ((?:`\w+`(?:, | and )?)+)", TEXT)
    rules = {rule for names in named for rule in spans(names)}
    assert len(rules) > 20
    assert rules - known == set()


def test_the_diffusion_guides_launcher_shows_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "launch_tensorboard.py"), "--logdir", "no such folder"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 2 and "there is no folder 'no such folder'" in ended.stderr
