"""hpo-core: find the best command-line flags of any program, on a laptop or a cluster.

    import hpo_core as hpo

    params = hpo.Params([["--lr", 1e-3, (1e-5, 1e-1)], ["--optimizer", "sgd", ["sgd", "adam"]]])
    evaluator = hpo.Evaluator("python train.py", workload_manager="local", num_parallel_evals=2)
    study = hpo.Study(params, evaluator, strategy="random", n_trials=200, directory="my-study")
    study.optimize()
    print(study.best_params, study.best_fom)

What exists is listed below; what can be extended is in `hpo_core.hookspecs`; what happens, in order, in
`hpo_core.study`. Names are imported when they are first used, so that ``import hpo_core`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_core import condition, evaluator, genetic_optimizer, grid_optimizer, params, random_optimizer
    from hpo_core import genetic_optimizer as genetic
    from hpo_core import grid_optimizer as grid
    from hpo_core import random_optimizer as random
    from hpo_core.allocation import AllocationRequest, Node, Slot
    from hpo_core.budget import Budget, StopReason
    from hpo_core.evaluator import Evaluator
    from hpo_core.exceptions import (
        AllocationError,
        ConfigurationError,
        CyclicConditionError,
        HpoError,
        JournalError,
        LaunchError,
        PluginConflictError,
        PluginError,
        PluginLoadError,
        PluginNotFoundError,
        SpaceError,
        StudyChangedError,
        StudyFileError,
        StudyLockedError,
        StudyStopped,
    )
    from hpo_core.genetic_optimizer import GeneticOptimizer
    from hpo_core.grid_optimizer import GridOptimizer
    from hpo_core.hookspecs import hookimpl
    from hpo_core.interfaces import (
        INTERFACE_VERSION,
        Capability,
        Launcher,
        MetricParser,
        MetricReader,
        Observer,
        Outlook,
        Reading,
        Strategy,
        WorkloadManager,
    )
    from hpo_core.random_optimizer import RandomOptimizer
    from hpo_core.registry import list_plugins
    from hpo_core.simulation import Simulation, simulate
    from hpo_core.space import Integer, Params, Real, Values
    from hpo_core.study import Study
    from hpo_core.trial import (
        Evaluation,
        Failure,
        Pause,
        Proposal,
        Report,
        Result,
        State,
        Trial,
        TrialRecord,
    )

_HOMES = {
    "allocation": "AllocationRequest Node Slot",
    "budget": "Budget StopReason",
    "evaluator": "Evaluator",
    "exceptions": "AllocationError ConfigurationError CyclicConditionError HpoError JournalError LaunchError"
    " PluginConflictError PluginError PluginLoadError PluginNotFoundError SpaceError StudyChangedError"
    " StudyFileError StudyLockedError StudyStopped",
    "genetic_optimizer": "GeneticOptimizer",
    "grid_optimizer": "GridOptimizer",
    "hookspecs": "hookimpl",
    "interfaces": "INTERFACE_VERSION Capability Launcher MetricParser MetricReader Observer Outlook Reading"
    " Strategy WorkloadManager",
    "random_optimizer": "RandomOptimizer",
    "registry": "list_plugins",
    "simulation": "Simulation simulate",
    "space": "Integer Params Real Values",
    "study": "Study",
    "trial": "Evaluation Failure Pause Proposal Report Result State Trial TrialRecord",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

_MODULES = {
    "condition": "condition",
    "evaluator": "evaluator",
    "genetic": "genetic_optimizer",
    "genetic_optimizer": "genetic_optimizer",
    "grid": "grid_optimizer",
    "grid_optimizer": "grid_optimizer",
    "params": "params",
    "random": "random_optimizer",
    "random_optimizer": "random_optimizer",
}

__all__ = [
    "INTERFACE_VERSION",
    "AllocationError",
    "AllocationRequest",
    "Budget",
    "Capability",
    "ConfigurationError",
    "CyclicConditionError",
    "Evaluation",
    "Evaluator",
    "Failure",
    "GeneticOptimizer",
    "GridOptimizer",
    "HpoError",
    "Integer",
    "JournalError",
    "LaunchError",
    "Launcher",
    "MetricParser",
    "MetricReader",
    "Node",
    "Observer",
    "Outlook",
    "Params",
    "Pause",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "Proposal",
    "RandomOptimizer",
    "Reading",
    "Real",
    "Report",
    "Result",
    "Simulation",
    "Slot",
    "SpaceError",
    "State",
    "StopReason",
    "Strategy",
    "Study",
    "StudyChangedError",
    "StudyFileError",
    "StudyLockedError",
    "StudyStopped",
    "Trial",
    "TrialRecord",
    "Values",
    "WorkloadManager",
    "condition",
    "evaluator",
    "genetic",
    "genetic_optimizer",
    "grid",
    "grid_optimizer",
    "hookimpl",
    "list_plugins",
    "params",
    "random",
    "random_optimizer",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = getattr(import_module(f"hpo_core.{_HOME[name]}"), name)
    elif name in _MODULES:
        found = import_module(f"hpo_core.{_MODULES[name]}")
    elif name == "__version__":
        from importlib.metadata import version

        found = version("hpo-core")
    else:
        raise AttributeError(f"module 'hpo_core' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
