"""An evaluation between its launch and its end: what it prints, and what it comes to."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable
from pathlib import Path

from attrs import field, mutable

from hpo_core._output import OutputFile
from hpo_core.events import Ended
from hpo_core.metrics import Collector, LineSplitter
from hpo_core.trial import Evaluation, Failure, Report, Result, State, Trial

_HERE = Path()


@mutable(eq=False)
class Running:
    """One evaluation that runs.

    Attributes:
        trial: what is evaluated.
        evaluation: the attempt.
        collector: finds metrics in what it prints.
        started_s: when it was launched, on the loop's clock.
        stdout, stderr: keep what it prints.
        script: where a script is written that does it again.
        proven: whether the command has run before, so that a shell's 126 or 127 is the program's own.
        merged: whether its two streams can't be told apart.
        cause: why the loop ended it, if it did.
        why: the same for people.
        being_prepared: whether its files are still being copied; it is launched after that.
        adopted: whether an earlier driver launched it.
        heard: reports of it that the strategy heard from an earlier driver, where it is adopted.
    """

    trial: Trial
    evaluation: Evaluation
    collector: Collector
    started_s: float
    stdout: OutputFile
    stderr: OutputFile
    script: str
    proven: bool = False
    merged: bool = False
    cause: Failure | State | None = None
    why: str = ""
    being_prepared: bool = False
    adopted: bool = False
    heard: int = 0
    _lines: LineSplitter = field(factory=LineSplitter, init=False)
    _error_lines: LineSplitter = field(factory=LineSplitter, init=False)
    _last_report: Report | None = field(default=None, init=False)
    _reports: int = field(default=0, init=False)

    def begin(self) -> None:
        """It is about to be launched, or was adopted."""
        self.collector.begin(self.evaluation, adopted=self.adopted)

    def read(self, data: bytes, stream: str) -> list[Report]:
        """Take what it wrote; gives the intermediate values that are complete now."""
        if stream == "stderr":
            self.stderr.write(data)
            if not self.merged:
                for line in self._error_lines.feed(data):
                    self.collector.stderr_line(line)
                return []
        else:
            self.stdout.write(data)
        return self._reports_in(self._lines.feed(data))

    def read_rest(self) -> list[Report]:
        """Take a last line that had no end."""
        for line in self._error_lines.flush():
            self.collector.stderr_line(line)
        rest = self._lines.flush()
        return self._reports_in(rest) if rest else []

    def result(self, event: Ended, now_s: float, sign: float) -> Result:
        """What it came to.

        Args:
            event: how it ended.
            now_s: when, on the loop's clock.
            sign: 1.0 when minimising, -1.0 when maximising.
        """
        failure, message = self._failure(event)
        directory = self.evaluation.directory
        outcome = self.collector.finish(_HERE if directory is None else Path(directory))
        fom, metrics = outcome.fom, outcome.metrics
        state = State.DONE
        if self.cause is State.STOPPED and self._last_report is not None:
            state, failure, message = State.STOPPED, None, ""
            fom, metrics = self._last_report.fom, dict(self._last_report.metrics)
            fom = fom if math.isfinite(fom) else math.nan
        elif failure is None:
            failure, message = outcome.failure, outcome.message
        if failure is not None:
            state, fom = State.CANCELLED if failure is Failure.CANCELLED else State.FAILED, math.nan
        return Result(
            state=state,
            fom=fom,
            loss=math.inf if failure is not None or math.isnan(fom) else sign * fom,
            metrics=metrics,
            failure=failure,
            message=message,
            exit_code=event.exit_code,
            duration_s=round(now_s - self.started_s, 6),
            attempts=self.evaluation.attempt,
            nodes=tuple([slot.node for slot in self.evaluation.slots]),
            steps=self._reports,
            tail=self._tail() if failure is not None else "",
        )

    def _reports_in(self, lines: Iterable[str]) -> list[Report]:
        reports: list[Report] = []
        for line in lines:
            reports += self.collector.feed(line)
        if reports:
            self._reports += len(reports)
            self._last_report = reports[-1]
        return reports

    def _failure(self, event: Ended) -> tuple[Failure | None, str]:
        """The class of what went wrong, apart from the metric, and a sentence on it."""
        if isinstance(self.cause, Failure):
            return self.cause, self.why
        if event.failure is not None:
            return event.failure, event.message
        number, code = event.signal, event.exit_code
        by_shell = self.evaluation.argv is None or self.evaluation.directory is not None
        if code in (126, 127) and by_shell and not self.proven:
            tail = self.stderr.tail().strip() or "the shell could not find or run the command"
            return Failure.COULD_NOT_START, f"exit code {code} from the shell: {tail}"
        if number is None and by_shell and code is not None and 128 < code < 128 + signal.NSIG:
            number = code - 128
        if number is not None:
            return Failure.SIGNAL, f"ended by signal {_signal_name(number)}{self._last_words()}"
        if code:
            return Failure.EXIT_CODE, f"exit code {code}{self._last_words()}"
        return None, ""

    def _last_words(self) -> str:
        """The last line that it wrote as an error, where there is one."""
        lines = self.stderr.tail().split("\n")
        return f": {lines[-1].strip()[:200]}" if lines[-1].strip() else ""

    def _tail(self) -> str:
        return "\n".join(text for text in (self.stdout.tail(), self.stderr.tail()) if text)


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
