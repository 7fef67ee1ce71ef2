"""What the optimizers of CrayAI HPO have in common: thin fronts over `Study`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from hpo_core._options import build_options
from hpo_core._tablelog import TableLog
from hpo_core._words import did_you_mean
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError
from hpo_core.interfaces import Observer, Strategy
from hpo_core.registry import get
from hpo_core.space import Params
from hpo_core.study import Study
from hpo_core.trial import Value


class Optimizer:
    """A front over `Study` with the arguments of CrayAI HPO; subclasses name a strategy and its options.

    A plugin's front sets `strategy` and `_options`, and may override `_n_trials` (the budget) and `_log` (what writes a
    log file).

    Args:
        evaluator: how to run the command.
        seed: for the random numbers; 0: a random one.
        name: prefix of log files: ``<name>.log`` in the evaluator's `run_path` if it has a `src_path`, else in the
            working directory; empty: no log file.
        log_fn: the older way to name the log file, in the working directory.
        verbose: tell about the search on stdout.
        directory: where the study is kept; None: a fresh ``hpo-study-N``.
    """

    strategy: ClassVar[str]
    _options: ClassVar[dict[str, Any]] = {}
    """The strategy's options among the arguments, with their defaults."""
    _own: ClassVar[dict[str, Any]] = {}
    """Further arguments, with their defaults."""

    def __init__(self, evaluator: Evaluator | None = None, **arguments: Any) -> None:
        known = {
            **self._options,
            **self._own,
            "seed": 0,
            "name": "",
            "log_fn": "",
            "verbose": False,
            "directory": None,
        }
        for name in arguments:
            if name not in known:
                raise ConfigurationError(
                    f"{type(self).__name__} has no argument '{name}'{did_you_mean(name, known)}; "
                    f"it has: evaluator, {', '.join(known)}"
                )
        if evaluator is not None and not isinstance(evaluator, Evaluator):
            raise ConfigurationError(f"evaluator must be hpo.Evaluator, not {type(evaluator).__name__}")
        self.evaluator = evaluator
        self.__dict__.update(known, **arguments)
        build_options(get(Strategy, self.strategy).Options, self._strategy_options(), type(self).__name__)
        self._n_trials()
        self.best_fom: float | None = None
        """Figure of merit of the best hyperparameters; None before a result."""
        self.best_params: dict[str, Value] | None = None
        """Flag to value of the best hyperparameters, active flags only; None before a result."""
        self.study: Study | None = None
        """The study of the last `optimize`."""

    def optimize(self, params: Params) -> None:
        """Search; afterwards `best_fom` and `best_params` hold the best that was found.

        Args:
            params: the search space.

        Raises:
            ConfigurationError: there is no evaluator, or something does not fit together; nothing was run.
        """
        if self.evaluator is None:
            raise ConfigurationError(f"{type(self).__name__} needs an evaluator: {type(self).__name__}(evaluator)")
        arguments = self.__dict__
        study = Study(
            params,
            self.evaluator,
            strategy=self.strategy,
            strategy_options=self._strategy_options(),
            n_trials=self._n_trials(),
            seed=arguments["seed"],
            directory=arguments["directory"],
            name=arguments["name"],
            observers=self._observers(),
        )
        self.study = study
        try:
            study.optimize()
        finally:
            self.best_fom = study.best_fom
            self.best_params = None if study.best_params is None else _plain(study.best_params)
            study.close()

    def _strategy_options(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self._options}

    def _n_trials(self) -> int | None:
        """The budget; a wrong argument raises ConfigurationError."""
        return None

    def _observers(self) -> list[Observer]:
        observers = [self._log(path) for path in self._log_files()]
        if self.__dict__["verbose"]:
            from hpo_core.builtin.observers import Progress

            observers.append(Progress(sys.stdout))
        return observers

    def _log(self, path: Path) -> Observer:
        return TableLog(path)

    def _log_files(self) -> list[Path]:
        files = []
        if self.__dict__["log_fn"]:
            files.append(Path(self.__dict__["log_fn"]))
        if self.__dict__["name"]:
            assert self.evaluator is not None  # noqa: S101 - for the type checker
            folder = self.evaluator.run_path if self.evaluator.src_path else ""
            files.append(Path(folder) / f"{self.__dict__['name']}.log")
        return files


def _plain(values: dict[str, Value]) -> dict[str, Value]:
    """Whole numbers as int, as CrayAI HPO gives them."""
    return {
        flag: int(value) if isinstance(value, float) and value.is_integer() else value for flag, value in values.items()
    }
