"""Launchers that are wrong in one way each, and the check of the kit that finds each out."""

import os
import subprocess
import tempfile
from pathlib import Path

import attrs
import pytest

from hpo_core.allocation import Slot
from hpo_core.builtin.local import LocalLauncher
from hpo_core.builtin.simulated import SimulatedLauncher, SimulatedLauncherOptions, SimulatedManager
from hpo_core.events import Ended, Output, RealEventLoop, Started
from hpo_core.interfaces import Capability
from hpo_core.testing import LauncherContract, SimulatedLauncherContract
from hpo_core.testing._stage import STUDY, Stage


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
        unwatch = self._engine._close_pipe

        def end_too(process, fd):
            unwatch(process, fd)
            if not process.pipes and process.job.key in self._engine._running:
                self.end(process.job.key, 0.0)

        self._engine._close_pipe = end_too


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


class Wide(LocalLauncher):
    """Runs an evaluation of several nodes once, rightly; all nodes are this machine."""

    capabilities = LocalLauncher.capabilities | {Capability.MULTI_NODE}


class NamesOneNode(Wide):
    """Tells a program of the node on which it runs, and of no other."""

    def launch(self, evaluation):
        first = {**evaluation.environment, "HPO_NODELIST": evaluation.slots[0].node}
        super().launch(attrs.evolve(evaluation, environment=first))


class WritesAShortHostFile(Wide):
    """Leaves a node out of the host file."""

    def launch(self, evaluation):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(f"{evaluation.slots[0].node}\n")
        self.file = file.name
        super().launch(attrs.evolve(evaluation, environment={**evaluation.environment, "HPO_HOSTFILE": file.name}))

    def close(self):
        super().close()
        Path(self.file).unlink(missing_ok=True)


class EndsOnEachNode(Wide):
    """Posts an end for each node."""

    def open(self, events, study_id):
        super().open(Rewritten(events, lambda event: [event] * (2 if isinstance(event, Ended) else 1)), study_id)


class LeavesOtherNodes(OldStyle):
    """Runs the command on each node, and ends it on the first."""

    capabilities = Wide.capabilities

    def launch(self, evaluation):
        super().launch(evaluation)
        first = self.processes[evaluation.key]
        for trial, _ in enumerate(evaluation.slots[1:], 1000):
            with tempfile.TemporaryFile() as unheard:
                self.processes[trial, 1] = subprocess.Popen(
                    ["/bin/sh", "-c", evaluation.command],
                    env={**os.environ, **evaluation.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=unheard,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        assert self.processes[evaluation.key] is first


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
    (NamesOneNode, "test_several_nodes_are_told", {}),
    (WritesAShortHostFile, "test_several_nodes_are_told", {}),
    (EndsOnEachNode, "test_several_nodes_end_once", {}),
    (LeavesOtherNodes, "test_end_kills_on_all_nodes", {}),
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
    "test_several_nodes_are_told",
    "test_end_kills_on_all_nodes",
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
    slots = (Slot("n1"), Slot("n2")) if Capability.MULTI_NODE in mutant.capabilities else (Slot("localhost"),)
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


@pytest.mark.parametrize(
    "check", ["test_several_nodes_end_once", "test_several_nodes_are_told", "test_end_kills_on_all_nodes"]
)
def test_a_launcher_that_is_right_on_several_nodes_passes(check, tmp_path):
    events = RealEventLoop()
    contract = LauncherContract()
    contract.elsewhere = "setsid sh -c {quoted} &"
    stage = Stage(Wide(), events, (Slot("n1"), Slot("n2")), contract.patience_s)
    getattr(contract, check)(stage, **({"directory": tmp_path} if check in ON_DISK else {}))
    stage.close()
    events.close()


def test_a_wrong_simulated_launcher_is_caught():
    launcher = TalksAfterClose(SimulatedLauncherOptions(run_time=lambda values: 1000.0))
    events = SimulatedManager().event_loop()
    stage = Stage(launcher, events, (Slot("sim1"),), 1e6)
    contract = SimulatedLauncherContract()
    with pytest.raises(AssertionError):
        contract.test_close_is_the_last_word(stage)
