"""``manage_runs.py``: runs on disk listed, archived, deleted, compared and reproduced, and the environment checked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import OptionError, TrainingError, UserError, did_you_mean
from ..management.runs import RunInfo, find_runs
from .common import VariadicCommand, new_app, python_command
from .manage_output import (
    print_checks,
    print_comparison,
    print_export,
    print_layout,
    print_reproduction,
    print_runs,
    print_versions,
    shown_size,
)

DEFAULT_ROOT = Path("runs")
SORT_KEYS: dict[str, Any] = {
    "newest": lambda run: -run.modified,
    "name": lambda run: run.name,
    "size": lambda run: -run.size,
    "best": lambda run: (run.best is None, run.best),
    "state": lambda run: run.state,
}

app = new_app()

Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="folder that holds the runs")]
_ARCHIVE: dict[str, Any] = {
    "metavar": "DIR",
    "help": "the archive [default: runs_archive beside the runs]",
    "show_default": False,
}
Names = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="20250110_143022/lstm_basic, a path to it, or a whole command folder"),
]
Json = Annotated[bool, typer.Option("--json", help="as JSON, for other programs")]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


@app.callback(invoke_without_command=True)
def manage(context: typer.Context) -> None:
    """List, compare, archive, delete and reproduce runs."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list", short_help="runs with state, best value and size")
def list_runs(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="part of a name, or with wildcards: '2025*lstm*'")
    ] = None,
    root: Root = DEFAULT_ROOT,
    sort: Annotated[
        str | None, typer.Option(metavar="KEY", help=f"{', '.join(SORT_KEYS)} [default: newest, by command]")
    ] = None,
    junk: Annotated[bool, typer.Option("--junk", help="only what failed or had fewer than 2 epochs")] = False,
    trials: Annotated[bool, typer.Option("--trials", help="every trial of a search by itself")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the runs with their state, best value and size."""
    if sort is not None and sort not in SORT_KEYS:
        raise OptionError(
            f"--sort must be one of {', '.join(SORT_KEYS)}, but got '{sort}'.{did_you_mean(sort, SORT_KEYS)}"
        )
    runs = [] if root == DEFAULT_ROOT and not root.exists() else find_runs(root)
    everything = len(runs)
    if pattern is not None and runs:
        runs = _matching(runs, pattern, root)
    if junk:
        runs = [run for run in runs if run.junk]
    if sort is not None:
        runs = sorted(runs, key=SORT_KEYS[sort])
    if as_json:
        print(json.dumps([run.to_dict() for run in runs], indent=2))
    elif not everything:
        print(f"There are no runs in '{root}' yet; train some with: {python_command()} train_models.py")
    elif not runs:
        print(f"None of the {everything} runs in '{root}' is junk.")
    else:
        each = trials or sort is not None or (pattern is not None and "trial" in pattern)
        print_runs(runs, grouped=sort is None, now=time.time(), trials=each)


def _matching(runs: list[RunInfo], pattern: str, root: Path) -> list[RunInfo]:
    import fnmatch

    wildcards = pattern if set(pattern) & set("*?[") else f"*{pattern.removeprefix(f'{root}/').rstrip('/')}*"
    found = [run for run in runs if fnmatch.fnmatchcase(run.name, wildcards)]
    if not found:
        hint = did_you_mean(pattern, [part for run in runs for part in (run.name, run.command, run.folder)])
        raise UserError(f"no run's name matches '{pattern}', of {len(runs)} in '{root}'.{hint}")
    return found


@app.command(short_help="move runs out of what TensorBoard shows")
def archive(
    runs: Names,
    root: Root = DEFAULT_ROOT,
    to: Annotated[Path | None, typer.Option("--to", **_ARCHIVE)] = None,
    pack: Annotated[bool, typer.Option("--pack", help="into a .tar.gz file each")] = False,
    debug: Debug = False,
) -> None:
    """Move runs out of the folder that TensorBoard shows; `restore` brings them back."""
    from ..management import archiving

    for moved in archiving.archive(root, runs, to, pack=pack):
        print(f"archived {moved.name} ({_count(moved.runs)}, {shown_size(moved.size)}) as {moved.path}")


@app.command(short_help="bring archived runs back")
def restore(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="[default: show what there is]")] = None,
    root: Root = DEFAULT_ROOT,
    store: Annotated[Path | None, typer.Option("--from", **_ARCHIVE)] = None,
    debug: Debug = False,
) -> None:
    """Bring archived runs back to where they were."""
    from ..management import archiving, restoring

    place = store or archiving.default_archive(root)
    if not names:
        known = restoring.archived_names(place)
        print(f"The archive '{place}' holds:" if known else f"There is nothing in the archive '{place}'.")
        for name in known:
            print(f"  {name}")
        return
    for moved in restoring.restore(place, names):
        print(f"restored {moved.name} ({_count(moved.runs)}, {shown_size(moved.size)}) to {moved.path}")


@app.command(short_help="delete runs for good, after asking")
def delete(
    runs: Names,
    root: Root = DEFAULT_ROOT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    debug: Debug = False,
) -> None:
    """Delete runs for good, after asking."""
    from ..management import archiving
    from ..management.runs import size_of

    choices = archiving.removable(root, runs)
    sizes = [size_of(choice.path)[0] for choice in choices]
    for choice, size in zip(choices, sizes, strict=True):
        print(f"  {choice.path}  ({_count(len(choice.runs))}, {shown_size(size)})")
    if not yes:
        count = sum(len(choice.runs) for choice in choices)
        try:
            agreed = typer.confirm(f"Delete {_count(count)}, {shown_size(sum(sizes))}, for good?")
        except typer.Abort:
            print("\nnothing was deleted (--yes deletes without asking)")
            raise typer.Exit(130) from None
        if not agreed:
            print("nothing was deleted")
            return
    print(f"deleted; {shown_size(archiving.delete(root, choices))} are free again")


@app.command(short_help="what differs between two runs")
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="a run")],
    second: Annotated[str, typer.Argument(metavar="B", help="another run")],
    root: Root = DEFAULT_ROOT,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what differs between two runs: configuration, data, versions and metrics."""
    from ..management.differences import compare_runs
    from ..management.selection import find_one

    comparison = compare_runs(find_one(root, first), find_one(root, second))
    if as_json:
        print(json.dumps(comparison.to_dict(), indent=2))
    else:
        print_comparison(comparison)


@app.command(short_help="train a run again and compare")
def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a completed run")],
    root: Root = DEFAULT_ROOT,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder for the new run [default: that of the runs]")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="FILE", help="where the data are now, if moved")] = None,
    debug: Debug = False,
) -> None:
    """Train a run again and tell whether the same comes out; exit code 1 if not."""
    from ..management import reproduction
    from ..management.selection import find_one
    from .progress import ProgressPrinter

    folder = find_one(root, run)
    preparation = reproduction.prepare_reproduction(folder, data)
    print(f"data: the same as when {folder} was trained")
    print_versions(preparation.versions)
    printer = ProgressPrinter([preparation.plan.model])
    try:
        again = reproduction.train_again(
            preparation, output or root, lambda value: printer.report(preparation.plan.model, value)
        )
    except TrainingError as error:
        print(f"not reproduced: the original was completed, but now {error}")
        raise typer.Exit(1) from None
    finally:
        printer.close()
    result = reproduction.compare_reproduction(folder, again)
    print_reproduction(result)
    raise typer.Exit(1 if result.verdict == "different" else 0)


@app.command(short_help="check environment, TensorBoard and runs")
def doctor(
    root: Root = DEFAULT_ROOT,
    deep: Annotated[bool, typer.Option("--deep", help="also read every checkpoint")] = False,
    debug: Debug = False,
) -> None:
    """Check the environment, TensorBoard and the folder of runs; exit code 1 if there is a problem."""
    from ..management.doctor import examine_environment
    from ..management.runs_health import examine_runs

    problems = print_checks(examine_environment(root)) + print_checks(examine_runs(root, deep=deep))
    print("\nno problems" if not problems else f"\n{problems} problem{'s' if problems > 1 else ''}")
    raise typer.Exit(1 if problems else 0)


class _Export(VariadicCommand):
    variadic = frozenset({"tags"})


@app.command(short_help="tables and figures of runs, or of any logdir", cls=_Export)
def export(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|LOGDIR...", help="runs, or folders of any TensorBoard log [default: all runs]"),
    ] = None,
    root: Root = DEFAULT_ROOT,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="a new folder")] = Path("export"),
    table_format: Annotated[str, typer.Option("--format", metavar="csv|parquet", help="of the tables")] = "csv",
    wide: Annotated[bool, typer.Option("--wide", help="one column a tag instead of one row a point")] = False,
    tags: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN...", help="only these: Loss/train 'Test/*' [default: all]", show_default=False),
    ] = None,
    figures: Annotated[
        str | None, typer.Option(metavar="png|svg|pdf", help="also a figure of every tag, to print")
    ] = None,
    smoothing: Annotated[float, typer.Option(metavar="X", help="of the figures, from 0 to 1, as in TensorBoard")] = 0.0,
    log_y: Annotated[bool, typer.Option("--log-y", help="figures with a logarithmic vertical axis")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="into a folder that is not empty")] = False,
    debug: Debug = False,
) -> None:
    """Write what was logged as tables (every point) and figures for papers and other programs."""
    from ..management.exporting import ExportOptions, export_runs

    options = ExportOptions(table_format, wide, figures, tuple(tags or ()), smoothing, log_y, overwrite)
    print_export(export_runs(root, runs or [], output, options), output)


@app.command(short_help="a dashboard from a tensorboard_layout.json")
def layout(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="tensorboard_layout.json")],
    runs: Annotated[list[str], typer.Argument(metavar="RUN|LOGDIR...", help="where TensorBoard is to show it")],
    root: Root = DEFAULT_ROOT,
    debug: Debug = False,
) -> None:
    """Write a dashboard of categories, charts and tags into runs, for TensorBoard's CUSTOM SCALARS tab."""
    from ..management.dashboards import place_layout

    print_layout(place_layout(root, file, runs))


def _count(runs: int) -> str:
    return f"{runs} run{'s' if runs != 1 else ''}"
