"""Observers ``progress``: how a study stands, on a terminal or line by line; ``evaluations``: what begins and ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from hpo_core._summary import best_sentence, by_class, number, show_command, with_command
from hpo_core._words import duration
from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import Observer
from hpo_core.trial import Failure, Report, Result, State, Trial

if TYPE_CHECKING:
    from rich.live import Live

    from hpo_core.study import Study

_REFRESHES_PER_S = 4
_LINES = 20
"""Lines that a study with a known number of trials writes where there is no terminal."""
_EVERY = 10
"""Trials between two lines where that number is not known."""


class Progress(Observer):
    """Shows evaluations done, running and failed, the best so far beside the defaults, and the time left.

    On a terminal a display of two lines that is drawn anew a few times a second (rich is imported only then);
    elsewhere a line every so many results. The first failure of each class is told, with the command to look at it.

    Args:
        stream: where to; None: stderr.
    """

    name = "progress"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._live: Live | None = None

    def study_started(self, study: Study) -> None:
        self._out = self._stream or sys.stderr
        counts = study.trials.counts()
        self._directory = study.directory
        self._maximize = study.maximize
        self._total = study.budget.n_trials
        self._timeout_s = study.budget.timeout_s
        self._default = study.default_fom
        self._defaults = set(study.params.defaults)
        best = study.best_trial
        self._best = None if best is None else (best.number, best.fom)
        self._failures: dict[Failure, int] = dict(study.trials.failures())
        self._told: set[Failure] = set()
        self._over = sum(counts.values()) - counts[State.RUNNING]
        self._over_before = self._over
        self._running: set[int] = set()
        self._elapsed_before = study.elapsed_s
        self._began: float | None = None
        self._last_end_s = 0.0
        self._every = max(1, -(-self._total // _LINES)) if self._total else _EVERY
        if _is_terminal(self._out):
            self._start_display()

    def trial_started(self, trial: Trial, attempt: int) -> None:
        if self._began is None:
            self._began = time.monotonic()
        self._running.add(trial.number)

    def trial_reported(self, trial: Trial, report: Report) -> None:
        """Nothing: reports can come faster than anybody reads."""

    def trial_finished(self, trial: Trial, result: Result) -> None:
        self._running.discard(trial.number)
        self._over += 1
        self._last_end_s = 0.0 if self._began is None else time.monotonic() - self._began
        if result.ok:
            if trial.origin == "baseline" and set(trial.values) <= self._defaults:
                self._default = result.fom
            if self._best is None or self._is_better(result.fom, self._best[1]):
                self._best = trial.number, result.fom
        if result.failure is not None:
            self._failures[result.failure] = self._failures.get(result.failure, 0) + 1
            if result.failure is not Failure.CANCELLED and result.failure not in self._told:
                self._told.add(result.failure)
                self._say(f"trial {trial.number} failed: {result.message} ({self._look(trial.number)})")
        if self._live is None and self._over % self._every == 0:
            self._say(self._line())

    def notice(self, text: str) -> None:
        self._say(with_command(text, self._directory))

    def study_finished(self, study: Study) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _is_better(self, fom: float, than: float) -> bool:
        return fom > than if self._maximize else fom < than

    def _look(self, number: int) -> str:
        return show_command(self._directory, number)

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._out, flush=True)

    # What is shown

    def _counts(self) -> str:
        total = f" of {self._total}" if self._total else ""
        failed = sum(self._failures.values()) - self._failures.get(Failure.CANCELLED, 0)
        done = self._over - sum(self._failures.values())
        return f"done {done}{total}, running {len(self._running)}, failed {failed}{by_class(self._failures)}"

    def _so_far(self) -> str:
        number, fom = self._best or (None, None)
        return best_sentence(number, fom, self._default, maximize=self._maximize)

    def _line(self) -> str:
        left = self._left()
        return "; ".join([self._counts(), self._so_far(), *([left] if left else [])])

    def _left(self) -> str:
        """How long it will take still: by the trials that are left at the speed so far, or by the timeout."""
        if self._began is None:
            return ""
        here_s = time.monotonic() - self._began
        limits = []
        if self._total and self._over > self._over_before:
            each_s = self._last_end_s / (self._over - self._over_before)
            limits.append((self._total - self._over) * each_s - (here_s - self._last_end_s))
        if self._timeout_s is not None:
            limits.append(self._timeout_s - self._elapsed_before - here_s)
        if limits:
            return f"about {duration(max(0.0, min(limits)))} left"
        return f"{duration(self._elapsed_before + here_s)} so far"

    # On a terminal

    def _start_display(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            get_renderable=self._picture,
            console=Console(file=self._out),
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
        )
        self._live.start()

    def _picture(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        first = Table.grid(padding=(0, 1))
        if self._total:
            first.add_row(ProgressBar(self._total, self._over, width=20), _text(Text, self._counts()))
        else:
            first.add_row(_text(Text, self._counts()))
        both = Table.grid()
        both.add_row(first)
        left = self._left()
        both.add_row(_text(Text, "; ".join([self._so_far(), *([left] if left else [])])))
        return both


class Evaluations(Observer):
    """Tells of each evaluation that begins and of each trial that is over: what ``Evaluator(verbose=True)`` shows.

    Args:
        stream: where to; None: stdout.
        notices: tell notices as well, where no other observer does.
    """

    name = "evaluations"

    def __init__(self, stream: TextIO | None = None, *, notices: bool = False) -> None:
        self._stream = stream
        self._notices = notices

    def study_started(self, study: Study) -> None:
        self._study = study

    def trial_started(self, trial: Trial, attempt: int) -> None:
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._say(f"trial {trial.number} begins{again}: {self._study.command(trial)}")

    def trial_finished(self, trial: Trial, result: Result) -> None:
        what = f"{number(result.fom)} after {duration(result.duration_s)}" if result.ok else result.message
        nodes = f" on {', '.join(result.nodes)}" if result.nodes else ""
        self._say(f"trial {trial.number} {result.state.value}: {what}{nodes}")

    def notice(self, text: str) -> None:
        if self._notices:
            self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=self._stream or sys.stdout, flush=True)


def _text(kind: Any, words: str) -> Any:
    return kind(words, no_wrap=True, overflow="ellipsis")


def _is_terminal(stream: TextIO) -> bool:
    """Whether lines can be drawn anew there."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


@hookimpl
def hpo_register_observer() -> Sequence[type[Observer]]:
    return [Progress, Evaluations]
