"""The contract of launchers that run nothing in truth, and of all others too."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import attrs
import pytest

from hpo_core.allocation import Slot
from hpo_core.events import Ended, EventLoop, Started, VirtualEventLoop
from hpo_core.interfaces import INTERFACE_VERSION, Capability, Launcher
from hpo_core.testing._stage import STUDY, Stage, several_nodes


class SimulatedLauncherContract:
    """What every launcher promises, even one that runs nothing in truth.

    Subclasses define the fixture `launcher`, and may define `slots` and `events`::

        class TestMine(SimulatedLauncherContract):
            @pytest.fixture
            def launcher(self):
                return MyLauncher()
    """

    patience_s: ClassVar[float] = 30.0
    """The longest wait for anything (s); more for clusters that take their time."""
    quick: ClassVar[str] = "echo FoM: 1 --x=1"
    """A command that ends soon."""
    slow: ClassVar[str] = "sleep 300"
    """A command that outlasts the check."""

    @pytest.fixture
    def launcher(self) -> Launcher:
        """A launcher to be tested, not opened."""
        raise NotImplementedError("define the fixture 'launcher'")

    @pytest.fixture
    def slots(self) -> Sequence[Slot]:
        """Where evaluations may run."""
        return (Slot("localhost"),)

    @pytest.fixture
    def events(self) -> Iterator[EventLoop]:
        """The loop that it posts to."""
        events = VirtualEventLoop()
        yield events
        events.close()

    @pytest.fixture
    def stage(self, launcher: Launcher, events: EventLoop, slots: Sequence[Slot]) -> Iterator[Stage]:
        """The launcher, opened; closed after the check."""
        stage = Stage(launcher, events, slots, self.patience_s)
        yield stage
        stage.close()

    def test_declares_itself(self, launcher: Launcher) -> None:
        """A launcher has a name, capabilities, options, and an interface version that is known."""
        assert launcher.name.strip() == launcher.name != ""
        assert all(isinstance(one, Capability) for one in launcher.capabilities)
        assert launcher.interface_version == INTERFACE_VERSION
        assert launcher.Options is None or attrs.has(launcher.Options)

    def test_ends_exactly_once(self, stage: Stage) -> None:
        """Each launch gives one Started, then output, then exactly one Ended, and nothing after it."""
        keys = [stage.launch(self.quick) for _ in range(5)]
        stage.wait(*keys)
        stage.moment()
        for key in keys:
            kinds = [type(event) for event in stage.heard[key]]
            assert kinds.count(Ended) == kinds.count(Started) == 1
            assert kinds[0] is Started
            assert kinds[-1] is Ended
            assert stage.ends(key)[0].exit_code == 0

    def test_attempts_are_told_apart(self, stage: Stage) -> None:
        """A second attempt of a trial is an evaluation of its own, whose end is its own."""
        first = stage.start(stage.evaluation(self.slow, trial=7))
        second = stage.start(stage.evaluation(self.slow, trial=7, attempt=2))
        stage.launcher.end(second, 0.1)
        stage.wait(second)
        assert stage.ends(first) == []
        stage.launcher.end(first, 0.1)
        stage.wait(first)

    def test_ending_gives_one_end(self, stage: Stage) -> None:
        """Who is told to end, even twice and at once after the launch, ends exactly once and not with code 0."""
        keys = [stage.launch(self.slow) for _ in range(2)]
        for key in keys:
            stage.launcher.end(key, 0.3)
            stage.launcher.end(key, 0.3)
        stage.wait(*keys)
        stage.listen(0.3)
        stage.moment()
        for key in keys:
            assert len(stage.ends(key)) == 1
            assert stage.ends(key)[0].exit_code != 0

    def test_several_nodes_end_once(self, stage: Stage) -> None:
        """With MULTI_NODE: an evaluation on all of `slots` is one: one Started, one Ended, also when told to end."""
        nodes = several_nodes(stage)
        ended = stage.start(stage.evaluation(self.slow, nodes=nodes))
        stage.launcher.end(ended, 0.3)
        key = stage.start(stage.evaluation(self.quick, nodes=nodes))
        stage.wait(key, ended)
        stage.moment()
        for one in (key, ended):
            kinds = [type(event) for event in stage.heard[one]]
            assert kinds.count(Ended) == 1
            assert kinds[-1] is Ended
            assert kinds.count(Started) <= 1
        assert stage.ends(key)[0].exit_code == 0
        assert stage.ends(ended)[0].exit_code != 0

    def test_unknown_keys_are_ignored(self, stage: Stage) -> None:
        """Ending what was never launched, or is over, does nothing at all."""
        stage.launcher.end((12345, 1), 0.1)
        key = stage.launch(self.quick)
        stage.wait(key)
        stage.launcher.end(key, 0.1)
        stage.launcher.end((key[0], 2), 0.1)
        stage.moment()
        assert len(stage.ends(key)) == 1
        assert set(stage.heard) == {key}

    def test_close_is_the_last_word(self, stage: Stage) -> None:
        """No event of an evaluation follows `close`; opened again, the launcher works as before."""
        left = stage.launch(self.slow)
        stage.close()
        stage.listen(0.0)  # Posted before.
        before = len(stage.heard.get(left, ()))
        stage.moment()
        assert len(stage.heard.get(left, ())) == before
        assert stage.ends(left) == []
        stage.open()
        assert stage.wait(stage.launch(self.quick)).exit_code == 0

    def test_opens_and_closes_without_a_launch(self, launcher: Launcher, events: EventLoop) -> None:
        """A study may end before its first evaluation."""
        launcher.open(events, STUDY)
        launcher.close()

    def test_preview_runs_nothing(self, stage: Stage) -> None:
        """The preview is the text of what would run, and that is all."""
        evaluation = stage.evaluation(self.quick)
        assert stage.launcher.preview(evaluation).strip()
        stage.moment()
        assert stage.heard == {}
