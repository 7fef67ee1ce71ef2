"""``hpo status``: how a study stands, from its directory alone, also while it runs elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hpo_core.cli import _arguments

if TYPE_CHECKING:
    from hpo_core._view import StudyView


@click.command
@_arguments.directory
@_arguments.as_json
def command(directory: str, as_json: bool) -> int:
    """Say in one line how a study stands.

    Reads the directory only, so it works while the study runs, and changes nothing.
    """
    from hpo_core._view import StudyView

    view = StudyView(directory)
    click.echo(json.dumps(_facts(view)) if as_json else _sentence(view))
    return 0


def _sentence(view: StudyView) -> str:
    from hpo_core._summary import best_sentence, counts_sentence
    from hpo_core._words import duration
    from hpo_core.trial import State

    driver = view.driver
    counts = dict(view.trials.counts())
    parts = []
    if driver is not None:
        parts.append(f"running {counts[State.RUNNING]}")
        counts[State.RUNNING] = 0
    parts.append(counts_sentence(counts, view.trials.failures(), view.budget.n_trials))
    best = view.best_trial
    number, fom = (None, None) if best is None else (best.number, best.fom)
    sentences = [
        ", ".join(parts),
        best_sentence(number, fom, view.default_fom, maximize=view.maximize),
        duration(view.time_s(driven=driver is not None)),
        _who(view, driver),
    ]
    return f"{view.directory}: {'; '.join(sentences)}"


def _who(view: StudyView, driver: str | None) -> str:
    if driver is not None:
        return f"{driver} works on it"
    if view.evaluator is None:
        return "nobody works on it, go on with Study.load, ask and tell"
    why = f"stopped: {view.stop_detail}" if view.stop_detail else "its driver is gone"
    return f"{why}; nobody works on it, go on with: {view.way_on()}"


def _facts(view: StudyView) -> dict[str, Any]:
    from hpo_core._summary import factor

    driver = view.driver
    best, default = view.best_trial, view.default_fom
    return {
        "directory": str(view.directory),
        "id": view.id,
        "name": view.name,
        "strategy": view.header["strategy"]["name"],
        "trials": len(view.trials),
        "n_trials": view.budget.n_trials,
        "states": {state.value: count for state, count in view.trials.counts().items()},
        "failures": {failure.value: count for failure, count in view.trials.failures().items()},
        "best": None if best is None else {"trial": best.number, "fom": best.fom, "params": dict(best.values)},
        "default_fom": default,
        "factor": factor(None if best is None else best.fom, default, maximize=view.maximize),
        "maximize": view.maximize,
        "elapsed_s": round(view.time_s(driven=driver is not None), 3),
        "timeout_s": view.budget.timeout_s,
        "driver": driver,
        "stopped": view.stop_detail,
    }
