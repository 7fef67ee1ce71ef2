"""``hpo resume``: go on with a study from its directory alone."""

from __future__ import annotations

import click

from hpo_core.cli import _arguments


@click.command
@_arguments.directory
@click.option("--trials", "--n-trials", "n_trials", type=click.INT, help="Trials in all, counted from the first.")
@click.option("--force-lock", is_flag=True, help="Take it from another driver that is surely gone.")
@click.option("--allow-changes", is_flag=True, help="Go on even if the command or its sources changed.")
@_arguments.quiet
def command(directory: str, n_trials: int | None, force_lock: bool, allow_changes: bool, quiet: bool) -> int:
    """Go on with a study.

    What was recorded stays; trials that had no result run again. Exit status as for hpo run.
    """
    from hpo_core.cli._session import displays, finish
    from hpo_core.study import Study

    study = Study.load(
        directory,
        observers=displays(quiet),
        n_trials=n_trials,
        force_lock=force_lock,
        allow_changes=allow_changes,
    )
    return finish(study)
