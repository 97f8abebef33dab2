"""What ``train_models.py`` prints before and after training."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import python_command

if TYPE_CHECKING:
    from ..data.loading import Data
    from ..plan import RunPlan


def terminal_width() -> int:
    """Columns of the terminal, at least 60."""
    return max(60, shutil.get_terminal_size((120, 24)).columns)


def print_data(data: Data, left_out: Sequence[str]) -> None:
    """Say which data are used, what was found in them and what was done: a line each, with the flag that changes it."""
    spec = data.spec
    print(f"data: {data.options.data}")
    parts = f"{len(data.train):,} training, {len(data.validation):,} validation, {len(data.test):,} test"
    shape = f"{spec.input_shape[0]} rows x {spec.input_shape[1]} features: {parts}"
    made = {"text": [("texts", parts, "--split")], "series": [("windows", shape, "--window")]}
    lines = [(note.topic, note.text, note.option) for note in data.notes if not note.warning]
    lines += made.get(spec.kind, [])  # images say it in their notes
    lines += [("warning", f"{note.topic}: {note.text}", note.option) for note in data.notes if note.warning]
    for line in account_lines(lines, terminal_width()):
        print(line)
    for sentence in left_out:
        print(sentence)


def account_lines(lines: Sequence[tuple[str, str, str]], width: int) -> list[str]:
    """A table of topics, texts and flags, no wider than ``width``; long texts go on below themselves."""
    topic_width = max(len(topic) for topic, _, _ in lines)
    flag_width = max(len(flag) for _, _, flag in lines)
    text_width = max(20, width - topic_width - flag_width - 6)
    text_width = min(text_width, max(len(text) for _, text, _ in lines))
    shown = []
    for topic, text, flag in lines:
        first, *rest = textwrap.wrap(text, text_width, break_on_hyphens=False) or [""]
        shown.append(f"  {topic:<{topic_width}}  {first:<{text_width}}  {flag}".rstrip())
        shown += [f"  {'':<{topic_width}}  {line}" for line in rest]
    return shown


def print_plans(plans: Sequence[RunPlan]) -> None:
    """Show what would be trained."""
    print(f"would train {len(plans)} runs:")
    width = max(len(plan.folder) for plan in plans)
    for plan in plans:
        options = ", ".join(f"{key}={value}" for key, value in plan.options.items())
        print(f"  {plan.folder:<{width}}  {options}")


def print_models(names: Sequence[str], plugins: Sequence[str]) -> None:
    """Show all models, or the options of those named."""
    from .. import registry
    from ..models import load_all

    load_all(plugins)
    chosen = registry.resolve(names) or [known.name for known in registry.entries()]
    width = max(map(len, chosen))
    for name in chosen:
        known = registry.entry(name)
        print(f"{name:<{width}}  {known.summary}")
        if names:
            print_options(known)
    if not names:
        print(f"\nOptions of a model: {python_command()} train_models.py --list --models NAME")


def print_options(known: Any) -> None:
    """Show the options of a model, with the values of this variant."""
    import dataclasses

    config = known.model_class.Config(**known.presets)
    for field in dataclasses.fields(config):
        print(f"    --set {field.name}={getattr(config, field.name)}  {field.metadata['help']}")


def show_results(root: Path, plans: Sequence[RunPlan]) -> None:
    """Print the leaderboard and the verdict, and write ``leaderboard.csv``."""
    from ..comparison.leaderboard import leaderboard_text, verdict
    from ..experiment import write_leaderboard

    table = write_leaderboard(root, plans)
    if table.empty:
        return
    print(f"\nTest part, best first (ranked by {table.attrs['ranked_by']}):")
    print(leaderboard_text(table, terminal_width()))
    print(f"\n{verdict(table)}")
    print(f"Results: {root}")


def print_where_to_look(root: Path, plans: Sequence[RunPlan]) -> None:
    """Say how to see the curves."""
    if any(plan.tensorboard for plan in plans):
        default = "" if root.parent == Path("runs") else f" --logdir {shlex.quote(str(root.parent))}"
        print(f"Dashboard: {python_command()} view_tensorboard.py{default}")
    else:
        print("No dashboard was written; add --tensorboard for one.")
