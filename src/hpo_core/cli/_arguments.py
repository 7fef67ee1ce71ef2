"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import click

from hpo_core.cli._keys import DURATION, KEYS, METRIC, NUMBER, SECTIONS, SIZE, TEXTS, TRUTH, WHOLE, Key

F = TypeVar("F", bound=Callable[..., Any])


class Sectioned(click.Command):
    """Lists its options in sections: those of study files where `KEYS` says, others at the end."""

    sections: ClassVar[tuple[str, ...]] = (*SECTIONS, "Other")

    def section(self, name: str) -> str:
        """Where an option stands."""
        return KEYS[name].section if name in KEYS else self.sections[-1]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options by section."""
        records: dict[str, list[tuple[str, str]]] = {name: [] for name in self.sections}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                records[self.section(param.name or "")].append(record)
        for name, rows in records.items():
            if rows:
                with formatter.section(name):
                    formatter.write_dl(rows)


def option(key: Key) -> click.Option:
    """The option of a key of study files."""
    own = "--" + key.name.replace("_", "-")
    spellings = [*key.options, own] if key.name != "cmd" else ["--cmd", *key.options]
    if key.kind is TRUTH:
        return click.Option([f"{own}/--no-{own[2:]}", key.name], default=None, help=key.help)
    if key.kind is TEXTS:
        return click.Option([*spellings, key.name], multiple=True, help=key.help + " Repeatable.", metavar="NAME")
    kind: Any = {WHOLE: click.INT, NUMBER: click.FLOAT}.get(key.kind, click.STRING)
    words = {DURATION: "TIME", SIZE: "SIZE", METRIC: "TEXT"}.get(key.kind)
    return click.Option([*spellings, key.name], type=kind, help=key.help, metavar=words)


def settings(text: str) -> Callable[[F], F]:
    """``--set``, with what its keys are."""
    return click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=f"{text} Repeatable.")


def directory(function: F) -> F:
    """The study's directory, as the first argument."""
    return click.argument("directory", metavar="DIR")(function)


def as_json(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def quiet(function: F) -> F:
    """``--quiet``."""
    return click.option("-q", "--quiet", is_flag=True, help="Show no progress.")(function)
