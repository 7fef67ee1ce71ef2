"""What one hyperparameter may be: a range of reals, a range of integers, or a list of values.

A domain speaks four languages: the *value* that a program gets (``0.001``, ``32``, ``'adam'``), its *text* on
the command line, a *unit* number in [0, 1] for strategies, and a *code* (one float) for compact columns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

import attrs

from hpo_core._words import is_unicode
from hpo_core.exceptions import SpaceError

Value: TypeAlias = bool | int | float | str
"""What a hyperparameter can hold."""

Restriction: TypeAlias = Any
"""A scalar (that value only), a list (those values) or a tuple of two bounds (that sub-range)."""

Drawer: TypeAlias = Callable[[Callable[[], float]], Value]
"""Draws a value with a function that gives uniform numbers in [0, 1)."""

DIGITS = 8
_EXACT_DIGITS = 17
_LARGEST = 2**53
_MOST_STEPS = 2**50
_LARGEST_LOG = 2**40
_MANY = 10_000


def plain(value: object) -> object:
    """Python's own bool, int, float or str where ``value`` is (like) one; numpy's scalars are unpacked."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value) if type(value) is not kind else value
    unpack = getattr(value, "item", None)
    if callable(unpack) and getattr(value, "ndim", None) == 0:
        return unpack()
    return value


def _number(value: object, what: str) -> int | float:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpaceError(f"{what} {value!r} is {_kind(value)}; a number is needed")
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError(f"{what} {value!r} is not a finite number")
    return value


def _whole(value: object, what: str) -> int:
    number = _number(value, what)
    if number != int(number):
        raise SpaceError(f"{what} {number!r} is no whole number; Real takes fractions")
    if abs(number) > _LARGEST:
        raise SpaceError(f"{what} {number!r} is beyond 2**53, where numbers lose their last digits")
    return int(number)


def _kind(value: object) -> str:
    names = {bool: "a bool", int: "an int", float: "a float", str: "a str", type(None): "None"}
    return names.get(type(value), f"a {type(value).__name__}")


def _unit(u: float) -> float:
    return 0.0 if u <= 0.0 else 1.0 if u >= 1.0 else u


def _reflect(u: float) -> float:
    u = abs(u)
    return _unit(2.0 - u if u > 1.0 else u)


def _move(k: int, count: int, rng: Random, scale: float) -> int:
    """An index near ``k`` and never ``k`` itself, unless it is the only one."""
    if count == 1:
        return k
    jump = rng.gauss(0.0, scale * count)
    new = k + round(max(-4.0 * count, min(4.0 * count, jump)))
    new = -new if new < 0 else new
    new = 2 * (count - 1) - new if new >= count else new
    new = min(max(new, 0), count - 1)
    if new != k:
        return new
    up = jump >= 0.0
    return (k + 1 if k + 1 < count else k - 1) if up else (k - 1 if k else 1)


def _spread(count: int, n: int) -> list[int]:
    """At most ``n`` distinct indices below ``count``, equally spaced, first and last among them."""
    if n < 1:
        raise SpaceError(f"a grid of {n} points: at least 1 is needed")
    if n >= count:
        return list(range(count))
    if n == 1:
        return [0]
    return [(2 * i * (count - 1) + n - 1) // (2 * (n - 1)) for i in range(n)]


class Domain(ABC):
    """The values that one hyperparameter may take; immutable and comparable.

    Methods that take a value raise `SpaceError` for one that does not belong here; nothing has changed then.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def size(self) -> int | None:
        """How many values there are; None for a continuum."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """``number``, ``string``, ``bool`` or ``mixed``."""

    @property
    @abstractmethod
    def template(self) -> str:
        """The %-format that turns a canonical value into its text."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether the value has the right type, lies in the bounds and, with a step, on its grid."""

    @abstractmethod
    def canonical(self, value: object) -> Value:
        """The value that really runs for the one asked for: typed, rounded inwards, snapped to the step grid.

        Raises:
            SpaceError: the value has another type or lies outside the bounds.
        """

    @abstractmethod
    def parse(self, text: str) -> Value:
        """The value that has this text; undoes `text`. Raises SpaceError where there is none."""

    @abstractmethod
    def drawer(self) -> Drawer:
        """A function that draws as `draw` does, made for being called very often."""

    @abstractmethod
    def to_unit(self, value: object) -> float:
        """The value's place in [0, 1]; discrete values sit in the centre of cells."""

    @abstractmethod
    def from_unit(self, u: float) -> Value:
        """The value at place ``u``; rises with ``u``, total (what lies outside [0, 1] is clamped)."""

    @abstractmethod
    def neighbour(self, value: object, rng: Random, scale: float = 0.1) -> Value:
        """A value near this one.

        Args:
            value: where to start from.
            rng: source of chance.
            scale: standard deviation of the step, as a share of the domain.
        """

    @abstractmethod
    def grid(self, n: int) -> tuple[Value, ...]:
        """At most ``n`` equally spaced distinct values, with both bounds; ``n == 1`` gives the low one.

        Spaced on the log scale where ``log`` is set; with a step only values of its grid; a list of values
        is given whole, whatever ``n`` is. Raises SpaceError for ``n < 1``.
        """

    @abstractmethod
    def code(self, value: Any) -> float:
        """A canonical value as one float: the number itself, or the index in a list of values."""

    @abstractmethod
    def from_code(self, code: float) -> Value:
        """The value with this code; undoes `code`."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible description; `Domain.from_json` undoes it."""

    @abstractmethod
    def narrowed(self, spec: Restriction) -> Domain | None:
        """What is common to this domain and the restriction; None where nothing is."""

    @abstractmethod
    def restrict(self, spec: Restriction) -> Domain:
        """The part of this domain that the restriction names.

        Args:
            spec: a scalar (that value only), a list (those values) or a tuple (an inclusive sub-range).

        Raises:
            SpaceError: the restriction is not wholly inside the domain.
        """

    def exact(self, value: object) -> Value:
        """As `canonical`, but a value off the step grid is refused too. Raises SpaceError."""
        found = self.canonical(value)
        if not self.contains(value):
            raise SpaceError(f"{value!r} is off the grid; the nearest is {found!r}")
        return found

    def text(self, value: object) -> str:
        """The value as the command line shows it; for reals ``float(text)`` is the canonical value."""
        return self.template % (self.canonical(value),)

    def draw(self, rng: Random) -> Value:
        """A random value: uniform, or log-uniform with ``log``; bounds inclusive."""
        return self.drawer()(rng.random)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Domain:
        """The domain that `to_json` described. Raises SpaceError for anything else."""
        try:
            kind = data["type"]
            if kind == "real":
                return Real(
                    data["low"], data["high"], log=data.get("log", False), step=data.get("step"),
                    digits=data.get("digits"),
                )  # fmt: skip
            if kind == "integer":
                return Integer(data["low"], data["high"], log=data.get("log", False), step=data.get("step", 1))
            if kind == "values":
                return Values(data["values"], ordered=data.get("ordered", True))
        except (KeyError, TypeError) as error:
            raise SpaceError(f"{data!r} does not describe a domain") from error
        raise SpaceError(f"a domain of type {kind!r} is unknown; there are real, integer, values")


def _bounds(spec: tuple[Any, ...], what: str) -> tuple[int | float, int | float]:
    if len(spec) != 2:
        raise SpaceError(f"the range {spec!r} of {what} has {len(spec)} elements; write (low, high)")
    low, high = _number(spec[0], "the lower bound"), _number(spec[1], "the upper bound")
    if low > high:
        raise SpaceError(f"the range {spec!r} of {what} is reversed; write ({high!r}, {low!r})")
    return low, high


def _ordered_bounds(low: object, high: object) -> tuple[int | float, int | float]:
    a, b = _number(low, "the lower bound"), _number(high, "the upper bound")
    if a > b:
        raise SpaceError(f"the bounds ({a!r}, {b!r}) are reversed; write ({b!r}, {a!r})")
    if a == b:
        raise SpaceError(f"the bounds ({a!r}, {b!r}) are equal; for a single value write the list [{a!r}]")
    return a, b


@attrs.frozen(init=False)
class Real(Domain):
    """A range of real numbers, bounds inclusive.

    Values are rounded to the digits that their text shows, inwards at the bounds: text and value are the same
    number, and both are inside.

    Args:
        low: smallest value.
        high: largest value.
        log: draw, space and encode on the logarithmic scale (needs ``low > 0``).
        step: only ``low + k * step`` (not with ``log``).
        digits: significant digits of the text; by default 8, more where the range (or the step) is so narrow
            that 8 digits give fewer than about 1000 values.

    Raises:
        SpaceError: bounds that are no finite numbers, reversed or equal; a step that is not positive or
            larger than the range; ``log`` with ``low <= 0`` or with a step.
    """

    low: float
    high: float
    log: bool
    step: float | None
    digits: int
    _first: float = attrs.field(eq=False, repr=False)
    _last: float = attrs.field(eq=False, repr=False)
    _count: int = attrs.field(eq=False, repr=False)
    _origin: float = attrs.field(eq=False, repr=False)
    _width: float = attrs.field(eq=False, repr=False)
    _exp: bool = attrs.field(eq=False, repr=False)
    _tiny: float = attrs.field(eq=False, repr=False)
    _decimals: int = attrs.field(eq=False, repr=False)
    _format: str = attrs.field(eq=False, repr=False)

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        digits: int | None = None,
    ) -> None:
        a, b = _ordered_bounds(low, high)
        try:
            start, end = float(a) + 0.0, float(b) + 0.0
        except OverflowError:
            raise SpaceError(f"the bounds ({a!r}, {b!r}) are too large for a real number") from None
        if not start < end:
            raise SpaceError(f"the bounds ({a!r}, {b!r}) are the same real number")
        width = end - start
        if not math.isfinite(width):
            raise SpaceError(f"the range ({a!r}, {b!r}) is too wide: its length is not a finite number")
        if not isinstance(log, bool):
            raise SpaceError(f"log={log!r}: True or False is needed")
        if log and start <= 0:
            raise SpaceError(f"log=True needs a lower bound above 0, not {a!r}")
        every = None if step is None else float(_number(step, "the step"))
        if every is not None:
            if log:
                raise SpaceError("log and step cannot be combined; write the values as a list")
            if every <= 0:
                raise SpaceError(f"the step {step!r} is not positive")
            if every > width:
                raise SpaceError(f"the step {step!r} is larger than the range ({a!r}, {b!r})")
            if width / every > _MOST_STEPS:
                raise SpaceError(f"the step {step!r} is too small: more than 2**50 values")
        if digits is None:
            digits = _digits_for(start, end, every)
        elif digits not in range(1, _EXACT_DIGITS + 1):
            raise SpaceError(f"digits={digits!r}: a whole number from 1 to 17 is needed")
        largest = math.floor(math.log10(max(abs(start), abs(end))))
        # Near zero a range that reaches below it can tell no more than 1e-14 of its width apart.
        near_zero = start < 0.0 and end > start / 2.0
        tiny = 10.0 ** min(largest + digits - 14, 308) if near_zero else 0.0
        decimals, form = 14 - largest, f"%.{digits}g"
        first = _inside(start, 1, form, tiny, decimals, digits)
        last = _inside(end, -1, form, tiny, decimals, digits)
        if first > last:
            raise SpaceError(f"no number of {digits} digits lies in ({a!r}, {b!r})")
        # On a very short range both scales are the same, and the linear one keeps all digits.
        as_log = log and digits <= 12 and end / start > 1.0 + 1e-6
        self.__attrs_init__(
            low=start,
            high=end,
            log=log,
            step=every,
            digits=digits,
            first=first,
            last=last,
            count=0 if every is None else math.floor(width / every + 1e-9) + 1,
            origin=math.log(start) if as_log else start,
            width=math.log(end) - math.log(start) if as_log else width,
            exp=as_log,
            tiny=tiny,
            decimals=decimals,
            format=form,
        )

    @property
    def size(self) -> int | None:
        return self._count or None

    @property
    def kind(self) -> str:
        return "number"

    @property
    def template(self) -> str:
        return self._format

    def _rounded(self, x: float) -> float:
        y = _round(x, self._format, self._tiny, self._decimals) if self._tiny else float(self._format % x) + 0.0
        return self._first if y < self._first else self._last if y > self._last else y

    def _at(self, k: int) -> float:
        return self._rounded(self.low + k * (self.step or 0.0))

    def _index(self, value: float) -> int:
        return min(max(round((value - self.low) / (self.step or 1.0)), 0), self._count - 1)

    def _inside_number(self, value: object) -> float:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SpaceError(f"{value!r} is {_kind(value)}; a number in {self._bounds_text()} is needed")
        if not self.low <= value <= self.high:
            raise SpaceError(f"{value!r} is outside {self._bounds_text()}")
        return float(value)

    def _bounds_text(self) -> str:
        return f"({_short(self.low)}, {_short(self.high)})"

    def contains(self, value: object) -> bool:
        try:
            number = self._inside_number(value)
        except SpaceError:
            return False
        if self.step is None:
            return True
        nearest = self._at(self._index(number))
        return nearest == self._rounded(number) or abs(number - nearest) <= 1e-6 * self.step

    def canonical(self, value: object) -> float:
        number = value if type(value) is float and self.low <= value <= self.high else self._inside_number(value)
        return self._rounded(number) if self.step is None else self._at(self._index(number))

    def exact(self, value: object) -> Value:
        if self.step is not None:
            return super().exact(value)
        if type(value) is float and self._first <= value <= self._last and not self._tiny:
            return float(self._format % value) + 0.0  # between both ends rounding stays between them
        return self._rounded(self._inside_number(value))

    def parse(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise SpaceError(f"{text!r} is no number") from None
        return self.canonical(number)

    def drawer(self) -> Drawer:
        form, first, last, origin, width = self._format, self._first, self._last, self._origin, self._width
        if self._count:
            count, at = self._count, self._at
            return lambda random: at(int(random() * count))
        if self._exp:
            exp = math.exp

            def draw_log(random: Callable[[], float]) -> float:
                y = float(form % exp(origin + width * random()))
                return y if first <= y <= last else first if y < first else last

            return draw_log
        if self._tiny:
            rounded = self._rounded
            return lambda random: rounded(origin + width * random())

        def draw_linear(random: Callable[[], float]) -> float:
            y = float(form % (origin + width * random()))
            return y if first <= y <= last else first if y < first else last

        return draw_linear

    def to_unit(self, value: object) -> float:
        number = value if type(value) is float and self.low <= value <= self.high else self._inside_number(value)
        if self._count:
            return (self._index(number) + 0.5) / self._count
        u = ((math.log(number) if self._exp else number) - self._origin) / self._width
        return 0.0 if u <= 0.0 else 1.0 if u >= 1.0 else u

    def from_unit(self, u: float) -> float:
        if self._count:
            return self._at(min(int(_unit(u) * self._count), self._count - 1))
        if u <= 0.0:
            return self._first
        if u >= 1.0:
            return self._last
        x = self._origin + u * self._width
        return self._rounded(math.exp(x) if self._exp else x)

    def neighbour(self, value: object, rng: Random, scale: float = 0.1) -> float:
        number = self.canonical(value)
        if self._count:
            return self._at(_move(self._index(number), self._count, rng, scale))
        place = self.to_unit(number)
        for _ in range(8):
            new = self.from_unit(_reflect(place + rng.gauss(0.0, scale)))
            if new != number:
                return new
        return self.from_unit(rng.random())

    def grid(self, n: int) -> tuple[float, ...]:
        if self._count:
            return tuple(self._at(k) for k in _spread(self._count, n))
        if n < 1:
            raise SpaceError(f"a grid of {n} points: at least 1 is needed")
        points = [self.from_unit(i / (n - 1)) for i in range(n)] if n > 1 else [self._first]
        return tuple(dict.fromkeys(points))

    def code(self, value: Any) -> float:
        return float(value)

    def from_code(self, code: float) -> float:
        return code

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "real", "low": self.low, "high": self.high}
        if self.log:
            data["log"] = True
        if self.step is not None:
            data["step"] = self.step
        if self.digits != _digits_for(self.low, self.high, self.step):
            data["digits"] = self.digits
        return data

    def with_digits(self, digits: int) -> Real:
        """This range with values and texts of so many significant digits."""
        if digits == self.digits:
            return self
        return Real(self.low, self.high, log=self.log, step=self.step, digits=digits)

    def digits_within(self, spec: Restriction) -> int:
        """How many digits this range needs so that the restriction to a sub-range can be resolved."""
        if not isinstance(spec, tuple):
            return self.digits
        low, high = _bounds(spec, "the restriction")
        need = _digits_for(low, high, None) if low < high else DIGITS
        return max(self.digits, min(need, 12 if self.log else 15))

    def narrowed(self, spec: Restriction) -> Domain | None:
        if not isinstance(spec, tuple):
            wanted = spec if isinstance(spec, list) else [spec]
            return _values_of([self.canonical(v) for v in wanted if self.contains(v)])
        low, high = _bounds(spec, "the restriction")
        low, high = max(low, self.low), min(high, self.high)
        if low > high:
            return None
        if self.step is not None:
            a, b, fuzz = self._index(low), self._index(high), 1e-6 * self.step
            a += self._at(a) < low - fuzz
            b -= self._at(b) > high + fuzz
            if b - a < _MANY:
                return _values_of([self._at(k) for k in range(a, b + 1)])
            return Real(self._at(a), self._at(b), step=self.step, digits=self.digits)
        if low == high:
            value = self._rounded(low)
            return Values((value,)) if value == low else None
        try:
            part = Real(low, high, log=self.log, digits=self.digits)
        except SpaceError:
            return None
        return Values((part._first,)) if part._first == part._last else part

    def restrict(self, spec: Restriction) -> Domain:
        _check_restriction(self, spec, self._bounds_text())
        part = self.with_digits(self.digits_within(spec)).narrowed(spec)
        if part is None:
            raise SpaceError(f"no value of {self._bounds_text()} lies in the restriction {spec!r}")
        return part


def _digits_for(low: float, high: float, step: float | None) -> int:
    largest = math.floor(math.log10(max(abs(low), abs(high))))
    for digits in range(DIGITS, 16):
        unit = 10.0 ** max(largest - digits + 1, -400)
        if high - low >= 1000.0 * unit and (step is None or step >= 10.0 * unit):
            return digits
    return _EXACT_DIGITS


def _round(x: float, form: str, tiny: float, decimals: int) -> float:
    y = float(form % x)
    if -tiny < y < tiny:
        y = round(y, decimals)
    return y + 0.0


def _inside(bound: float, sign: int, form: str, tiny: float, decimals: int, digits: int) -> float:
    """The printable number nearest to the bound on its inner side (above for sign 1, below for -1)."""
    y = _round(bound, form, tiny, decimals)
    if (y - bound) * sign >= 0:
        return y
    if -tiny < y < tiny:
        return round(y + sign * 10.0**-decimals, decimals) + 0.0
    mantissa, exponent = f"{y:.{digits - 1}e}".split("e")
    next_one = int(mantissa.replace(".", "")) + sign
    return float(f"{next_one}e{int(exponent) - digits + 1}") + 0.0


def _short(x: float) -> str:
    return repr(int(x)) if x == int(x) and abs(x) < 1e15 else repr(x)


def _values_of(values: Sequence[Value]) -> Domain | None:
    unique = tuple(dict.fromkeys(values))
    return Values(unique) if unique else None


def _check_restriction(domain: Domain, spec: Restriction, whole: str) -> None:
    if isinstance(spec, tuple):
        for bound in _bounds(spec, "the restriction"):
            low_high = (domain.low, domain.high) if isinstance(domain, (Real, Integer)) else None
            if low_high and not low_high[0] <= bound <= low_high[1]:
                raise SpaceError(f"the restriction {spec!r} reaches outside {whole}")
        return
    wanted = spec if isinstance(spec, list) else [spec]
    if not wanted:
        raise SpaceError("the restriction is an empty list; at least one value is needed")
    for value in wanted:
        if not domain.contains(value):
            raise SpaceError(f"the restriction names {value!r}, which is not in {whole}")


@attrs.frozen(init=False)
class Integer(Domain):
    """A range of whole numbers, bounds inclusive.

    Args:
        low: smallest value.
        high: largest value; with a step the largest ``low + k * step`` below it.
        log: draw, space and encode on the logarithmic scale (needs ``low >= 1`` and ``high <= 2**40``).
        step: distance between neighbours (1; other steps not with ``log``).

    Raises:
        SpaceError: bounds that are no whole numbers, reversed, equal, beyond 2**53 or more than 2**50 values
            apart; a step that is not positive or larger than the range.
    """

    low: int
    high: int
    log: bool
    step: int
    _count: int = attrs.field(eq=False, repr=False)
    _origin: float = attrs.field(eq=False, repr=False)
    _width: float = attrs.field(eq=False, repr=False)

    def __init__(self, low: int, high: int, *, log: bool = False, step: int = 1) -> None:
        _ordered_bounds(low, high)
        a, b, every = (
            _whole(low, "the lower bound"),
            _whole(high, "the upper bound"),
            _whole(step, "the step"),
        )
        if not isinstance(log, bool):
            raise SpaceError(f"log={log!r}: True or False is needed")
        if every <= 0:
            raise SpaceError(f"the step {step!r} is not positive")
        if every > b - a:
            raise SpaceError(f"the step {step!r} is larger than the range ({a}, {b})")
        if log and a < 1:
            raise SpaceError(
                f"log=True needs a lower bound of at least 1, not {a}, for integers; real numbers are written so: "
                f"1e-05 to {float(b)}"
            )
        if log and every != 1:
            raise SpaceError("log and step cannot be combined; write the values as a list")
        if log and b > _LARGEST_LOG:
            raise SpaceError(f"log=True needs an upper bound of at most 2**40, not {b}")
        count = (b - a) // every + 1
        if count > _MOST_STEPS:
            raise SpaceError(f"the range ({a}, {b}) has more than 2**50 values; use a step or narrower bounds")
        origin = math.log(a - 0.5) if log else 0.0
        width = math.log(b + 0.5) - origin if log else float(count)
        self.__attrs_init__(low=a, high=b, log=log, step=every, count=count, origin=origin, width=width)

    @property
    def size(self) -> int:
        return self._count

    @property
    def kind(self) -> str:
        return "number"

    @property
    def template(self) -> str:
        return "%d"

    def _inside_number(self, value: object) -> int:
        if type(value) is int and self.low <= value <= self.high:
            return value
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise SpaceError(f"{value!r} is {_kind(value)}; a whole number in ({self.low}, {self.high}) is needed")
        if not self.low <= value <= self.high:
            raise SpaceError(f"{value!r} is outside ({self.low}, {self.high})")
        if value != int(value):
            raise SpaceError(f"{value!r} is no whole number; one in ({self.low}, {self.high}) is needed")
        return int(value)

    def _index(self, number: int) -> int:
        return min((2 * (number - self.low) + self.step) // (2 * self.step), self._count - 1)

    def contains(self, value: object) -> bool:
        try:
            return (self._inside_number(value) - self.low) % self.step == 0
        except SpaceError:
            return False

    def canonical(self, value: object) -> int:
        return self.low + self.step * self._index(self._inside_number(value))

    def exact(self, value: object) -> Value:
        return self._inside_number(value) if self.step == 1 else super().exact(value)

    def parse(self, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise SpaceError(f"{text!r} is no whole number") from None
        return self.canonical(number)

    def drawer(self) -> Drawer:
        low, step, count, from_unit = self.low, self.step, self._count, self.from_unit
        if self.log:
            return lambda random: from_unit(random())
        if step == 1:
            return lambda random: low + int(random() * count)
        return lambda random: low + step * int(random() * count)

    def to_unit(self, value: object) -> float:
        number = self.canonical(value)
        if self.log:
            return _unit((math.log(number) - self._origin) / self._width)
        return ((number - self.low) // self.step + 0.5) / self._count

    def from_unit(self, u: float) -> int:
        u = _unit(u)
        if self.log:
            return min(max(round(math.exp(self._origin + u * self._width)), self.low), self.high)
        return self.low + self.step * min(int(u * self._count), self._count - 1)

    def neighbour(self, value: object, rng: Random, scale: float = 0.1) -> int:
        number = self.canonical(value)
        if self.log:
            jump = rng.gauss(0.0, scale)
            new = self.from_unit(_reflect(self.to_unit(number) + jump))
            if new != number:
                return new
            up = number < self.high if jump >= 0.0 else number == self.low
            return number + 1 if up else number - 1
        return self.low + self.step * _move((number - self.low) // self.step, self._count, rng, scale)

    def grid(self, n: int) -> tuple[int, ...]:
        if not self.log or n >= self._count:
            return tuple(self.low + self.step * k for k in _spread(self._count, n))
        _spread(self._count, n)
        ratio = math.log(self.high / self.low)
        points = [round(self.low * math.exp(ratio * i / (n - 1))) for i in range(n)] if n > 1 else [self.low]
        points[-1] = self.high if n > 1 else self.low
        return tuple(dict.fromkeys(points))

    def code(self, value: Any) -> float:
        return float(value)

    def from_code(self, code: float) -> int:
        return int(code)

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "integer", "low": self.low, "high": self.high}
        if self.log:
            data["log"] = True
        if self.step != 1:
            data["step"] = self.step
        return data

    def narrowed(self, spec: Restriction) -> Domain | None:
        if not isinstance(spec, tuple):
            wanted = spec if isinstance(spec, list) else [spec]
            return _values_of([self.canonical(v) for v in wanted if self.contains(v)])
        low, high = _bounds(spec, "the restriction")
        a = max(-((self.low - math.ceil(low)) // self.step), 0)
        b = min((math.floor(high) - self.low) // self.step, self._count - 1)
        if a > b:
            return None
        if a == b:
            return Values((self.low + a * self.step,))
        return Integer(self.low + a * self.step, self.low + b * self.step, log=self.log, step=self.step)

    def restrict(self, spec: Restriction) -> Domain:
        _check_restriction(self, spec, f"({self.low}, {self.high})")
        part = self.narrowed(spec)
        if part is None:
            raise SpaceError(f"no value of ({self.low}, {self.high}) lies in the restriction {spec!r}")
        return part


@attrs.frozen(init=False)
class Values(Domain):
    """A list of values, used as written.

    Args:
        values: bools, ints, floats and strings, in any mixture.
        ordered: neighbours in the list are near to each other (the default); otherwise every value is as near
            as any other.

    Raises:
        SpaceError: an empty list, a value of another type, NaN or infinite floats, NUL or half characters, two
            values that are equal or have the same text.
    """

    values: tuple[Value, ...]
    ordered: bool
    _texts: tuple[str, ...] = attrs.field(repr=False)
    _index: dict[Value, int] = attrs.field(eq=False, repr=False)

    def __init__(self, values: Sequence[Value], *, ordered: bool = True) -> None:
        if isinstance(values, str) or not isinstance(values, (list, tuple, range)):
            raise SpaceError(f"{values!r} is no list of values")
        if not values:
            raise SpaceError("the list of values is empty; at least one is needed")
        if not isinstance(ordered, bool):
            raise SpaceError(f"ordered={ordered!r}: True or False is needed")
        index: dict[Value, int] = {}
        texts: dict[str, Value] = {}
        for raw in values:
            value = plain(raw)
            if not isinstance(value, (bool, int, float, str)):
                raise SpaceError(f"{value!r} is {_kind(value)}; a list holds bools, ints, floats and strings")
            if isinstance(value, float) and not math.isfinite(value):
                raise SpaceError(f"{value!r} in a list is not a finite number; write it as a string, {str(value)!r}")
            if isinstance(value, str) and "\0" in value:
                raise SpaceError(f"{value!r} has a NUL character, which no command line can carry")
            if isinstance(value, str) and not is_unicode(value):
                raise SpaceError(f"{value!r} has half a character (a lone surrogate), which no file can hold")
            text = f"{value}"
            if value in index or text in texts:
                other = texts[text] if text in texts else next(v for v in index if v == value)
                raise SpaceError(f"{value!r} is a duplicate of {other!r} in the list; each value may be there once")
            index[value] = len(index)
            texts[text] = value
        self.__attrs_init__(values=tuple(index), ordered=ordered, texts=tuple(texts), index=index)

    def __hash__(self) -> int:
        return hash((self._texts, self.ordered))

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def kind(self) -> str:
        kinds = {"string" if isinstance(v, str) else "bool" if isinstance(v, bool) else "number" for v in self.values}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def template(self) -> str:
        return "%s"

    def _position(self, value: object) -> int:
        value = plain(value)
        if isinstance(value, (bool, int, float, str)):
            position = self._index.get(value)
            if position is not None:
                return position
        raise SpaceError(f"{value!r} is not one of {self._listed()}")

    def _listed(self) -> str:
        shown = ", ".join(repr(v) for v in self.values[:12])
        return f"[{shown}, ...]" if len(self.values) > 12 else f"[{shown}]"

    def contains(self, value: object) -> bool:
        value = plain(value)
        return isinstance(value, (bool, int, float, str)) and value in self._index

    def canonical(self, value: object) -> Value:
        return self.values[self._position(value)]

    exact = canonical

    def parse(self, text: str) -> Value:
        for value, own in zip(self.values, self._texts, strict=True):
            if own == text:
                return value
        raise SpaceError(f"{text!r} is not one of {self._listed()}")

    def drawer(self) -> Drawer:
        values, count = self.values, len(self.values)
        return lambda random: values[int(random() * count)]

    def to_unit(self, value: object) -> float:
        return (self._position(value) + 0.5) / len(self.values)

    def from_unit(self, u: float) -> Value:
        return self.values[min(int(_unit(u) * len(self.values)), len(self.values) - 1)]

    def neighbour(self, value: object, rng: Random, scale: float = 0.1) -> Value:
        """A value near this one in the list (any without ``ordered``); itself only if it is alone."""
        k, count = self._position(value), len(self.values)
        if self.ordered:
            return self.values[_move(k, count, rng, scale)]
        if count == 1:
            return self.values[0]
        other = int(rng.random() * (count - 1))
        return self.values[other + (other >= k)]

    def grid(self, n: int) -> tuple[Value, ...]:
        if n < 1:
            raise SpaceError(f"a grid of {n} points: at least 1 is needed")
        return self.values

    def code(self, value: Any) -> float:
        return float(self._position(value))

    def from_code(self, code: float) -> Value:
        if not 0 <= code < len(self.values) or code != int(code):
            raise SpaceError(f"{code!r} is no index into {len(self.values)} values")
        return self.values[int(code)]

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "values", "values": list(self.values)}
        if not self.ordered:
            data["ordered"] = False
        return data

    def narrowed(self, spec: Restriction) -> Domain | None:
        if isinstance(spec, tuple):
            kept = self._between(spec)
        else:
            wanted = spec if isinstance(spec, list) else [spec]
            positions = sorted({self._position(v) for v in wanted if self.contains(v)})
            kept = [self.values[k] for k in positions]
        return Values(kept, ordered=self.ordered) if kept else None

    def _between(self, spec: tuple[Any, ...]) -> list[Value]:
        if self.kind in ("number", "bool"):
            low, high = _bounds(spec, "the restriction")
            return [v for v in self.values if not isinstance(v, str) and low <= v <= high]
        if len(spec) != 2:
            raise SpaceError(f"the restriction {spec!r} has {len(spec)} elements; write (first, last) or a list")
        first, last = self._position(spec[0]), self._position(spec[1])
        return list(self.values[first : last + 1])

    def restrict(self, spec: Restriction) -> Domain:
        """As for every domain; a tuple means numbers between two bounds, or strings from one to another."""
        if not isinstance(spec, tuple):
            _check_restriction(self, spec, self._listed())
        part = self.narrowed(spec)
        if part is None:
            raise SpaceError(f"no value of {self._listed()} lies in the restriction {spec!r}")
        return part


_NOTHING = object()


def domain_from(spec: object, default: object = _NOTHING) -> Domain:
    """The domain that the published list form means.

    Args:
        spec: a tuple of two bounds (a range), a list (its values) or a Domain (itself).
        default: the default beside it, if there is one: a float among default and bounds makes a range real;
            otherwise the range is one of integers.

    Raises:
        SpaceError: the form is none of these, or its contents are wrong.
    """
    if isinstance(spec, Domain):
        return spec
    if isinstance(spec, list):
        return Values(spec)
    if isinstance(spec, tuple):
        if len(spec) != 2:
            raise SpaceError(
                f"the tuple {spec!r} has {len(spec)} elements; a range is (low, high), a choice is a [list]"
            )
        if any(isinstance(plain(bound), str) for bound in spec):
            raise SpaceError(f"the tuple {spec!r} holds text; a range is (low, high) of numbers, a choice is a [list]")
        low, high = _ordered_bounds(*spec)
        beside = plain(default)
        if any(isinstance(x, float) for x in (low, high, beside)):
            return Real(low, high)
        return Integer(int(low), int(high))
    raise SpaceError(f"{spec!r} is {_kind(spec)}; write (low, high) for a range or [value, ...] for a choice")
