"""Relations between hyperparameters, such as ``--min <= --max`` or ``--opt == 'sgd' and --lr > 0.1``.

    or:          and ('or' and)*
    and:         not ('and' not)*
    not:         'not' not | comparison
    comparison:  sum (('==' | '!=' | '<' | '<=' | '>' | '>=') sum)* | sum ['not'] 'in' '[' literal, ... ']'
    sum:         term (('+' | '-') term)*
    term:        unary (('*' | '/' | '//' | '%') unary)*
    unary:       '-' unary | number | 'string' | True | False | flag | `flag` | '(' or ')'

A flag is the longest known one at that place; one that reads like something else goes in backticks.

Truth has three values: True, False and None (unknown). What names an inactive flag, compares text with a
number or divides by zero is unknown; ``and``, ``or`` and ``not`` follow Kleene.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from hpo_core.exceptions import SpaceError
from hpo_core.space._domains import Domain, Value, Values

Truth: TypeAlias = bool | None
Point: TypeAlias = Mapping[str, Value]
Compiled: TypeAlias = Callable[[Point], Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_KEYWORDS = {"and", "or", "not", "in", "True", "False"}
_OPERATORS = set(_COMPARE) | set(_ARITHMETIC) | {"="}
_BARE = re.compile(r"[^\s\d'\"`\[\]()<>=!,+*/%.][^'\"`\[\]()<>=!,\t\r\n]*")
_PLAIN_FLAG = re.compile(r"(--?)?[A-Za-z_][\w-]*(\.[A-Za-z_]\w*)*")
_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_WORD = re.compile(r"[-\w.:/]+")
_GOES_ON = re.compile(r"\w|[-.:/][A-Za-z_]")

# How tightly a node binds; printing puts parentheses where a part binds less than its place asks for.
_OR, _AND, _NOT, _RELATION, _SUM, _TERM, _ATOM = range(7)


class Expression:
    """A relation or a part of one; immutable, and ``str()`` gives text that parses to an equal one."""

    __slots__ = ()
    _binds = _ATOM

    def flags(self) -> tuple[str, ...]:
        """The flags named, in order of appearance, each once."""
        return tuple(dict.fromkeys(node.name for node in self.walk() if isinstance(node, Flag)))

    def walk(self) -> Iterator[Expression]:
        """This node and all below it, left to right."""
        yield self
        for part in self._parts():
            yield from part.walk()

    def _parts(self) -> tuple[Expression, ...]:
        return ()

    def compiled(self) -> Compiled:
        """A function from a point (active flags only) to this node's value, None where unknown."""
        raise NotImplementedError

    def _in(self, place: int) -> str:
        return f"({self})" if self._binds < place else str(self)


@attrs.frozen(repr=False)
class Literal(Expression):
    """A number, a string or a truth value."""

    value: Value

    def __str__(self) -> str:
        return repr(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))

    __repr__ = __str__

    def compiled(self) -> Compiled:
        value = self.value
        return lambda point: value


@attrs.frozen
class Flag(Expression):
    """The value of a flag."""

    name: str

    def __str__(self) -> str:
        if _PLAIN_FLAG.fullmatch(self.name) and self.name not in _KEYWORDS:
            return self.name
        escaped = self.name.replace("\\", "\\\\").replace("`", "\\`")
        return f"`{escaped}`"

    def compiled(self) -> Compiled:
        name = self.name
        return lambda point: point.get(name)


@attrs.frozen
class Negative(Expression):
    """Minus something."""

    operand: Expression

    def __str__(self) -> str:
        return f"-({self.operand})"

    def _parts(self) -> tuple[Expression, ...]:
        return (self.operand,)

    def compiled(self) -> Compiled:
        inner = self.operand.compiled()

        def negative(point: Point) -> Any:
            value = inner(point)
            return -value if isinstance(value, (int, float)) else None

        return negative


@attrs.frozen
class Arithmetic(Expression):
    """``left + right`` and the like."""

    symbol: str
    left: Expression
    right: Expression

    @property
    def _binds(self) -> int:  # type: ignore[override]
        return _SUM if self.symbol in "+-" else _TERM

    def __str__(self) -> str:
        return f"{self.left._in(self._binds)} {self.symbol} {self.right._in(self._binds + 1)}"

    def _parts(self) -> tuple[Expression, ...]:
        return (self.left, self.right)

    def compiled(self) -> Compiled:
        left, right, apply = self.left.compiled(), self.right.compiled(), _ARITHMETIC[self.symbol]

        def arithmetic(point: Point) -> Any:
            a, b = left(point), right(point)
            if a is None or b is None or isinstance(a, str) or isinstance(b, str):
                return None
            try:
                return apply(a, b)
            except (ZeroDivisionError, OverflowError):
                return None

        return arithmetic


@attrs.frozen
class Comparison(Expression):
    """``left <= right`` and the like."""

    symbol: str
    left: Expression
    right: Expression
    _binds = _RELATION

    def __str__(self) -> str:
        return f"{self.left._in(_SUM)} {self.symbol} {self.right._in(_SUM)}"

    def _parts(self) -> tuple[Expression, ...]:
        return (self.left, self.right)

    def compiled(self) -> Compiled:
        apply = _COMPARE[self.symbol]
        if isinstance(self.left, Flag) and isinstance(self.right, Literal):
            name, literal = self.left.name, self.right.value

            def compare_flag(point: Point) -> Truth:
                value = point.get(name)
                if value is None:
                    return None
                try:
                    return apply(value, literal)
                except TypeError:
                    return None

            return compare_flag
        left, right = self.left.compiled(), self.right.compiled()

        def compare(point: Point) -> Truth:
            a, b = left(point), right(point)
            if a is None or b is None:
                return None
            try:
                return apply(a, b)
            except TypeError:
                return None

        return compare

    def gap(self) -> Compiled:
        """A function from a point to ``left - right``; None where that is no number."""
        return Arithmetic("-", self.left, self.right).compiled()


@attrs.frozen
class Membership(Expression):
    """``operand in [...]`` or ``operand not in [...]``."""

    symbol: str
    operand: Expression
    values: tuple[Value, ...]
    _binds = _RELATION

    def __str__(self) -> str:
        return f"{self.operand._in(_SUM)} {self.symbol} [{', '.join(map(repr, self.values))}]"

    def _parts(self) -> tuple[Expression, ...]:
        return (self.operand, *map(Literal, self.values))

    def compiled(self) -> Compiled:
        operand, values, inside = self.operand.compiled(), frozenset(self.values), self.symbol == "in"

        def member(point: Point) -> Truth:
            value = operand(point)
            return None if value is None else (value in values) is inside

        return member


@attrs.frozen
class Not(Expression):
    """The contrary; unknown stays unknown."""

    operand: Expression
    _binds = _NOT

    def __str__(self) -> str:
        return f"not {self.operand._in(_NOT)}"

    def _parts(self) -> tuple[Expression, ...]:
        return (self.operand,)

    def compiled(self) -> Compiled:
        inner = self.operand.compiled()

        def contrary(point: Point) -> Truth:
            truth = inner(point)
            return None if truth is None else not truth

        return contrary


@attrs.frozen
class And(Expression):
    """All of two or more."""

    operands: tuple[Expression, ...]
    _binds = _AND

    def __str__(self) -> str:
        return " and ".join(part._in(_NOT) for part in self.operands)

    def _parts(self) -> tuple[Expression, ...]:
        return self.operands

    def compiled(self) -> Compiled:
        parts = tuple(part.compiled() for part in self.operands)

        def every(point: Point) -> Truth:
            result: Truth = True
            for part in parts:
                truth = part(point)
                if truth is None:
                    result = None
                elif not truth:
                    return False
            return result

        return every


@attrs.frozen
class Or(Expression):
    """Any of two or more."""

    operands: tuple[Expression, ...]
    _binds = _OR

    def __str__(self) -> str:
        return " or ".join(part._in(_AND) for part in self.operands)

    def _parts(self) -> tuple[Expression, ...]:
        return self.operands

    def compiled(self) -> Compiled:
        parts = tuple(part.compiled() for part in self.operands)

        def some(point: Point) -> Truth:
            result: Truth = False
            for part in parts:
                truth = part(point)
                if truth is None:
                    result = None
                elif truth:
                    return True
            return result

        return some


def flag_hint(word: str, known: Iterable[str]) -> str:
    """`` Did you mean ...?`` with close matches, or the known names where none is close and they are few."""
    names = list(dict.fromkeys(known))
    bare = {name.lstrip("-"): name for name in reversed(names)}
    close = difflib.get_close_matches(word, names, 3, 0.6)
    close += [bare[b] for b in difflib.get_close_matches(word.lstrip("-"), list(bare), 3, 0.6)]
    close = list(dict.fromkeys(close))[:3]
    if close:
        return f" Did you mean {' or '.join(repr(name) for name in close)}?"
    shown = ", ".join(repr(name) for name in names[:10])
    return f" Known: {shown}{', ...' if len(names) > 10 else ''}." if names else ""


def parse(text: str, flags: Sequence[str]) -> Expression:
    """The expression that the text means.

    Args:
        text: such as ``--min <= --max``.
        flags: the known flags.

    Raises:
        SpaceError: the text cannot be read; the message shows the place with a caret.
    """
    if not isinstance(text, str):
        raise SpaceError(f"an expression is a string such as '--min <= --max', not {text!r}")
    return _Parser(text, flags).whole()


class _Parser:
    def __init__(self, text: str, flags: Sequence[str]) -> None:
        self.text = text
        self.at = 0
        self.known = tuple(flags)
        self.bare = sorted((flag for flag in flags if _can_be_bare(flag)), key=len, reverse=True)

    def whole(self) -> Expression:
        if not self.text.strip():
            raise SpaceError("the expression is empty; write a relation such as '--min <= --max'")
        try:
            result = self._or()
        except RecursionError:
            raise SpaceError("the expression is nested too deeply") from None
        self._blanks()
        if self.at < len(self.text):
            word = _WORD.match(self.text, self.at)
            length = len(word.group()) if word else 1
            what = self.text[self.at : self.at + length]
            hint = " Equality is written '=='." if what == "=" else ""
            raise self._error(f"{what!r} is not expected here.{hint}", self.at, length)
        return result

    def _error(self, message: str, at: int, length: int = 1) -> SpaceError:
        line = self.text.replace("\n", " ").replace("\t", " ")
        mark = " " * at + "^" * max(length, 1)
        return SpaceError(f"cannot read the expression: {message}\n    {line}\n    {mark}")

    def _blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _keyword(self, word: str) -> bool:
        self._blanks()
        end = self.at + len(word)
        if self.text.startswith(word, self.at) and not re.match(r"\w", self.text[end : end + 1]):
            self.at = end
            return True
        return False

    def _symbol(self, *symbols: str) -> str | None:
        self._blanks()
        for symbol in symbols:
            if self.text.startswith(symbol, self.at):
                self.at += len(symbol)
                return symbol
        return None

    def _or(self) -> Expression:
        parts = [self._and()]
        while self._keyword("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Expression:
        parts = [self._not()]
        while self._keyword("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self) -> Expression:
        if self._match_flag() is None and self._keyword("not"):
            return Not(self._not())
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._sum()
        start = self.at
        if self._keyword("in"):
            return Membership("in", left, self._list())
        if self._keyword("not"):
            if self._keyword("in"):
                return Membership("not in", left, self._list())
            self.at = start
        chain: list[Expression] = []
        while symbol := self._symbol("==", "!=", "<=", ">=", "<", ">"):
            right = self._sum()
            chain.append(Comparison(symbol, left, right))
            left = right
        return left if not chain else chain[0] if len(chain) == 1 else And(tuple(chain))

    def _list(self) -> tuple[Value, ...]:
        if self._symbol("[") is None:
            raise self._error("a list such as ['a', 'b'] must follow 'in'.", self.at)
        values: list[Value] = []
        while self._symbol("]") is None:
            if values and self._symbol(",") is None:
                raise self._error("',' or ']' is missing in the list.", self.at)
            if values and self._symbol("]"):
                break
            self._blanks()
            at = self.at
            item = self._literal(signed=True)
            if item is None:
                word = _WORD.match(self.text, at)
                hint = f" A string is written {word.group()!r}." if word else ""
                raise self._error(f"a list holds numbers and strings.{hint}", at, len(word.group()) if word else 1)
            values.append(item.value)
        return tuple(values)

    def _sum(self) -> Expression:
        left = self._term()
        while symbol := self._symbol("+", "-"):
            self._refuse_flag_for_minus(self.at - 1)
            left = Arithmetic(symbol, left, self._term())
        return left

    def _refuse_flag_for_minus(self, start: int) -> None:
        """A flag where an operator is needed would be read as a minus and an unknown word."""
        after = self.at
        if self._match_flag() is None:
            self.at = start
            flag = self._match_flag()
            if flag is not None:
                raise self._error(f"{flag!r} is not expected here; an operator is missing.", start, len(flag))
        self.at = after

    def _term(self) -> Expression:
        left = self._unary()
        while symbol := self._symbol("*", "//", "/", "%"):
            left = Arithmetic(symbol, left, self._unary())
        return left

    def _unary(self) -> Expression:
        self._blanks()
        at = self.at
        flag = self._match_flag()
        if flag is not None:
            self.at += len(flag)
            return Flag(flag)
        literal = self._literal(signed=True)
        if literal is not None:
            return literal
        if self._symbol("("):
            inner = self._or()
            if self._symbol(")") is None:
                raise self._error("')' is missing.", self.at)
            return inner
        if self._symbol("`"):
            return self._quoted_flag(at)
        word = _WORD.match(self.text, at)
        minus = self._symbol("-")
        if minus and (word is None or not re.match(r"--?[A-Za-z_]", word.group())):
            return Negative(self._unary())
        if word is None:
            end = "the expression ends" if at >= len(self.text) else f"{self.text[at]!r} stands"
            raise self._error(f"{end} where a flag or a value is needed.", at)
        name = word.group()
        if name in _KEYWORDS:
            raise self._error(f"{name!r} stands where a flag or a value is needed.", at, len(name))
        hint = flag_hint(name, self.known)
        quoted = "" if name.startswith("-") else f" A string is written {name!r}."
        raise self._error(f"unknown word {name!r}.{hint}{quoted}", at, len(name))

    def _match_flag(self) -> str | None:
        self._blanks()
        for flag in self.bare:
            if self.text.startswith(flag, self.at) and not _GOES_ON.match(self.text, self.at + len(flag)):
                return flag
        return None

    def _quoted_flag(self, at: int) -> Expression:
        name = self._until("`", at)
        if name not in self.known:
            message = f"unknown flag {name!r}.{flag_hint(name, self.known)}"
            raise self._error(message, at, self.at - at)
        return Flag(name)

    def _literal(self, *, signed: bool) -> Literal | None:
        self._blanks()
        at = self.at
        for word, truth in (("True", True), ("False", False)):
            if self._keyword(word):
                return Literal(truth)
        quote = self._symbol("'", '"')
        if quote:
            return Literal(self._until(quote, at))
        sign = self._symbol("-") if signed else None
        if sign:
            self._blanks()
        number = _NUMBER.match(self.text, self.at)
        if number is None or re.match(r"[A-Za-z_]", self.text[number.end() : number.end() + 1]):
            self.at = at
            return None
        self.at = number.end()
        whole = number.group(2) is None and number.group(3) is None and not number.group().startswith(".")
        try:
            value: Value = int(number.group()) if whole else float(number.group())
        except ValueError:
            raise self._error("the number has too many digits.", at, self.at - at) from None
        if value == float("inf"):
            raise self._error("the number is too large.", at, self.at - at)
        return Literal(-value if sign and not isinstance(value, str) else value)

    def _until(self, quote: str, at: int) -> str:
        """The text up to the closing quote, with Python's escapes."""
        start = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
                continue
            self.at += 1
            if char == quote:
                return _unescape(self.text[start : self.at - 1])
        raise self._error(f"the closing {quote} is missing.", at, len(self.text) - at)


def _unescape(text: str) -> str:
    named = {"n": "\n", "t": "\t", "r": "\r"}

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        return named.get(code, code)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", one, text, flags=re.DOTALL)


def _can_be_bare(flag: str) -> bool:
    words = set(flag.split(" "))
    if _NUMBER.match(flag.lstrip("-")):
        return False
    return bool(_BARE.fullmatch(flag)) and not words & _KEYWORDS and not words & _OPERATORS and flag.strip() == flag


def check_types(expression: Expression, domains: Mapping[str, Domain]) -> None:
    """Refuse what can never make sense: text compared with numbers, sums of text, values that are not listed.

    Raises:
        SpaceError: with the part in question.
    """
    if _kind(expression, domains) != "bool":
        raise SpaceError(f"'{expression}' is no relation; compare it with something, as in '{expression} == ...'")


def _kind(node: Expression, domains: Mapping[str, Domain]) -> str:
    if isinstance(node, Literal):
        return _kind_of(node.value)
    if isinstance(node, Flag):
        return domains[node.name].kind
    if isinstance(node, (Negative, Arithmetic)):
        for part in node._parts():
            if _kind(part, domains) not in ("number", "mixed"):
                raise SpaceError(f"in '{node}': '{part}' is {_a(_kind(part, domains))}, which one cannot compute with")
        return "number"
    if isinstance(node, Comparison):
        _check_pair(node, node.left, node.right, domains, ordering=node.symbol not in ("==", "!="))
        return "bool"
    if isinstance(node, Membership):
        if not node.values:
            raise SpaceError(f"in '{node}': the list is empty")
        for value in node.values:
            _check_pair(node, node.operand, Literal(value), domains, ordering=False)
        return "bool"
    for part in node._parts():
        kind = _kind(part, domains)
        if kind != "bool":
            raise SpaceError(f"in '{node}': '{part}' is {_a(kind)}; a relation is needed, such as '{part} == ...'")
    return "bool"


def _check_pair(
    node: Expression, left: Expression, right: Expression, domains: Mapping[str, Domain], *, ordering: bool
) -> None:
    kinds = (_kind(left, domains), _kind(right, domains))
    if ordering and "bool" in kinds:
        raise SpaceError(f"in '{node}': truth values have no order; use == or !=")
    if "mixed" not in kinds and (kinds[0] == "string") != (kinds[1] == "string"):
        raise SpaceError(f"in '{node}': '{left}' is {_a(kinds[0])} and '{right}' is {_a(kinds[1])}")
    if ordering:
        return
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Flag) and isinstance(other, Literal) and isinstance(other.value, str):
            domain = domains[one.name]
            if isinstance(domain, Values) and not domain.contains(other.value):
                known = [v for v in domain.values if isinstance(v, str)]
                hint = flag_hint(other.value, known)
                raise SpaceError(f"in '{node}': {one.name} never is {other.value!r}.{hint}")


def _kind_of(value: Value) -> str:
    return "string" if isinstance(value, str) else "bool" if isinstance(value, bool) else "number"


def _a(kind: str) -> str:
    return {"string": "text", "number": "a number", "bool": "a truth value", "mixed": "text or a number"}[kind]
