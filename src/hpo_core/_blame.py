"""What a plugin raises, said as what it is: the plugin's fault, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpo_core.exceptions import StudyStopped


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn what is raised inside into a `StudyStopped` that begins with `what`, the cause chained.

    Args:
        what: such as ``strategy 'x' failed in tell``.
    """
    try:
        yield
    except Exception as error:
        raise blamed(what, error) from error


def blamed(what: str, error: Exception) -> StudyStopped:
    """What is raised in the place of a plugin's own error."""
    return StudyStopped(f"{what}: {type(error).__name__}: {error} (what is recorded is intact)")
