"""All trials of a study as columns: about 135 bytes a trial of ten parameters; records are views of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

from hpo_core.command import Arguments
from hpo_core.space import Params, Values
from hpo_core.trial import Failure, Result, State, Trial, TrialRecord, Value

_STATES = tuple(State)
_USABLE = (_STATES.index(State.DONE), _STATES.index(State.STOPPED))
_FAILURES = (None, *Failure)
_ORIGINS = ("strategy", "baseline", "enqueued", "inserted")
_RARE = ("tag", "parent", "fidelity", "nodes", "info")
"""What few trials have, by the keys of their record."""
_NAN = math.nan
_ROOM = 1024


class History(Sequence[TrialRecord]):
    """The trials in order of their numbers; number ``n`` is item ``n - 1``.

    Args:
        space: gives flags and the codes of their values.
        sign: 1.0 when minimising, -1.0 when maximising.
        details: reads the record that begins at an offset of the journal, for what columns don't hold: message and
            tail of a failure; tag, parent, fidelity, nodes and info of a trial that has any.
    """

    def __init__(self, space: Params, sign: float, details: Callable[[int], Mapping[str, Any]]) -> None:
        self._sign = sign
        self._details = details
        self._domains = space.domains
        self.arguments = Arguments(space.domains)
        """Writes the values of a trial as they stand behind the command."""
        self._values = array("d")
        """A row for each trial, in the space's order of flags; NaN where one is not active."""
        self._codes: list[tuple[str, Callable[[Any], float] | None]] = [
            (flag, domain.code if isinstance(domain, Values) else None) for flag, domain in space.domains.items()
        ]
        self._coded = any(code is not None for _, code in self._codes)
        self._metrics: dict[str, array[float]] = {}
        self._fom, self._duration = array("d"), array("d")
        self._state, self._failure, self._origin = array("b"), array("b"), array("b")
        self._attempts, self._exit_code, self._steps = array("H"), array("i"), array("I")
        self._asked, self._finished = array("q"), array("q")
        """Where the journal has what was asked, and the result; -1 where it has none."""
        self._rare = array("b")
        """Whether what was asked has more than columns hold."""
        self._nodes = array("I")
        self._length = 0
        """Trials; the columns below are longer, so that room for many is made at once."""
        self._blanks = [(column, array(column.typecode, [blank])) for column, blank in self._results()]
        self._node_codes: dict[tuple[str, ...], int] = {(): 0}
        self._node_sets: list[tuple[str, ...]] = [()]
        self._unwritten: dict[int, Mapping[str, Any]] = {}
        """What is rare of trials that are in no journal."""
        self.order = array("I")
        """Numbers in order of finishing."""

    def _results(self) -> list[tuple[array[Any], float]]:
        """Columns of what is known at the end, and what is in them before."""
        zeros = (self._duration, self._state, self._failure, self._origin, self._rare, self._steps, self._nodes)
        others: list[tuple[array[Any], float]] = [
            (self._fom, _NAN),
            (self._attempts, 1),
            (self._exit_code, -1000),
        ]
        return [*((column, 0) for column in zeros), *others, (self._asked, -1), (self._finished, -1)]

    def _make_room(self) -> None:
        for column, blank in self._blanks:
            column.extend(blank * _ROOM)
        for metric in self._metrics.values():
            metric.extend(array("d", [_NAN]) * _ROOM)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> TrialRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TrialRecord]: ...
    def __getitem__(self, index: int | slice) -> TrialRecord | Sequence[TrialRecord]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} trials")
        trial = self.trial(index + 1)
        return TrialRecord(trial, None if self.running(index + 1) else self.result(index + 1))

    def __iter__(self) -> Iterator[TrialRecord]:
        return (self[i] for i in range(len(self)))

    def add(self, trial: Trial, offset: int) -> None:
        """Add a trial that runs; its number must be the next one; `offset`: of its record, -1 where it has none."""
        values: Any = trial.values
        if self._coded or len(values) < len(self._codes):
            self._values.extend(
                [
                    _NAN if (value := values.get(flag)) is None else value if code is None else code(value)
                    for flag, code in self._codes
                ]
            )
        else:
            self._values.extend(values.values())
        i = self._length
        if i == len(self._state):
            self._make_room()
        self._length = i + 1
        if trial.origin != "strategy":
            self._origin[i] = _ORIGINS.index(trial.origin)
        self._asked[i] = offset
        common = trial.parent is trial.fidelity is trial.nodes is None and not trial.info
        if common and trial.tag == f"point{trial.number}":
            return
        self._rare[i] = 1
        if offset < 0:
            self._unwritten[trial.number] = {name: getattr(trial, name) for name in _RARE}

    def last_durations(self, count: int) -> list[float]:
        """Run times in seconds of the trials that finished last, in order of finishing."""
        return [self._duration[number - 1] for number in self.order[-count:]]

    def finish(self, number: int, result: Result, offset: int) -> None:
        """Enter the result of a trial, and where the journal has the rest of it."""
        i = number - 1
        self._fom[i], self._duration[i] = result.fom, result.duration_s
        self._state[i] = _STATES.index(result.state)
        if result.failure is not None:
            self._failure[i] = _FAILURES.index(result.failure)
        self._attempts[i] = result.attempts
        self._exit_code[i] = -1000 if result.exit_code is None else result.exit_code
        self._steps[i] = result.steps
        self._finished[i] = offset
        self._nodes[i] = self._node_code(result.nodes)
        for name, value in result.metrics.items():
            if name not in self._metrics:
                self._metrics[name] = array("d", [_NAN]) * len(self._state)
            self._metrics[name][i] = value
        self.order.append(number)

    def _node_code(self, names: tuple[str, ...]) -> int:
        code = self._node_codes.get(names)
        if code is None:
            code = self._node_codes[names] = len(self._node_sets)
            self._node_sets.append(names)
        return code

    def values(self, number: int) -> dict[str, Value]:
        """The values that were asked for, active flags only."""
        width = len(self._codes)
        row = self._values[(number - 1) * width : number * width]
        return {
            flag: domain.from_code(code)
            for (flag, domain), code in zip(self._domains.items(), row, strict=True)
            if code == code
        }

    def trial(self, number: int) -> Trial:
        """What was asked; what is not in the columns is read from the journal."""
        i = number - 1
        values = self.values(number)
        record = self._unwritten.get(number, {})
        if self._rare[i] and not record:
            record = self._details(self._asked[i])
        return Trial(
            number=number,
            values=values,
            arguments=self.arguments(values),
            origin=_ORIGINS[self._origin[i]],
            **{"tag": f"point{number}", **{name: record[name] for name in _RARE if name in record}},
        )

    def result(self, number: int) -> Result:
        """How it ended; what is not in the columns is read from the journal."""
        i = number - 1
        more = self._details(self._finished[i]) if self._failure[i] else {}
        return Result(
            state=_STATES[self._state[i]],
            fom=self._fom[i],
            loss=self.loss(number),
            metrics={name: column[i] for name, column in self._metrics.items() if column[i] == column[i]},
            failure=_FAILURES[self._failure[i]],
            message=more.get("message", ""),
            exit_code=None if self._exit_code[i] == -1000 else self._exit_code[i],
            duration_s=self._duration[i],
            attempts=self._attempts[i],
            nodes=self._node_sets[self._nodes[i]],
            steps=self._steps[i],
            tail=more.get("tail", ""),
        )

    def attempts(self, number: int) -> int:
        """Attempts that a trial with a result took."""
        return self._attempts[number - 1]

    def running(self, number: int) -> bool:
        """Whether it has no result yet."""
        return self._state[number - 1] == 0

    def open_numbers(self) -> list[int]:
        """The numbers of all trials without a result."""
        return [i + 1 for i, state in enumerate(self._state[: self._length]) if state == 0]

    def places(self, number: int) -> tuple[int, int]:
        """Where the journal has what was asked, and the result: offsets in bytes, -1 where it has none."""
        return self._asked[number - 1], self._finished[number - 1]

    def fom(self, number: int) -> float:
        """Its figure of merit, NaN where there is none."""
        return self._fom[number - 1]

    def loss(self, number: int) -> float:
        """Its loss, infinite where there is none."""
        usable = self._state[number - 1] in _USABLE and math.isfinite(self._fom[number - 1])
        return self._sign * self._fom[number - 1] if usable else math.inf

    def counts(self) -> dict[State, int]:
        """How many trials are in each state."""
        states = self._state[: self._length]
        return {state: states.count(code) for code, state in enumerate(_STATES)}

    def failures(self) -> dict[Failure, int]:
        """How many trials failed in each class."""
        found = {failure: self._failure.count(code) for code, failure in enumerate(_FAILURES) if failure}
        return {failure: count for failure, count in found.items() if count}

    def arrays(self) -> dict[str, array[Any]]:
        """All columns by name, for a snapshot; they are the history's own."""
        for column in (*self._metrics.values(), *(column for column, _ in self._blanks)):
            del column[self._length :]
        plain = (
            "_fom",
            "_duration",
            "_state",
            "_failure",
            "_origin",
            "_rare",
            "_attempts",
            "_exit_code",
            "_steps",
            "_nodes",
        )
        named = {name: getattr(self, name) for name in (*plain, "_asked", "_finished", "_values", "order")}
        return {**named, **{f"metric {name}": column for name, column in self._metrics.items()}}

    def rest(self) -> dict[str, Any]:
        """What is not in columns, as JSON values, for a snapshot."""
        return {
            "metrics": list(self._metrics),
            "nodes": self._node_sets,
        }

    def restore(self, read: Callable[[array[Any]], None], rest: Mapping[str, Any]) -> None:
        """Fill an empty history from a snapshot.

        Args:
            read: fills one empty column; called for each, in the order of `arrays`.
            rest: what `rest` gave.
        """
        self._metrics = {name: array("d") for name in rest["metrics"]}
        self._node_sets = [tuple(names) for names in rest["nodes"]]
        self._node_codes = {names: code for code, names in enumerate(self._node_sets)}
        for column in self.arrays().values():
            read(column)
        self._length = len(self._state)
