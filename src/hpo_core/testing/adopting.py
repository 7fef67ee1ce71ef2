"""The contract of launchers that find evaluations again which an earlier driver started."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from hpo_core.allocation import Slot
from hpo_core.events import Ended, EventLoop, Output, RealEventLoop, Started
from hpo_core.interfaces import Capability, Launcher
from hpo_core.testing._stage import STUDY, Stage
from hpo_core.trial import Evaluation


class AdoptingContract:
    """What `Capability.ADOPTS` promises, beside the other contracts of launchers.

    The first driver is not closed but left, as a killed one leaves what it started; a second one of the same study
    follows it. Subclasses define two fixtures::

        class TestMine(LauncherContract): ...

        class TestMineAdopts(AdoptingContract):
            @pytest.fixture
            def launcher(self):
                return MyLauncher()

            @pytest.fixture
            def successor(self):
                return MyLauncher()
    """

    patience_s: ClassVar[float] = 30.0
    """The longest wait for anything (s)."""

    @pytest.fixture
    def launcher(self) -> Launcher:
        """The first driver's launcher, not opened."""
        raise NotImplementedError("define the fixture 'launcher'")

    @pytest.fixture
    def successor(self) -> Launcher:
        """The second driver's launcher, another object, not opened."""
        raise NotImplementedError("define the fixture 'successor'")

    @pytest.fixture
    def slots(self) -> Sequence[Slot]:
        """Where evaluations may run."""
        return (Slot("localhost"),)

    @pytest.fixture
    def stages(self, launcher: Launcher, successor: Launcher, slots: Sequence[Slot]) -> Iterator[tuple[Stage, Stage]]:
        """Both launchers, each opened on a loop of its own; closed after the check."""
        loops: list[EventLoop] = [RealEventLoop(), RealEventLoop()]
        stages = [
            Stage(one, loop, slots, self.patience_s) for one, loop in zip((launcher, successor), loops, strict=True)
        ]
        yield stages[0], stages[1]
        for stage, loop in zip(reversed(stages), reversed(loops), strict=True):
            stage.close()
            loop.close()

    def test_declares_that_it_adopts(self, launcher: Launcher) -> None:
        """The capability is there, and the method."""
        assert Capability.ADOPTS in launcher.capabilities
        assert type(launcher).adopt is not Launcher.adopt

    def test_what_runs_is_adopted_from_its_first_word_on(self, stages: tuple[Stage, Stage], tmp_path: Path) -> None:
        """All output, also what the first driver has heard already; the exit code; one end; and it ran once."""
        first, second = stages
        go, starts = tmp_path / "go", tmp_path / "starts"
        wait = f"w=0; while [ ! -e {go} ] && [ $w -lt 2000 ]; do sleep 0.03; w=$((w+1)); done"
        evaluation = _evaluation(first, f"echo x >> {starts}; echo before; {wait}; echo after; exit 3", tmp_path)
        key = first.start(evaluation)
        first.until(lambda: b"before" in first.output(key), "the first line")
        assert list(second.launcher.adopt([evaluation])) == [key]
        go.touch()
        assert second.wait(key).exit_code == 3
        assert second.output(key, "stdout") == b"before\nafter\n"
        kinds = [type(event) for event in second.heard[key]]
        assert kinds.count(Ended) == 1
        assert kinds[-1] is Ended
        assert set(kinds) <= {Started, Output, Ended}
        assert starts.read_text() == "x\n"

    def test_what_has_ended_is_adopted(self, stages: tuple[Stage, Stage], tmp_path: Path) -> None:
        """Its output and its exit code are still to be had, for a driver that comes later."""
        first, second = stages
        evaluation = _evaluation(first, "echo all of it; exit 4", tmp_path)
        key = first.start(evaluation)
        first.wait(key)
        assert list(second.launcher.adopt([evaluation])) == [key]
        assert second.wait(key).exit_code == 4
        assert second.output(key, "stdout") == b"all of it\n"

    def test_what_never_ran_is_not_adopted(self, stages: tuple[Stage, Stage], tmp_path: Path) -> None:
        """The driver may have died just before the launch."""
        first, second = stages
        evaluation = _evaluation(first, "echo never", tmp_path)
        assert list(second.launcher.adopt([evaluation])) == []
        second.moment()
        assert second.heard == {}

    def test_cleaning_spares_what_is_adopted(self, stages: tuple[Stage, Stage], tmp_path: Path) -> None:
        """`clean` ends what was not adopted, and that alone; what is adopted can be ended as any other."""
        first, second = stages
        kept, left = (_evaluation(first, "echo on; sleep 300", tmp_path) for _ in range(2))
        for evaluation in (kept, left):
            first.start(evaluation)
        first.until(lambda: all(first.output(one.key) for one in (kept, left)), "their first lines")
        second.launcher.adopt([kept])
        assert second.launcher.clean(STUDY, 0.1)
        second.moment()
        assert second.ends(kept.key) == []
        second.launcher.end(kept.key, 0.1)
        assert second.wait(kept.key).exit_code != 0


def _evaluation(stage: Stage, command: str, directory: Path) -> Evaluation:
    return stage.evaluation(command, environment={"HPO_STUDY_DIRECTORY": os.fspath(directory)})
