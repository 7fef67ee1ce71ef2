"""What a journal says: every trial and what became of it, the best, the time. Reads only, knows no strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from hpo_core import _snapshot
from hpo_core import journal as journal_module
from hpo_core._history import History
from hpo_core._snapshot import Snapshot
from hpo_core.allocation import Slot
from hpo_core.exceptions import JournalError
from hpo_core.journal import Line
from hpo_core.space import Params
from hpo_core.trial import Failure, Result, State, Trial

_SCALARS = (
    "asked", "failed_in_a_row", "since_best", "baseline", "best", "elapsed_s", "budget", "stopped", "sources", "lines",
    "places", "unclean", "cwds",
)  # fmt: skip


@frozen
class Launch:
    """Where and when an attempt was launched.

    Attributes:
        attempt: from 1.
        slots: what it was given.
        time: UTC time.
    """

    attempt: int
    slots: tuple[Slot, ...]
    time: str


class Record:
    """The state of a study as its journal tells it, one line after the other.

    Args:
        directory: the study's directory.
        space: the search space.
        sign: 1.0 when minimising, -1.0 when maximising.
    """

    def __init__(self, directory: Path, space: Params, sign: float) -> None:
        self.directory = directory
        self.space = space
        self.sign = sign
        self.history = History(space, sign, self._details)
        self._open: dict[int, Trial] = {}
        """Trials without a result, as they were asked."""
        self.asked = 0
        """Trials asked to run, retries and inserted ones not counted."""
        self.failed_in_a_row = 0
        self.since_best = 0
        """Trials finished since the best was found."""
        self.baseline: int | None = None
        """Number of the trial of the default values, once it was asked for."""
        self.best: int | None = None
        """Number of the best trial."""
        self.elapsed_s = 0.0
        """Time that the study ran, from the first launch, over all its sessions."""
        self.clock: tuple[float, str] | None = None
        """A time of the study and the UTC time at that moment, from the last record that tells; None before one."""
        self.attempts: dict[int, list[Failure]] = {}
        """How the attempts made so far of open trials failed."""
        self.launches: dict[int, Launch] = {}
        """What was launched last of open trials, where the launcher could adopt it."""
        self.reports: dict[int, int] = {}
        """Reports of the last attempt of open trials that the strategy has heard."""
        self.budget: dict[str, Any] | None = None
        """The budget of the last resumption, if there was one."""
        self.places: list[Mapping[str, Any]] = [{"offset": 0, "evaluator": None}]
        """Where evaluations ran (`hpo_core._place`), each from an ``offset`` of the journal on; the last one counts."""
        self.unclean: list[Mapping[str, Any]] = []
        """Former ones where something may still run, since they could not be asked."""
        self.sources: dict[str, str] | None = None
        """Digests of the program's files, where they changed since the study was begun and that was accepted."""
        self.lines = 1
        """Records so far, the header among them."""
        self.cwds: list[tuple[int, str]] = [(0, "")]
        """Where drivers ran, each from an offset of the journal on; empty where that was not recorded."""
        self.stopped: str | None = None
        """Why the last session stopped, for people; None while one goes on, and after one that was killed."""

    def begin(self, header: Mapping[str, Any]) -> None:
        """Take the journal's first record."""
        names = {key: header.get(key, "") for key in ("manager", "launcher")}
        self.places = [{"offset": 0, "evaluator": header["evaluator"], **names}]
        self.cwds = [(0, header.get("cwd", ""))]

    @property
    def cwd(self) -> str:
        """Where the driver of the last session runs; empty where that was not recorded."""
        return self.cwds[-1][1]

    def place_of(self, number: int) -> Mapping[str, Any]:
        """Where a trial ran last, or will run next."""
        _, ended = self.history.places(number)
        return next(place for place in reversed(self.places) if ended < 0 or place["offset"] < ended)

    def cwd_of(self, number: int) -> str:
        """Where the driver ran that ran a trial last, or will run it next."""
        _, ended = self.history.places(number)
        return next(cwd for offset, cwd in reversed(self.cwds) if ended < 0 or offset < ended)

    def take(self, line: Line) -> None:
        """Go on by one record; kinds that are not known are passed over.

        Raises:
            JournalError: a trial's number is not the next one.
        """
        record = line.record
        kind = record["record"]
        self.lines = line.number
        if kind == "asked":
            if self.clock is None:
                self.clock = self.elapsed_s, record["time"]
            self._enter(self._trial_from(record), line.offset)
        elif kind == "finished":
            self._settle(self.trial(record["trial"]), result_from(record, self.sign), line.offset)
        elif kind == "attempt":
            self.attempts.setdefault(record["trial"], []).append(Failure(record["failure"]))
            self._forget_attempt(record["trial"])
        elif kind == "launched":
            self.launches[record["trial"]] = _launch_from(record)
        elif kind == "report":
            self.reports[record["trial"]] = self.reports.get(record["trial"], 0) + 1
        elif kind == "resumed":
            self.budget = record["budget"]
            self._work_in(record.get("cwd", ""), line.offset)
            self.failed_in_a_row = 0
            self.stopped = None
            self.clock = self.elapsed_s, record["time"]
        elif kind == "evaluator":
            self._move(record, line.offset)
        elif kind == "sources":
            self.sources = record["sources"]
        elif kind == "stopped":
            self.stopped = record["reason"]
        if "elapsed_s" in record:
            self.elapsed_s = record["elapsed_s"]
            self.clock = self.elapsed_s, record["time"]

    def _work_in(self, cwd: str, offset: int) -> None:
        if cwd != self.cwd:
            self.cwds.append((offset, cwd))

    def _move(self, record: Mapping[str, Any], offset: int) -> None:
        names = {key: record.get(key, "") for key in ("manager", "launcher")}
        self.places.append({"offset": offset, "evaluator": record["evaluator"], **names})
        self.unclean = list(record.get("unclean", ()))

    def trial(self, number: int) -> Trial:
        """What was asked under that number."""
        return self._open.get(number) or self.history.trial(number)

    def restore(self) -> Snapshot | None:
        """Go on from the snapshot, if there is one that fits the journal; else nothing is changed."""
        snapshot = _snapshot.load(self.directory, self.history)
        if snapshot is not None:
            self.set_state(snapshot.state["record"])
        return snapshot

    def get_state(self) -> dict[str, Any]:
        """Everything but the history, as JSON values."""
        state = {name: getattr(self, name) for name in _SCALARS}
        state["clock"] = self.clock
        state["attempts"] = [[number, [past.value for past in failures]] for number, failures in self.attempts.items()]
        state["launches"] = [launch_record(number, launch) for number, launch in self.launches.items()]
        state["reports"] = list(self.reports.items())
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        for name in _SCALARS:
            setattr(self, name, state[name])
        self.clock = None if state["clock"] is None else (state["clock"][0], state["clock"][1])
        self.attempts = {number: [Failure(past) for past in failures] for number, failures in state["attempts"]}
        self.launches = {record["trial"]: _launch_from(record) for record in state.get("launches", ())}
        self.reports = dict(state.get("reports", ()))

    def _trial_from(self, record: Mapping[str, Any]) -> Trial:
        return Trial(
            number=record["trial"],
            values=record["values"],
            arguments=record["arguments"],
            tag=record["tag"],
            origin=record["origin"],
            parent=record.get("parent"),
            fidelity=record.get("fidelity"),
            nodes=record.get("nodes"),
            info=record.get("info", {}),
        )

    def _enter(self, trial: Trial, offset: int) -> None:
        if trial.number != len(self.history) + 1:
            raise JournalError(f"trial {trial.number} is recorded where {len(self.history) + 1} is due")
        self.history.add(trial, offset)
        self._open[trial.number] = trial
        self.asked += trial.origin != "inserted"
        if trial.origin == "baseline":
            self.baseline = trial.number

    def _settle(self, trial: Trial, result: Result, offset: int) -> None:
        self.history.finish(trial.number, result, offset)
        self.attempts.pop(trial.number, None)
        self._forget_attempt(trial.number)
        self._open.pop(trial.number, None)
        self.failed_in_a_row = self.failed_in_a_row + 1 if result.state is State.FAILED else 0
        if result.ok and (self.best is None or result.loss < self.history.loss(self.best)):
            self.best, self.since_best = trial.number, 0
        else:
            self.since_best += 1

    def _forget_attempt(self, number: int) -> None:
        self.launches.pop(number, None)
        self.reports.pop(number, None)

    def _details(self, offset: int) -> Mapping[str, Any]:
        return {} if offset < 0 else journal_module.read_at(self.directory, offset)


def seconds_since(time: str) -> float:
    """Seconds from a recorded UTC time until now; 0 where the clock was set back."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())


def launch_record(number: int, launch: Launch) -> dict[str, Any]:
    """A launch as the record that `Record.take` knows."""
    slots = [[slot.node, slot.index, list(slot.gpus), list(slot.cores)] for slot in launch.slots]
    return {"record": "launched", "trial": number, "attempt": launch.attempt, "slots": slots, "time": launch.time}


def _launch_from(record: Mapping[str, Any]) -> Launch:
    slots = tuple(Slot(node, index, tuple(gpus), tuple(cores)) for node, index, gpus, cores in record["slots"])
    return Launch(record["attempt"], slots, record["time"])


def result_from(record: Mapping[str, Any], sign: float) -> Result:
    """The result that a ``finished`` or ``attempt`` record holds."""
    state = State(record["state"])
    fom = float(record.get("fom", math.nan))
    usable = state in (State.DONE, State.STOPPED) and math.isfinite(fom)
    return Result(
        state=state,
        fom=fom,
        loss=sign * fom if usable else math.inf,
        metrics={name: float(value) for name, value in record.get("metrics", {}).items()},
        failure=Failure(record["failure"]) if "failure" in record else None,
        message=record.get("message", ""),
        exit_code=record.get("exit_code"),
        duration_s=record["duration_s"],
        attempts=record["attempts"],
        nodes=tuple(record.get("nodes", ())),
        steps=record.get("steps", 0),
        tail=record.get("tail", ""),
    )
