"""The contract of strategies: subclass it in your tests, name your class, run pytest."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from hpo_core.interfaces import INTERFACE_VERSION, Capability, Outlook, Strategy
from hpo_core.space import Params
from hpo_core.testing import _rehearsal as on_stage
from hpo_core.testing._hard_spaces import HARD, one_of_each
from hpo_core.testing._rehearsal import Rehearsal, script
from hpo_core.testing._watching import ask_and_tell, audited, make_clocks_jump, other_global_randomness
from hpo_core.testing.spaces import spaces
from hpo_core.trial import Pause, Proposal, Trial


class Make(Protocol):
    """Makes the strategy to be tested."""

    def __call__(self, space: Params, seed: int) -> Strategy:
        """A new object."""
        ...


class StrategyContract:
    """What every strategy promises.

    Subclasses set `strategy` and may set `options`, or define the fixture `make`::

        class TestMine(StrategyContract):
            strategy = MyStrategy
            options = MyOptions(population=8)
    """

    strategy: ClassVar[type[Strategy]]
    """The class to be tested."""
    options: ClassVar[Any] = None
    """An instance of its `Options`, or None for the defaults."""
    examples: ClassVar[int] = 20
    """Random spaces that each check tries."""
    steps: ClassVar[int] = 40
    """Asks, tells and reports with each; more where it takes longer until something interesting happens."""
    checkpoints: ClassVar[bool] = False
    """Whether trials have checkpoints; always for a class that declares `Capability.CONTINUES`."""
    constant_cost: ClassVar[bool] = False
    """Set it to promise that an ask costs no more after a thousand results than after a hundred."""

    @pytest.fixture
    def make(self) -> Make:
        """Makes a new strategy from a space and a seed; the same arguments, the same strategy."""

        def make(space: Params, seed: int) -> Strategy:
            checkpoints = self.checkpoints or Capability.CONTINUES in self.strategy.capabilities
            outlook = Outlook(slots=4, trials_left=1000, checkpoints=checkpoints)
            return self.strategy(space, seed=seed, options=self.options, outlook=outlook)

        return make

    # What it says of itself

    def test_declares_itself(self, make: Make) -> None:
        """A strategy has a name, capabilities, options with defaults, and an interface version that is known."""
        kind = type(make(one_of_each(), 1))
        assert kind.name.strip() == kind.name != ""
        assert all(isinstance(one, Capability) for one in kind.capabilities)
        assert kind.interface_version == INTERFACE_VERSION
        assert kind.Options is None or attrs.has(kind.Options)
        kind(one_of_each(), seed=1)

    def test_tags_are_unique(self, make: Make) -> None:
        """A tag names a workspace: different trials have different tags, and none leads out of its folder."""
        strategy = make(one_of_each(), 1)
        tags = [strategy.tag(number) for number in range(1, 51)]
        assert len(set(tags)) == 50
        assert all(tag.strip() and "/" not in tag for tag in tags)

    # What it proposes

    def test_proposals_are_valid(self, make: Make) -> None:
        """All proposals are valid points, whatever the space: bounds, steps, conditions, constraints."""

        def check(space: Params, seed: int) -> None:
            Rehearsal(make(space, seed), space).run(script(seed, self.steps))

        self._for_all(check)

    @pytest.mark.parametrize(
        "kind", ["chain", "forbidden", "log", "one of each", "one flag", "one point", "tiny", "wide"]
    )
    def test_proposals_are_valid_in_hard_spaces(self, make: Make, kind: str) -> None:
        """The same where spaces are hardest: one point, few points, 1 or 200 flags, chained conditions, relations."""
        space = HARD[kind]()
        Rehearsal(make(space, 3), space).run(script(3, 60, foreign=False))
        Rehearsal(make(space, 4), space).run(script(4, 60, outcomes=on_stage.GOOD))

    def test_proposals_are_well_formed(self, make: Make) -> None:
        """Parents are finished trials, fidelity and nodes are positive, tags are not repeated, info is JSON."""

        def check(space: Params, seed: int) -> None:
            rehearsal = Rehearsal(make(space, seed), space)
            continues = Capability.CONTINUES in rehearsal.strategy.capabilities
            tags: set[str] = set()
            for step in script(seed, self.steps):
                if step.kind != "ask":
                    rehearsal.run([step])
                    continue
                answer = rehearsal.ask()
                if not isinstance(answer, Proposal):
                    continue
                assert answer.parent is None or continues, "it has a parent, and Capability.CONTINUES is not declared"
                assert answer.parent is None or answer.parent in rehearsal.finished, f"{answer.parent} has not ended"
                assert answer.fidelity is None or 0 < answer.fidelity < math.inf
                assert answer.nodes is None or answer.nodes >= 1
                assert isinstance(answer.tag, str)
                assert not answer.tag or answer.tag not in tags, f"the tag {answer.tag!r} is there twice"
                tags.add(answer.tag)
                assert json.loads(json.dumps(dict(answer.info))) == dict(answer.info)

        self._for_all(check)

    # What it depends on

    def test_same_seed_gives_same_proposals(self, make: Make) -> None:
        """Equal seed and equal order of tells give equal proposals, whatever random numbers others draw."""

        def check(space: Params, seed: int) -> None:
            steps = script(seed, self.steps)
            first = Rehearsal(make(space, seed), space).run(steps)
            with other_global_randomness(seed):
                second = Rehearsal(make(space, seed), space).run(steps)
            _same(second, first, "with the same seed, while others draw random numbers, too")

        self._for_all(check)

    def test_objects_are_independent(self, make: Make) -> None:
        """Two strategies side by side do not hear of each other's results."""

        def check(space: Params, seed: int) -> None:
            steps = script(seed, self.steps)
            alone = Rehearsal(make(space, seed), space).run(steps)
            one, other = Rehearsal(make(space, seed), space), Rehearsal(make(space, seed + 1), space)
            for step in steps:
                one.run([step])
                other.run([step])
            _same(one.answers, alone, "beside another strategy")

        self._for_all(check)

    def test_does_not_depend_on_time(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A clock that jumps about changes no proposal."""

        def check(space: Params, seed: int) -> None:
            steps = script(seed, self.steps)
            first = Rehearsal(make(space, seed), space).run(steps)
            with monkeypatch.context() as patch:
                make_clocks_jump(patch, seed)
                second = Rehearsal(make(space, seed), space).run(steps)
            _same(second, first, "with another clock")

        self._for_all(check)

    def test_leaves_global_randomness_alone(self, make: Make) -> None:
        """The random numbers of Python and numpy that others draw stay as they were."""

        def check(space: Params, seed: int) -> None:
            rehearsal, steps = Rehearsal(make(space, seed), space), script(seed, self.steps)
            before, before_numpy = random.getstate(), np.random.get_state(legacy=False)
            rehearsal.run(steps)
            assert random.getstate() == before
            assert repr(np.random.get_state(legacy=False)) == repr(before_numpy)

        self._for_all(check)

    def test_leaves_the_space_alone(self, make: Make) -> None:
        """The space is shared with others: it is the same after asks and tells."""

        def check(space: Params, seed: int) -> None:
            before = repr(space.to_json())
            Rehearsal(make(space, seed), space).run(script(seed, self.steps))
            assert repr(space.to_json()) == before

        self._for_all(check)

    def test_does_no_io(self, make: Make) -> None:
        """Asks and tells open no file, start no process, use no network, print nothing and do not sleep."""
        space, steps = one_of_each(), script(5, 4 * self.steps)
        Rehearsal(make(space, 5), space).run(steps)  # Whatever is imported late is there now.
        strategy = make(space, 5)
        sleeps = Capability.SLOW in strategy.capabilities
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), audited() as seen:
            Rehearsal(strategy, space).run(steps)
        touched = [event for event in seen if not (sleeps and event == "time.sleep")]
        assert touched == [], f"it did {', '.join(sorted(set(touched)))}"
        assert printed.getvalue() == ""

    # What it accepts

    def test_accepts_any_completion_order(self, make: Make) -> None:
        """Several asks are open and end in another order than they began."""

        def check(space: Params, seed: int) -> None:
            rehearsal, rng = Rehearsal(make(space, seed), space), random.Random(seed)
            for _ in range(4):
                for _ in range(8):
                    rehearsal.ask()
                rng.shuffle(rehearsal.open)
                for _ in range(rng.randint(1, 8)):
                    if rehearsal.open:
                        rehearsal.tell(rehearsal.open.pop(), "done")

        self._for_all(check)

    @pytest.mark.parametrize("outcome", [*on_stage.BAD, "huge", "hugely negative", "equal", "stopped"])
    def test_accepts_failed_and_odd_results(self, make: Make, outcome: str) -> None:
        """It goes on with valid proposals when all trials fail, are not finite, enormous, equal or stopped."""
        for space in (one_of_each(), HARD["chain"]()):
            steps = script(7, 3 * self.steps, outcomes=[outcome])
            rehearsal = Rehearsal(make(space, 7), space)
            rehearsal.run(steps)
            assert not rehearsal.starved

    def test_accepts_foreign_trials(self, make: Make) -> None:
        """It is told of the baseline and of trials that others put in, also before its first ask."""

        def check(space: Params, seed: int) -> None:
            rehearsal = Rehearsal(make(space, seed), space)
            for origin in ("inserted", "enqueued", "enqueued"):
                rehearsal.put_in(origin)
            with contextlib.suppress(Exception):  # Defaults may violate a constraint; then there is no baseline.
                space.baseline(random.Random(1))
                rehearsal.put_in("baseline")
            while rehearsal.open:
                rehearsal.tell(rehearsal.open.pop(), "done" if len(rehearsal.open) % 2 else "failed")
            rehearsal.run(script(seed, self.steps))

        self._for_all(check)

    def test_completes_foreign_trials(self, make: Make) -> None:
        """Defaults and enqueued points have a fidelity where its own proposals have one; asking for it changes nothing.

        Tags of trials with different origins differ too.
        """

        def check(space: Params, seed: int) -> None:
            rehearsal, other = Rehearsal(make(space, seed), space), Rehearsal(make(space, seed), space)
            given = [other.strategy.foreign(Proposal(space.draw(random.Random(n))), origin) for n, origin in _OTHERS]
            steps = script(seed, self.steps, foreign=False)
            _same(other.run(steps), rehearsal.run(steps), "after foreign was called")
            tags = [proposal.tag for proposal in given if proposal.tag]
            assert len(set(tags)) == len(tags), f"foreign gives several trials one tag: {tags}"
            own = [answer[2] is not None for answer in rehearsal.answers if isinstance(answer[0], dict)]
            for proposal in given:
                json.dumps(dict(proposal.info))
                assert proposal.fidelity is None or 0 < proposal.fidelity < math.inf
                assert proposal.fidelity is not None or not any(own), "its own proposals have a fidelity, others' none"

        self._for_all(check, examples=max(1, self.examples // 4))

    # How it pauses and ends

    def test_asking_while_it_pauses_changes_nothing(self, make: Make) -> None:
        """An ask that is answered with a Pause leaves no trace: asked again it answers the same."""

        def check(space: Params, seed: int) -> None:
            steps = script(seed, self.steps)
            once = Rehearsal(make(space, seed), space).run(steps)
            often = Rehearsal(make(space, seed), space, ask_again=2).run(steps)
            _same(often, once, "asked again after each pause")

        self._for_all(check)

    def test_never_waits_for_nothing(self, make: Make) -> None:
        """It does not wait for results while no trial is open: the study would hang."""

        def check(space: Params, seed: int) -> None:
            rehearsal = Rehearsal(make(space, seed), space)
            rehearsal.run(script(seed, self.steps))
            while rehearsal.open:
                rehearsal.tell(rehearsal.open.pop(0), "failed")
            rehearsal.ask()
            assert not rehearsal.starved, "it answered Pause.WAIT, and no trial was open"

        self._for_all(check)

    def test_done_stays_done(self, make: Make) -> None:
        """After Pause.DONE there is never another proposal, whatever ends afterwards."""

        def check(space: Params, seed: int) -> None:
            rehearsal = Rehearsal(make(space, seed), space)
            for _ in range(200):
                answer = rehearsal.ask()
                if answer is Pause.DONE:
                    break
                if len(rehearsal.open) > 3 or (answer is Pause.WAIT and rehearsal.open):
                    rehearsal.tell(rehearsal.open.pop(0), "done")
            else:
                return
            while rehearsal.open:
                rehearsal.tell(rehearsal.open.pop(), "done")
                assert rehearsal.ask() is Pause.DONE
            rehearsal.put_in("inserted")
            assert rehearsal.ask() is Pause.DONE

        for kind in ("one point", "tiny"):
            check(HARD[kind](), 1)
        self._for_all(check, examples=self.examples // 2)

    # What it saves

    def test_state_is_json(self, make: Make) -> None:
        """The state at any time is made of JSON values, and comes back from text as it was."""

        def check(space: Params, seed: int) -> None:
            rehearsal = Rehearsal(make(space, seed), space)
            for step in [None, *script(seed, self.steps)]:
                if step is not None:
                    rehearsal.run([step])
                state = rehearsal.strategy.get_state()
                text = json.dumps(state)
                assert json.dumps(json.loads(text)) == text
                assert _plain(state), "dicts with text as keys, lists, text, numbers, True, False and None only"

        self._for_all(check, examples=max(1, self.examples // 4))

    def test_restored_state_goes_on_the_same(self, make: Make) -> None:
        """A new object with the saved state goes on as the old one would have, with trials still open."""

        def check(space: Params, seed: int) -> None:
            steps = script(seed, 2 * self.steps)
            whole = Rehearsal(make(space, seed), space).run(steps)
            cut = random.Random(seed).choice([0, 1, self.steps // 2, self.steps])
            halved = Rehearsal(make(space, seed), space)
            halved.run(steps[:cut])
            state = json.loads(json.dumps(halved.strategy.get_state()))
            halved.strategy = make(space, seed)
            halved.strategy.set_state(state)
            _same(halved.run(steps[cut:]), whole, f"restored after {cut} steps")

        self._for_all(check)

    def test_saving_changes_nothing(self, make: Make) -> None:
        """The strategy goes on as if its state had not been asked for."""

        def check(space: Params, seed: int) -> None:
            steps = script(seed, self.steps)
            undisturbed = Rehearsal(make(space, seed), space).run(steps)
            saved = Rehearsal(make(space, seed), space)
            for step in steps:
                saved.strategy.get_state()
                saved.run([step])
            _same(saved.answers, undisturbed, "while its state is saved")

        self._for_all(check, examples=max(1, self.examples // 2))

    # By capability

    def test_reports_are_answered(self, make: Make) -> None:
        """Any running trial's report, odd values and repeated steps included, is answered with True or False."""
        if Capability.REPORTS not in type(make(one_of_each(), 1)).capabilities:
            pytest.skip("Capability.REPORTS is not declared")

        def check(space: Params, seed: int) -> None:
            rehearsal = Rehearsal(make(space, seed), space)
            rehearsal.put_in("enqueued")
            for round_ in range(12):
                rehearsal.ask()
                for trial in list(rehearsal.open):
                    rehearsal.report(trial, 7 * trial.number + round_)
            rehearsal.run(script(seed, self.steps))

        self._for_all(check)

    def test_continues_what_is_there(self, make: Make) -> None:
        """A parent ended well and still has its checkpoint: all are deleted that are not `continuable` after a tell."""
        if Capability.CONTINUES not in make(one_of_each(), 1).capabilities:
            pytest.skip("Capability.CONTINUES is not declared")

        def check(space: Params, seed: int) -> None:
            rehearsal = _WithCheckpoints(make(space, seed), space)
            rehearsal.put_in("enqueued")
            rehearsal.run(script(seed, 2 * self.steps))
            rehearsal.run(script(seed, self.steps, outcomes=on_stage.GOOD))

        self._for_all(check)

    def test_cost_does_not_grow_with_history(self, make: Make) -> None:
        """Where it is promised: asks and tells take no more after a thousand results than after a hundred.

        Lines of Python are counted, operations with the losses that were told, and bytes that are allocated.
        """
        if not self.constant_cost:
            pytest.skip("constant_cost is not promised")
        space = one_of_each()
        rehearsal = Rehearsal(make(space, 1), space)
        early = ask_and_tell(rehearsal, 100)
        ask_and_tell(rehearsal, 800)
        late = ask_and_tell(rehearsal, 100)
        for what, spare in (("lines", 1000), ("operations", 1000), ("memory_bytes", 200_000)):
            before, after = getattr(early, what), getattr(late, what)
            assert after <= 1.5 * before + spare, f"{what} of 100 rounds: {before}, and {after} after 900 results"

    def _for_all(self, check: Callable[[Params, int], None], *, examples: int | None = None) -> None:
        """Run a check on random spaces with random seeds; the space of a failure is shown whole."""

        @functools.wraps(check)
        def shown(space: Params, seed: int) -> None:
            note(f"space = Params.from_json({space.to_json()!r})")
            check(space, seed)

        chosen = settings(
            max_examples=examples or self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        chosen(given(spaces(), st.integers(0, 999))(shown))()


def _same(answers: Sequence[Any], expected: Sequence[Any], when: str) -> None:
    """Two strategies answered the same."""
    for number, (one, other) in enumerate(zip(answers, expected, strict=False), 1):
        assert one == other, f"answer {number} is another one {when}: {one}, and else {other}"
    assert len(answers) == len(expected)


_OTHERS = ((1, "baseline"), (2, "enqueued"), (3, "enqueued"))
"""Seeds and origins of trials that a strategy did not propose."""

# Checkpoints


class _WithCheckpoints(Rehearsal):
    """Keeps account of checkpoints as a study does, and deletes them as early as it may."""

    def __init__(self, strategy: Strategy, space: Params) -> None:
        super().__init__(strategy, space)
        self._there: set[int] = set()
        self._good: set[int] = set()

    def ask(self) -> Proposal | Pause:
        answer = super().ask()
        parent = answer.parent if isinstance(answer, Proposal) else None
        if parent is not None:
            assert parent in self.finished, f"the parent {parent} has not ended"
            assert parent in self._good, f"the parent {parent} did not end well, or never ran"
            assert parent in self._there, f"the parent {parent} was not continuable before, its checkpoint is deleted"
        return answer

    def tell(self, trial: Trial, outcome: str) -> None:
        super().tell(trial, outcome)
        if trial.origin != "inserted":
            self._there.add(trial.number)
            if outcome not in on_stage.BAD:
                self._good.add(trial.number)
        wanted = set(self.strategy.continuable())
        assert wanted <= self.finished, f"{sorted(wanted - self.finished)} are continuable and have not ended"
        in_use = {number for one in self.open for number in (one.number, one.parent)} | {trial.parent}
        assert wanted <= self._there, f"{sorted(wanted - self._there)} are continuable again, and deleted"
        self._there &= wanted | in_use


def _plain(value: object) -> bool:
    """Whether JSON gives back what it was given; tuples become lists, which the next comparison would miss."""
    if isinstance(value, dict):
        return all(type(key) is str and _plain(one) for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (str, int, float))
