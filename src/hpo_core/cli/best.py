"""``hpo best``: the best command found."""

from __future__ import annotations

import json

import click

from hpo_core.cli import _arguments


@click.command
@_arguments.directory
@_arguments.as_json
def command(directory: str, as_json: bool) -> int:
    """Print the best command found, ready to paste.

    Exit status 1 while there is no result.
    """
    from hpo_core._summary import show_command
    from hpo_core._view import StudyView

    view = StudyView(directory)
    best = view.best_trial
    if best is None:
        click.echo(f"hpo: {directory} has no result yet (see: hpo status {directory})", err=True)
        return 1
    line = view.exact_command(best)
    if as_json:
        facts = {"trial": best.number, "fom": best.fom, "params": dict(best.values), "command": line}
        click.echo(json.dumps({**facts, "default_fom": view.default_fom}))
    else:
        click.echo(line)
        if view.evaluator is not None and view.evaluator.checkpoint:
            again = show_command(view.directory, best.number)
            click.echo(f"hpo: to run it again and leave its checkpoint as it is: {again} --script | sh", err=True)
    return 0
