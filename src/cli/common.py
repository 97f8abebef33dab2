"""What all commands share: one-line errors, exit codes, and options that take several values after one flag."""

from __future__ import annotations

import gc
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import typer
import typer.core
from typer.exceptions import TyperException

from ..errors import UserError, did_you_mean
from ..fanout import GARBAGE_THRESHOLD


def new_app() -> typer.Typer:
    """An application without boxes, completion commands or decorated tracebacks."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, prog_name: str | None = None) -> NoReturn:
    """Run a command and end the process.

    A mistake of the user is one line on stderr and exit code 2 (with ``--debug``, which every command declares, after
    its traceback); an interrupt is one line and exit code 130. Any other exception is a bug and keeps its traceback.

    Args:
        arguments: by default those of the process.
        prog_name: what help and errors call the command; by default the script's name.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        code = command.main(given, prog_name=prog_name, standalone_mode=False)
    except UserError as error:
        if "--debug" in given:
            traceback.print_exc()
        fail(str(error))
    except TyperException as error:
        fail(_describe_usage_error(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        if "--debug" in given:
            traceback.print_exc()
        where = f" {error.filename}" if error.filename else ""
        fail(f"a file or folder cannot be used:{where}: {error.strerror or error}; check permissions and free space")
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # what typer turns an interrupt into
        print("interrupted", file=sys.stderr)
    gc.freeze()  # all that torch imported is not searched for garbage once more: 0.7 s
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str) -> NoReturn:
    """Print ``error: <message>`` as one line on stderr and end with exit code 2."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def python_command() -> str:
    """What to type for this very Python: ``python`` where that is the one found, else its path from here."""
    found = shutil.which("python")
    if found is not None and os.path.abspath(found) == os.path.abspath(sys.executable):
        return "python"
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _describe_usage_error(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    unknown = getattr(error, "option_name", None)
    if context is not None and hasattr(error, "possibilities"):
        known = [flag for parameter in context.command.get_params(context) for flag in _flags(parameter)]
        message = f"there is no option {unknown}.{did_you_mean(str(unknown), known)}"
    if context is None:
        return message
    if "unexpected extra argument" in message:
        message += ". A pattern of files wants quotes: --data 'prices/*.csv'"
    separator = "" if message.endswith((".", "?")) else "."
    return f"{message}{separator} `{context.command_path} --help` lists what can be given"


def _flags(parameter: Any) -> list[str]:
    return [] if parameter.param_type_name == "argument" else [*parameter.opts, *parameter.secondary_opts]


class VariadicCommand(typer.core.TyperCommand):
    """A command some of whose list options take several values after one flag: ``--models a b c --tensorboard``.

    A subclass names their parameters, ``variadic = frozenset({"models"})``, and is given as ``app.command(cls=...)``.
    ``--models=a b`` and repeating the flag work as well; the values go on until the next word that begins with ``-``.
    """

    variadic: ClassVar[frozenset[str]] = frozenset()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before every further value, then parse as usual."""
        parameters = [parameter for parameter in self.get_params(ctx) if parameter.name in self.variadic]
        flags = {flag for parameter in parameters for flag in _flags(parameter)}
        return super().parse_args(ctx, _repeat_flags(ctx, args, flags))


def _repeat_flags(ctx: Any, words: Sequence[str], flags: set[str]) -> list[str]:
    result: list[str] = []
    flag: str | None = None  # the variadic option whose values are being read
    missing = False  # whether it still waits for its first value
    for position, word in enumerate([*words, "--"]):
        is_option = word.startswith("-") and len(word) > 1
        if is_option and missing:
            raise typer.BadParameter("needs at least one value", ctx=ctx, param_hint=str(flag))
        if word == "--":
            return result + list(words[position:])
        if is_option:
            name, equals, _ = word.partition("=")
            flag = name if name in flags else None
            missing = flag is not None and not equals
            result.append(word)
        elif flag is None or missing:
            missing = False
            result.append(word)
        else:
            result += [flag, word]
    return result
