"""The console command ``trainboard``: its first word picks the sub-command, whose module alone is then imported."""

from __future__ import annotations

import importlib
import sys

from ..errors import did_you_mean
from .common import fail, run_app

COMMANDS = {
    "train": "train models side by side",
    "tune": "search for the best options of models",
    "view": "show runs in TensorBoard",
    "predict": "forecast new data with a trained run",
    "runs": "list, archive, delete, compare and repeat runs; check the environment",
}
MODULES = {"runs": "manage"}
"""Where the module of a command has another name than the command."""


def main() -> None:
    """Run ``trainboard COMMAND [ARGUMENTS...]``."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print("Usage: trainboard COMMAND [ARGUMENTS...]\n\nCommands:")
        for command, summary in COMMANDS.items():
            print(f"  {command:<8}{summary}")
        print("\n`trainboard COMMAND --help` explains a command.")
        return
    if name not in COMMANDS:
        fail(f"there is no command '{name}'; known: {', '.join(COMMANDS)}.{did_you_mean(name, COMMANDS)}")
    run_app(
        importlib.import_module(f".{MODULES.get(name, name)}", __package__).app, rest, prog_name=f"trainboard {name}"
    )
