"""What Optuna hears, what it suggests, and a study of its own strategy from beginning to resumption."""

import math

import pytest
from optuna.trial import TrialState

import hpo_core as hpo
from hpo_core import Outlook, Params, Proposal, Result, State, Trial, condition
from hpo_core.testing import registered
from hpo_optuna import OptunaOptions, OptunaStrategy

SPACE = Params(
    [
        ["--lr", 1e-3, hpo.Real(1e-5, 1e-1, log=True)],
        ["--layers", 2, (1, 8)],
        ["--optimizer", "sgd", hpo.Values(["sgd", "adam", "lion"], ordered=False)],
        ["--momentum", 0.9, (0.0, 0.99)],
    ]
)
SPACE.add_conditions([condition.equals("--momentum", "--optimizer", "sgd")])
SPACE.add_forbidden(["--optimizer == 'adam' and --layers > 6"])


def strategy(space: Params = SPACE, **options) -> OptunaStrategy:
    return OptunaStrategy(space, seed=1, options=OptunaOptions(**options), outlook=Outlook(slots=4))


def ended(proposal: Proposal, number: int, loss: float, state: State = State.DONE) -> tuple[Trial, Result]:
    return Trial(number, proposal.values, info=proposal.info), Result(state, loss, loss, steps=3)


def objective(values) -> float:
    return (math.log10(float(values["--lr"])) + 3) ** 2 + int(values["--layers"]) / 8


class Notices(hpo.Observer):
    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(text)


def run(folder, n_trials: int, **more) -> hpo.Study:
    launcher_options = {"objective": objective, "run_time": lambda values: 1 + float(values["--layers"])}
    with (
        registered(OptunaStrategy),
        hpo.Evaluator("train", workload_manager="simulated", nodes=4, launcher_options=launcher_options) as evaluator,
    ):
        if (folder / "study").exists():
            study = hpo.Study.load(folder / "study", evaluator, n_trials=n_trials, **more)
        else:
            study = hpo.Study(
                SPACE, evaluator, strategy="optuna", n_trials=n_trials, seed=3, directory=folder / "study"
            )
        with study:
            return study.optimize()


def test_optuna_hears_of_everything():
    bridge = strategy()
    first, second, third = (bridge.ask() for _ in range(3))
    assert [one.state for one in bridge._study.trials] == [TrialState.RUNNING] * 3
    bridge.tell(*ended(second, 2, 0.5))
    bridge.tell(*ended(first, 1, math.inf, State.FAILED))
    bridge.tell(*ended(third, 3, 0.7, State.STOPPED))
    baseline = Trial(4, {"--lr": 1e-3, "--layers": 2, "--optimizer": "sgd", "--momentum": 0.9}, origin="baseline")
    bridge.tell(baseline, Result(State.DONE, 0.1, 0.1))
    states = [one.state for one in bridge._study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert bridge._study.best_value == 0.1
    assert set(bridge._study.best_params) == set(SPACE.flags)


def test_a_mended_point_is_what_optuna_learns_from():
    """A relation that most points violate: what ran is told, what was suggested is a failure there."""
    space = Params([["--a", (0.0, 1.0)], ["--b", (0.0, 1.0)]])
    space.add_constraints(["--a + --b <= 0.1"])
    bridge = strategy(space)
    for number in range(1, 6):
        bridge.tell(*ended(bridge.ask(), number, number))
    complete = [one for one in bridge._study.trials if one.state is TrialState.COMPLETE]
    assert len(complete) == 5
    assert all(one.params["--a"] + one.params["--b"] <= 0.1 + 1e-6 for one in complete)


def test_it_learns(tmp_path):
    """TPE comes nearer than random search with the same budget, on a simulated cluster of four nodes."""
    study = run(tmp_path, 60)
    late = [record.fom for record in study.trials][-20:]
    early = [record.fom for record in study.trials][1:21]
    assert sorted(late)[10] < sorted(early)[10]


def test_a_study_that_goes_on_asks_for_the_same(tmp_path):
    """What was asked and told is repeated: no notice says that the strategy lost its way."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    expected = [record.values for record in run(whole, 24).trials]
    run(halves, 12)
    heard = Notices()
    assert [record.values for record in run(halves, 24, observers=[heard]).trials][:12] == expected[:12]
    assert not [text for text in heard.texts if "propos" in text]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sampler": "tpee"}, "'sampler' must be in"), ({"arguments": {"n_startup": 3}}, "n_startup")],
)
def test_options_that_do_not_exist_are_refused(options, message, tmp_path):
    with pytest.raises((hpo.HpoError, TypeError), match=message):
        hpo.Study(SPACE, strategy=OptunaStrategy, strategy_options=options, directory=tmp_path / "s")
