"""``hpo show``: one trial with all that is known of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_core._summary import show_command
from hpo_core.cli import _arguments

if TYPE_CHECKING:
    from hpo_core._view import StudyView


@click.command
@_arguments.directory
@click.argument("trial", type=click.INT)
@click.option("--script", is_flag=True, help="Print a shell script that does again what the trial did.")
def command(directory: str, trial: int, *, script: bool) -> int:
    """Show one trial: its values, how it went, its command, and where its files are."""
    from hpo_core._view import StudyView

    view = StudyView(directory)
    if script:
        view.check_number(trial)
        click.echo(view.script(trial), nl=False)
        return 0
    for name, text in _facts(view, trial):
        head, *more = text.splitlines() or [""]
        click.echo(f"{name:<10} {head}".rstrip())
        for line in more:
            click.echo(f"{'':<10} {line}".rstrip())
    return 0


def _facts(view: StudyView, number: int) -> Iterator[tuple[str, str]]:
    """Names and texts, in the order in which they are shown."""
    story = view.story(number)
    asked = story[0]
    record = view.trials[number - 1]
    result = record.result
    driven = view.driver is not None
    state = record.state.value if result is not None or driven else "open (its driver is gone)"
    best = view.best_trial
    yield "trial", f"{number} ({asked['origin']}, {asked['tag']})"
    yield "state", state + (", the best" if best is not None and best.number == number else "")
    for key in ("parent", "fidelity"):
        if asked.get(key) is not None:
            yield key, str(asked[key])
    yield "values", "\n".join(f"{flag} = {value}" for flag, value in record.values.items())
    yield "asked", asked["time"]
    for attempt in story:
        if attempt["record"] == "attempt":
            yield f"attempt {attempt['attempt']}", attempt.get("message") or attempt["state"]
    finished = story[-1] if story[-1]["record"] == "finished" else None
    if finished is not None:
        yield from _ending(finished)
    yield "command", view.exact_command(number)
    if view.evaluator is not None:
        yield "again", f"{show_command(view.directory, number)} --script | sh"
    attempts = max([1, *(entry.get("attempt", entry.get("attempts", 1)) for entry in story)])
    yield from _places(view, number, attempts, driven=driven)


def _ending(finished: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from hpo_core._words import duration

    if "fom" in finished:
        yield "fom", str(finished["fom"])
    if finished.get("metrics"):
        yield "metrics", ", ".join(f"{name} = {value}" for name, value in finished["metrics"].items())
    if "failure" in finished:
        kind, message = finished["failure"], finished["message"]
        yield "failure", message if message.startswith(kind) else f"{kind}: {message}"
    if finished.get("exit_code") is not None:
        yield "exit code", str(finished["exit_code"])
    yield "finished", finished["time"]
    yield "duration", f"{duration(finished['duration_s'])}, attempts: {finished['attempts']}"
    if finished.get("nodes"):
        yield "nodes", ", ".join(finished["nodes"])
    if finished.get("steps"):
        yield "reports", str(finished["steps"])
    if finished.get("tail"):
        yield "output", finished["tail"]


def _places(view: StudyView, number: int, attempts: int, *, driven: bool) -> Iterator[tuple[str, str]]:
    """Where the files of each attempt are, as far as they are there."""
    from hpo_core._workspace import find

    planner = view.planner(number)
    if planner is None:
        return
    trial = view.trials[number - 1].trial
    found = []
    for attempt in range(1, attempts + 1):
        evaluation, kept = planner(trial, attempt, ())
        paths = [Path(kept.stdout), Path(kept.stderr), Path(kept.script)]
        if evaluation.directory is not None:
            workspace = find(evaluation.directory, view.id)
            paths = [workspace / path.relative_to(evaluation.directory) for path in paths]
            yield "workspace", shlex.quote(str(workspace))
        found += [str(path) for path in paths if path.exists()]
    if found:
        yield "files", "\n".join(found)
    elif not driven:
        yield "files", "none kept (keep_output = 'all' keeps those of every trial)"
