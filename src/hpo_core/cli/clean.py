"""``hpo clean``: end what a killed driver left running."""

from __future__ import annotations

import click

from hpo_core.cli import _arguments


@click.command
@_arguments.directory
def command(directory: str) -> int:
    """End what a killed driver left running.

    The study itself stays as it is: hpo resume runs open trials again. Refused while a driver works on it.
    """
    from hpo_core import _processes
    from hpo_core._view import StudyView
    from hpo_core.exceptions import ConfigurationError, HpoError, StudyLockedError

    view = StudyView(directory)
    driver = view.driver
    if driver is not None:
        raise StudyLockedError(
            f"{directory} is in use by {driver}: end that driver instead (Ctrl-C there, or TERM)", owner=driver
        )
    if not view.places:
        raise ConfigurationError(f"{directory} has no evaluator: hpo started nothing for it")
    found = unknown = False
    for place in view.places:
        try:
            ended = place.clean(view.id)
        except HpoError as error:
            unknown = True
            click.echo(f"hpo: {place}: {error}", err=True)
            continue
        found = found or bool(ended)
        for what in ended:
            click.echo(f"ended {what}")
        if not (ended or _processes.can_find() or place.made().backend.is_remote):
            raise ConfigurationError(
                "this system does not show which processes belong to a study: look with ps, and kill"
            )
    if not found and not unknown:
        click.echo("nothing was left running")
    return int(unknown)
