"""From a study to its end, for ``hpo run`` and ``hpo resume``: what is shown, and the exit status."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from hpo_core._summary import best_sentence, counts_sentence, show_command, with_command
from hpo_core.budget import StopReason
from hpo_core.exceptions import ConfigurationError, HpoError, SpaceError
from hpo_core.interfaces import Observer
from hpo_core.study import Study
from hpo_core.trial import State

_GOING_ON = {
    StopReason.INTERRUPTED: "Go on",
    StopReason.ALLOCATION: "Go on",
    **dict.fromkeys(
        (StopReason.TRIALS, StopReason.TIMEOUT, StopReason.TARGET, StopReason.NO_IMPROVEMENT), "More trials"
    ),
}
INTERRUPTED = 130
FAULT = 1


def displays(quiet: bool, named: Sequence[str] = ()) -> list[Observer]:
    """The progress display, unless nobody wants it or it was named already."""
    if quiet or "progress" in named:
        return []
    from hpo_core.builtin.observers import Progress

    return [Progress()]


def finish(study: Study) -> int:
    """Run a study to its end and say what came of it.

    Returns:
        the exit status: 0 with a result, 1 after a fault or without any result, 130 when interrupted.

    Raises:
        ConfigurationError: it may not go on as things are; nothing has run.
    """
    fault = None
    try:
        study.optimize()
    except HpoError as error:
        if isinstance(error, ConfigurationError) and not isinstance(error, SpaceError):
            study.close()
            raise
        fault = error
    with study:
        if fault is not None:
            click.echo(f"hpo: {with_command(str(fault), study.directory)}", err=True)
        click.echo("\n".join(report(study)))
        _give_back(study)
    if fault is not None:
        return FAULT
    if study.stop_reason is StopReason.INTERRUPTED:
        return INTERRUPTED
    return 0 if study.best_trial is not None else FAULT


def _give_back(study: Study) -> None:
    """End the allocation now, as long as warnings are shown in one line; what fails there changes no result."""
    try:
        if study.evaluator is not None:
            study.evaluator.close()
    except HpoError as error:
        click.echo(f"hpo: {error}", err=True)


def report(study: Study) -> list[str]:
    """What a person wants to know at the end, line by line."""
    directory = shlex.quote(str(study.directory))
    best = study.best_trial
    lines = []
    if best is not None and study.evaluator is not None:
        sentence = best_sentence(best.number, best.fom, study.default_fom, maximize=study.maximize)
        lines += [f"{sentence[0].upper()}{sentence[1:]}:", "", f"    {study.exact_command(best)}", ""]
        if study.evaluator.checkpoint:
            again = show_command(study.directory, best.number)
            lines.append(f"To run it again and leave its checkpoint as it is: {again} --script | sh")
        if study.evaluator.src_path:
            look = show_command(study.directory, best.number)
            lines.append(f"It ran in a copy of {study.evaluator.src_path}: {look}")
    else:
        lines += _nothing_found(study)
    lines.append(f"Trials: {counts_sentence(study.trials.counts(), study.trials.failures())}; {study.stop_detail}.")
    lines.append(f"Everything is in {directory}: hpo show {directory} TRIAL, hpo export {directory} --format csv")
    lines += _how_to_go_on(study)
    return lines


def _nothing_found(study: Study) -> list[str]:
    failed = next((record for record in study.trials if record.state is State.FAILED), None)
    if failed is None or failed.result is None:
        return ["No trial has a result."]
    look = show_command(study.directory, failed.number)
    return [f"No trial has a result. Trial {failed.number}: {failed.result.message} (look at it: {look})"]


def _how_to_go_on(study: Study) -> list[str]:
    if study.stop_reason is StopReason.EXHAUSTED:
        return []
    when = _GOING_ON.get(study.stop_reason) if study.stop_reason else None
    return [f"{when or 'Once that is mended'}: {study.way_on()}"]
