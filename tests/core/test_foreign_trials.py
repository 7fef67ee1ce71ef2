"""What a strategy adds to trials that it did not propose, and what is made of it."""

from pathlib import Path

import attrs
import pytest

import hpo_core as hpo
from hpo_core.builtin.random import RandomStrategy

SPACE = [["--x", 0.5, (0.0, 1.0)]]


class Epochs(RandomStrategy):
    """Each proposal is three epochs of work; the defaults get nine."""

    name = "epochs"

    def ask(self):
        return attrs.evolve(super().ask(), fidelity=3.0, parent=getattr(self, "parent", None))

    def foreign(self, proposal, origin):
        if origin == "inserted":
            return proposal
        return hpo.Proposal({}, parent=7, fidelity=9.0, tag="first" if origin == "baseline" else "")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "study"


def study(directory: Path, strategy: type[hpo.Strategy] = Epochs, **more) -> hpo.Study:
    return hpo.Study(hpo.Params(SPACE), strategy=strategy, seed=3, directory=directory, **more)


def test_the_defaults_get_what_the_strategy_says_and_stay_what_they_are(directory):
    with study(directory) as one:
        trial = one.ask()
        assert (trial.origin, trial.values, trial.fidelity, trial.tag) == ("baseline", {"--x": 0.5}, 9.0, "first")
        assert trial.parent is None


def test_the_origin_decides_not_the_number(directory):
    """The first trial is not the defaults where these are not evaluated."""
    with study(directory, evaluate_defaults=False) as one:
        one.insert({"--x": 0.25}, 1.0)
        one.enqueue({"--x": 0.75})
        one.ask()
        assert [(r.trial.origin, r.trial.tag, r.trial.fidelity) for r in one.trials] == [
            ("inserted", "point1", None),
            ("enqueued", "point2", 9.0),
        ]


def test_it_is_recorded_and_not_asked_for_again(directory):
    with study(directory) as one:
        one.tell(one.ask(), 1.0)

    class Changed(Epochs):
        def foreign(self, proposal, origin):
            raise AssertionError("the trial is there already")

    with hpo.Study.load(directory, strategy=Changed) as again:
        assert again.trials[0].trial.fidelity == 9.0


def test_an_answer_that_is_no_proposal_is_named(directory):
    class Wrong(RandomStrategy):
        name = "wrong"

        def foreign(self, proposal, origin):
            return None

    with study(directory, Wrong) as one, pytest.raises(hpo.SpaceError, match="'wrong' answered None in foreign"):
        one.ask()


def test_one_that_raises_is_blamed(directory):
    class Wrong(RandomStrategy):
        name = "wrong"

        def foreign(self, proposal, origin):
            raise KeyError("--x")

    with study(directory, Wrong) as one, pytest.raises(hpo.StudyStopped, match="strategy 'wrong' failed in foreign"):
        one.ask()


def test_a_replay_with_another_parent_or_fidelity_is_no_repetition(directory):
    """Equal values are not enough: a trial that goes on from another one is another trial."""
    with study(directory) as one:
        for _ in range(3):
            one.tell(one.ask(), 1.0)

    class Other(Epochs):
        parent = 1

    class Less(Epochs):
        def ask(self):
            return attrs.evolve(super().ask(), fidelity=2.0)

    for strategy, notes in ((Epochs, 0), (Other, 1), (Less, 1)):
        with hpo.Study.load(directory, strategy=strategy) as again:
            assert len([note for note in again._ledger.notes if "does not repeat" in note]) == notes, strategy


@pytest.mark.parametrize("maximize", [False, True])
def test_a_report_has_a_loss_that_is_small_when_it_is_good(tmp_path, maximize):
    heard = []

    class Hears(RandomStrategy):
        name = "hears"
        capabilities = frozenset({hpo.Capability.REPORTS})

        def report(self, trial, report):
            heard.append((report.fom, report.loss))
            return False

    params = hpo.Params(SPACE)
    with hpo.Evaluator("echo FoM: 2 #", workload_manager="local", maximize=maximize) as evaluator:
        with hpo.Study(params, evaluator, strategy=Hears, n_trials=1, seed=1, directory=tmp_path / "study") as one:
            one.optimize()
        told = list(heard)
        with hpo.Study.load(tmp_path / "study", evaluator, strategy=Hears):
            pass
    assert heard == told * 2 == [(2.0, -2.0 if maximize else 2.0)] * 2


def test_a_report_without_a_loss_has_that_of_minimising():
    assert hpo.Report(1.0, {}, 3.0).loss == 3.0
