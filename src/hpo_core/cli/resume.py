"""``hpo resume``: go on with a study from its directory alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from hpo_core.cli import _arguments
from hpo_core.cli._keys import KEYS, NODES, RUN

if TYPE_CHECKING:
    from hpo_core.cli._description import Description

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType

_OF_THE_STUDY = ("cmd", "src_path", "run_path", "checkpoint")
"""What results mean, and where files of trials lie: no options here."""

_OPTIONS = [
    _arguments.option(key)
    for key in KEYS.values()
    if key.owner == "evaluator" and key.section in (RUN, NODES) and key.name not in _OF_THE_STUDY
]


class _OrNone(ParamType):
    """A number, or ``none``.

    Args:
        number: of which kind.
    """

    def __init__(self, number: ParamType) -> None:
        self._number = number
        self.name = number.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; the text ``none`` as it is."""
        return value if value == "none" else self._number.convert(value, param, ctx)


class ResumeCommand(_arguments.Sectioned):
    """Knows which options only `hpo run` has."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; what stays as it was begun is said of options that are no mistake of spelling."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-")
            if name.replace("-", "_") in KEYS or name in ("param", "condition", "constraint", "forbid"):
                raise click.UsageError(
                    f"hpo resume has no --{name}: what is searched, and how, stays as the study was begun", ctx
                ) from error
            raise


@click.command(cls=ResumeCommand, params=list(_OPTIONS))
@_arguments.directory
@click.option(
    "--trials",
    "--n-trials",
    "n_trials",
    type=_OrNone(click.INT),
    help="Trials in all, counted from the first.",
)
@click.option("--timeout", metavar="TIME", help="Total time in minutes, or such as 2h, counted from the first launch.")
@click.option("--target", type=_OrNone(click.FLOAT), help="Stop when the figure of merit is this good.")
@click.option("--patience", type=_OrNone(click.INT), help="Stop after this many trials without improvement.")
@click.option("--max-failures", type=_OrNone(click.INT), help="Stop after this many failed trials in a row.")
@click.option("--allow-changes", is_flag=True, help="Go on even if the command or its sources changed.")
@click.option("--force-lock", is_flag=True, help="Take it from another driver that is surely gone.")
@_arguments.settings("Any argument of the evaluator, VALUE as in TOML: manager_options.poll=1.")
@_arguments.quiet
def command(
    directory: str,
    quiet: bool,
    settings: tuple[str, ...],
    n_trials: int | Literal["none"] | None,
    timeout: str | None,
    target: float | Literal["none"] | None,
    patience: int | Literal["none"] | None,
    max_failures: int | Literal["none"] | None,
    allow_changes: bool,
    force_lock: bool,
    **changed: Any,
) -> int:
    """Go on with a study.

    What was recorded stays; trials that had no result run again. Evaluations run as in the last session, but for what
    options say; "none" takes a limit away. Exit status as for hpo run.
    """
    from hpo_core.cli._build import blaming
    from hpo_core.cli._session import displays, finish
    from hpo_core.study import Study

    description = _describe(changed, settings)
    with blaming(description):
        study = Study.load(
            directory,
            description.values,
            observers=displays(quiet),
            n_trials=n_trials,
            timeout=timeout,
            target=target,
            patience=patience,
            max_failures=max_failures,
            force_lock=force_lock,
            allow_changes=allow_changes,
        )
    return finish(study)


def _describe(changed: dict[str, Any], settings: Sequence[str]) -> Description:
    """What is to be changed of the evaluator."""
    from hpo_core.cli._description import Description

    description = Description()
    description.take(changed, settings)
    description.check()
    for name in description.values:
        if KEYS[name].owner != "evaluator" or name == "timeout":
            raise description.mistake(
                (name,),
                f"{name} can't be changed so: what is searched, and how, stays as the study was begun; "
                "budgets have options of their own",
            )
    return description
