"""What a plugin raises, said as what it is: the plugin's fault, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from hpo_core.exceptions import HpoError, PluginError, StudyStopped


class Blaming:
    """Turns what is raised inside into a `StudyStopped` that begins with `what`, the cause chained; to be used often.

    Args:
        what: such as ``strategy 'x' failed in tell``.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, Exception):
            raise blamed(self._what, error) from error


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
