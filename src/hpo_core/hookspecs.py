"""What can be extended: one hook for each kind of plugin.

A distribution that extends hpo-core names a module in the entry-point group ``hpo_core`` and implements any of
these hooks in it, marked with ``hpo_core.hookimpl``::

    from hpo_core import Pause, Proposal, Strategy, hookimpl

    class Guess(Strategy):
        name = "guess"
        def ask(self):
            return Proposal(self.space.draw(self.rng))

    @hookimpl
    def hpo_register_strategy():
        return Guess

Each hook returns one class or a list of classes; a class carries its own `name`. They are called once, when
a name of that kind is first looked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from hpo_core.interfaces import Launcher, MetricParser, Observer, Strategy, WorkloadManager

hookspec = pluggy.HookspecMarker("hpo_core")
hookimpl = pluggy.HookimplMarker("hpo_core")


@hookspec
def hpo_register_strategy() -> type[Strategy] | Sequence[type[Strategy]]:  # type: ignore[empty-body]
    """Strategies, chosen by ``Study(strategy=NAME)``."""


@hookspec
def hpo_register_workload_manager() -> type[WorkloadManager] | Sequence[type[WorkloadManager]]:  # type: ignore[empty-body]
    """Workload managers, chosen by ``Evaluator(workload_manager=NAME)`` or detected by ``auto``."""


@hookspec
def hpo_register_launcher() -> type[Launcher] | Sequence[type[Launcher]]:  # type: ignore[empty-body]
    """Launchers, chosen by ``Evaluator(launcher=NAME)``; ``auto`` takes the workload manager's own."""


@hookspec
def hpo_register_metric_parser() -> type[MetricParser] | Sequence[type[MetricParser]]:  # type: ignore[empty-body]
    """Metric parsers, chosen by ``Evaluator(metric_parser=NAME)``."""


@hookspec
def hpo_register_observer() -> type[Observer] | Sequence[type[Observer]]:  # type: ignore[empty-body]
    """Observers, chosen by ``Study(observers=[NAME, ...])``; they hear of the study's life."""
