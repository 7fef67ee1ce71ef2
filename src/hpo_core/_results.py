"""What a study has found, for whoever holds it: the driver's `Study`, or a reader of its directory."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_core._history import History
from hpo_core._plan import Planner, width
from hpo_core._record import Record
from hpo_core._summary import resume_command
from hpo_core._table import columns, csv_text, row
from hpo_core._workspace import find
from hpo_core._workspace import script as script_of
from hpo_core.allocation import Slot
from hpo_core.budget import Budget
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError
from hpo_core.space import Params
from hpo_core.trial import Evaluation, Trial, TrialRecord, Value

if TYPE_CHECKING:
    import pandas


class Results:
    """The reading half of a study.

    Attributes:
        directory: where the study is kept.
        id: short and unique; part of all names of jobs and files.
        name: for people.
        params: the search space.
        evaluator: how the command is run, or None.
        maximize: whether larger is better.
        budget: when it ends.
    """

    _ledger: Record
    directory: Path
    id: str
    name: str
    params: Params
    evaluator: Evaluator | None
    maximize: bool
    budget: Budget

    @property
    def trials(self) -> History:
        """All trials in order of their numbers, as a sequence; number ``n`` is item ``n - 1``."""
        return self._ledger.history

    @property
    def elapsed_s(self) -> float:
        """Seconds that the study ran, from the first launch, over all its sessions."""
        return self._ledger.elapsed_s

    @property
    def cwd(self) -> str:
        """Where the driver of the last session runs, or ran; empty where that was not recorded."""
        return self._ledger.cwd

    @property
    def best_trial(self) -> TrialRecord | None:
        """The trial with the best figure of merit, the earliest of equals; None before a result."""
        return None if self._ledger.best is None else self.trials[self._ledger.best - 1]

    @property
    def best_params(self) -> dict[str, Value] | None:
        """Active flags of the best trial with their values; None before a result."""
        return None if self._ledger.best is None else self._ledger.history.values(self._ledger.best)

    @property
    def best_fom(self) -> float | None:
        """The best figure of merit, in the user's sign; None before a result."""
        return None if self._ledger.best is None else self._ledger.history.fom(self._ledger.best)

    @property
    def default_fom(self) -> float | None:
        """The figure of merit of the default values.

        None where they were not evaluated or failed, or where not every flag of theirs has a default: what was
        drawn is nothing to compare with.
        """
        if self._ledger.baseline is None:
            return None
        if not set(self._ledger.trial(self._ledger.baseline).values) <= set(self.params.defaults):
            return None
        fom = self._ledger.history.fom(self._ledger.baseline)
        return None if math.isnan(fom) else fom

    def command(self, trial: TrialRecord | Trial | int) -> str:
        """The command line of a trial as one would paste it: the command and its flags, placeholders as written."""
        number = trial if isinstance(trial, int) else trial.number
        arguments = self._ledger.history.trial(number).arguments
        evaluator = self._evaluator_of(number)
        return f"{evaluator.cmd if evaluator else ''} {arguments}".strip()

    def exact_command(self, trial: TrialRecord | Trial | int) -> str:
        """The command line of a trial as it ran last, or will run next: every placeholder is filled in."""
        number = trial if isinstance(trial, int) else trial.number
        evaluator = self._evaluator_of(number)
        return self.command(number) if evaluator is None else self._last_attempt(number, evaluator).command

    def script(self, trial: TrialRecord | Trial | int) -> str:
        """A shell script that does again what a trial did last, or will do next: where, which variables, the command.

        Raises:
            ConfigurationError: there is no evaluator.
        """
        number = trial if isinstance(trial, int) else trial.number
        evaluator = self._evaluator_of(number)
        if evaluator is None:
            raise ConfigurationError("this study has no evaluator: there is nothing to run")
        if not evaluator.checkpoint:
            return script_of(self._last_attempt(number, evaluator))
        evaluation = self._last_attempt(number, evaluator, again=True)
        return script_of(evaluation, self._begin_again(number, evaluation.environment["HPO_CHECKPOINT"]))

    def _begin_again(self, number: int, place: str) -> list[str]:
        """Lines of shell: the checkpoint from which a trial began stands in a place of its own."""
        fresh, parent = shlex.quote(place), self._ledger.trial(number).parent
        lines = ["# The trial's own checkpoint stays as it is.", f"rm -rf -- {fresh}"]
        if parent is None:
            return [*lines, f"mkdir -p -- {fresh} || exit 126"]
        source = shlex.quote(self._checkpoint_of(parent))
        gone = f"echo 'the checkpoint of trial {parent}, from which trial {number} went on, is gone' >&2; exit 126"
        return [
            *lines,
            f"[ -d {source} ] || {{ {gone}; }}",
            f"mkdir -p -- {shlex.quote(os.path.dirname(place))} && cp -Rp -- {source} {fresh} || exit 126",
        ]

    def _checkpoint_of(self, number: int) -> str:
        """Where a trial left its checkpoint; another study of the same `run_path` may have moved its workspace."""
        evaluator = self._evaluator_of(number)
        assert evaluator is not None  # noqa: S101 - for the type checker: it was continued
        evaluation = self._last_attempt(number, evaluator)
        path, workspace = evaluation.environment["HPO_CHECKPOINT"], evaluation.directory
        if workspace is None or os.path.isabs(evaluator.checkpoint):
            return path
        return str(find(workspace, self.id) / os.path.relpath(path, workspace))

    def _planner(self, number: int, evaluator: Evaluator) -> Planner:
        return Planner(evaluator, self.directory, self.id, cwd=self._ledger.cwd_of(number))

    def _evaluator_of(self, number: int) -> Evaluator | None:
        """How a trial ran last, or will run next."""
        recorded = self._ledger.place_of(number)["evaluator"]
        if recorded is None or (self.evaluator is not None and self.evaluator.to_json() == recorded):
            return self.evaluator
        return Evaluator.from_json(recorded)

    def _last_attempt(self, number: int, evaluator: Evaluator, *, again: bool = False) -> Evaluation:
        record = self.trials[number - 1]
        result = record.result
        nodes = width(evaluator, record.trial)
        names = result.nodes if result is not None and result.nodes else [f"NODE{i}" for i in range(1, nodes + 1)]
        attempt = len(self._ledger.attempts.get(number, ())) + 1 if result is None else result.attempts
        slots = tuple(map(Slot, names))
        return self._planner(number, evaluator)(record.trial, attempt, slots, nodes, again=again)[0]

    def way_on(self) -> str:
        """The command that goes on, with a greater budget where that is spent."""
        budget, record = self.budget, self._ledger
        spent = budget.n_trials is not None and len(self.trials) >= budget.n_trials and not self.trials.open_numbers()
        over = budget.timeout_s is not None and record.elapsed_s >= budget.timeout_s
        best = math.inf if record.best is None else record.history.loss(record.best)
        reached = {
            "target": budget.target is not None and best <= record.sign * budget.target,
            "patience": budget.patience is not None and record.since_best >= budget.patience,
        }
        return resume_command(
            self.directory,
            trials=2 * max(budget.n_trials or 0, len(self.trials)) if spent else 0,
            timeout_s=2 * (budget.timeout_s or 0.0) if over else 0.0,
            lifted=[name for name, is_reached in reached.items() if is_reached],
        )

    def rows(self) -> list[dict[str, Any]]:
        """One flat record a trial: number, state, fom, metrics, flags, and what else is known, in this order."""
        columns = self._columns
        return [row(record, columns) for record in self.trials]

    def to_csv(self) -> str:
        """`rows` as CSV text with a header line; the trial's number is the first column."""
        return csv_text(self.trials, self._columns)

    def to_dataframe(self) -> pandas.DataFrame:
        """`rows` as a pandas DataFrame.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.rows())

    @property
    def _columns(self) -> tuple[str, ...]:
        names = () if self.evaluator is None else self.evaluator.metric_spec.labels
        return columns(self.params.flags, names)
