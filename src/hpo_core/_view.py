"""A study as its directory shows it: no lock, no strategy, nothing written, also while a driver works on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo_core import _lock
from hpo_core._header import read_header
from hpo_core._place import Place
from hpo_core._plan import Planner
from hpo_core._record import Record, seconds_since
from hpo_core._results import Results
from hpo_core.budget import Budget
from hpo_core.evaluator import Evaluator
from hpo_core.exceptions import ConfigurationError, JournalError
from hpo_core.journal import read
from hpo_core.space import Params


class StudyView(Results):
    """What a study's journal said when this was made.

    Args:
        directory: the study's directory.

    Raises:
        JournalError: there is no study, or its journal is damaged.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        header = read_header(self.directory)
        self.header: Mapping[str, Any] = header
        """The journal's first record."""
        self.id = header["id"]
        self.name = header["name"]
        self.params = Params.from_json(header["params"])
        self.maximize = header["maximize"]
        self._ledger = Record(self.directory, self.params, -1.0 if self.maximize else 1.0)
        self._ledger.begin(header)
        snapshot = self._ledger.restore()
        lines = iter(
            read(self.directory, offset=snapshot.offset, lines=snapshot.lines) if snapshot else read(self.directory)
        )
        if snapshot is None:
            next(lines)
        for line in lines:
            self._ledger.take(line)
        self.budget = Budget(**(self._ledger.budget or header["budget"]))

    @cached_property
    def evaluator(self) -> Evaluator | None:  # type: ignore[override]
        """How the command is run, as recorded last; None for a study of `ask` and `tell` alone."""
        recorded = self._ledger.places[-1]["evaluator"]
        return None if recorded is None else Evaluator.from_json(recorded)

    @property
    def places(self) -> list[Place]:
        """Where something of this study may run: the last place, and others that could not be asked."""
        found = [Place.from_json(record) for record in (self._ledger.places[-1], *self._ledger.unclean)]
        return [place for place in found if place is not None]

    def planner(self, number: int) -> Planner | None:
        """What says how a trial ran, and where its files are; None where nothing was to be run."""
        evaluator = self._evaluator_of(number)
        return None if evaluator is None else self._planner(number, evaluator)

    @property
    def driver(self) -> str | None:
        """Who works on it now, for people; None when nobody does."""
        return _lock.holder(self.directory)

    @property
    def stop_detail(self) -> str | None:
        """Why the last session stopped, for people; None while one goes on, and after one that was killed."""
        return self._ledger.stopped

    def time_s(self, *, driven: bool) -> float:
        """Seconds that the study ran, over all sessions.

        Args:
            driven: whether a driver works on it, so that time has gone by since the last record.
        """
        if not driven or self._ledger.clock is None or self._ledger.stopped is not None:
            return self._ledger.elapsed_s
        elapsed_s, then = self._ledger.clock
        return elapsed_s + seconds_since(then)

    def story(self, number: int) -> list[dict[str, Any]]:
        """All records of one trial, in order: asked, its attempts, reports, how it finished.

        Raises:
            ConfigurationError: there is no such trial.
        """
        self.check_number(number)
        first, last = self.trials.places(number)
        found = []
        for line in read(self.directory, offset=first):
            if line.record.get("trial") == number:
                found.append(line.record)
            if line.offset == last:
                break
        if not found:
            raise JournalError(f"{self.directory}: the records of trial {number} are gone")
        return found

    def check_number(self, number: int) -> None:
        """Refuse the number of a trial that is not there.

        Raises:
            ConfigurationError: there is no such trial.
        """
        if not 1 <= number <= len(self.trials):
            there = f"they are numbered 1 to {len(self.trials)}" if len(self.trials) else "none has begun yet"
            raise ConfigurationError(f"{self.directory} has no trial {number}: {there}")
