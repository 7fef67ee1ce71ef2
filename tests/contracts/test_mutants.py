"""Plugins that are wrong in one way each, and the check of the kit that finds each out."""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import attrs
import hypothesis
import numpy as np
import pytest

from hpo_core.allocation import AllocationRequest, Node, Slot
from hpo_core.builtin.grid import GridStrategy
from hpo_core.builtin.local import LocalLauncher, LocalManager
from hpo_core.builtin.random import RandomStrategy
from hpo_core.builtin.simulated import SimulatedLauncher, SimulatedLauncherOptions, SimulatedManager
from hpo_core.events import Ended, NodesJoined, Output, RealEventLoop, Started
from hpo_core.interfaces import Capability, Strategy
from hpo_core.testing import LauncherContract, SimulatedLauncherContract, StrategyContract, WorkloadManagerContract
from hpo_core.testing.launchers import STUDY, Stage
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


# Strategies


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
    (RemembersAll, "test_cost_does_not_grow_with_history", {}),
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


# Launchers


class Rewritten:
    """Stands between a launcher and its loop, and changes what is posted."""

    def __init__(self, events, change):
        self._events = events
        self._change = change

    def post(self, event):
        for changed in self._change(event):
            self._events.post(changed)

    def __getattr__(self, name):
        return getattr(self._events, name)


class Rewriting(LocalLauncher):
    """Changes its events before they are posted."""

    def open(self, events, study_id):
        super().open(Rewritten(events, self.change), study_id)

    def change(self, event):
        return [event]


class SwallowsExitCodes(Rewriting):
    def change(self, event):
        return [attrs.evolve(event, exit_code=0)] if isinstance(event, Ended) else [event]


class SwallowsSignals(Rewriting):
    def change(self, event):
        if isinstance(event, Ended) and event.signal is not None:
            return [Ended(event.key, 128 + event.signal)]
        return [event]


class EndsTwice(Rewriting):
    def change(self, event):
        return [event, event] if isinstance(event, Ended) else [event]


class NeverStarts(Rewriting):
    def change(self, event):
        return [] if isinstance(event, Started) else [event]


class Buffers(Rewriting):
    """Gives all output at the end."""

    def open(self, events, study_id):
        super().open(events, study_id)
        self.kept = {}

    def change(self, event):
        if isinstance(event, Output):
            self.kept.setdefault(event.key, []).append(event)
            return []
        return [*self.kept.pop(event.key, ()), event] if isinstance(event, Ended) else [event]


class MixesOutputs(Rewriting):
    """Takes output for that of whoever wrote last."""

    last = None

    def change(self, event):
        if isinstance(event, Output):
            key, self.last = self.last or event.key, event.key
            return [attrs.evolve(event, key=key)]
        return [event]


class MixesStreams(Rewriting):
    def change(self, event):
        return [attrs.evolve(event, stream="stdout")] if isinstance(event, Output) else [event]


class CutsOutput(Rewriting):
    """Keeps the last bytes of each piece to itself when it is large."""

    def change(self, event):
        return [attrs.evolve(event, data=event.data[:60_000])] if isinstance(event, Output) else [event]


class DecodesOutput(Rewriting):
    """Takes all output for text."""

    def change(self, event):
        if isinstance(event, Output):
            return [attrs.evolve(event, data=event.data.decode(errors="replace").replace("\r\n", "\n").encode())]
        return [event]


class OldStyle(LocalLauncher):
    """Starts programs with `subprocess` and looks after them in its own ways: the base of some mutants."""

    def launch(self, evaluation):
        output = tempfile.TemporaryFile()
        process = subprocess.Popen(
            ["/bin/sh", "-c", evaluation.command],
            env={**os.environ, **evaluation.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes[evaluation.key], self.outputs[evaluation.key] = process, output
        self.events.post(Started(evaluation.key))
        self.look(evaluation.key)

    def open(self, events, study_id):
        super().open(events, study_id)
        self.processes, self.outputs = {}, {}

    def look(self, key):
        code = self.processes[key].poll()
        if code is None:
            self.events.call_later(0.02, lambda: self.look(key))
        else:
            with self.outputs.pop(key) as output:
                output.seek(0)
                self.events.post(Output(key, output.read()))
            self.events.post(Ended(key, code) if code >= 0 else Ended(key, signal=-code))

    def end(self, key, grace_s):
        if key in self.processes:
            self.processes[key].terminate()
            process = self.processes[key]
            self.events.call_later(grace_s, process.kill)

    def clean(self, study_id, grace_s):
        return ()

    def close(self):
        self.kill_all()
        super().close()

    def kill_all(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        for output in self.outputs.values():
            output.close()


class LeavesGrandchildren(OldStyle):
    """Signals the process that it started, and no other."""


class NeverKills(OldStyle):
    """Asks politely."""

    def end(self, key, grace_s):
        if key in self.processes:
            self.processes[key].terminate()


class KillsAtOnce(LocalLauncher):
    """Gives no grace."""

    def end(self, key, grace_s):
        super().end(key, 0.0)


class KnowsEverybody(LocalLauncher):
    """Takes every key for one of its own."""

    def end(self, key, grace_s):
        self._engine._running[key]
        super().end(key, grace_s)


class LeavesProcesses(OldStyle):
    """Forgets at `close` what still runs."""

    def close(self):
        LocalLauncher.close(self)


class IgnoresDirectory(LocalLauncher):
    def launch(self, evaluation):
        super().launch(attrs.evolve(evaluation, directory=None))


class IgnoresEnvironment(LocalLauncher):
    def environment(self, evaluation):
        return {}


class QuotesBadly(LocalLauncher):
    """Joins words with blanks."""

    def launch(self, evaluation):
        command = evaluation.command if evaluation.argv is None else " ".join(evaluation.argv)
        super().launch(attrs.evolve(evaluation, command=command, argv=None))


class WaitsForTheOutputsEnd(LocalLauncher):
    """Takes the end of the output for the end of the program."""

    def open(self, events, study_id):
        super().open(events, study_id)
        unwatch = self._engine._unwatch

        def end_too(process, fd):
            unwatch(process, fd)
            if not process.watched and process.job.key in self._engine._running:
                self.end(process.job.key, 0.0)

        self._engine._unwatch = end_too


class OneAtATime(OldStyle):
    """Waits for a program before it starts the next."""

    def look(self, key):
        try:
            self.processes[key].wait(0.3)
        except subprocess.TimeoutExpired:
            self.processes[key].kill()
            self.processes[key].wait()
        super().look(key)


class NoMemoryLimit(LocalLauncher):
    def launch(self, evaluation):
        super().launch(attrs.evolve(evaluation, memory_limit_bytes=None))


class KeepsFilesOpen(LocalLauncher):
    """Opens a file for each evaluation and forgets it."""

    def launch(self, evaluation):
        self.kept = [*getattr(self, "kept", ()), RealEventLoop()]
        super().launch(evaluation)

    def __del__(self):
        for loop in getattr(self, "kept", ()):
            loop.close()


class CleansNothing(LocalLauncher):
    def clean(self, study_id, grace_s):
        return ()


LAUNCHERS = [
    (SwallowsExitCodes, "test_exit_codes_are_told", {"code": 7}),
    (SwallowsSignals, "test_signals_are_told", {"name": "KILL"}),
    (EndsTwice, "test_ends_exactly_once", {}),
    (NeverStarts, "test_ends_exactly_once", {}),
    (Buffers, "test_output_arrives_while_it_runs", {}),
    (MixesOutputs, "test_outputs_do_not_mix", {}),
    (MixesStreams, "test_outputs_do_not_mix", {}),
    (MixesStreams, "test_output_is_whole", {}),
    (CutsOutput, "test_much_output_is_whole", {}),
    (DecodesOutput, "test_output_is_whole", {}),
    (LeavesGrandchildren, "test_end_kills_the_whole_tree", {"how": "grandchild"}),
    (LeavesGrandchildren, "test_end_kills_the_whole_tree", {"how": "session of its own"}),
    (LeavesGrandchildren, "test_leftovers_do_not_hold_it_up", {}),
    (NeverKills, "test_end_kills_after_the_grace", {}),
    (KillsAtOnce, "test_end_lets_it_finish", {}),
    (KillsAtOnce, "test_end_kills_after_the_grace", {}),
    (KnowsEverybody, "test_unknown_keys_are_ignored", {}),
    (LeavesProcesses, "test_close_leaves_no_process", {}),
    (IgnoresDirectory, "test_directory_is_honoured", {}),
    (IgnoresDirectory, "test_missing_directory_is_told", {}),
    (IgnoresEnvironment, "test_environment_is_honoured", {"text": "plain"}),
    (QuotesBadly, "test_words_are_taken_literally", {}),
    (WaitsForTheOutputsEnd, "test_closing_output_is_not_ending", {}),
    (OneAtATime, "test_many_run_at_the_same_time", {}),
    (NoMemoryLimit, "test_memory_limit_is_kept", {}),
    (KeepsFilesOpen, "test_holds_nothing_when_closed", {}),
    (CleansNothing, "test_clean_ends_what_was_left", {}),
]
ON_DISK = (
    "test_close_leaves_no_process",
    "test_clean_ends_what_was_left",
    "test_closing_output_is_not_ending",
    "test_directory_is_honoured",
    "test_end_kills_after_the_grace",
    "test_end_kills_the_whole_tree",
    "test_end_lets_it_finish",
    "test_leftovers_do_not_hold_it_up",
    "test_many_run_at_the_same_time",
    "test_missing_directory_is_told",
    "test_output_arrives_while_it_runs",
)
"""Checks that take the fixture `directory`."""


class Impatient(LauncherContract):
    """Gives up soon, since mutants make it wait."""

    __test__ = False
    patience_s = 1.0
    many = 4


@pytest.mark.parametrize(
    ("mutant", "check", "more"), LAUNCHERS, ids=[f"{mutant.__name__}-{check}" for mutant, check, _ in LAUNCHERS]
)
def test_wrong_launchers_are_caught(mutant, check, more, tmp_path):
    contract, launcher, events = Impatient(), mutant(), RealEventLoop()
    slots = (Slot("localhost"),)
    if check in ON_DISK:
        more = {**more, "directory": tmp_path}
    try:
        if check == "test_holds_nothing_when_closed":
            with pytest.raises(AssertionError):
                contract.test_holds_nothing_when_closed(launcher, events, slots)
            return
        stage = Stage(launcher, events, slots, contract.patience_s)
        method = getattr(contract, check)
        with pytest.raises((AssertionError, KeyError)):
            method(stage, **more)
        stage.close()
    finally:
        LocalLauncher().clean(STUDY, 0.0)
        if isinstance(launcher, OldStyle):
            launcher.kill_all()
        events.close()


class TalksAfterClose(SimulatedLauncher):
    """Does not stop its timers."""

    def close(self):
        pass


def test_a_wrong_simulated_launcher_is_caught():
    launcher = TalksAfterClose(SimulatedLauncherOptions(run_time=lambda values: 1000.0))
    events = SimulatedManager().event_loop()
    stage = Stage(launcher, events, (Slot("sim1"),), 1e6)
    contract = SimulatedLauncherContract()
    with pytest.raises(AssertionError):
        contract.test_close_is_the_last_word(stage)


# Managers


class ForgetsANode(SimulatedManager):
    def acquire(self, request, events):
        super().acquire(attrs.evolve(request, nodes=max(1, request.nodes - 1)), events)


class ForgetsOnAttach(SimulatedManager):
    """Tells the next study of one node only."""

    def attach(self, events):
        events.post(NodesJoined((next(iter(self._nodes.values())),)))


class TooFewSlots(LocalManager):
    def acquire(self, request, events):
        super().acquire(attrs.evolve(request, slots=1), events)


class SameNames(SimulatedManager):
    def acquire(self, request, events):
        events.post(NodesJoined(tuple(Node("node") for _ in range(request.nodes))))


class Leaks(LocalManager):
    """Keeps its allocation alive with a process that it forgets."""

    def acquire(self, request, events):
        self.kept = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        super().acquire(request, events)


class LeaksOutside(LocalManager):
    """Has a job in the queue that it does not cancel."""

    queue: ClassVar[list[str]] = []

    def acquire(self, request, events):
        self.queue.append("job")
        super().acquire(request, events)


class ReleasesOnce(LocalManager):
    def acquire(self, request, events):
        self.jobs = ["job"]
        super().acquire(request, events)

    def release(self):
        self.jobs.pop()


class NeedsAnAllocation(LocalManager):
    def release(self):
        assert self._node is not None


class OneLoop(LocalManager):
    loop = None

    def event_loop(self):
        self.loop = self.loop or super().event_loop()
        return self.loop


class Waits(LocalManager):
    """Waits in acquire until the nodes are there."""

    def acquire(self, request, events):
        time.sleep(0.3)
        super().acquire(request, events)


class DetectsLoudly(LocalManager):
    @classmethod
    def detect(cls):
        return True


WANTED = AllocationRequest(nodes=1, slots=2)
MANAGERS = [
    (ForgetsANode, "test_acquire_gives_all_nodes", (WANTED,)),
    (SameNames, "test_acquire_gives_all_nodes", (WANTED,)),
    (ForgetsOnAttach, "test_attach_gives_all_nodes_again", (WANTED,)),
    (TooFewSlots, "test_acquire_gives_what_was_asked_for", (WANTED,)),
    (Waits, "test_acquire_gives_what_was_asked_for", (WANTED,)),
    (ReleasesOnce, "test_release_is_harmless_twice", (WANTED,)),
    (NeedsAnAllocation, "test_release_is_harmless_before_acquire", ()),
    (OneLoop, "test_event_loop_works", ()),
    (DetectsLoudly, "test_detects_or_not", ()),
    (Leaks, "test_release_gives_everything_back", (WANTED, None)),
    (LeaksOutside, "test_release_gives_everything_back", (WANTED, lambda: list(LeaksOutside.queue))),
]


@pytest.mark.parametrize(
    ("mutant", "check", "more"), MANAGERS, ids=[f"{mutant.__name__}-{check}" for mutant, check, _ in MANAGERS]
)
def test_wrong_managers_are_caught(mutant, check, more):
    contract, manager = WorkloadManagerContract(), mutant()
    contract.patience_s, contract.acquire_within_s = 0.5, 0.2
    try:
        method = getattr(contract, check)
        with pytest.raises((AssertionError, AttributeError, IndexError)):
            method(manager, *more)
    finally:
        if isinstance(manager, Leaks):
            manager.kept.kill()
            manager.kept.wait()
        if isinstance(manager, OneLoop):
            manager.loop.close()
