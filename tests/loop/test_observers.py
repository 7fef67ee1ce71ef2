"""Observers hear everything in order; one that raises is switched off and harms nothing."""

from collections.abc import Callable
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core.journal import read
from watching import Log

Simulate = Callable[..., hpo.Study]


def test_observers_are_called_in_the_order_of_what_happens(simulate: Simulate) -> None:
    log, foms = Log(), iter([1.0, float("nan"), 1.0])
    study = simulate(
        log=log,
        nodes=1,
        objective=lambda values: next(foms),
        num_retries=1,
        study={"n_trials": 2},
    )
    study.optimize()
    heard = [(what, number, last) for _, what, number, last in log.lines]
    assert heard == [
        ("study started", 0, 0),
        ("started", 1, 1), ("reported", 1, 1), ("finished", 1, 1),
        ("started", 2, 1), ("reported", 2, 1), ("started", 2, 2), ("reported", 2, 1), ("finished", 2, 2),
        ("study finished", 0, 0),
    ]  # fmt: skip
    assert len(log.notices) == 1


def test_a_trial_is_on_disk_when_observers_hear_of_its_end(simulate: Simulate) -> None:
    class Reads(hpo.Observer):
        def study_started(self, study: hpo.Study) -> None:
            self.study = study

        def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
            records = [line.record for line in read(self.study.directory)]
            assert any(record["record"] == "finished" and record["trial"] == trial.number for record in records)
            checked.append(trial.number)

    checked: list[int] = []
    simulate(observers=[Reads()], study={"n_trials": 20}).optimize()
    assert sorted(checked) == list(range(1, 21))


@pytest.mark.parametrize(
    "method", ["study_started", "trial_started", "trial_reported", "trial_finished", "notice", "study_finished"]
)
def test_an_observer_that_raises_is_switched_off_with_a_warning(simulate: Simulate, method: str) -> None:
    calls = []

    class Bad(hpo.Observer):
        def __getattribute__(self, name: str) -> Any:
            if name != method:
                return super().__getattribute__(name)

            def bad(*arguments: object) -> None:
                calls.append(name)
                raise ValueError("no mood")

            return bad

    log = Log()
    study = simulate(
        log=log, observers=[Bad()], manager_options={"node_failures": {"sim1": 2.5}}, study={"n_trials": 32}
    )
    with pytest.warns(UserWarning, match=f"observer Bad is switched off: {method} raised ValueError: no mood"):
        study.optimize()
    assert calls == [method]
    assert len(log.times("finished")) == len(study.trials) == 32
    assert log.words()[-1] == "study finished"


def test_observers_hear_of_the_end_of_a_study_that_fails(simulate: Simulate) -> None:
    class Raises(hpo.Strategy):
        name = "raises"

        def ask(self) -> hpo.Proposal:
            raise ValueError("boom")

    log = Log()
    study = simulate(log=log, study={"strategy": Raises})
    with pytest.raises(hpo.StudyStopped):
        study.optimize()
    assert log.words() == ["study started", "study finished"]
    assert "boom" in study.stop_detail
