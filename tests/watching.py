"""What the tests of the loop watch with: an observer on the virtual clock, and strategies that obey a list."""

from collections import Counter
from typing import Any, ClassVar

import hpo_core as hpo
from hpo_core import Pause, Proposal
from hpo_core import events as ev


class Log(hpo.Observer):
    """Writes down (time, what, trial, attempt) of everything that it hears."""

    name = "log"

    def __init__(self) -> None:
        self.evaluator: hpo.Evaluator | None = None
        self.lines: list[tuple[float, str, int, int]] = []
        self.notices: list[str] = []

    @property
    def events(self) -> ev.EventLoop:
        assert self.evaluator is not None
        return self.evaluator.backend.launcher.events

    def times(self, what: str) -> list[float]:
        return [line[0] for line in self.lines if line[1] == what]

    def numbers(self, what: str) -> list[int]:
        return [line[2] for line in self.lines if line[1] == what]

    def words(self, *, reports: bool = False) -> list[str]:
        return [line[1] for line in self.lines if reports or line[1] != "reported"]

    def study_started(self, study: hpo.Study) -> None:
        self.lines.append((0.0, "study started", 0, 0))

    def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
        self.lines.append((self.events.now(), "started", trial.number, attempt))

    def trial_reported(self, trial: hpo.Trial, report: hpo.Report) -> None:
        self.lines.append((self.events.now(), "reported", trial.number, int(report.step)))

    def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self.lines.append((self.events.now(), "finished", trial.number, result.attempts))

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def study_finished(self, study: hpo.Study) -> None:
        self.lines.append((0.0, "study finished", 0, 0))


class Listed(hpo.Strategy):
    """Proposes `plan`, then says DONE; `calls` counts and orders what it was asked and told."""

    name = "listed"
    plan: ClassVar[list[Proposal | Pause]] = []
    calls: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked = 0

    def ask(self) -> Proposal | Pause:
        self.calls.append(("ask", self.asked))
        if self.asked >= len(self.plan):
            return Pause.DONE
        self.asked += 1
        return self.plan[self.asked - 1]

    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self.calls.append(("tell", trial.number))


class Generations(hpo.Strategy):
    """Waits until a generation of four is told before it proposes the next; counts asks."""

    name = "generations"
    size = 4

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: Counter[str] = Counter()
        self.proposed = self.told = 0

    def ask(self) -> Proposal | Pause:
        self.calls["ask"] += 1
        if self.proposed % self.size == 0 and self.told < self.proposed:
            self.calls["wait"] += 1
            return Pause.WAIT
        self.proposed += 1
        return Proposal(self.space.draw(self.rng))

    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self.told += 1


def point(x: float, **more: Any) -> Proposal:
    """A proposal in the space of one flag, ``--x``."""
    return Proposal({"--x": x}, **more)
