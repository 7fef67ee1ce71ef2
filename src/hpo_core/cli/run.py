"""``hpo run``: a study from a study file, from options, or from both."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hpo_core.cli import _arguments
from hpo_core.cli._keys import KEYS

_SPACE, _SIMULATION = "Search space", "Simulation"
_SHOWN_WITHOUT_END = 10
"""Commands that ``--dry-run`` prints of a study without a number of trials."""


class RunCommand(_arguments.Sectioned):
    """Takes what stands behind ``--`` as the command to run."""

    sections = (_SPACE, *_arguments.Sectioned.sections[:-1], _SIMULATION, *_arguments.Sectioned.sections[-1:])

    def section(self, name: str) -> str:
        """Where an option stands."""
        return (
            _SPACE if name in _SPACE_OPTIONS else _SIMULATION if name in _SIMULATION_OPTIONS else super().section(name)
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the words behind ``--`` aside."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[__name__] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


_SPACE_OPTIONS = {
    "param": ("params", "A flag: FLAG=LOW:HIGH[:log][:step=S][:int|:real][:default=V] or FLAG=V1,V2[:default=V]."),
    "condition": ("conditions", "When a flag is used: \"FLAG if EXPRESSION\", such as \"--b if --a > 2\"."),
    "constraint": ("constraints", "What must hold, such as \"--min <= --max\"."),
    "forbid": ("forbidden", "What must not hold, such as \"--a == 1 and --b > 2\"."),
}  # fmt: skip


_SIMULATION_OPTIONS = ("simulate", "run_times", "strategies", "repeats")


def _options() -> list[click.Parameter]:
    space = [
        click.Option([f"--{name}"], multiple=True, help=f"{text} Repeatable.", metavar="TEXT")
        for name, (_, text) in _SPACE_OPTIONS.items()
    ]
    return [*space, *(_arguments.option(key) for key in KEYS.values() if key.help)]


@click.command(cls=RunCommand, params=_options(), options_metavar="[OPTIONS]")
@click.argument("words", nargs=-1, metavar="[STUDY.toml] [-- COMMAND ...]")
@_arguments.settings("Any key of a study file, VALUE as in TOML: strategy_options.grid_size=3.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands that would run, and run nothing.")
@click.option(
    "--simulate",
    metavar="SOURCE",
    help="Run nothing: play the study on a virtual clock. SOURCE stands in for the program: the directory of an "
    "earlier study, whose nearest trial counts, or a function, FILE.py:FUNCTION.",
)
@click.option("--run-times", metavar="TEXT", help="Of what is simulated: 10m; 5m:20m, most lie between; or a SOURCE.")
@click.option("--strategies", metavar="A,B", help="Compare these in a simulation.")
@click.option("--repeats", type=click.INT, help="Seeds of a simulation (1, or 5 to compare); medians are printed.")
@_arguments.quiet
@click.pass_context
def command(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    simulate: str | None,
    run_times: str | None,
    strategies: str | None,
    repeats: int | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Search the best flags of a command.

    Everything can stand in a study file, in options, or in both; options win. The command may hold
    placeholders such as @trial; flags are appended to it as FLAG=VALUE. One word behind -- is text for a shell, as in
    -- 'cd work && ./train'; several are taken as they are. Exit status: 0 with a result, 1 after a fault or
    without any result, 2 when something asked for is wrong, 130 when interrupted.
    """
    from hpo_core.cli._build import build
    from hpo_core.cli._session import displays, finish

    if simulate is None and (run_times or strategies or repeats is not None):
        raise click.UsageError("--run-times, --strategies and --repeats belong to --simulate SOURCE")
    if simulate is not None and dry_run:
        raise click.UsageError("--dry-run and --simulate exclude each other")
    parts = build(_describe(words, ctx.meta.get(__name__), settings, options))
    if simulate is not None:
        from hpo_core.cli._simulate import play

        return play(parts, simulate, run_times, strategies, repeats)
    if dry_run:
        return _dry_run(parts)
    named = parts.description.values.get("observers", ())
    return finish(parts.study(displays(quiet, named)))


def _describe(words: Sequence[str], behind: Sequence[str] | None, settings: Sequence[str], options: Any) -> Any:
    from hpo_core.cli._description import Description
    from hpo_core.cli._grammar import parse_param, parse_value
    from hpo_core.exceptions import ConfigurationError

    if len(words) > 1:
        raise click.UsageError(f"put the command behind --: hpo run [OPTIONS] -- {shlex.join(words)}")
    description = Description.from_file(words[0]) if words else Description()
    given: set[str] = set()
    for text in options.pop("param"):
        try:
            flag, table = parse_param(text)
        except ConfigurationError as error:
            raise ConfigurationError(f"--param {text!r}: {error}") from error
        if flag in given:
            raise ConfigurationError(f"--param {text!r}: {flag} is given twice")
        given.add(flag)
        description.set(("params", flag), table, f"--param {text!r}")
    for option, (key, _) in list(_SPACE_OPTIONS.items())[1:]:
        for text in options.pop(option):
            description.append(key, text, f"--{option} {text!r}")
    if (options["metric"] or "").startswith("{"):
        options["metric"] = parse_value(options["metric"])
    description.take(options, settings)
    if behind:
        # One word is a shell command as it is; several were split by a shell, so each stays a word.
        text = behind[0] if len(behind) == 1 else shlex.join(behind)
        description.set(("cmd",), text, "the command behind --")
    return description


def _dry_run(parts: Any) -> int:
    total = parts.description.values.get("n_trials")
    with (
        tempfile.TemporaryDirectory(prefix="hpo-dry-run-") as folder,
        parts.study(directory=str(Path(folder) / "study"), resume_if_exists=False) as study,
    ):
        commands = study.plan(total or _SHOWN_WITHOUT_END)
        allocation = "" if study.evaluator is None else study.evaluator.backend.preview()
    if allocation:
        click.echo(f"# asks for nodes: {allocation}", err=True)
    click.echo("\n".join(commands))
    if not total and len(commands) == _SHOWN_WITHOUT_END:
        click.echo(f"# the first {len(commands)}; give --trials to see as many", err=True)
    elif total and len(commands) < total:
        click.echo(f"# {len(commands)} of {total}: there are no more, or they depend on results", err=True)
    return 0
