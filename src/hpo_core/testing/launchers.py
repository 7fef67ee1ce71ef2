"""The contract of launchers that run commands: subclass it in your tests, give it a fixture, run pytest.

What holds for every launcher, also where nothing runs in truth, is in `SimulatedLauncherContract`; `AdoptingContract`
is for those that declare `Capability.ADOPTS`.
"""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import contextlib
import gc
import os
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from hpo_core.allocation import Slot
from hpo_core.events import EventLoop, Key, RealEventLoop
from hpo_core.exceptions import LaunchError
from hpo_core.interfaces import Capability, Launcher
from hpo_core.testing._stage import STUDY, Stage, several_nodes
from hpo_core.testing.simulated_launchers import SimulatedLauncherContract
from hpo_core.trial import Evaluation, Failure

_VARIABLE = "HPO_CONTRACT_VARIABLE"

_SETTLES_S = 3.0
_ROUNDS = 3
"""A launcher that leaves files open does so each time; another thread of the process opens one now and then."""


def _open_files() -> dict[str, str]:
    """Numbers of this process's open files to what they are."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself, or one that was closed meanwhile
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


class LauncherContract(SimulatedLauncherContract):
    """What every launcher promises that runs commands.

    Subclasses define the fixture `launcher`, and may define `slots` and `directory`::

        class TestMine(LauncherContract):
            @pytest.fixture
            def launcher(self):
                return MyLauncher()

    Commands are for a POSIX shell with the usual small programs. Capabilities that are not declared are not checked.
    """

    large_bytes: ClassVar[int] = 10_000_000
    """Output of the check for much output."""
    many: ClassVar[int] = 30
    """Evaluations of the check for many at the same time."""
    elsewhere: ClassVar[str] = ""
    """Shell text that starts the command ``{quoted}`` in the background on the last node of an evaluation, as a program
    would, such as ``ssh ${{HPO_NODELIST##*,}} {quoted} &``; empty: the launcher runs the command on each node."""

    @pytest.fixture
    def events(self) -> Iterator[EventLoop]:
        """The loop that it posts to."""
        events = RealEventLoop()
        yield events
        events.close()

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """A folder that the evaluations and these checks can both reach."""
        return tmp_path

    # How it ended

    @pytest.mark.parametrize("code", [0, 1, 7, 255])
    def test_exit_codes_are_told(self, stage: Stage, code: int) -> None:
        """The exit code is the program's."""
        ended = stage.wait(stage.launch(f"exit {code}"))
        assert (ended.exit_code, ended.signal, ended.failure) == (code, None, None)

    @pytest.mark.parametrize("name", ["KILL", "TERM", "ABRT"])
    def test_signals_are_told(self, stage: Stage, name: str) -> None:
        """A program that a signal ended has no exit code, and the signal is named."""
        ended = stage.wait(stage.launch(f"kill -{name} $$; sleep 5"))
        assert (ended.exit_code, ended.signal) == (None, signal.Signals[f"SIG{name}"])

    def test_what_cannot_start_is_told(self, stage: Stage) -> None:
        """A program that is not there: LaunchError and no event, or an Ended that says so."""
        words = ("/nonexistent/program", "--x=1")
        evaluation = stage.evaluation(shlex.join(words), argv=words)
        self._cannot_start(stage, evaluation)
        assert stage.wait(stage.launch("exit 3")).exit_code == 3

    def test_missing_directory_is_told(self, stage: Stage, directory: Path) -> None:
        """So is a working directory that is not there: the command does not run elsewhere."""
        evaluation = stage.evaluation("echo ran", directory=directory / "missing")
        self._cannot_start(stage, evaluation)
        assert stage.output(evaluation.key, "stdout") == b""

    def _cannot_start(self, stage: Stage, evaluation: Evaluation) -> None:
        refusal = None
        try:
            stage.start(evaluation)
        except LaunchError as error:
            refusal = error
        if refusal is not None:
            assert str(refusal).strip()
            stage.listen(0.3)
            assert stage.heard == {}
            return
        ended = stage.wait(evaluation.key)
        if ended.failure is not None:
            assert ended.failure is Failure.COULD_NOT_START
            assert ended.message.strip()
        else:
            assert ended.exit_code in (126, 127)

    # What runs, and where

    def test_shell_commands_run_in_a_shell(self, stage: Stage) -> None:
        """Quotes, pipes, variables and several commands mean what they mean in a POSIX shell."""
        key = stage.launch("x='a  b'; echo \"$x\" | tr a c && echo $((1 + 1)) '$x' \"it's\" 100%; (exit 4)")
        assert stage.wait(key).exit_code == 4
        assert stage.output(key, "stdout") == b"c  b\n2 $x it's 100%\n"

    def test_words_are_taken_literally(self, stage: Stage) -> None:
        """Words that need no shell arrive as they are."""
        odd = ["a  b", "$HOME", "it's", '"', "*", "x=1", "-n", "\\", "ü", "50%", "a;b", ""]
        words = ("printf", "<%s>", *odd)
        key = stage.start(stage.evaluation(shlex.join(words), argv=words))
        assert stage.wait(key).exit_code == 0
        assert stage.output(key, "stdout").decode() == "".join(f"<{word}>" for word in odd)

    def test_directory_is_honoured(self, stage: Stage, directory: Path) -> None:
        """The command runs in its directory, whatever that is called."""
        home = directory / "it's a $HOME of 100%"
        home.mkdir()
        (home / "here").write_text("found\n")
        words = ("cat", "here")
        keys = [
            stage.launch("cat here", directory=home),
            stage.start(stage.evaluation("cat here", argv=words, directory=home)),
        ]
        stage.wait(*keys)
        assert [stage.output(key, "stdout") for key in keys] == [b"found\n"] * 2

    @pytest.mark.parametrize("text", ["plain", "", "a  b=c", 'it\'s "$HOME" `id` \\ *', "ü", "two\nlines", "50%,;"])
    def test_environment_is_honoured(self, stage: Stage, text: str) -> None:
        """Variables arrive letter by letter, beside those that were there."""
        evaluation = stage.evaluation(
            f'printf %s "<${{{_VARIABLE}-unset}}>"; test -n "$PATH"', environment={_VARIABLE: text}
        )
        key = stage.start(evaluation)
        assert stage.wait(key).exit_code == 0
        assert stage.output(key, "stdout").decode() == f"<{text}>"

    def test_environments_do_not_mix(self, stage: Stage) -> None:
        """A variable of one evaluation is not seen by the next, nor by the driver."""
        stage.wait(stage.start(stage.evaluation("true", environment={_VARIABLE: "mine"})))
        key = stage.launch(f'echo "${{{_VARIABLE}-unset}}"')
        stage.wait(key)
        assert stage.output(key, "stdout") == b"unset\n"
        assert _VARIABLE not in os.environ

    def test_standard_input_is_empty(self, stage: Stage) -> None:
        """A program that reads its input neither hangs nor takes the driver's."""
        key = stage.launch("cat; echo done")
        stage.wait(key)
        assert stage.output(key, "stdout") == b"done\n"

    def test_several_nodes_are_told(self, stage: Stage, directory: Path) -> None:
        """With MULTI_NODE: the program, run once or once on each node, finds as many nodes as it has.

        ``HPO_NODELIST`` names each once, joined with commas; ``HPO_NUM_NODES`` is their number; a host file, where
        there is one in ``HPO_HOSTFILE``, names the same, one a line, and can be read by the program.
        """
        nodes = several_nodes(stage)
        command = (
            f'f={directory}/$$.$HPO_NODE; echo "$HPO_NODELIST" > $f; echo "$HPO_NUM_NODES" >> $f; '
            'if [ -n "$HPO_HOSTFILE" ]; then cat "$HPO_HOSTFILE" >> $f; fi; echo told'
        )
        key = stage.start(stage.evaluation(command, nodes=nodes))
        assert stage.wait(key).exit_code == 0, stage.output(key)
        told = [path.read_text().split("\n") for path in directory.iterdir()]
        assert len(told) in (1, nodes), f"the command ran {len(told)} times for {nodes} nodes"
        assert stage.output(key).count(b"told\n") in (1, len(told))
        for names, number, *hosts, _ in told:
            assert len(set(names.split(","))) == nodes, f"HPO_NODELIST={names} does not name {nodes} nodes"
            assert number == str(nodes)
            assert not hosts or hosts == names.split(","), f"the host file names {hosts}, HPO_NODELIST {names}"

    # What it wrote

    def test_output_is_whole(self, stage: Stage) -> None:
        """Everything arrives, also without a line end, also what are no letters, before Ended."""
        key = stage.launch(r"printf 'one\n\ntwo\r\n\000\377\303 end'; printf 'error' >&2")
        stage.wait(key)
        expected = b"one\n\ntwo\r\n\0\xff\xc3 end"
        if Capability.MERGED_OUTPUT in stage.launcher.capabilities:
            assert stage.output(key).replace(b"error", b"") == expected
        else:
            assert stage.output(key, "stdout") == expected
            assert stage.output(key, "stderr") == b"error"

    def test_much_output_is_whole(self, stage: Stage) -> None:
        """Megabytes arrive to the last byte, written faster than anybody reads."""
        count = self.large_bytes
        key = stage.launch(f"head -c {count} /dev/zero | tr '\\000' x; echo; echo FoM: 1")
        assert stage.wait(key).exit_code == 0
        data = stage.output(key, "stdout")
        assert len(data) == count + 8
        assert data.endswith(b"x\nFoM: 1\n")
        assert data.count(b"x") == count

    def test_outputs_do_not_mix(self, stage: Stage) -> None:
        """Evaluations at the same time: each one's lines are its own, whole and in order, stdout and stderr apart."""
        loop = "i=0; while [ $i -lt 200 ]; do echo {0} out $i; echo {0} err $i >&2; i=$((i+1)); done"
        keys = {name: stage.launch(loop.format(name)) for name in ("ada", "bob", "cleo", "dan")}
        stage.wait(*keys.values())
        merged = Capability.MERGED_OUTPUT in stage.launcher.capabilities
        for name, key in keys.items():
            for word, stream in (("out", "stdout"), ("err", "stderr")):
                lines = stage.output(key, None if merged else stream).decode().splitlines()
                if merged:
                    assert all(line.startswith(name) for line in lines)
                    lines = [line for line in lines if f" {word} " in line]
                assert lines == [f"{name} {word} {number}" for number in range(200)]

    def test_output_arrives_while_it_runs(self, stage: Stage, directory: Path) -> None:
        """With STREAMS: what was written is heard while the program still runs."""
        if Capability.STREAMS not in stage.launcher.capabilities:
            pytest.skip("Capability.STREAMS is not declared")
        key = stage.launch(f"echo first; {_until(directory / 'go')}; echo second")
        stage.until(lambda: b"first\n" in stage.output(key), "output of a running program")
        assert stage.ends(key) == []
        (directory / "go").touch()
        stage.wait(key)
        assert stage.output(key, "stdout") == b"first\nsecond\n"

    def test_closing_output_is_not_ending(self, stage: Stage, directory: Path) -> None:
        """A program that closes its output early ends when it ends, with its exit code."""
        key = stage.launch(f"exec >&- 2>&-; {_until(directory / 'go')}; exit 9")
        stage.listen(0.3)
        assert stage.ends(key) == []
        (directory / "go").touch()
        assert stage.wait(key).exit_code == 9

    def test_many_run_at_the_same_time(self, stage: Stage, directory: Path) -> None:
        """Thirty programs run side by side, each with its output and its exit code."""
        gate = directory / "go"
        keys = [stage.launch(f": > {directory}/here{n}; {_until(gate)}; echo {n}; exit {n}") for n in range(self.many)]
        stage.until(lambda: len(list(directory.glob("here*"))) == self.many, "all at the same time")
        gate.touch()
        stage.wait(*keys)
        assert [stage.output(key, "stdout") for key in keys] == [b"%d\n" % n for n in range(self.many)]
        assert [stage.ends(key)[0].exit_code for key in keys] == list(range(self.many))

    # How it is ended

    def test_end_lets_it_finish(self, stage: Stage, directory: Path) -> None:
        """A program that heeds TERM has its grace: it writes its last words and chooses its exit code."""
        ready = directory / "ready"
        key = stage.launch(f"trap 'echo bye; exit 5' TERM; : > {ready}; {_until(directory / 'never')}")
        stage.until(ready.exists, "the start of a program")
        stage.launcher.end(key, self.patience_s)
        ended = stage.wait(key)
        assert ended.exit_code == 5
        assert stage.output(key, "stdout") == b"bye\n"

    def test_end_kills_after_the_grace(self, stage: Stage, directory: Path) -> None:
        """A program that ignores TERM is killed, not before its grace is over."""
        key, heart = self._start_heart(stage, directory, "trap '' TERM; {heart}")
        start_s = stage.events.now()
        stage.launcher.end(key, 0.4)
        ended = stage.wait(key)
        assert stage.events.now() - start_s >= 0.35
        assert ended.exit_code != 0
        assert self._stands_still(heart)

    def test_end_without_grace_kills_at_once(self, stage: Stage, directory: Path) -> None:
        """Grace 0 waits for nobody."""
        key, heart = self._start_heart(stage, directory, "trap '' TERM; {heart}")
        stage.launcher.end(key, 0.0)
        stage.wait(key)
        assert self._stands_still(heart)

    @pytest.mark.parametrize("how", ["child", "in the background", "grandchild", "session of its own"])
    def test_end_kills_the_whole_tree(self, stage: Stage, directory: Path, how: str) -> None:
        """With KILLS_TREES: descendants end too, when they ignore TERM, are in the background, or have a session."""
        if Capability.KILLS_TREES not in stage.launcher.capabilities:
            pytest.skip("Capability.KILLS_TREES is not declared")
        forms = {
            "child": "sh -c {quoted}",
            "in the background": "({heart}) & wait",
            "grandchild": "sh -c {child} & wait",
            "session of its own": "setsid sh -c {quoted} & wait",
        }
        key, heart = self._start_heart(stage, directory, forms[how], before="trap '' TERM; ")
        stage.launcher.end(key, 0.3)
        stage.wait(key)
        stage.listen(0.1)
        assert self._stands_still(heart), "a descendant outlived the end of its evaluation"
        assert len(stage.ends(key)) == 1

    def test_end_kills_on_all_nodes(self, stage: Stage, directory: Path) -> None:
        """With MULTI_NODE and KILLS_TREES: nothing is left on any of its nodes.

        Where the command runs on the first node alone, `elsewhere` says how a program starts others on the last.
        """
        nodes = several_nodes(stage)
        if Capability.KILLS_TREES not in stage.launcher.capabilities:
            pytest.skip("Capability.KILLS_TREES is not declared")
        there = _heart(f"{directory}/there.$$")
        ignoring = shlex.quote(f"trap '' TERM; {there}")
        started = self.elsewhere.format(quoted=ignoring) if self.elsewhere else ""
        key = stage.start(stage.evaluation(f"trap '' TERM; {started} {_heart(f'{directory}/here.$$')}", nodes=nodes))
        expected = 2 if self.elsewhere else 1
        stage.until(lambda: len(list(directory.iterdir())) >= expected, "programs on all nodes")
        stage.listen(0.5)
        stage.launcher.end(key, 0.3)
        stage.wait(key)
        hearts = list(directory.iterdir())
        sizes = [heart.stat().st_size for heart in hearts]
        assert self._stands_still(hearts[0]), "a program on one of the nodes outlived the end of its evaluation"
        assert [heart.stat().st_size for heart in hearts] == sizes, "a program outlived the end on one of the nodes"

    def test_ending_one_spares_the_others(self, stage: Stage, directory: Path) -> None:
        """Others go on undisturbed."""
        (directory / "other").mkdir()
        spared, heart = self._start_heart(stage, directory / "other", "{heart}")
        key = stage.launch(self.slow)
        stage.launcher.end(key, 0.2)
        stage.wait(key)
        beats = heart.stat().st_size
        stage.until(lambda: heart.stat().st_size > beats + 2, "more beats of the other")
        assert stage.ends(spared) == []

    def test_leftovers_do_not_hold_it_up(self, stage: Stage, directory: Path) -> None:
        """A background process that holds the output open neither delays the end nor outlives it."""
        heart = directory / "beats"
        key = stage.launch(f"({_heart(heart)}) & {_until(heart)}; echo done; exit 6")
        ended = stage.wait(key)
        assert ended.exit_code == 6
        assert stage.output(key, "stdout") == b"done\n"
        if Capability.KILLS_TREES in stage.launcher.capabilities:
            assert self._stands_still(heart), "a background process outlived the end of its evaluation"

    def test_close_leaves_no_process(self, stage: Stage, directory: Path) -> None:
        """What still runs at `close` is gone after it, trees and those that ignore TERM included."""
        hearts = []
        for number, form in enumerate(["{heart}", "trap '' TERM; sh -c {quoted}", "({heart}) & wait"]):
            (directory / str(number)).mkdir()
            hearts.append(self._start_heart(stage, directory / str(number), form)[1])
        stage.close()
        sizes = [heart.stat().st_size for heart in hearts]
        assert self._stands_still(hearts[0])
        assert [heart.stat().st_size for heart in hearts] == sizes
        stage.open()

    def test_cleaning_what_is_clean(self, launcher: Launcher) -> None:
        """Without anything left of a study, and without `open`, cleaning finds nothing and says so."""
        found = launcher.clean("nobodyhasthisid", 0.1)
        assert isinstance(found, Sequence)
        assert not isinstance(found, str)
        assert list(found) == []

    def test_clean_ends_what_was_left(self, stage: Stage, directory: Path) -> None:
        """Where it is implemented: what runs of a study is gone when `clean` returns, and is named."""
        if type(stage.launcher).clean is Launcher.clean:
            pytest.skip("`clean` is not implemented")
        _, heart = self._start_heart(stage, directory, "trap '' TERM; {heart}")
        found = stage.launcher.clean(STUDY, 0.1)
        assert found
        assert all(isinstance(one, str) and one.strip() for one in found)
        assert self._stands_still(heart)

    # Limits and leaks

    def test_memory_limit_is_kept(self, stage: Stage) -> None:
        """With LIMITS_MEMORY: what holds too much is ended and told as such, what holds less is not."""
        if Capability.LIMITS_MEMORY not in stage.launcher.capabilities:
            pytest.skip("Capability.LIMITS_MEMORY is not declared")
        modest = stage.start(stage.evaluation("sleep 1; echo fine", memory_limit=100 * 2**20))
        hold = "(head -c 200000000 /dev/zero; sleep 300) | tail -c 200000000"
        greedy = stage.start(stage.evaluation(hold, memory_limit=100 * 2**20))
        ended = stage.wait(greedy)
        assert ended.failure is Failure.MEMORY_LIMIT
        assert ended.message.strip()
        assert stage.wait(modest).exit_code == 0
        assert stage.output(modest, "stdout") == b"fine\n"

    def test_holds_nothing_when_closed(self, launcher: Launcher, events: EventLoop, slots: Sequence[Slot]) -> None:
        """After `close` no file descriptor is left open, however many evaluations there were, ended or not."""
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("this system does not show open files")
        left = self._left_open(launcher, events, slots)
        for _ in range(_ROUNDS - 1):
            left = left and self._left_open(launcher, events, slots)
        assert not left, f"left open, each time: {left}"

    def _left_open(self, launcher: Launcher, events: EventLoop, slots: Sequence[Slot]) -> dict[str, str]:
        """Files that stay open after some evaluations; of this whole process, so that others may be among them."""
        gc.collect()
        before = _open_files()
        stage = Stage(launcher, events, slots, self.patience_s)
        stage.wait(*[stage.launch("echo hello") for _ in range(10)])
        for _ in range(3):
            stage.launch(self.slow)
        stage.close()
        gc.collect()
        until = time.monotonic() + _SETTLES_S
        while len(_open_files()) > len(before) and time.monotonic() < until:
            time.sleep(0.02)  # a manager's thread may be reading a file just now
        after = _open_files()
        new = {number: place for number, place in after.items() if before.get(number) != place}
        return new if len(after) > len(before) else {}

    # Hearts: programs whose life shows in a file that grows

    def _start_heart(self, stage: Stage, directory: Path, form: str, *, before: str = "") -> tuple[Key, Path]:
        """Launch a program with a heart somewhere in it, and wait for its first beat."""
        beats = directory / "beats"
        text = f"{before}{_heart(beats)}"
        quoted = shlex.quote(text)
        child = shlex.quote(f"sh -c {quoted} & wait")
        key = stage.launch(form.format(heart=text, quoted=quoted, child=child))
        stage.until(beats.exists, "the start of a program")
        return key, beats

    def _stands_still(self, heart: Path) -> bool:
        """Whether it beats no more."""
        before = heart.stat().st_size
        time.sleep(0.2)
        return heart.stat().st_size == before


def _heart(path: Path | str) -> str:
    """Shell text that makes a file grow, for at most a minute or two."""
    return f"b=0; while [ $b -lt 2000 ]; do echo x >> {path}; sleep 0.03; b=$((b+1)); done"


def _until(path: Path) -> str:
    """Shell text that waits for a file, for at most a minute or two."""
    return f"w=0; while [ ! -e {path} ] && [ $w -lt 2000 ]; do sleep 0.03; w=$((w+1)); done"
