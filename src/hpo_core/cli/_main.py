"""The group ``hpo``, and what becomes of errors: one message on stderr and an exit status.

Exit status: 0 finished; 1 the study was stopped by a fault, or no trial gave a result; 2 what was asked for is
wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from hpo_core.cli._lazy import LazyGroup

_HERE = "hpo_core.cli"


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from hpo_core._version import own_version

        click.echo(f"hpo-core {own_version('(not installed)')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    lazy={
        "run": (f"{_HERE}.run", "Search the best flags of a command."),
        "resume": (f"{_HERE}.resume", "Go on with a study."),
        "status": (f"{_HERE}.status", "Say in one line how a study stands."),
        "best": (f"{_HERE}.best", "Print the best command found, ready to paste."),
        "show": (f"{_HERE}.show", "Show one trial with all that is known of it."),
        "export": (f"{_HERE}.export", "Write all trials as CSV or JSON."),
        "clean": (f"{_HERE}.clean", "End what a killed driver left running."),
        "plugins": (f"{_HERE}.plugins", "List what is installed (short for: plugin list)."),
        "plugin": (f"{_HERE}.plugin", "Commands about plugins."),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
def hpo() -> None:
    """Find the best command-line flags of any program, on a laptop or a cluster.

    \b
    hpo run study.toml
    hpo run --trials 50 --param '--lr=1e-5:1e-1:log' -- python train.py
    """  # noqa: D301 - click's mark for lines that are kept


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: words after ``hpo``; None: those of this process.

    Raises:
        SystemExit: always, with the exit status.
    """
    raise SystemExit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    from hpo_core.exceptions import HpoError

    if hasattr(signal, "SIGCHLD") and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited; no exit status could be had
    try:
        with _plain_warnings():
            status: Any = hpo.main(
                args=None if arguments is None else list(arguments), prog_name="hpo", standalone_mode=False
            )
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return 2
    except HpoError as error:
        click.echo(f"hpo: {error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("hpo: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line for people, without the place in the source."""
    from hpo_core.exceptions import NoResultWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoResultWarning)  # said in the report
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *more: object, **named: object) -> None:
    click.echo(f"hpo: warning: {message}", err=True)
