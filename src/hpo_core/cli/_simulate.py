"""``hpo run --simulate``: the study of a description, played on a virtual clock, and what it would be like."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import Any

import click

from hpo_core._words import duration
from hpo_core.cli._build import Parts
from hpo_core.cli._columns import aligned
from hpo_core.exceptions import ConfigurationError
from hpo_core.simulation import Simulation, simulate

_ROWS = 10
"""Moments of which the best figure of merit is printed."""

_REPEATS = 5
"""Seeds with which strategies are compared, where nothing is said."""


def play(parts: Parts, source: str, run_times: str | None, strategies: str | None, repeats: int | None) -> int:
    """Play a study with one strategy or several, and print what came of it.

    Args:
        parts: the study.
        source: directory of an earlier study, or a function as ``FILE.py:FUNCTION``.
        run_times: as `simulate` takes them, or None.
        strategies: names, joined by commas; None: the study's own.
        repeats: seeds, one after the other, for each; None: one, and five where strategies are compared.

    Returns:
        the exit status.

    Raises:
        ConfigurationError: something is wrong.
    """
    study = dict(parts.description.given("study"))
    own, options = study.pop("strategy", "random"), study.pop("strategy_options", {})
    names = [name.strip() for name in strategies.split(",")] if strategies else [own]
    repeats = (_REPEATS if len(names) > 1 else 1) if repeats is None else repeats
    if repeats < 1:
        raise ConfigurationError(f"--repeats {repeats}: must be 1 or more")
    first, *more = names
    runs = {}
    for name in names:
        given = {**study, "strategy": name, "strategy_options": options if name == own else {}}
        runs[name] = _repeat(parts, source, run_times, given, repeats)
        study["seed"] = runs[first][0].seed
    click.echo(_head(parts, source, run_times, runs[first]))
    click.echo()
    click.echo("\n".join(_compared(runs) if more or repeats > 1 else _one(runs[first][0])))
    return 0


def _repeat(parts: Parts, source: str, run_times: str | None, study: dict[str, Any], repeats: int) -> list[Simulation]:
    runs: list[Simulation] = []
    for _ in range(repeats):
        if runs:
            study["seed"] = runs[-1].seed + 1
        runs.append(simulate(parts.params, parts.evaluator, source, run_time=run_times, **study))
    return runs


def _head(parts: Parts, source: str, run_times: str | None, runs: Sequence[Simulation]) -> str:
    stands_in = f"the nearest trial of {source}" if os.path.isdir(source) else source
    times = run_times or ("its run time" if os.path.isdir(source) else "log-normal, median 1 s")
    nodes = max(parts.evaluator.nodes, 1)
    seeds = f"seed {runs[0].seed}" if len(runs) == 1 else f"seeds {runs[0].seed} to {runs[-1].seed}, medians shown"
    where = f"{runs[0].slots} evaluations at a time on {nodes} node{'s' * (nodes > 1)}"
    return f"Simulated, nothing was run: {where}; {seeds}.\nIn the program's place: {stands_in}. Run times: {times}."


def _one(run: Simulation) -> list[str]:
    rows = [("after", "trials", "best")]
    for part in range(1, _ROWS + 1):
        stands = run.at(run.time_s * part / _ROWS)
        rows.append((duration(run.time_s * part / _ROWS), str(stands.trials), _number(stands.best_fom)))
    failed = f", {run.failed} failed" if run.failed else ""
    return [
        f"Strategy {run.strategy}: {run.trials} trials{failed} in {duration(run.time_s)}, "
        f"slots busy {run.busy:.1%} of the time; {run.stopped}.",
        "",
        *aligned(rows),
    ]


def _compared(runs: dict[str, list[Simulation]]) -> list[str]:
    """A row for each strategy; the best at the same moments, which are quarters of the longest run."""
    longest_s = max(_median([run.time_s for run in each]) for each in runs.values())
    moments = [longest_s * part / 4 for part in (1, 2, 3)]
    rows = [("strategy", "trials", "failed", "time", "busy", *(f"best at {duration(s)}" for s in moments), "best")]
    for name, each in runs.items():
        bests = [[run.at(moment).best_fom for run in each] for moment in moments] + [[run.best_fom for run in each]]
        rows.append(
            (
                name,
                f"{_median([run.trials for run in each]):g}",
                f"{_median([run.failed for run in each]):g}",
                duration(_median([run.time_s for run in each])),
                f"{_median([run.busy for run in each]):.1%}",
                *(_number(None if None in foms else _median(foms)) for foms in bests),
            )
        )
    stopped = {run.stopped for each in runs.values() for run in each}
    return [*aligned(rows), "", f"Each ended since: {'; '.join(sorted(stopped))}."]


def _median(values: Sequence[Any]) -> float:
    return float(statistics.median(values))


def _number(fom: float | None) -> str:
    return "-" if fom is None else f"{fom:.6g}"
