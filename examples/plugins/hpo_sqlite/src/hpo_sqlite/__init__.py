"""The observer ``sqlite`` for hpo-core: trials, reports and notices in a database, while the study runs."""

from __future__ import annotations

from hpo_core import Observer, hookimpl
from hpo_sqlite._observer import SqliteObserver

__all__ = ["SqliteObserver", "hpo_register_observer"]


@hookimpl
def hpo_register_observer() -> type[Observer]:
    return SqliteObserver
