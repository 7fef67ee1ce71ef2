"""A study played on a simulated cluster: what a real one would be like, before it is paid for."""

from __future__ import annotations

import os
import secrets
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from hpo_core.builtin.simulated import SimulatedLauncher
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError
from hpo_core.interfaces import Observer, Strategy
from hpo_core.space import Params
from hpo_core.study import Study
from hpo_core.trial import Result, State, Trial

_WITHOUT_ALLOCATION = ("local", "k8s")
"""Workload managers whose nodes are not taken away after ``alloc_timeout``."""

_KEPT = (
    *("nodes", "nodes_per_eval", "num_parallel_evals", "flag", "maximize", "num_retries", "retry_delay"),
    *("timeout", "eval_timeout", "grace", "stop_wait"),
)
"""Arguments of an evaluator that a simulation goes by."""


@frozen
class Progress:
    """How a study stood when a trial was over.

    Attributes:
        time_s: seconds since the first launch.
        trials: trials that are over.
        best_fom: the best figure of merit so far, or None.
    """

    time_s: float
    trials: int
    best_fom: float | None


@frozen
class Simulation:
    """What came of a study that was played.

    Attributes:
        strategy: its name.
        seed: of the study and of the run times.
        slots: evaluations that could run at the same time.
        time_s: seconds from the first launch to the end.
        busy: part of the slots' time in which something ran, 0 to 1.
        trials: trials that are over.
        failed: those of them that failed.
        stopped: why it ended, for people.
        progress: one item for each trial, in the order in which they ended.
    """

    strategy: str
    seed: int
    slots: int
    time_s: float
    busy: float
    trials: int
    failed: int
    stopped: str
    progress: tuple[Progress, ...]

    @property
    def best_fom(self) -> float | None:
        """The best figure of merit, in the user's sign; None where no trial has one."""
        return self.at(self.time_s).best_fom

    def at(self, time_s: float) -> Progress:
        """How it stood so many seconds after the first launch."""
        index = bisect_right(self.progress, time_s, key=lambda progress: progress.time_s)
        return self.progress[index - 1] if index else Progress(0.0, 0, None)


def simulate(
    params: Params,
    evaluator: Evaluator,
    objective: Callable[[Mapping[str, str]], float | Sequence[float]] | str | os.PathLike[str] | None = None,
    *,
    run_time: Callable[[Mapping[str, str]], float] | float | str | None = None,
    strategy: str | type[Strategy] = "random",
    seed: int = 0,
    **study: Any,
) -> Simulation:
    """Play a study on a virtual clock: nothing is run, and nothing is written but for a temporary directory.

    Nodes, evaluations at the same time, limits, retries and budgets are the evaluator's and the study's. The nodes are
    those of the workload manager ``simulated``: they come at once and, where the evaluator's manager is one of a
    cluster, go after `Evaluator.alloc_timeout`. With ``workload_manager="simulated"``, the evaluator's own
    `manager_options` and `launcher_options` count too: queue waits, nodes that fail.

    Args:
        params: the search space.
        evaluator: how the real study would run; it is left as it is.
        objective: what an evaluation comes to: the directory of an earlier study, whose nearest trial is taken; a
            function from flags and values, as text, to the figure of merit, or to several that are printed in equal
            steps of the run time, so that a strategy may stop the trial; or one in a file, ``surrogate.py:loss``.
        run_time: how long it takes: seconds, text such as ``10m`` or ``5m:20m`` (one in ten takes less, one in ten
            more), a function or an earlier study as above. None: as in the study that is the objective, else
            log-normal with median 1 s.
        strategy: name of a strategy, or a `Strategy` class.
        seed: of the study and of the run times; 0: a random one.
        study: more arguments of `Study`, such as `n_trials`. `directory`, `observers`, `resume_if_exists` and
            `allow_changes` are ignored.

    Raises:
        ConfigurationError: something is wrong, or the earlier study searched other flags.
        PluginError: a name is not known, or its plugin cannot be used.
        StudyStopped: the objective, the run time or the strategy failed.
    """
    seed = seed or secrets.randbelow(2**31 - 1) + 1
    for name in ("directory", "observers", "resume_if_exists", "allow_changes"):
        study.pop(name, None)
    heard = _Heard()
    with tempfile.TemporaryDirectory(prefix="hpo-simulation-") as folder:
        options = {
            "strategy": strategy,
            "seed": seed,
            "directory": Path(folder) / "study",
            "observers": [heard],
            **study,
        }
        with (
            _played(evaluator, objective, run_time, seed, folder) as played,
            Study(params, played, **options) as whole,
        ):
            launcher = played.backend.launcher
            assert isinstance(launcher, SimulatedLauncher)  # noqa: S101 - for the type checker
            _check_flags(params, launcher)
            whole.optimize()
            width = max(played.nodes_per_eval, 1)
            slots = played.num_parallel_evals or max(played.nodes, 1) // width
            there_s = whole.elapsed_s * slots * width
            return Simulation(
                strategy=strategy if isinstance(strategy, str) else strategy.name,
                seed=seed,
                slots=slots,
                time_s=whole.elapsed_s,
                busy=launcher.busy_s / there_s if there_s else 0.0,
                trials=len(heard.progress),
                failed=heard.failed,
                stopped=whole.stop_detail,
                progress=tuple(heard.progress),
            )


def _played(evaluator: Evaluator, objective: Any, run_time: Any, seed: int, folder: str) -> Evaluator:
    """An evaluator on the simulated cluster that does as this one would."""
    manager: dict[str, Any] = {}
    launcher: dict[str, Any] = {}
    if evaluator.workload_manager == "simulated":
        manager, launcher = evaluator.manager_options, evaluator.launcher_options
    elif evaluator.workload_manager not in _WITHOUT_ALLOCATION and (
        evaluator.workload_manager != "auto" or evaluator.nodes > 1
    ):
        manager = {"walltime": evaluator.alloc_timeout_s}
    given = {
        "objective": os.fspath(objective) if isinstance(objective, os.PathLike) else objective,
        "run_time": run_time,
        "seed": seed,
    }
    return Evaluator(
        evaluator.cmd,
        workload_manager="simulated",
        manager_options=manager,
        launcher_options={**launcher, **{key: value for key, value in given.items() if value is not None}},
        checkpoint=os.path.join(folder, "checkpoint") if evaluator.checkpoint else "",
        **{name: getattr(evaluator, name) for name in _KEPT},
    )


def _check_flags(params: Params, launcher: SimulatedLauncher) -> None:
    """Refuse an earlier study that searched other flags."""
    for recorded in launcher.recorded:
        missing = sorted(set(params.flags) - set(recorded.params.flags))
        if missing:
            raise ConfigurationError(
                f"the study in {recorded.directory} can't stand in for this one: it did not vary {', '.join(missing)}"
            )


class _Heard(Observer):
    """Writes down when trials end, and the best so far."""

    name = "simulation"

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.failed = 0

    def study_started(self, study: Study) -> None:
        self._study = study

    def trial_finished(self, trial: Trial, result: Result) -> None:
        self.failed += result.state is State.FAILED
        self.progress.append(Progress(self._study.elapsed_s, len(self.progress) + 1, self._study.best_fom))
