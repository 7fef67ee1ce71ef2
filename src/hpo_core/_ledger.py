"""What was asked and what came of it: numbers trials, records them, tells the strategy, knows the best."""

from __future__ import annotations

import math
import random
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from hpo_core import _snapshot
from hpo_core._blame import blamed
from hpo_core._record import Launch, Record, launch_record
from hpo_core._snapshot import Snapshot
from hpo_core.allocation import Slot
from hpo_core.exceptions import SpaceError
from hpo_core.interfaces import Capability, Strategy
from hpo_core.journal import Journal, Line, number
from hpo_core.space import Params
from hpo_core.trial import Proposal, Report, Result, Trial, Value

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Ledger(Record):
    """The state of a study that is on disk, and the strategy that goes with it.

    Args:
        directory: the study's directory.
        space: the search space.
        strategy: fresh; `replay` brings it to where the journal is.
        sign: 1.0 when minimising, -1.0 when maximising.
    """

    def __init__(self, directory: Path, space: Params, strategy: Strategy, sign: float) -> None:
        super().__init__(directory, space, sign)
        self.strategy = strategy
        self.journal: Journal | None = None
        self.n_trials: int | None = None
        """Trials of the budget that the study was begun with."""
        self.notes: list[str] = []
        self._queue: deque[tuple[Proposal, str]] = deque()
        self._told = 0
        self._untold: deque[tuple[Trial, Result]] = deque()
        self._heard = 0
        self._unheard: deque[Mapping[str, Any]] = deque()
        """Reports of the journal that the strategy has yet to hear again."""
        self._sound = True
        """Whether the strategy's state is what the records make of it."""
        self._in_step = True
        self._snapshot_at = 0
        self._resumption: Mapping[str, Any] | None = None

    # Asking

    def enqueue(self, values: Mapping[str, Value]) -> None:
        """Put a point before whatever the strategy proposes.

        Raises:
            SpaceError: it is no valid point.
        """
        self._queue.append((Proposal(self.space.canonical(values)), "enqueued"))

    def begin_with(self, values: Mapping[str, Value]) -> None:
        """Put the default point before everything else."""
        self._queue.appendleft((Proposal(values), "baseline"))

    @property
    def queued(self) -> bool:
        """Whether points wait that the strategy need not be asked for."""
        return bool(self._queue)

    def next_queued(self) -> Trial:
        """The next waiting point as a trial, recorded (but not flushed)."""
        return self.admit(*self._queue.popleft(), told=self._told)

    @property
    def told(self) -> int:
        """Results that the strategy has heard of: a strategy's answer is a function of these and its asks."""
        return self._told

    @property
    def heard(self) -> int:
        """Reports that the strategy has heard."""
        return self._heard

    def consult(self, method: str, *arguments: object) -> Any:
        """Call a method of the strategy; all calls but those for its state go through here.

        Raises:
            StudyStopped: the strategy raised; it can't be relied on any more, what is recorded is intact.
        """
        try:
            return getattr(self.strategy, method)(*arguments)
        except Exception as error:
            self._sound = False
            raise blamed(f"strategy '{self.strategy.name}' failed in {method}", error) from error
        except BaseException:
            self._sound = False
            raise

    def forsake(self) -> None:
        """The strategy was left in the middle of a call: its state is never saved."""
        self._sound = False

    def admit(self, proposal: Proposal, origin: str, *, told: int, heard: int = 0) -> Trial:
        """Make a trial of a proposal: check it, number it, record it (not flushed).

        Args:
            proposal: what was proposed.
            origin: as in `Trial`.
            told: results that the strategy had heard of when it was asked.
            heard: reports that it had heard.

        Raises:
            SpaceError: the proposal is no valid point; a strategy that does this is broken.
        """
        if origin != "strategy":
            proposal = self._completed(proposal, origin)
        values = self._checked(proposal)
        trial_number = len(self.history) + 1
        trial = Trial(
            number=trial_number,
            values=values,
            arguments=self.history.arguments(values),
            tag=proposal.tag or self.strategy.tag(trial_number),
            origin=origin,
            parent=proposal.parent,
            fidelity=proposal.fidelity,
            nodes=proposal.nodes,
            info=proposal.info,
        )
        try:
            offset = self._append(_asked_record(trial, told, heard))
        except (TypeError, ValueError) as error:
            who = f"strategy '{self.strategy.name}'"
            raise SpaceError(f"{who} proposed info that JSON can't hold: {error}") from error
        self._enter(trial, offset)
        return trial

    def _completed(self, proposal: Proposal, origin: str) -> Proposal:
        """A point that others put in, with what the strategy adds to it."""
        answer = self.consult("foreign", proposal, origin)
        if not isinstance(answer, Proposal):
            raise SpaceError(f"strategy '{self.strategy.name}' answered {answer!r} in foreign, which is no Proposal")
        return attrs.evolve(answer, values=proposal.values, parent=proposal.parent)

    def _checked(self, proposal: Proposal) -> dict[str, Value]:
        """The values of a proposal as they run; whatever is wrong with it is refused before it is recorded."""
        who = f"strategy '{self.strategy.name}'"
        try:
            values = self.space.canonical(proposal.values)
        except SpaceError as error:
            raise SpaceError(f"{who} proposed an invalid point: {error}") from error
        if proposal.parent is not None and not 1 <= proposal.parent <= len(self.history):
            raise SpaceError(f"{who} wants to continue trial {proposal.parent}, and there is none")
        if proposal.tag and not _TAG.fullmatch(proposal.tag):
            raise SpaceError(
                f"{who} proposed the tag {proposal.tag!r}; tags name files: letters, digits, '_', '-' and '.' inside, "
                "at most 100 of them"
            )
        return values

    # Recording

    def launched(self, trial: Trial, attempt: int, slots: tuple[Slot, ...]) -> None:
        """Record that an attempt is about to be launched (not flushed), so that a later driver can adopt it."""
        launch = self.launches[trial.number] = Launch(attempt, slots, _timestamp())
        self._append(launch_record(trial.number, launch))

    def attempted(self, trial: Trial, attempt: int, result: Result) -> None:
        """Record an attempt that is not the trial's last."""
        assert result.failure is not None  # noqa: S101 - for the type checker
        self.attempts.setdefault(trial.number, []).append(result.failure)
        self._forget_attempt(trial.number)
        record = {"record": "attempt", "trial": trial.number, "attempt": attempt, **_result_record(result)}
        self._append(record)

    def finish(self, trial: Trial, result: Result) -> None:
        """Record a result (not flushed); the strategy hears of it from `tell_all`, after the flush."""
        record = {
            "record": "finished",
            "trial": trial.number,
            **_result_record(result),
            "elapsed_s": round(self.elapsed_s, 3),
            "time": _timestamp(),
        }
        offset = self._append(record)
        self._settle(trial, result, offset)

    def reported(self, trial: Trial, report: Report) -> None:
        """Record an intermediate value where the strategy listens to them (not flushed)."""
        if Capability.REPORTS in self.strategy.capabilities:
            self._heard += 1
            self.reports[trial.number] = self.reports.get(trial.number, 0) + 1
            metrics = {name: number(value) for name, value in report.metrics.items()}
            self._append(
                {
                    "record": "report",
                    "trial": trial.number,
                    "step": report.step,
                    "fom": number(report.fom),
                    "metrics": metrics,
                    "told": self._told,
                }
            )

    def note(self, kind: str, **facts: Any) -> None:
        """Record something that is no trial, such as a stop or a resumption."""
        self._append({"record": kind, **facts, "time": _timestamp()})

    def resume(self, **facts: Any) -> None:
        """A session begins: recorded by `session`, or before the first record of the session."""
        self._resumption = facts

    def session(self) -> None:
        """Record that the session has begun, on disk."""
        if self._resumption is not None:
            facts, self._resumption = self._resumption, None
            self._work_in(facts["cwd"], self._append({"record": "resumed", **facts, "time": _timestamp()}))
            self.flush()

    def move(self, place: Mapping[str, Any], unclean: Sequence[Mapping[str, Any]]) -> None:
        """Evaluations run elsewhere from now on, or otherwise; `unclean`: where others may still run."""
        record = {"record": "evaluator", **place, "unclean": list(unclean), "time": _timestamp()}
        self._move(record, self._append(record))

    def flush(self, *, durable: bool = False) -> None:
        """Put all records on disk; `durable`: so that they survive the death of the host, whatever the policy."""
        if self.journal is not None:
            self.journal.flush(durable=durable)

    def untold(self) -> Iterator[tuple[Trial, Result]]:
        """Results that are recorded and that the strategy has not heard of; each counts as told once it is given."""
        while self._untold:
            self._told += 1
            yield self._untold.popleft()

    def tell_all(self) -> None:
        """Tell the strategy of everything that is recorded."""
        for trial, result in self.untold():
            self.consult("tell", trial, result)

    # Replaying

    def save_snapshot(self, journal: Journal, *, every: int) -> None:
        """Save the state, where `every` trials or more have finished since it was last saved.

        Everything must be flushed and told, and no other thread may use the strategy.
        """
        done = len(self.history.order)
        if done - self._snapshot_at < every or not self._sound or self._untold:
            return
        self._snapshot_at = done
        state = {
            "record": self.get_state(),
            "told": self._told,
            "heard": self._heard,
            "queue": [dict(proposal.values) for proposal, origin in self._queue if origin == "enqueued"],
            "in_step": self._in_step,
            "strategy": self.strategy.get_state(),
        }
        _snapshot.save(self.directory, self.history, state, offset=journal.size, lines=self.lines)

    def restore(self) -> Snapshot | None:
        """Go on from the snapshot, the strategy too; see `Record.restore`."""
        snapshot = super().restore()
        if snapshot is not None:
            self._told = snapshot.state["told"]
            self._heard = snapshot.state["heard"]
            self._in_step = snapshot.state["in_step"]
            self._queue = deque((Proposal(values), "enqueued") for values in snapshot.state["queue"])
            self.strategy.set_state(snapshot.state["strategy"])
            self._snapshot_at = len(self.history.order)
        return snapshot

    def replay(self, lines: Iterable[Line]) -> None:
        """Bring history and strategy to where the journal is.

        The strategy is asked and told again in the recorded order. When its proposals differ from the recorded
        ones (another version, a strategy that is not deterministic), it is only told from then on.
        """
        for line in lines:
            record = line.record
            kind = record["record"]
            if kind == "asked":
                self._ask_again(record)
            elif kind == "report":
                self._unheard.append(record)
            elif kind == "enqueued":
                self._queue.append((Proposal(record["values"]), "enqueued"))
            self.take(line)
        self._catch_up(told=self._told, heard=self._heard + len(self._unheard))
        self.tell_all()

    def _ask_again(self, record: Mapping[str, Any]) -> None:
        """Bring the strategy, or the queue, to behind a recorded question."""
        origin = record["origin"]
        self._catch_up(told=record["told"], heard=record.get("heard", 0))
        if origin == "enqueued" and self._queue:
            self._queue.popleft()
        if origin == "strategy" and self._in_step:
            n_trials = self.budget["n_trials"] if self.budget else self.n_trials
            self.strategy.outlook.trials_left = None if n_trials is None else n_trials - self.asked
            again = self.consult("ask")
            self._in_step = isinstance(again, Proposal) and self._repeats(again, record)
            if not self._in_step:
                self.notes.append(
                    f"strategy '{self.strategy.name}' does not repeat its proposals from trial {record['trial']} on: "
                    "it goes on from the recorded results alone"
                )

    def _repeats(self, again: Proposal, record: Mapping[str, Any]) -> bool:
        """Whether a proposal is what was recorded: the values as they ran, and what it went on from."""
        if any(getattr(again, name) != record.get(name) for name in ("parent", "fidelity", "nodes")):
            return False
        try:
            return record["values"] in (dict(again.values), self.space.canonical(again.values))
        except SpaceError:
            return False

    def _catch_up(self, *, told: int, heard: int) -> None:
        """Bring the strategy to where it had been told so many results, and heard so many reports, in order."""
        while self._heard < heard and self._unheard:
            record = self._unheard.popleft()
            self._tell_until(record["told"])
            metrics = {name: float(value) for name, value in record["metrics"].items()}
            fom = float(record["fom"])
            loss = self.sign * fom if math.isfinite(fom) else math.inf
            report = Report(record["step"], metrics, fom, loss)
            self._heard += 1
            self.consult("report", self.trial(record["trial"]), report)
        self._tell_until(told)

    def _tell_until(self, told: int) -> None:
        while self._told < told and self._untold:
            trial, result = self._untold.popleft()
            self._told += 1
            self.consult("tell", trial, result)

    # Inside

    def _settle(self, trial: Trial, result: Result, offset: int) -> None:
        super()._settle(trial, result, offset)
        self._untold.append((trial, result))

    def _append(self, record: Mapping[str, Any]) -> int:
        if self.journal is None:
            return -1
        self.session()
        offset = self.journal.append(record)
        self.lines += 1
        return offset

    def _details(self, offset: int) -> Mapping[str, Any]:
        if self.journal is not None and offset >= self.journal.flushed:
            self.flush()
        return super()._details(offset)


def baseline(space: Params, seed: int) -> dict[str, Value]:
    """The default point; what has no default is drawn, once for a seed."""
    return space.baseline(random.Random(f"baseline {seed}"))


def _asked_record(trial: Trial, told: int, heard: int) -> dict[str, Any]:
    record: dict[str, Any] = {
        "record": "asked",
        "trial": trial.number,
        "tag": trial.tag,
        "origin": trial.origin,
        "values": dict(trial.values),
        "arguments": trial.arguments,
        "told": told,
    }
    if heard:
        record["heard"] = heard
    for name in ("parent", "fidelity", "nodes"):
        if getattr(trial, name) is not None:
            record[name] = getattr(trial, name)
    if trial.info:
        record["info"] = dict(trial.info)
    record["time"] = _timestamp()
    return record


def _result_record(result: Result) -> dict[str, Any]:
    record: dict[str, Any] = {"state": result.state.value}
    if not math.isnan(result.fom):
        record["fom"] = number(result.fom)
    if result.metrics:
        record["metrics"] = {name: number(value) for name, value in result.metrics.items()}
    if result.failure is not None:
        record["failure"] = result.failure.value
        record["message"] = result.message
    if result.exit_code is not None:
        record["exit_code"] = result.exit_code
    record["duration_s"] = result.duration_s
    record["attempts"] = result.attempts
    if result.nodes:
        record["nodes"] = list(result.nodes)
    if result.steps:
        record["steps"] = result.steps
    if result.tail:
        record["tail"] = result.tail
    return record


def _timestamp() -> str:
    """UTC, to the millisecond."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03d}+00:00"


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
