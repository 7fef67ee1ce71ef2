"""Strategies that are wrong in one way each, and the check of the kit that finds each out."""

import random
import time
from pathlib import Path
from typing import ClassVar

import attrs
import hypothesis
import numpy as np
import pytest

from hpo_core.builtin.grid import GridStrategy
from hpo_core.builtin.random import RandomStrategy
from hpo_core.interfaces import Capability, Strategy
from hpo_core.testing import StrategyContract
from hpo_core.trial import Pause, Proposal


@pytest.fixture(autouse=True)
def no_shrinking():
    """The first failure is enough."""
    before = hypothesis.settings.get_current_profile_name()
    hypothesis.settings.register_profile(
        "first failure", hypothesis.settings.get_profile(before), phases=[hypothesis.Phase.generate]
    )
    hypothesis.settings.load_profile("first failure")
    yield
    hypothesis.settings.load_profile(before)


class OutOfBounds(RandomStrategy):
    """Steps over a bound now and then."""

    def ask(self):
        values = self.space.draw(self.rng)
        for flag, value in values.items():
            if not isinstance(value, (bool, str)) and self.rng.random() < 0.2:
                values[flag] = value * 4 + 1
        return Proposal(values)


class IgnoresConditions(RandomStrategy):
    """Gives every flag a value."""

    def ask(self):
        return Proposal({flag: domain.draw(self.rng) for flag, domain in self.space.domains.items()})


class IgnoresForbidden(RandomStrategy):
    """Draws one flag anew, whatever the relations say."""

    def ask(self):
        values = self.space.draw(self.rng)
        flag = self.rng.choice(list(values))
        return Proposal({**values, flag: (self.space.domain(flag, values) or 0).draw(self.rng)})


class IgnoresSeed(RandomStrategy):
    """Draws from a generator of its own."""

    def ask(self):
        return Proposal(self.space.draw(random.Random()))


class UsesGlobalRandomness(RandomStrategy):
    """Draws from everybody's generator."""

    def ask(self):
        return Proposal(self.space.draw(random))


class SeedsGlobally(RandomStrategy):
    """Is repeatable at the expense of everybody else."""

    def ask(self):
        np.random.seed(self.rng.randrange(2**32))
        return super().ask()


class SharesMemory(RandomStrategy):
    """Learns into a list that belongs to the class."""

    seen: ClassVar[list[int]] = []

    def __init__(self, space, **arguments):
        super().__init__(space, **arguments)
        if len(self.seen) > 1000:
            self.seen.clear()

    def ask(self):
        self.seen.append(1)
        return Proposal(self.space.draw(random.Random(len(self.seen) + self.rng.randrange(99))))


class LosesState(RandomStrategy):
    """Goes around the best point, which it does not save."""

    best = (float("inf"), None)

    def ask(self):
        if self.best[1] is None:
            return super().ask()
        return Proposal(self.space.neighbour(self.best[1], self.rng))

    def tell(self, trial, result):
        if result.loss <= self.best[0]:
            self.best = (result.loss, dict(trial.values))


class SavesWhatIsNoJson(RandomStrategy):
    """Has a dict with numbers as keys in its state."""

    told = 0

    def tell(self, trial, result):
        self.told += 1

    def get_state(self):
        return {**super().get_state(), "told": {self.told: True}}


class DrawsWhenSaving(RandomStrategy):
    """Uses up a random number whenever its state is saved."""

    def get_state(self):
        self.rng.random()
        return super().get_state()


class DependsOnTime(RandomStrategy):
    """Explores for its first minutes."""

    def __init__(self, space, **arguments):
        super().__init__(space, **arguments)
        self.start_s = time.monotonic()

    def ask(self):
        if time.monotonic() - self.start_s > 60:
            self.rng.random()
        return super().ask()


class ReadsAFile(RandomStrategy):
    """Looks something up on disk."""

    def tell(self, trial, result):
        Path(__file__).stat()
        with open(__file__, "rb") as file:
            file.read(1)


class Blocks(RandomStrategy):
    """Sleeps in ask, and does not say that it is slow."""

    def ask(self):
        time.sleep(0.001)
        return super().ask()


class Prints(RandomStrategy):
    """Tells everybody what it does."""

    def ask(self):
        print("asked")
        return super().ask()


class ChokesOnFailures(RandomStrategy):
    """Computes with a loss that is infinite."""

    total = 0.0

    def tell(self, trial, result):
        assert int(result.loss) is not None


class KnowsOnlyItsOwn(RandomStrategy):
    """Looks up every trial among those that it proposed."""

    def ask(self):
        proposal = super().ask()
        return attrs.evolve(proposal, info={"mine": True})

    def tell(self, trial, result):
        trial.info["mine"]


class InOrderOnly(RandomStrategy):
    """Expects the trial that it proposed first to end first."""

    def __init__(self, space, **arguments):
        super().__init__(space, **arguments)
        self.expected = []

    def ask(self):
        proposal = super().ask()
        self.expected.append(dict(proposal.values))
        return proposal

    def tell(self, trial, result):
        assert self.expected.pop(0) == trial.values


class CountsPauses(RandomStrategy):
    """Gives up a slot for a while, and ends its rest by being asked."""

    open = 0
    asked = 0

    def ask(self):
        self.asked += 1
        if self.open > 2 and self.asked % 3:
            return Pause.WAIT
        self.open += 1
        return super().ask()

    def tell(self, trial, result):
        self.open = max(0, self.open - 1)


class WaitsForEver(RandomStrategy):
    """Waits for ten results, and has five trials running at the most."""

    asked = told = 0

    def ask(self):
        if self.asked >= 5 and self.told < 10:
            return Pause.WAIT
        self.asked += 1
        return super().ask()

    def tell(self, trial, result):
        if trial.origin == "strategy" and result.ok:
            self.told += 1


class DoneAndBack(GridStrategy):
    """Begins again once it is done."""

    def ask(self):
        answer = super().ask()
        if answer is Pause.DONE:
            self._cursor = self.space.grid(self.options.grid_size)
        return answer


class ContinuesUnfinished(RandomStrategy):
    """Names a parent that may still run."""

    capabilities = frozenset({Capability.CONTINUES})
    asked = 0

    def ask(self):
        self.asked += 1
        return attrs.evolve(super().ask(), parent=self.asked - 1 or None)


class Continues(RandomStrategy):
    """Goes on with the best: the base of some mutants, and right itself."""

    capabilities = frozenset({Capability.CONTINUES})

    def __init__(self, space, **arguments):
        super().__init__(space, **arguments)
        self.best = (float("inf"), None)

    def ask(self):
        return attrs.evolve(super().ask(), parent=self.best[1])

    def tell(self, trial, result):
        if trial.origin != "inserted" and result.ok:
            self.best = min(self.best, (result.loss, trial.number))

    def continuable(self):
        return [] if self.best[1] is None else [self.best[1]]


class ContinuesFailures(Continues):
    """Takes any trial that has ended."""

    def tell(self, trial, result):
        if trial.origin != "inserted":
            self.best = (0.0, trial.number)


class ContinuesInserted(Continues):
    """Takes a trial that never ran."""

    def tell(self, trial, result):
        if result.ok:
            self.best = min(self.best, (result.loss, trial.number))


class ContinuesDeleted(Continues):
    """Does not say what it may continue."""

    def continuable(self):
        return []


class ContinuesAgain(Continues):
    """Forgets to say for a while what it may continue."""

    told = 0

    def tell(self, trial, result):
        super().tell(trial, result)
        self.told += 1

    def continuable(self):
        return super().continuable() if self.told % 4 else []


class SaysUnfinished(Continues):
    """Wants to keep what does not exist yet."""

    def continuable(self):
        return [*super().continuable(), 1000]


class ReportsNothing(RandomStrategy):
    """Declares that it hears reports, and answers nothing."""

    capabilities = frozenset({Capability.REPORTS})

    def report(self, trial, report):
        return None


class ForgetsFidelity(RandomStrategy):
    """Leaves the defaults without what its own proposals have."""

    def ask(self):
        return attrs.evolve(super().ask(), fidelity=3.0)


class DrawsForOthers(RandomStrategy):
    """Draws when others put in a trial, which does not happen again on resume."""

    def foreign(self, proposal, origin):
        return attrs.evolve(proposal, tag=f"lucky{self.rng.random()}")


class MovesOthers(RandomStrategy):
    """Takes a user's point for an advice."""

    def foreign(self, proposal, origin):
        return Proposal(self.space.draw(random.Random(1)))


class OneTag(RandomStrategy):
    """Calls all trials the same."""

    def tag(self, number):
        return "point"


class RemembersAll(RandomStrategy):
    """Goes through its whole history in every ask."""

    def __init__(self, space, **arguments):
        super().__init__(space, **arguments)
        self.told = []

    def ask(self):
        best = float("inf")
        for loss in self.told:
            if loss < best:
                best = loss
        return super().ask()

    def tell(self, trial, result):
        self.told.append(result.loss)


class ComparesAll(RemembersAll):
    """The same, in compiled code."""

    def ask(self):
        min(self.told, default=0.0)
        return RandomStrategy.ask(self)


class CopiesAll(RemembersAll):
    """Makes an array of its whole history in every ask."""

    def ask(self):
        np.array(self.told)
        return RandomStrategy.ask(self)


STRATEGIES = [
    (OutOfBounds, "test_proposals_are_valid", {}),
    (IgnoresConditions, "test_proposals_are_valid", {}),
    (IgnoresConditions, "test_proposals_are_valid_in_hard_spaces", {"kind": "chain"}),
    (IgnoresForbidden, "test_proposals_are_valid_in_hard_spaces", {"kind": "forbidden"}),
    (ContinuesUnfinished, "test_proposals_are_well_formed", {}),
    (OneTag, "test_tags_are_unique", {}),
    (IgnoresSeed, "test_same_seed_gives_same_proposals", {}),
    (UsesGlobalRandomness, "test_same_seed_gives_same_proposals", {}),
    (UsesGlobalRandomness, "test_leaves_global_randomness_alone", {}),
    (SeedsGlobally, "test_leaves_global_randomness_alone", {}),
    (SharesMemory, "test_objects_are_independent", {}),
    (DependsOnTime, "test_does_not_depend_on_time", {}),
    (ReadsAFile, "test_does_no_io", {}),
    (Blocks, "test_does_no_io", {}),
    (Prints, "test_does_no_io", {}),
    (InOrderOnly, "test_accepts_any_completion_order", {}),
    (ChokesOnFailures, "test_accepts_failed_and_odd_results", {"outcome": "failed"}),
    (ChokesOnFailures, "test_accepts_failed_and_odd_results", {"outcome": "nan"}),
    (KnowsOnlyItsOwn, "test_accepts_foreign_trials", {}),
    (CountsPauses, "test_asking_while_it_pauses_changes_nothing", {}),
    (WaitsForEver, "test_never_waits_for_nothing", {}),
    (DoneAndBack, "test_done_stays_done", {}),
    (LosesState, "test_restored_state_goes_on_the_same", {}),
    (SavesWhatIsNoJson, "test_state_is_json", {}),
    (DrawsWhenSaving, "test_saving_changes_nothing", {}),
    (ContinuesUnfinished, "test_continues_what_is_there", {}),
    (ContinuesFailures, "test_continues_what_is_there", {}),
    (ContinuesInserted, "test_continues_what_is_there", {}),
    (ContinuesDeleted, "test_continues_what_is_there", {}),
    (ContinuesAgain, "test_continues_what_is_there", {}),
    (SaysUnfinished, "test_continues_what_is_there", {}),
    (ReportsNothing, "test_reports_are_answered", {}),
    (ForgetsFidelity, "test_completes_foreign_trials", {}),
    (DrawsForOthers, "test_completes_foreign_trials", {}),
    (MovesOthers, "test_accepts_foreign_trials", {}),
    (RemembersAll, "test_cost_does_not_grow_with_history", {}),
    (ComparesAll, "test_cost_does_not_grow_with_history", {}),
    (CopiesAll, "test_cost_does_not_grow_with_history", {}),
]


@pytest.mark.parametrize(
    ("mutant", "check", "more"), STRATEGIES, ids=[f"{mutant.__name__}-{check}" for mutant, check, _ in STRATEGIES]
)
def test_wrong_strategies_are_caught(mutant: type[Strategy], check, more, monkeypatch):
    contract = StrategyContract()
    contract.constant_cost = True
    if check == "test_does_not_depend_on_time":
        more = {"monkeypatch": monkeypatch}

    def make(space, seed):
        return mutant(space, seed=seed)

    method = getattr(contract, check)
    with pytest.raises((AssertionError, KeyError, OverflowError, ValueError)):
        method(make, **more)


def test_a_strategy_that_continues_rightly_passes():
    StrategyContract().test_continues_what_is_there(lambda space, seed: Continues(space, seed=seed))


def test_a_failure_shows_the_whole_space_and_the_first_answer_that_differs():
    with pytest.raises(
        AssertionError, match=r"answer \d+ is another one restored after \d+ steps: .* and else"
    ) as caught:
        StrategyContract().test_restored_state_goes_on_the_same(lambda space, seed: LosesState(space, seed=seed))
    assert "space = Params.from_json({'params': [{'flag':" in "\n".join(caught.value.__notes__)
