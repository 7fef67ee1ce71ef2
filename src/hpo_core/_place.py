"""Where evaluations run, as the journal keeps it: an evaluator, and what its names stood for then and there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen

from hpo_core import registry
from hpo_core.evaluator import Evaluator
from hpo_core.interfaces import Launcher, WorkloadManager

_OF_NODES = ("nodes", "nodes_per_eval")
_OF_LAUNCHER = ("launcher_options", "launch_args", "urika_args")
_OF_MANAGER = ("manager_options", "alloc_args", "alloc_jobid", "workload_image", "launcher", *_OF_LAUNCHER)


@frozen
class Place:
    """What ran the evaluations of one session, or of several.

    Attributes:
        evaluator: its arguments as JSON values.
        manager: name of the workload manager; empty where it was not recorded.
        launcher: name of the launcher, likewise.
    """

    evaluator: Mapping[str, Any]
    manager: str = ""
    launcher: str = ""

    @classmethod
    def of(cls, evaluator: Evaluator) -> Place:
        """Where an evaluator runs evaluations.

        Raises:
            PluginError: a name is not known, or its plugin cannot be used.
        """
        backend = evaluator.backend
        return cls(evaluator.to_json(), backend.manager.name, backend.launcher.name)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Place | None:
        """What `to_json` was made from, or a study's header; None where nothing was to be run."""
        if record["evaluator"] is None:
            return None
        return cls(record["evaluator"], record.get("manager", ""), record.get("launcher", ""))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"evaluator": dict(self.evaluator), "manager": self.manager, "launcher": self.launcher}

    def made(self) -> Evaluator:
        """The evaluator, with names for what ``auto`` stood for."""
        names = {"workload_manager": self.manager, "launcher": self.launcher}
        return Evaluator.from_json({**self.evaluator, **{key: name for key, name in names.items() if name}})

    def changed(self, arguments: Mapping[str, Any]) -> Evaluator:
        """The evaluator with some arguments replaced; of dicts with options only those that are given.

        With another workload manager or launcher, what was meant for the former one is forgotten; with a manager of a
        single node, also how many nodes there were.

        Raises:
            ConfigurationError: an argument is wrong or unknown.
            PluginNotFoundError: there is no such workload manager.
        """
        kept = dict(self.evaluator)
        if self._is_another("workload_manager", self.manager, arguments):
            manager = registry.get(WorkloadManager, arguments["workload_manager"])
            kept = _without(kept, _OF_MANAGER if manager.max_nodes != 1 else (*_OF_MANAGER, *_OF_NODES))
        if self._is_another("launcher", self.launcher, arguments):
            kept = _without(kept, _OF_LAUNCHER)
        for name, value in arguments.items():
            adds = name.endswith("_options") and isinstance(value, Mapping)
            kept[name] = {**kept.get(name, {}), **value} if adds else value
        return Evaluator.from_json(kept)

    def _is_another(self, name: str, stood_for: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a name is given that means something else than here; ``auto`` (once ``wlm``) may mean the same."""
        return arguments.get(name, "auto") not in ("auto", "wlm", stood_for, self.evaluator.get(name, "auto"))

    def looks_where(self, other: Place) -> bool:
        """Whether what is left in the other place is found and ended, or taken over, from this one."""
        if other.manager and (self.manager, self.launcher) != (other.manager, other.launcher):
            return False
        if not other.manager and self._as_written() != other._as_written():
            return False
        mine, others = (place.evaluator.get("launcher_options", {}) for place in (self, other))
        return all(mine.get(name) == others.get(name) for name in registry.get(Launcher, self.launcher).looks_by)

    def _as_written(self) -> tuple[str, str]:
        return self.evaluator.get("workload_manager", "auto"), self.evaluator.get("launcher", "auto")

    def clean(self, study_id: str) -> tuple[str, ...]:
        """End what a killed driver of a study left here.

        Returns:
            what that was, for people.

        Raises:
            HpoError: it can't be found out, or does not end.
        """
        evaluator = self.made()
        return evaluator.backend.clean_all(study_id, evaluator.grace_s)

    def __str__(self) -> str:
        manager, launcher = self._as_written()
        return f"workload manager '{self.manager or manager}', launcher '{self.launcher or launcher}'"


def _without(arguments: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key not in names}
