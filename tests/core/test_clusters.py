"""The parts of which managers of schedulers are made: commands, a thread, pauses, what is told, a guard."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo_core import AllocationError, Failure, Node
from hpo_core.allocation import AllocationRequest
from hpo_core.clusters import (
    Answer,
    Clerk,
    Guard,
    Looks,
    LoopCalls,
    Runner,
    Standing,
    lay_out,
    repeat,
    share_out,
    slots_on_each,
    split_arguments,
)
from hpo_core.events import AllocationLost, AllocationNotice, NodesJoined, NodesLeft, RealEventLoop

PATIENCE_S = 30.0


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture
def runner() -> Runner:
    return Runner(lambda: {**os.environ, "GREETING": "hello"})


class TestRunner:
    def test_says_what_a_command_said(self, runner):
        assert runner.run(("sh", "-c", "echo $GREETING; echo no >&2; exit 3")) == Answer(3, "hello\n", "no\n")

    def test_a_command_that_takes_too_long_gave_no_answer(self, runner):
        assert runner.run(("sh", "-c", "echo begun; sleep 60"), 0.2) == Answer(None, "begun\n", "")

    def test_what_a_hanging_command_left_behind_is_not_waited_for(self, runner, tmp_path):
        """Though it holds the output open, from a session where no signal of ours comes."""
        began = time.monotonic()
        left = f"setsid sh -c 'echo $$ > {tmp_path}/left; exec sleep 60'"
        assert (
            runner.run(("sh", "-c", f"{left} & until [ -s {tmp_path}/left ]; do :; done; sleep 60"), 1.0).code is None
        )
        assert time.monotonic() - began < PATIENCE_S
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)

    def test_a_program_that_is_not_there_gave_no_answer(self, runner):
        answer = runner.run(("/no/such",))
        assert answer.code is None
        assert answer.err == "/no/such cannot be started: No such file or directory"

    def test_output_goes_to_a_file_too(self, runner, tmp_path):
        pids: list[int] = []
        answer = runner.run(("sh", "-c", "echo $$"), out=tmp_path / "id", started=pids.append)
        assert answer.out == (tmp_path / "id").read_text() == f"{pids[0]}\n"

    def test_abort_ends_what_runs_and_what_comes(self, runner, tmp_path):
        """But for a command that somebody was told the process id of."""
        answers: dict[str, Answer] = {}
        told: list[int] = []

        def go(name: str, **more: object) -> threading.Thread:
            words = (
                "sh",
                "-c",
                f"touch {tmp_path}/{name}; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo {name}",
            )
            thread = threading.Thread(target=lambda: answers.update({name: runner.run(words, **more)}))
            thread.start()
            return thread

        threads = [go("first"), go("kept", started=told.append)]
        wait_for(lambda: (tmp_path / "first").exists() and (tmp_path / "kept").exists())
        runner.abort()
        threads[0].join(PATIENCE_S)
        assert answers["first"].code is None
        assert runner.aborted
        assert runner.run(("true",)).code is None
        (tmp_path / "go").touch()
        threads[1].join(PATIENCE_S)
        assert answers["kept"] == Answer(0, "kept\n")
        runner.resume()
        assert runner.run(("true",)).code == 0


class TestClerk:
    def test_calls_in_order_in_its_thread(self):
        said: list[str] = []
        clerk = Clerk("clerk", said.append)
        clerk.call(lambda: said.append(threading.current_thread().name))
        clerk.call(lambda: clerk.call_later(0.01, lambda: said.append("later")))
        wait_for(lambda: len(said) == 2)
        clerk.close()
        assert said == ["clerk", "later"]

    def test_a_fault_is_told(self):
        faults: list[str] = []
        clerk = Clerk("clerk", faults.append)
        clerk.call(lambda: 1 // 0)
        wait_for(lambda: faults)
        assert faults[0].startswith("a fault in clerk:")
        assert "ZeroDivisionError" in faults[0]
        clerk.close()

    def test_loop_calls_run_on_the_loops_thread_until_they_are_closed(self):
        events, ran = RealEventLoop(), []
        calls = LoopCalls(events)
        thread = threading.Thread(target=lambda: calls.call(lambda: ran.append(threading.get_ident())))
        thread.start()
        thread.join()
        wait_for(lambda: events.next_events(events.now() + 0.05) or ran)
        assert ran == [threading.get_ident()]
        calls.close()
        calls.call(lambda: ran.append(0))
        events.close()
        assert len(ran) == 1


class TestLooks:
    @pytest.fixture
    def clock(self, monkeypatch) -> Iterator[list[float]]:
        now = [1000.0]
        monkeypatch.setattr("hpo_core.clusters._looks.time.monotonic", lambda: now[0])
        return now

    def test_soon_at_first_then_seldom(self):
        looks = Looks("PBS", 10.0, print)
        assert [looks.next_s() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
        assert looks.next_s(soon=True) == 0.5
        looks.begin()
        assert looks.next_s() == 0.5

    def test_never_more_often_than_asked_for(self):
        assert Looks("PBS", 0.1, print).next_s() == 0.1

    def test_ever_more_seldom_while_nobody_answers_and_told_once(self, clock):
        told: list[str] = []
        looks, pauses = Looks("PBS", 10.0, told.append), []
        for _ in range(9):
            looks.no_answer()
            pauses.append(looks.next_s())
            clock[0] += pauses[-1]
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert told == ["PBS does not answer; what runs goes on, nothing new can be started"]
        assert looks.silent
        looks.answered()
        assert told[1:] == ["PBS answers again"]
        assert not looks.silent


class TestStanding:
    @pytest.fixture
    def events(self) -> Iterator[RealEventLoop]:
        events = RealEventLoop()
        yield events
        events.close()

    def test_tells_the_loop_what_changes(self, events):
        standing = Standing()
        standing.begin(events)
        standing.say("it waits")
        standing.say("it waits")
        standing.join([Node("a"), Node("b")])
        standing.join([Node("b"), Node("c")])
        standing.leave(["b", "nowhere"], "gone")
        assert standing.names == ("a", "c")
        assert standing.holds("a")
        assert not standing.holds("b")
        standing.lose("over")
        standing.lose("over again")
        assert standing.words == "over"
        assert list(events.next_events()) == [
            AllocationNotice("it waits"),
            NodesJoined((Node("a"), Node("b")), more=False),
            NodesJoined((Node("c"),), more=False),
            NodesLeft(("b",), "gone", Failure.NODE_LOST),
            NodesLeft(("a", "c"), "over", Failure.ALLOCATION_ENDED),
            AllocationLost("over", Failure.ALLOCATION_ENDED),
        ]

    def test_another_loop_begins_with_what_is_there(self, events):
        first = RealEventLoop()
        standing = Standing()
        standing.begin(first)
        standing.join([Node("a")])
        standing.attach(events)
        assert list(events.next_events()) == [NodesJoined((Node("a"),), more=False)]
        first.close()


class TestLayout:
    @pytest.mark.parametrize(
        ("nodes", "slots", "width", "came", "each"),
        [(4, 0, 1, 4, 1), (4, 8, 1, 4, 2), (4, 6, 1, 4, 2), (4, 0, 2, 4, 1), (4, 4, 1, 1, 4), (1, 0, 1, 3, 1)],
    )
    def test_slots_on_each(self, nodes, slots, width, came, each):
        assert slots_on_each(AllocationRequest(nodes=nodes, slots=slots, nodes_per_eval=width), came) == each

    def test_of_another_jobs_nodes_as_many_as_were_asked_for(self):
        names = ("a", "b", "c")
        assert lay_out(AllocationRequest(nodes=2), "7", names, owned=False).names == ("a", "b")
        assert lay_out(AllocationRequest(nodes=1), "7", names, owned=False).names == names
        layout = lay_out(AllocationRequest(nodes=4), "7", names, owned=True)
        assert (layout.names, layout.problem) == (names, "nodes=4, and job 7 has 3: these are used")

    def test_gpus_are_shared_by_as_few_as_must(self):
        assert share_out((), 3) == ()
        assert share_out(("0", "1"), 2) == ("0", "1")
        assert share_out(("0", "1"), 4) == ("0", "0", "1", "1")

    def test_arguments_are_split_as_a_shell_does(self):
        assert split_arguments("-q 'two words'") == ["-q", "two words"]
        with pytest.raises(AllocationError, match=r"cannot be split into words: No closing quotation"):
            split_arguments("-q 'x")


def test_repeat_ends_when_nothing_is_left_so_often_in_a_row():
    answers = iter([False, True, False, True, True, True])
    assert repeat(lambda: next(answers), pauses_s=(0.0,), times=2)
    assert list(answers) == [True]
    assert not repeat(lambda: False, 0.05, (0.01,))


# The guard

LEFT = """
import os

from hpo_core.clusters.guard import Leftovers, run, runs


class Left(Leftovers):
    beat_s = 0.05

    def __init__(self, folder, word):
        self.folder, self.things = folder, {word}

    def hear(self, word, text):
        self.things.add(f"{word}={text}")

    def beat(self, count):
        self.note("beat", str(count))

    def begin(self):
        self.note("begun", str(runs(os.getpid())))

    def end(self):
        code, out, _ = run("sh", "-c", "echo $KEPT $HPO_SECRET; exit 4")
        self.note("ended", f"{sorted(self.things)} {code} {out}")
        return os.path.exists(f"{self.folder}/answers")

    def finish(self):
        self.note("finished", "")

    def note(self, name, text):
        with open(f"{self.folder}/{name}", "a") as file:
            file.write(text)
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    path = tmp_path / "left.py"
    path.write_text(LEFT)
    return str(path)


DRIVER = """
import os, signal, sys
from hpo_core.clusters import Guard
guard = Guard(sys.argv[1], (sys.argv[2], "first"), {**os.environ, "KEPT": "kept", "HPO_SECRET": "secret"})
guard.tell("job 7 a")
print("told", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_guard_gives_back_when_its_driver_is_killed(tmp_path, module):
    """It goes on until the scheduler answers, with the driver's environment but for our own variables."""
    driver = subprocess.run([sys.executable, "-c", DRIVER, module, str(tmp_path)], capture_output=True, check=False)
    assert driver.returncode == -signal.SIGKILL, driver.stderr
    wait_for((tmp_path / "ended").exists)
    assert not (tmp_path / "finished").exists()
    (tmp_path / "answers").touch()
    wait_for((tmp_path / "finished").exists)
    assert (tmp_path / "begun").read_text() == "True"
    assert (tmp_path / "ended").read_text().startswith("['first', 'job=7 a'] 4 kept\n")


def test_a_guard_whose_driver_gave_everything_back_does_nothing(tmp_path, module):
    guard = Guard(module, (str(tmp_path), "x"), dict(os.environ))
    wait_for((tmp_path / "beat").exists)
    pid = guard._process.pid
    guard.close(done=True)
    assert not os.path.exists(f"/proc/{pid}")
    assert not (tmp_path / "begun").exists()


def test_a_guard_that_was_killed_comes_again_and_knows_all(tmp_path, module):
    guard = Guard(module, (str(tmp_path), "x"), dict(os.environ))
    guard.tell("job 1")
    os.kill(guard._process.pid, signal.SIGKILL)
    wait_for(lambda: guard._process.poll() is not None)
    guard.tell("job 2")
    guard.revive()
    (tmp_path / "answers").touch()
    guard.close(done=False)
    wait_for((tmp_path / "finished").exists)
    assert (tmp_path / "ended").read_text().startswith("['job=1', 'job=2', 'x'] 4")
