"""Metric parser ``text``: a name or a literal text, and a number after it, anywhere in a line of stdout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from hpo_core.hookspecs import hookimpl
from hpo_core.interfaces import MetricParser, MetricReader, Reading
from hpo_core.metrics import NUMBER, to_number

_BEFORE_NAME = r"(?<!\w)(?<!\w[-./])"
_NOT_A_FRACTION = r"(?!/[0-9])"


@frozen
class TextOptions:
    """Options of ``text``.

    Attributes:
        step: name whose number on the same line is the step (``epoch: 3 FoM: 0.2``); empty: steps are counted.
    """

    step: str = ""


class TextMetrics(MetricParser):
    """The rule of CrayAI HPO.

    A literal text (``'f1: '``) is looked for as it is, then come blanks if any, then a number. Names of a dict
    are words of their own (``loss`` is neither in ``val_loss`` nor in ``val-loss``, ``val.loss``, ``val/loss``),
    followed by ``:`` or ``=``, blanks around it allowed, and a number. Of several on one line all are taken, in
    order. What counts as a number: `hpo_core.metrics.NUMBER`; ``3/10`` is none, except for the step.
    """

    name = "text"
    Options = TextOptions

    def __init__(self, metrics: Sequence[str], *, literal: bool = False, options: Any = None) -> None:
        super().__init__(metrics, literal=literal, options=options)
        names = "|".join(map(re.escape, self.metrics))
        before = f"({names})[ \t]*" if literal else f"{_BEFORE_NAME}({names})[ \t]*[:=][ \t]*"
        self._pattern = re.compile(before + NUMBER + _NOT_A_FRACTION)
        self._step = _step_pattern(self.options.step)

    def reader(self) -> MetricReader:
        return _TextReader(self.metrics, self._pattern, self._step)

    def expected(self) -> str:
        """Such as ``'FoM: ' and a number``."""
        if self.literal and self.metrics[0][-1:].isalnum():
            text = self.metrics[0]
            return f"'{text}' and then a number (a text is taken as it is: metric='{text}: ' finds '{text}: 0.5')"
        if len(self.metrics) == 1:
            return f"'{self.metrics[0]}{'' if self.literal else ': '}' and a number"
        return " and ".join(f"'{name}: '" for name in self.metrics) + ", each with a number"


def _step_pattern(step: str) -> re.Pattern[str] | None:
    if not step.strip():
        return None
    return re.compile(rf"{_BEFORE_NAME}{re.escape(step.strip(' :='))}[ \t]*[:=]?[ \t]*{NUMBER}")


class _TextReader(MetricReader):
    def __init__(self, metrics: tuple[str, ...], pattern: re.Pattern[str], step: re.Pattern[str] | None) -> None:
        self._metrics = metrics
        self._pattern = pattern
        self._step = step
        self._missing = set(metrics)
        self._looks_for_near = True
        self._near: NearMisses | None = None

    def line(self, text: str) -> Sequence[Reading]:
        for metric in self._metrics:
            if metric in text:
                readings = self._readings(text)
                if readings:
                    return readings
                break
        if self._looks_for_near:
            if self._near is None:
                self._near = NearMisses(name for name in self._metrics if name in self._missing)
            if self._near.line(text):
                self.near_miss = self._near.text
                self._looks_for_near = not self._near.settled
        return ()

    def _readings(self, text: str) -> list[Reading]:
        found: list[dict[str, float]] = []
        for match in self._pattern.finditer(text):
            name = match[1]
            if not found or name in found[-1]:
                found.append({})
            found[-1][name] = to_number(match[2])
        if not found:
            return []
        if self._missing:
            self._strike_off(found)
        step = self._step.search(text) if self._step else None
        number = to_number(step[1]) if step else None
        return [Reading(metrics, number) for metrics in found]

    def _strike_off(self, found: Iterable[dict[str, float]]) -> None:
        before = len(self._missing)
        self._missing.difference_update(*found)
        if len(self._missing) < before:
            self.near_miss, self._near, self._looks_for_near = "", None, bool(self._missing)


class NearMisses:
    """Remembers the first line that almost holds one of the names: another case, another sign, no number.

    A name with something like a number after it outdoes a name alone; after that nothing more is looked for.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.text = ""
        self.settled = False
        self._names = [(name.strip().rstrip(" \t:=") or name.strip()).lower() for name in names]

    def line(self, text: str) -> bool:
        """Whether this line is nearer than all before; then `text` shows the place."""
        lowered = text.lower()
        for name in self._names:  # noqa: SIM110 - a loop is quicker, and this runs on most lines
            if name in lowered and self._weigh(text, _places(lowered, name)):
                return True
        return False

    def _weigh(self, text: str, places: list[tuple[int, int]]) -> bool:
        for start, end in places:
            if value := _VALUE.match(text, end):
                self.text = _with_word_before(text, start, value.end())
                self.settled = True
                return True
        if self.text:
            return False
        start = places[0][0]
        self.text = _with_word_before(text, start, start + 60)
        return True


_MOST_PLACES = 8


def _places(text: str, name: str) -> list[tuple[int, int]]:
    """Beginnings and ends of the name's first few occurrences."""
    places: list[tuple[int, int]] = []
    start = text.find(name)
    while start >= 0 and len(places) < _MOST_PLACES:
        places.append((start, start + len(name)))
        start = text.find(name, start + 1)
    return places


def _with_word_before(text: str, start: int, end: int) -> str:
    word = _WORD_BEFORE.search(text[max(0, start - 32) : start])
    return text[start - len(word[0] if word else "") : end].strip()


_WORD_BEFORE = re.compile(r"[\w./-]*$")
_VALUE = re.compile(r"[^\s\d:=+.-]{0,8}[\s:=>\"'\[(]{0,8}[-+\u2212.]?[0-9]\S{0,24}")


@hookimpl
def hpo_register_metric_parser() -> type[MetricParser]:
    """The parser ``text``."""
    return TextMetrics
