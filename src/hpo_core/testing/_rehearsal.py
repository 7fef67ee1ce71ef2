"""A study without a loop: asks a strategy, makes up results, and notes every answer."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import json
import math
import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from hpo_core.exceptions import SpaceError
from hpo_core.interfaces import Capability, Strategy
from hpo_core.space import Params
from hpo_core.trial import Failure, Pause, Proposal, Report, Result, State, Trial, Value

GOOD = ("done", "done", "done", "equal", "huge", "hugely negative")
BAD = ("failed", "killed", "nan", "inf", "timed out", "cancelled")
ANY = (*GOOD, *BAD, "stopped")
"""Ways in which a trial can end."""


@frozen
class Step:
    """Something that a study does: ask, tell, report, or put in a trial of its own."""

    kind: str
    which: int = 0
    outcome: str = "done"


def script(seed: int, length: int, *, outcomes: Sequence[str] = ANY, foreign: bool = True) -> list[Step]:
    """What a study may do: asks and tells in any order, several asks open, trials of others between them."""
    rng = random.Random(seed)
    eagerness = rng.choice([0.35, 0.5, 0.8])
    steps = []
    for _ in range(length):
        roll = rng.random()
        if roll < eagerness:
            kind = "ask"
        elif roll < eagerness + 0.1:
            kind = "report"
        elif foreign and roll < eagerness + 0.14:
            kind = "foreign"
        else:
            kind = "tell"
        steps.append(Step(kind, rng.randrange(1 << 16), rng.choice(outcomes)))
    return steps


class Rehearsal:
    """Does the steps of a script with a strategy; what it answered is in `answers`.

    Args:
        strategy: is asked and told.
        space: its space.
        ask_again: how often it is asked again after a `Pause`, which must change nothing.
    """

    def __init__(self, strategy: Strategy, space: Params, *, ask_again: int = 0) -> None:
        self.strategy = strategy
        self.space = space
        self.ask_again = ask_again
        self.answers: list[Any] = []
        self.open: list[Trial] = []
        self.finished: set[int] = set()
        self.starved = False
        """Whether it once waited for results while none was on its way."""
        self._numbers = 0
        self._others = random.Random(20)
        self._reports = Capability.REPORTS in strategy.capabilities

    def run(self, steps: Iterable[Step]) -> list[Any]:
        """Do the steps; what does not apply, such as telling when nothing is open, is left out."""
        for step in steps:
            if step.kind == "ask":
                self.ask()
            elif step.kind == "foreign":
                self.put_in(("inserted", "enqueued")[step.which % 2])
            elif self.open:
                place = step.which % len(self.open)
                if step.kind == "tell":
                    self.tell(self.open.pop(place), step.outcome)
                elif self._reports:
                    self.report(self.open[place], step.which)
        return self.answers

    def ask(self) -> Proposal | Pause:
        """Ask once; a proposal becomes a running trial."""
        answer = self.strategy.ask()
        if isinstance(answer, Pause):
            self.starved |= answer is Pause.WAIT and not self.open
            for _ in range(self.ask_again):
                again = self.strategy.ask()
                assert again is answer, f"ask answered {answer}, and {again!r} when asked again at once"
            self.answers.append(answer.name)
            return answer
        assert isinstance(answer, Proposal), f"ask answered {answer!r}, neither a Proposal nor a Pause"
        values = self._valid(answer.values)
        self.answers.append([values, answer.parent, answer.fidelity, answer.nodes, answer.tag, _copied(answer.info)])
        self.start(values, "strategy", answer)
        return answer

    def put_in(self, origin: str) -> None:
        """A trial that the strategy did not propose; an inserted one has its result already."""
        values = self.space.baseline(random.Random(1)) if origin == "baseline" else self.space.draw(self._others)
        given = self.strategy.foreign(Proposal(values), origin)
        assert isinstance(given, Proposal), f"foreign answered {given!r}, not a Proposal"
        assert (given.values, given.parent) == (values, None), "foreign changed what others put in"
        trial = self.start(values, origin, given)
        if origin == "inserted":
            self.open.remove(trial)
            self.tell(trial, "done")

    def tell(self, trial: Trial, outcome: str) -> None:
        """Make up a result and tell it."""
        self.finished.add(trial.number)
        self.strategy.tell(trial, result(trial, outcome))

    def report(self, trial: Trial, which: int) -> bool:
        """Make up an intermediate value and report it; a trial is stopped where the strategy says so."""
        fom = (which % 1000) / 100.0
        stop = self.strategy.report(trial, Report(1 + which % 50, {"FoM": fom}, fom))
        assert isinstance(stop, bool), f"report answered {stop!r}, not True or False"
        self.answers.append(["report", trial.number, stop])
        if stop:
            self.open.remove(trial)
            self.tell(trial, "stopped")
        return stop

    def start(self, values: Mapping[str, Value], origin: str, proposal: Proposal) -> Trial:
        self._numbers += 1
        trial = Trial(
            self._numbers,
            values,
            " ".join(self.space.render(values)),
            proposal.tag or self.strategy.tag(self._numbers),
            origin,
            proposal.parent,
            proposal.fidelity,
            proposal.nodes,
            _copied(proposal.info),
        )
        self.open.append(trial)
        return trial

    def _valid(self, values: Mapping[str, Value]) -> dict[str, Value]:
        try:
            return self.space.canonical(values)
        except SpaceError as error:
            raise AssertionError(f"the proposal {dict(values)} is not valid in {self.space!r}: {error}") from None


def result(trial: Trial, outcome: str) -> Result:
    """A result of this kind; finite losses depend on the trial's values alone."""
    fom = zlib.crc32(repr(sorted(trial.values.items())).encode()) / 2**32
    foms = {"equal": 0.0, "huge": 1.7e308, "hugely negative": -1.7e308}
    failed = {
        "failed": Result(State.FAILED, failure=Failure.EXIT_CODE, message="exit code 1", exit_code=1, tail="oh"),
        "killed": Result(State.FAILED, failure=Failure.SIGNAL, message="signal 9", attempts=3),
        "nan": Result(State.FAILED, metrics={"FoM": math.nan}, failure=Failure.NAN_METRIC, message="FoM is nan"),
        "inf": Result(
            State.FAILED, fom=math.inf, metrics={"FoM": math.inf}, failure=Failure.NAN_METRIC, message="FoM is inf"
        ),
        "timed out": Result(State.FAILED, failure=Failure.TIME_LIMIT, message="too long", duration_s=9e9),
        "cancelled": Result(State.CANCELLED, failure=Failure.CANCELLED, message="the study stopped", attempts=0),
    }
    if outcome in failed:
        return failed[outcome]
    fom = foms.get(outcome, fom)
    state = State.STOPPED if outcome == "stopped" else State.DONE
    return Result(state, fom, fom, {"FoM": fom}, exit_code=0, duration_s=1.0, nodes=("node1",))


def _copied(info: Mapping[str, Any]) -> Any:
    """As it comes back after a resumption."""
    return json.loads(json.dumps(dict(info)))
