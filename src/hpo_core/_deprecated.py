"""What is on its way out, all in one place: docs/stability.md says what a deprecation promises.

Whoever replaces something adds it to `DEPRECATED` and calls `warn` where the old thing is used; it works until the
release that is named there. A test fails when that release has come and the old thing is still here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from attrs import frozen


@frozen
class Deprecation:
    """Something that works for now.

    Attributes:
        what: how messages call it, such as ``Strategy.old()``.
        instead: what to use, or do.
        since: the release of hpo-core that replaced it, such as ``0.2``.
        gone_in: the release in which it goes, at least one minor release later.
    """

    what: str
    instead: str
    since: str
    gone_in: str

    def __str__(self) -> str:
        return (
            f"{self.what} is deprecated since hpo-core {self.since} and goes in hpo-core {self.gone_in}: "
            f"use {self.instead}"
        )


DEPRECATED: Mapping[str, Deprecation] = {}
"""Every deprecation, by a short name; nothing has been replaced yet."""


def warn(name: str, *, stacklevel: int = 2) -> None:
    """Warn of the use of something in `DEPRECATED`.

    Args:
        name: its short name.
        stacklevel: whose line is to blame: 2 is the caller of the function that calls this.
    """
    warnings.warn(str(DEPRECATED[name]), DeprecationWarning, stacklevel=stacklevel + 1)
