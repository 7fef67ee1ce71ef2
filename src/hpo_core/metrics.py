"""From a program's output to its figure of merit: the half that is the same for every metric parser.

    bytes --LineSplitter--> lines --MetricReader (a plugin's)--> readings --Collector--> reports, outcome

`MetricSpec` is what the user asked for: names, weights, rule over repeats, direction. Everything here runs in
bounded memory, whatever the program prints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from attrs import field, frozen

from hpo_core._words import did_you_mean
from hpo_core.exceptions import ConfigurationError
from hpo_core.interfaces import MetricParser, MetricReader, Reading
from hpo_core.trial import Failure, Report

# -- what the user asks for ---------------------------------------------------------------------------------

Rule = Literal["last", "first", "min", "max"]
"""Which of several values counts: the last, the first, or the smallest or largest figure of merit."""

RULES: tuple[Rule, ...] = ("last", "first", "min", "max")

DEFAULT_METRIC: Mapping[str, float] = MappingProxyType({"FoM": 1.0})


@frozen
class MetricSpec:
    """What the user wants measured. Make it with `MetricSpec.parse`.

    Attributes:
        names: what the parser looks for: names, or the one literal text as the user wrote it (``'f1: '``).
        weights: one for each name; the figure of merit is the weighted sum.
        literal: whether `names` holds one literal text.
        rule: which of several values counts.
        maximize: whether a larger figure of merit is better.
        parser: name of the metric parser.
        labels: the metrics' names as they stand in results: ``f1`` for the literal text ``'f1: '``.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    literal: bool = False
    rule: Rule = "last"
    maximize: bool = False
    parser: str = "text"
    labels: tuple[str, ...] = field(init=False, repr=False, eq=False)

    @labels.default
    def _labels(self) -> tuple[str, ...]:
        return tuple(map(_label, self.names)) if self.literal else self.names

    @classmethod
    def parse(
        cls,
        metric: object = DEFAULT_METRIC,
        *,
        rule: str = "last",
        maximize: bool = False,
        parser: str = "text",
    ) -> Self:
        """Check what the user wrote.

        Args:
            metric: one literal text (``'f1: '``, weight 1), or a dict of names with weights: finite numbers,
                not all zero, any sum. Blanks, ``:`` and ``=`` at the end of a name are dropped.
            rule: ``last`` (default), ``first``, ``min`` or ``max``. ``min`` and ``max`` compare figures of merit
                in the user's own sign, whatever the direction.
            maximize: whether a larger figure of merit is better.
            parser: name of the metric parser; not looked up here.

        Raises:
            ConfigurationError: it names the key, what was given, and what would be right.
        """
        if rule not in RULES:
            raise ConfigurationError(
                f"metric rule {rule!r} is unknown{did_you_mean(str(rule), RULES)}; it is one of {', '.join(RULES)}"
            )
        if not isinstance(maximize, bool):
            raise ConfigurationError(f"maximize: {maximize!r} is neither True nor False")
        if not isinstance(parser, str) or not parser:
            raise ConfigurationError(f"metric parser: {parser!r} is no name; write one such as 'text'")
        rest = (rule, maximize, parser)
        if isinstance(metric, str):
            return cls((metric,), (1.0,), True, *rest)
        weights = _weights(metric)
        return cls(tuple(weights), tuple(weights.values()), False, *rest)

    def fom(self, metrics: Mapping[str, float]) -> float:
        """The weighted sum, in the user's sign; a metric with weight 0 is recorded and has no influence.

        Args:
            metrics: label to value, all of them.
        """
        total = 0.0
        for name, weight in zip(self.labels, self.weights, strict=True):
            if weight:
                total += weight * metrics[name]
        return total

    def loss(self, fom: float) -> float:
        """What strategies minimise: `fom` or its negative; ``inf`` where it is not finite."""
        if not math.isfinite(fom):
            return math.inf
        return -fom if self.maximize else fom

    def to_json(self) -> dict[str, Any]:
        """JSON values from which `from_json` makes an equal object."""
        metric = self.names[0] if self.literal else dict(zip(self.names, self.weights, strict=True))
        return {"metric": metric, "rule": self.rule, "maximize": self.maximize, "parser": self.parser}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The object that `to_json` described.

        Raises:
            ConfigurationError: as `parse`, or a key is unknown.
        """
        unknown = set(data) - {"metric", "rule", "maximize", "parser"}
        if unknown:
            raise ConfigurationError(f"metric: unknown key {sorted(unknown)[0]!r}")
        return cls.parse(**data)


def _label(text: str) -> str:
    """The name under which a literal text or a dict's key stands in results."""
    if not text.strip():
        raise ConfigurationError(f"metric: {text!r} is empty; write the text before the number, such as 'FoM: '")
    if "\n" in text or "\r" in text:
        raise ConfigurationError(f"metric: {text!r} has a line break; metrics are looked for within one line")
    return text.strip().rstrip(" \t:=") or text.strip()


def _weights(metric: object) -> dict[str, float]:
    if not isinstance(metric, Mapping):
        raise ConfigurationError(
            f"metric: {metric!r} is neither text nor a dict; write 'FoM: ' or {{'loss': 0.5, 'error': 0.5}}"
        )
    weights: dict[str, float] = {}
    for key, weight in metric.items():
        if not isinstance(key, str):
            raise ConfigurationError(f"metric: key {key!r} is no text; a key is the name that the program prints")
        name = _label(key)
        if name in weights:
            raise ConfigurationError(f"metric: {key!r} names '{name}' twice; give each name one weight")
        weights[name] = _weight(key, weight)
    if not any(weights.values()):
        given = "all weights are zero" if weights else "the dict is empty"
        raise ConfigurationError(f"metric: {given}; give at least one metric a weight, such as {{'FoM': 1.0}}")
    return weights


def _weight(key: str, weight: object) -> float:
    if isinstance(weight, Real) and not isinstance(weight, bool):
        try:
            value = float(weight)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return value
    raise ConfigurationError(f"metric: weight of {key!r} is {weight!r}; it must be a finite number such as 1.0")


# -- numbers as programs print them -------------------------------------------------------------------------

NUMBER = (
    r"(?<!\w)(?:(?:(?:np\.|numpy\.)?(?:float|longdouble|u?int)\w*|tensor)\()?+"
    r"([+-]?(?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eEdD][+-]?[0-9]++)?+|(?i:nan|inf(?:inity)?+)))"
    r"(?![\w^#\ufffd]|[.,:*'\u00d7\u00b7+-][0-9])"
)
"""Regular expression of a number with one group, its digits: the forms of Python, C and Fortran.

``1  -1.5  .5  5.  1e-3  1.5E+02  1.5D-03  nan  -inf  Infinity``, also inside ``np.float64(...)`` or
``tensor(...)``. What follows decides whether it is one: ``0.5,`` ``0.5;`` ``0.5)`` ``0.5%`` and a sentence's full
stop are fine (a percentage is taken as printed), ``1,5`` ``1.2.3`` ``3abc`` ``12:30`` ``2024-01-01`` ``1_000`` and
``1.#INF`` are no numbers. Matching takes linear time.
"""

_WHOLE_NUMBER = re.compile(rf"\s*{NUMBER}[)\s%,;.]*")
_FORTRAN = str.maketrans("dD", "ee")


def to_number(digits: str) -> float:
    """The value of what `NUMBER`'s group matched."""
    try:
        return float(digits)
    except ValueError:
        return float(digits.translate(_FORTRAN))


def read_number(text: str) -> float | None:
    """The value of a text that is one number as `NUMBER` describes it, blanks around it allowed; else None."""
    match = _WHOLE_NUMBER.fullmatch(text)
    return to_number(match[1]) if match else None


# -- bytes to lines -----------------------------------------------------------------------------------------

MAX_LINE = 64 * 1024
"""Bytes of a line that are kept; of a longer one the first 60 KiB and the last 4 KiB."""

_TAIL = 4 * 1024
_HEAD = MAX_LINE - _TAIL
_GAP = " … "
_WORD = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.+-" + bytes(range(128, 256))
_LONGEST_WORD = 256


class LineSplitter:
    r"""Cuts a stream of bytes into lines of text, however the bytes arrive, in bounded memory.

    A line ends with ``\n``, ``\r\n`` or ``\r`` (progress bars). Bytes that are not UTF-8 become U+FFFD, NUL is kept.
    Of a line longer than `MAX_LINE` its beginning and its end are kept with `` … `` between them; a word or number
    that the cut went through is left out, so that no number is ever read in part.
    """

    __slots__ = ("_after_cr", "_long", "_part", "_tail")

    def __init__(self) -> None:
        self._part = bytearray()
        self._tail = b""
        self._long = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes, any number of them.

        Returns:
            the lines that they completed, without their ends.
        """
        if len(data) <= MAX_LINE:
            return self._feed(data)
        lines: list[str] = []
        for start in range(0, len(data), MAX_LINE):
            lines += self._feed(data[start : start + MAX_LINE])
        return lines

    def flush(self) -> list[str]:
        """The last line where it had no end; to be called once, after the last bytes."""
        return [self._take_line()] if self._part else []

    def _feed(self, data: bytes) -> list[str]:
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if not data:
            return []
        last = data[-1]
        self._after_cr = last == 13
        pieces = data.splitlines()
        rest = None if last in (10, 13) else pieces.pop()
        lines: list[str] = []
        if self._part and pieces:
            self._append(pieces[0])
            lines.append(self._take_line())
            del pieces[0]
        lines += [piece.decode("utf-8", "replace") for piece in pieces]
        if rest is not None:
            self._append(rest)
        return lines

    def _append(self, piece: bytes) -> None:
        if self._long:
            self._tail = (self._tail + piece[-_TAIL:])[-_TAIL:]
            return
        self._part += piece
        if len(self._part) > MAX_LINE:
            self._long = True
            self._tail = bytes(self._part[-_TAIL:])
            del self._part[_HEAD:]

    def _take_line(self) -> str:
        if self._long:
            head, tail = _without_cut_words(bytes(self._part), self._tail)
            text = head.decode("utf-8", "replace") + _GAP + tail.decode("utf-8", "replace")
        else:
            text = self._part.decode("utf-8", "replace")
        self._part, self._tail, self._long = bytearray(), b"", False
        return text


def _without_cut_words(head: bytes, tail: bytes) -> tuple[bytes, bytes]:
    """Leave out words at the cut, unless they are too long to be the rest of a name or number."""
    whole_head, whole_tail = head.rstrip(_WORD), tail.lstrip(_WORD)
    if len(head) - len(whole_head) < _LONGEST_WORD:
        head = whole_head
    if len(tail) - len(whole_tail) < _LONGEST_WORD:
        tail = whole_tail
    return head, tail


# -- lines to reports and the outcome -----------------------------------------------------------------------

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])\d+,\d+(?![\d.,])")
_SHOWN = 80


@frozen
class Outcome:
    """What an evaluation's output amounts to.

    Attributes:
        fom: figure of merit in the user's sign; NaN where there is none, or not finite with NAN_METRIC.
        metrics: name to value, possibly partial for a failure.
        failure: NO_METRIC, NAN_METRIC, or None.
        message: one sentence on the failure, empty otherwise.
        steps: complete reports that were seen.
    """

    fom: float = math.nan
    metrics: Mapping[str, float] = field(factory=dict)
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
        self._names = dict(zip(spec.names, spec.labels, strict=True))
        self._labels = spec.labels
        self._pending = set(self._labels)
        self._latest: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._extreme: Report | None = None
        self._step: float | None = None
        self._near_miss = ""
        self._near_line = 0
        self._stderr = _Stderr(parser)

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
            self._stderr.line(text)

    def finish(self, directory: Path) -> Outcome:
        """What it all amounts to, once, after the program ended well.

        Args:
            directory: where the program ran, for parsers that read files.

        Returns:
            the outcome. ``last`` and ``first`` take the last or first value of each metric; ``min`` and ``max``
            the report with the smallest or largest figure of merit, those that are not finite aside.
        """
        self._take(self._reader.finish(directory))
        if self._reader.near_miss != self._near_miss:
            self._near_miss, self._near_line = self._reader.near_miss, 0
        if len(self._latest) < len(self._labels):
            return Outcome(
                metrics=dict(self._latest), failure=Failure.NO_METRIC, message=self._missing(), steps=self.steps
            )
        metrics = self._chosen()
        fom = self.spec.fom(metrics)
        if math.isfinite(fom):
            return Outcome(fom, metrics, steps=self.steps)
        return Outcome(fom, metrics, Failure.NAN_METRIC, self._not_finite(fom, metrics), self.steps)

    def _take(self, readings: Sequence[Reading]) -> list[Report]:
        reports = []
        for reading in readings:
            for key, value in reading.metrics.items():
                name = self._names.get(key)
                if name is not None:
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
        report = Report(step, metrics, self.spec.fom(metrics))
        self._pending = set(self._labels)
        self._step = None
        if self.spec.rule in ("min", "max") and self._is_extreme(report.fom):
            self._extreme = report
        return report

    def _is_extreme(self, fom: float) -> bool:
        if self._extreme is None or not math.isfinite(self._extreme.fom):
            return True
        if not math.isfinite(fom):
            return False
        return fom < self._extreme.fom if self.spec.rule == "min" else fom > self._extreme.fom

    def _chosen(self) -> dict[str, float]:
        if self._extreme is not None:
            return dict(self._extreme.metrics)
        source = self._first if self.spec.rule == "first" else self._latest
        return {name: source[name] for name in self._labels}

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
        if self._stderr.reading:
            where = f"on line {self._stderr.line_number} of stderr"
            return f"found '{self._stderr.reading}' {where}, where only people look: print it to stdout"
        if self._near_miss and not self._near_line:
            return self._near_miss
        if self._near_miss:
            return f"found {_shown(self._near_miss)} on line {self._near_line}"
        if self._stderr.near_miss:
            return f"found {_shown(self._stderr.near_miss)} on line {self._stderr.line_number} of stderr"
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
