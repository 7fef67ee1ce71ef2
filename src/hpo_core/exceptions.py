"""Everything that hpo-core raises on purpose.

    HpoError
    +-- ConfigurationError (also ValueError)   what was asked for is wrong; nothing has run
    |   +-- SpaceError                         the search space, or a point outside it
    |   |   +-- CyclicConditionError           conditions that depend on each other in a circle
    |   +-- StudyFileError                     a study file's mistake: file, line, key
    |   +-- StudyChangedError                  the study on disk is not the one described
    +-- PluginError
    |   +-- PluginNotFoundError (also LookupError)   no plugin of that kind and name
    |   +-- PluginLoadError                    the plugin is there and cannot be used
    |   +-- PluginConflictError                two distributions claim one name
    +-- AllocationError                        no nodes could be had, or they were lost for good
    +-- LaunchError                            an evaluation could not be started at all
    +-- JournalError                           the study on disk cannot be read or written
    |   +-- StudyLockedError                   another driver works on this study
    +-- StudyStopped                           a set-up fault made going on pointless

A failed evaluation is no exception: it is a `Result` with a failure class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class HpoError(Exception):
    """Root of all errors of hpo-core and its plugins."""


class ConfigurationError(HpoError, ValueError):
    """What was asked for is wrong; raised before anything runs."""


class SpaceError(ConfigurationError):
    """The search space is wrong, or a point does not belong to it."""


class CyclicConditionError(SpaceError):
    """Conditions depend on each other in a circle.

    Attributes:
        cycle: the flags of the circle, in order, the first not repeated.
    """

    def __init__(self, message: str, cycle: Sequence[str]) -> None:
        super().__init__(message)
        self.cycle = tuple(cycle)


class StudyFileError(ConfigurationError):
    """A mistake in a study file.

    Attributes:
        path: the file as it was named.
        line: 1-based line, or None where no line can be blamed.
        key: dotted key, such as ``params.--lr.range``, or None.
    """

    def __init__(self, message: str, *, path: str, line: int | None = None, key: str | None = None) -> None:
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {key}: {message}" if key else f"{where}: {message}")
        self.path, self.line, self.key = path, line, key


class StudyChangedError(ConfigurationError):
    """The study in the directory differs from what is asked for now.

    Attributes:
        differences: one sentence for each difference.
    """

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class PluginError(HpoError):
    """Something is wrong with a plugin."""


class PluginNotFoundError(PluginError, LookupError):
    """No plugin of this kind has this name.

    Attributes:
        kind: ``strategy``, ``workload_manager``, ``launcher``, ``metric_parser`` or ``observer``.
        name: the name asked for.
        known: the names that are there.
    """

    def __init__(self, message: str, *, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(message)
        self.kind, self.name, self.known = kind, name, tuple(known)


class PluginLoadError(PluginError):
    """A plugin is installed and cannot be used; the cause is chained.

    Attributes:
        distribution: the distribution that holds it.
    """

    def __init__(self, message: str, *, distribution: str) -> None:
        super().__init__(message)
        self.distribution = distribution


class PluginConflictError(PluginError):
    """Two distributions register one name.

    Attributes:
        distributions: both of them.
    """

    def __init__(self, message: str, *, distributions: Sequence[str]) -> None:
        super().__init__(message)
        self.distributions = tuple(distributions)


class AllocationError(HpoError):
    """Nodes could not be had, or all were lost; asking again later may help."""


class LaunchError(HpoError):
    """An evaluation could not be started; nothing of it runs."""


class JournalError(HpoError):
    """The study on disk cannot be read or written; what was recorded before is intact."""


class StudyLockedError(JournalError):
    """Another driver works on this study.

    Attributes:
        owner: the lock's text: host, process id, start time.
    """

    def __init__(self, message: str, *, owner: str) -> None:
        super().__init__(message)
        self.owner = owner


class StudyStopped(HpoError):
    """The study stopped because going on is pointless; everything so far is recorded."""


class LeftoverWarning(UserWarning):
    """Something of an earlier driver may still run where nobody answers."""


class NoResultWarning(UserWarning):
    """A study stopped, and every trial of it failed."""
