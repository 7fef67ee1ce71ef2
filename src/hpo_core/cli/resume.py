"""``hpo resume``: go on with a study from its directory alone."""

from __future__ import annotations

from typing import Any

import click

from hpo_core.cli import _arguments


@click.command
@_arguments.directory
@click.option("--trials", "--n-trials", "n_trials", type=click.INT, help="Trials in all, counted from the first.")
@click.option("--timeout", metavar="TIME", help="Total time in minutes, or such as 2h, counted from the first launch.")
@click.option("--target", type=click.FLOAT, help="Stop when the figure of merit is this good.")
@click.option("--patience", type=click.INT, help="Stop after this many trials without improvement.")
@click.option("--max-failures", type=click.INT, help="Stop after this many failed trials in a row.")
@click.option("--force-lock", is_flag=True, help="Take it from another driver that is surely gone.")
@click.option("--allow-changes", is_flag=True, help="Go on even if the command or its sources changed.")
@_arguments.quiet
def command(directory: str, quiet: bool, **changed: Any) -> int:
    """Go on with a study.

    What was recorded stays; trials that had no result run again. Exit status as for hpo run.
    """
    from hpo_core.cli._session import displays, finish
    from hpo_core.study import Study

    return finish(Study.load(directory, observers=displays(quiet), **changed))
