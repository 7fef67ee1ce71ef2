"""``hpo export``: all trials as a table."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from hpo_core.cli import _arguments

if TYPE_CHECKING:
    from hpo_core._view import StudyView


@click.command
@_arguments.directory
@click.option("--format", "form", type=click.Choice(["csv", "json", "jsonl"]), default="csv", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Where to; standard output without it.")
def command(directory: str, form: str, output: str | None) -> int:
    """Write all trials, one row each, the trial's number first."""
    from hpo_core._view import StudyView
    from hpo_core.exceptions import ConfigurationError

    text = _text(StudyView(directory), form)
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        with open(output, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from error
    return 0


def _text(view: StudyView, form: str) -> str:
    if form == "csv":
        return view.to_csv()
    rows = [{name: _plain(value) for name, value in row.items()} for row in view.rows()]
    if form == "json":
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: text where it is not finite."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
