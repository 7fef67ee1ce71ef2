"""What a plugin raises, said as what it is: the plugin's fault, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from hpo_core.exceptions import HpoError, PluginError, StudyStopped

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def guarded(
    call: Callable[Arguments, Answer], what: str, *, passing: type[Exception] | tuple[()] = ()
) -> Callable[Arguments, Answer]:
    """The same call; what it raises becomes a `StudyStopped` that begins with `what`, the cause chained.

    Args:
        call: to be made often.
        what: such as ``strategy 'x' failed in tell``.
        passing: errors that are left as they are.
    """

    def made(*arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        try:
            return call(*arguments, **named)
        except passing:
            raise
        except Exception as error:
            raise blamed(what, error) from error

    return made


@contextmanager
def faults_of(what: str) -> Iterator[None]:
    """Turns what is raised inside into a `PluginError` that begins with `what`; errors of hpo-core's own pass.

    Args:
        what: such as ``workload manager 'x' failed in acquire``.
    """
    try:
        yield
    except HpoError:
        raise
    except Exception as error:
        raise PluginError(f"{what}: {type(error).__name__}: {error}") from error


def blamed(what: str, error: Exception) -> StudyStopped:
    """What is raised in the place of a plugin's own error."""
    return StudyStopped(f"{what}: {type(error).__name__}: {error} (what is recorded is intact)")
