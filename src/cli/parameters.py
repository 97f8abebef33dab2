"""Command-line options made from option dataclasses, so that name, help, default and bounds stand in one place."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from ..options import Options, field_types, optional_type, parse_value


def parameters_of(options_class: type[Options]) -> list[inspect.Parameter]:
    """One keyword parameter per field. All default to None, so that what the user gave can be told from a default."""
    types = field_types(options_class)
    return [_parameter(field, types[field.name]) for field in dataclasses.fields(options_class)]


def _parameter(field: dataclasses.Field[Any], annotation: Any) -> inspect.Parameter:
    kind, _ = optional_type(annotation)
    flag, *others = field.metadata.get("flags") or (f"--{field.name.replace('_', '-')}",)
    spellings = [f"{flag}/--no-{flag[2:]}" if kind is bool else flag, *others]
    text = field.metadata["help"]
    if field.metadata["choices"]:
        text += f" ({', '.join(map(str, field.metadata['choices']))})"
    default = field.metadata.get("default_text") or (None if field.default in (None, "") else _shown(field.default))
    if default is not None:
        text += f" [default: {default}]"
    if field.metadata.get("several"):
        declaration = typer.Option(flag, help=text, metavar=f"{field.name.upper()}...")
        listed: Any = Annotated[list[str] | None, declaration]
        return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=listed)
    metavar = {bool: None, int: "N", float: "X"}.get(kind, field.name.upper())
    parser = number_parser(field.name, kind) if kind in (int, float) else None
    declaration = typer.Option(*spellings, help=text, metavar=metavar, parser=parser)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, declaration]
    )


def number_parser(name: str, kind: type) -> Callable[[Any], Any]:
    """What reads a number: its error names the value given, which typer's own does not."""

    def parse(value: Any) -> Any:
        return parse_value(name, value, kind) if isinstance(value, str) else value  # a default is a number already

    return parse


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def with_parameters(command: Callable[..., Any], *option_classes: type[Options]) -> Callable[..., Any]:
    """Add the fields of option classes to the signature of a command that takes them as ``**values``."""
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    added = [parameter for options_class in option_classes for parameter in parameters_of(options_class)]

    def run(**values: Any) -> Any:
        return command(**values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(own + added)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in own + added}
    return run


def given(values: Mapping[str, Any], options_class: type[Options]) -> dict[str, Any]:
    """The values that belong to ``options_class`` and were given by the user; lists joined with commas."""
    found = {name: values[name] for name in options_class.names() if values.get(name) is not None}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in found.items() if value != []}


def several(*option_classes: type[Options]) -> frozenset[str]:
    """The names of the options that take several values after one flag."""
    fields = [field for options_class in option_classes for field in dataclasses.fields(options_class)]
    return frozenset(field.name for field in fields if field.metadata.get("several"))
