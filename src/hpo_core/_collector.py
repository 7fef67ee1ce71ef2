"""From lines of output to reports and the outcome of one evaluation, in bounded memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hpo_core.interfaces import MetricParser, MetricReader, Reading
from hpo_core.trial import Failure, Report

if TYPE_CHECKING:
    from hpo_core.metrics import MetricSpec
    from hpo_core.trial import Evaluation

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])\d+,\d+(?![\d.,])")
_SHOWN = 80


class Outcome(NamedTuple):
    """What an evaluation's output amounts to.

    Attributes:
        fom: figure of merit in the user's sign; NaN where there is none, or not finite with NAN_METRIC.
        metrics: name to value, possibly partial for a failure.
        failure: NO_METRIC, NAN_METRIC, or None.
        message: one sentence on the failure, empty otherwise.
        steps: complete reports that were seen.
    """

    fom: float = math.nan
    metrics: Mapping[str, float] = MappingProxyType({})
    failure: Failure | None = None
    message: str = ""
    steps: int = 0


class Collector:
    """Makes reports and the outcome of one evaluation from its lines; keeps no history.

    What the parser's reader raises passes through: it is the plugin's fault, not the evaluation's.

    Args:
        spec: what the user wants measured.
        parser: made with ``spec.names`` and ``spec.literal``; its reader's keys are those names.
    """

    def __init__(self, spec: MetricSpec, parser: MetricParser) -> None:
        self.spec = spec
        self.lines = 0
        """Lines of stdout so far."""
        self.steps = 0
        """Complete reports so far."""
        self._parser = parser
        self._reader = parser.reader()
        self._names = spec.names_to_labels
        self._labels = spec.labels
        self._pending = set(self._labels)
        self._latest: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._counts: Report | None = None
        """The report that the outcome is made of, unless more is read."""
        self._step: float | None = None
        self._near_miss = ""
        self._near_line = 0
        self._stderr: _Stderr | None = None

    def begin(self, evaluation: Evaluation, *, adopted: bool) -> None:
        """The evaluation is about to be launched, or was launched by an earlier driver."""
        self._reader.begin(evaluation, adopted=adopted)

    def feed(self, line: str) -> Sequence[Report]:
        """Read one line of stdout without its end; terminal colours in it are ignored.

        Returns:
            reports that it completed, mostly none. A report is complete when every metric has been renewed
            since the last one; its step is the program's own, or 1, 2, 3 ... in order.
        """
        self.lines += 1
        if "\x1b" in line:
            line = _COLOURS.sub("", line)
        readings = self._reader.line(line)
        if readings:
            return self._take(readings)
        if self._reader.near_miss != self._near_miss:
            self._near_miss, self._near_line = self._reader.near_miss, self.lines
        return ()

    def stderr_line(self, text: str) -> None:
        """Look at one line of stderr, for the message only: metrics there do not count."""
        if len(self._latest) < len(self._labels):
            if self._stderr is None:
                self._stderr = _Stderr(self._parser)
            self._stderr.line(text)

    def finish(self, directory: Path) -> Outcome:
        """What it all amounts to, once, after the program ended well.

        Args:
            directory: where the program ran, for parsers that read files.

        Returns:
            the outcome. ``last`` and ``first`` take the last or first value of each metric; ``min`` and ``max``
            the report with the smallest or largest figure of merit, those that are not finite aside.
        """
        if readings := self._reader.finish(directory):
            self._take(readings)
        if self._reader.near_miss != self._near_miss:
            self._near_miss, self._near_line = self._reader.near_miss, 0
        if len(self._latest) < len(self._labels):
            return Outcome(
                metrics=dict(self._latest), failure=Failure.NO_METRIC, message=self._missing(), steps=self.steps
            )
        metrics, fom = self._chosen()
        if math.isfinite(fom):
            return Outcome(fom, metrics, steps=self.steps)
        return Outcome(fom, metrics, Failure.NAN_METRIC, self._not_finite(fom, metrics), self.steps)

    def _take(self, readings: Sequence[Reading]) -> list[Report]:
        reports = []
        for reading in readings:
            for key, value in reading.metrics.items():
                name = self._names.get(key)
                if name is not None:
                    if self.spec.rule == "last":
                        self._counts = None
                    self._latest[name] = float(value)
                    self._first.setdefault(name, float(value))
                    self._pending.discard(name)
            if reading.step is not None and math.isfinite(reading.step):
                self._step = reading.step
            if not self._pending:
                reports.append(self._report())
        return reports

    def _report(self) -> Report:
        self.steps += 1
        step = float(self.steps) if self._step is None else self._step
        metrics = {name: self._latest[name] for name in self._labels}
        fom = self.spec.fom(metrics)
        report = Report(step, metrics, fom, self.spec.loss(fom))
        self._pending = set(self._labels)
        self._step = None
        if self.spec.rule != "first" and (self._counts is None or self._is_extreme(fom, self._counts.fom)):
            self._counts = report
        return report

    def _is_extreme(self, fom: float, before: float) -> bool:
        if not math.isfinite(before):
            return True
        if not math.isfinite(fom):
            return False
        return fom < before if self.spec.rule == "min" else fom > before

    def _chosen(self) -> tuple[dict[str, float], float]:
        if self._counts is not None:
            return dict(self._counts.metrics), self._counts.fom
        source = self._first if self.spec.rule == "first" else self._latest
        metrics = {name: source[name] for name in self._labels}
        return metrics, self.spec.fom(metrics)

    def _not_finite(self, fom: float, metrics: Mapping[str, float]) -> str:
        values = ", ".join(f"{name} = {value!r}" for name, value in metrics.items())
        return f"the figure of merit is {fom!r}, which is not finite: {values}"

    def _missing(self) -> str:
        expected = f"expected {self._parser.expected()}"
        what = "no metric in the output"
        if self._latest:
            missing = [name for name in self._labels if name not in self._latest]
            what = f"no value for {_quoted(missing)} in the output (found {_quoted(self._latest)})"
        return f"{what}: {self._found()}, {expected}"

    def _found(self) -> str:
        stderr = self._stderr
        if stderr is not None and stderr.reading:
            where = f"on line {stderr.line_number} of stderr"
            return f"found '{stderr.reading}' {where}, where only people look: print it to stdout"
        if self._near_miss and not self._near_line:
            return self._near_miss
        if self._near_miss:
            return f"found {_shown(self._near_miss)} on line {self._near_line}"
        if stderr is not None and stderr.near_miss:
            return f"found {_shown(stderr.near_miss)} on line {stderr.line_number} of stderr"
        return f"none in {self.lines} line{'s' * (self.lines != 1)}" if self.lines else "nothing was printed"


class _Stderr:
    """Remembers the first metric, or else the last near miss, that stood on stderr."""

    def __init__(self, parser: MetricParser) -> None:
        self._parser = parser
        self._reader: MetricReader | None = None
        self._lines = 0
        self.reading = ""
        self.near_miss = ""
        self.line_number = 0

    def line(self, text: str) -> None:
        if self.reading:
            return
        if self._reader is None:
            self._reader = self._parser.reader()
        self._lines += 1
        text = _COLOURS.sub("", text)
        if self._reader.line(text):
            self.reading, self.line_number = _printable(text), self._lines
        elif self._reader.near_miss != self.near_miss:
            self.near_miss, self.line_number = self._reader.near_miss, self._lines


def _shown(near_miss: str) -> str:
    hint = " (a decimal comma: print a point)" if _DECIMAL_COMMA.search(near_miss[:1000]) else ""
    return f"'{_printable(near_miss)}'{hint}"


def _printable(text: str) -> str:
    text = text[: 2 * _SHOWN].strip()
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    return "".join(char if char.isprintable() else "?" for char in text)


def _quoted(names: Sequence[str] | Mapping[str, float]) -> str:
    return ", ".join(f"'{name}'" for name in names)
