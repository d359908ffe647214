"""Violations of a config in words of the command line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import click

from stratsweep.cli.parameter_hints import advise, correct
from stratsweep.config import ConfigOptions
from stratsweep.errors import Violation

# Fields that no parameter of the command has the name of.
_OTHERS = {
    "direction": "--maximize/--minimize",
    "date_range": "--from/--to",
    "date_range.start_date": "--from",
    "date_range.end_date": "--to",
    "max_ranked_results": "--top",
}
_ELEMENT = re.compile(r"(\w+)\[(\d+)\]\.?(.*)")
_NAMED_FIELD = re.compile("`(constraints|requirements)`")
_ENTRY = re.compile(r"(\w+)\['(.*)'\]")
_RANGE_FIELDS = ("start", "stop", "step")


def in_command_line_words(
    violations: Sequence[Violation],
    elements: Mapping[str, Collection[str]],
    command: click.Command,
) -> tuple[Violation, ...]:
    """Replace the paths of fields by the options that set them.

    Args:
        violations: What the server refused.
        elements: What was given, in order, for each repeated field: `symbols`, `parameters` (their
            values by name), `constraints` and `requirements`.
        command: The command, whose parameters have the names of the fields that they set.
    """
    words = _OTHERS | {
        each.name: each.opts[0] if isinstance(each, click.Option) else each.human_readable_name
        for each in command.params
        if each.name
    }
    translated = (_translate(each, elements, words) for each in violations)
    return tuple(
        Violation(field, _NAMED_FIELD.sub(lambda match: words[match[1]], description))
        for field, description in translated
    )


def given_by(config: ConfigOptions) -> dict[str, Collection[str]]:
    """Return what a config has for each repeated field."""
    return {
        "symbols": list(config["symbols"]),
        "parameters": config.get("parameters", {}),
        "constraints": list(config.get("constraints", ())),
        "requirements": list(config.get("requirements", ())),
    }


def _translate(
    violation: Violation,
    elements: Mapping[str, Collection[str]],
    words: Mapping[str, str],
) -> tuple[str, str]:
    path = violation.field.removeprefix("config.")
    entry = _ENTRY.fullmatch(path)
    if entry is not None:
        return f"{words[entry[1]]} {entry[2]}", violation.description
    match = _ELEMENT.fullmatch(path)
    if match is None:
        return words.get(path, violation.field), violation.description
    field, index, rest = match[1], int(match[2]), match[3]
    given = elements.get(field, ())
    if index >= len(given):
        return violation.field, violation.description
    name = list(given)[index]
    leaf = rest.rpartition(".")[2]
    prefix = f"{leaf} " if leaf in _RANGE_FIELDS else ""
    advice = "" if rest or not isinstance(given, Mapping) else _advice(name, given[name])
    return f"{words[field]} {_quoted(name)}", prefix + violation.description + advice


def _advice(name: str, values: object) -> str:
    """What to write instead of texts that are numbers, but not in the form of `--param`."""
    if not (isinstance(values, tuple) and all(isinstance(each, str) for each in values)):
        return ""
    text = ",".join(values)
    return f"; {advise(name, text)}" if any(map(str.isdigit, text)) or correct(text) else ""


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"\S+", text) else f'"{text}"'
