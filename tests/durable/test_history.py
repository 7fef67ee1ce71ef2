"""Trials as columns: what goes in comes out, through a snapshot too, and costs few bytes."""

from __future__ import annotations

from array import array
from typing import Any

import hpo_core as hpo
from hpo_core._history import History


def space() -> hpo.Params:
    return hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(8)] + [["--n", (1, 9)], ["--kind", ["a", "ü"]]])


def trials() -> list[hpo.Trial]:
    numbers = {f"--x{i}": i / 8 for i in range(8)}
    plain = {**numbers, "--n": 3, "--kind": "ü"}
    given: list[dict[str, Any]] = [
        {},
        {"tag": "deme1_ind17", "info": {"by": "bred", "steps": [0.5, 1.0], "of": {"ü": None}}},
        {"values": {"--n": 3}, "origin": "enqueued"},
        {"parent": 2, "fidelity": 3.0, "nodes": 4, "tag": "member1_epoch3"},
        {"fidelity": 0.5},
    ]
    return [
        hpo.Trial(**{"number": number, "values": plain, "tag": f"point{number}", **one})
        for number, one in enumerate(given, 1)
    ]


def fresh() -> History:
    return History(space(), 1.0, lambda offset: {})


def filled() -> History:
    history = fresh()
    for trial in trials():
        history.add(trial, -1)
    return history


def without_arguments(trial: hpo.Trial) -> tuple[Any, ...]:
    return (trial.number, trial.values, trial.tag, trial.origin, trial.parent, trial.fidelity, trial.nodes, trial.info)


def test_trials_come_back_as_they_were() -> None:
    history = filled()
    assert [without_arguments(record.trial) for record in history] == [without_arguments(trial) for trial in trials()]


def test_trials_come_back_from_a_snapshot() -> None:
    records = [
        {
            "tag": trial.tag,
            "info": trial.info,
            **{name: getattr(trial, name) for name in ("parent", "fidelity", "nodes")},
        }
        for trial in trials()
    ]
    history, other = (History(space(), -1.0, records.__getitem__) for _ in range(2))
    for offset, trial in enumerate(trials()):
        history.add(trial, offset)
    history.finish(2, hpo.Result(hpo.State.DONE, 0.5, -0.5, {"loss": 0.5}), 100)
    saved = iter([column.tobytes() for column in history.arrays().values()])

    def read(column: array[Any]) -> None:
        column.frombytes(next(saved))

    other.restore(read, history.rest())
    assert list(other) == list(history)
    assert [without_arguments(record.trial) for record in other] == [without_arguments(trial) for trial in trials()]
    assert other[1].result == hpo.Result(hpo.State.DONE, 0.5, -0.5, {"loss": 0.5})


def test_a_finished_trial_of_ten_parameters_takes_at_most_150_bytes() -> None:
    """With a tag and what the genetic search notes of a child: the journal has those."""
    history, number = fresh(), 0
    info = {"deme": 4, "by": "differential", "scale": 0.512345, "chance": 0.712345}
    for number in range(1, 1001):
        history.add(hpo.Trial(number, trials()[0].values, tag=f"deme4_ind{number}", info=info), 100)
        history.finish(number, hpo.Result(hpo.State.DONE, 0.5, 0.5, {"loss": 0.5}, nodes=("n1",)), 100)
    held = sum(column.buffer_info()[1] * column.itemsize for column in history.arrays().values())
    assert held / number <= 150
