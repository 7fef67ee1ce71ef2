"""Errors, broken connections and odd logs on the way to the API server: what our client makes of them."""

import subprocess
import sys
import threading
import time

import pytest

import hpo_core as hpo
from hpo_k8s._connection import BURST, RATE_PER_S, Pace


@pytest.fixture(autouse=True)
def _here(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


GONE = "is gone before its log was read to the end: output is lost"


class Listener(hpo.Observer):
    """Remembers what people were told."""

    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def run(cmd: str, *, n_trials: int = 1, observers=(), **arguments) -> hpo.Study:
    params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    arguments = {"workload_image": "lab/any:1", "grace": 1, **arguments}
    evaluator = hpo.Evaluator(cmd, workload_manager="k8s", **arguments)
    with evaluator, hpo.Study(params, evaluator, n_trials=n_trials, seed=1, observers=observers) as study:
        study.optimize()
    return study


def until(gate):
    """Shell text that waits for a file, but not for ever: a test that fails leaves nothing."""
    return f"timeout 120 sh -c 'while [ ! -e {gate} ]; do sleep 0.02; done'"


def test_errors_that_pass_are_waited_out(fake):
    fake.knobs(
        faults=[
            {"match": "POST .*/jobs", "status": 429, "headers": {"Retry-After": "0.2"}, "reason": "TooManyRequests"},
            {"match": "POST .*/jobs", "status": 500},
            {"match": "GET .*/pods\\?.*limit", "status": 503, "times": 2},
            {"match": "/log", "status": 500, "times": 2},
            {"match": "watch=true", "status": 200},
            {"match": "POST .*/configmaps", "drop": True},
        ]
    )
    assert run("echo FoM: 1; true", n_trials=2).best_fom == 1


def test_an_answer_that_was_lost_makes_no_second_job(fake, tmp_path):
    fake.knobs(faults=[{"match": "POST .*/jobs", "lost": True}, {"match": "POST .*/configmaps", "lost": True}])
    found = run(f"echo x >> {tmp_path}/runs; echo FoM: 1; true")
    assert (found.best_fom, (tmp_path / "runs").read_text()) == (1, "x\n")


def test_an_answer_that_was_lost_runs_nothing_again_that_is_over(fake, tmp_path):
    """The Job is asked for again and again, has long been there, ended, and its result is on disk."""
    busy = {"match": "POST .*/jobs", "status": 503, "headers": {"Retry-After": "0.5"}, "times": 3}
    fake.knobs(faults=[{"match": "POST .*/jobs", "lost": True}, busy])

    def open_gate():
        fake.wait_for(lambda: len(fake.requests("POST .*/jobs")) >= 5, "the second Job")
        time.sleep(0.7)
        (tmp_path / "gate").touch()

    thread = threading.Thread(target=open_gate)
    thread.start()
    gate = until(tmp_path / "gate")
    found = run(f"echo $HPO_TRIAL >> {tmp_path}/runs; [ $HPO_TRIAL = 1 ] || {gate}; echo FoM: 1; true", n_trials=2)
    thread.join()
    assert [record.result.attempts for record in found.trials] == [1, 1]
    assert (tmp_path / "runs").read_text() == "1\n2\n"
    assert fake.left() == {}


@pytest.mark.parametrize("what", ["cut", "compact"])
def test_a_watch_that_ends_goes_on(fake, tmp_path, what):
    """After a broken connection, and when its version is too old (410)."""
    gate = tmp_path / "gate"

    def disturb():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        fake.tell(what)
        gate.touch()

    thread = threading.Thread(target=disturb)
    thread.start()
    found = run(f"{until(gate)}; echo FoM: 1; true")
    thread.join()
    assert found.best_fom == 1


def test_a_watch_that_fell_silent_is_found_out(fake, tmp_path):
    """The connection is there and brings nothing: after `watch_s` seconds another is made."""
    gate = tmp_path / "gate"

    def disturb():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        fake.tell("mute", seconds=2.0)
        gate.touch()

    thread = threading.Thread(target=disturb)
    thread.start()
    begun = time.monotonic()
    found = run(f"{until(gate)}; echo FoM: 1; true", launcher_options={"watch_s": 1})
    thread.join()
    assert found.best_fom == 1
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("half", ["", "{half: ["])
def test_a_new_token_is_read(fake, tmp_path, half):
    """Tokens change while a study runs; whoever writes the new one may still be at it."""
    gate = tmp_path / "gate"

    def renew():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        if half:
            fake.kubeconfig.write_text(half)
        else:
            fake.write_kubeconfig("new-token")
        fake.knobs(token="new-token")
        before = len(fake.requests())
        gate.touch()
        fake.wait_for(lambda: not half or len(fake.requests()) > before + 2, "requests with the old token")
        fake.write_kubeconfig("new-token")

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        found = run(f"{until(gate)}; echo FoM: 1; true", n_trials=2)
    finally:
        thread.join()
        fake.write_kubeconfig("secret-token")
        fake.knobs(token="secret-token")
    assert [record.state for record in found.trials] == [hpo.State.DONE] * 2


def test_requests_are_paced():
    """A burst goes at once, then so many per second."""

    class Waits(list):
        def wait(self, seconds):
            self.append(seconds)

    waits, pace = Waits(), Pace(clock=lambda: 0.0)
    for _ in range(int(BURST) + 100):
        pace.wait(waits)
    assert len(waits) == 100
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(100 / RATE_PER_S)


def test_the_client_is_imported_when_it_is_needed():
    code = "import sys, hpo_k8s; print({'kubernetes', 'urllib3', 'yaml'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# Output


def test_a_log_that_is_rotated_while_it_is_followed_is_whole(fake, tmp_path):
    """What a follower was connected for is never lost, and the end is read again where it stopped."""
    fake.knobs(rotate=20_000)
    gate = tmp_path / "gate"

    def open_gate():
        fake.wait_for(lambda: fake.tell("followers")["followers"], "a follower")
        gate.touch()

    thread = threading.Thread(target=open_gate)
    thread.start()
    count = "i=0; while [ $i -lt 5000 ]; do echo line number $i; i=$((i+1)); done"
    found = run(f"{until(gate)}; {count}; echo FoM: 1; true", keep_output="all")
    thread.join()
    output = (found.directory / "output" / "1.1.out").read_text().splitlines()
    assert output == [*(f"line number {number}" for number in range(5000)), "FoM: 1"]


def test_a_log_whose_connection_breaks_is_whole(fake, tmp_path):
    """No line is lost, none comes twice."""
    gate = tmp_path / "gate"

    def disturb():
        fake.wait_for(lambda: fake.tell("followers")["followers"], "a follower")
        fake.knobs(away=True)
        time.sleep(0.5)
        fake.knobs(away=False)
        gate.touch()

    thread = threading.Thread(target=disturb)
    thread.start()
    count = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done"
    found = run(f"{count}; {until(gate)}; {count}; echo FoM: 1; true", keep_output="all")
    thread.join()
    wanted = [f"line {number}" for number in range(300)]
    assert (found.directory / "output" / "1.1.out").read_text().splitlines() == [*wanted, *wanted, "FoM: 1"]


def test_a_connection_that_hangs_after_the_end_is_given_up(fake):
    """As it does when the node goes; the log is read anew then."""
    fake.knobs(hanging_logs=True)
    begun = time.monotonic()
    found = run("echo one; sleep 0.5; echo FoM: 1; true", keep_output="all")
    assert time.monotonic() - begun < 120
    assert (found.directory / "output" / "1.1.out").read_text() == "one\nFoM: 1\n"


def test_a_log_that_is_gone_with_its_pod_is_told(fake):
    """Else a program would seem to have said nothing."""
    fake.knobs(faults=[{"match": "/log", "status": 404, "times": 9}])
    found = run("echo FoM: 1; true", observers=[listener := Listener()])
    assert found.trials[0].result.failure is hpo.Failure.NO_METRIC
    assert any(GONE in text for text in listener.notices)


def test_of_a_pod_that_we_deleted_ourselves_nothing_is_missed(fake):
    """It never began, so that there is nothing to read."""
    listener = Listener()
    options = {"image_timeout_s": 0.5}
    with pytest.raises(hpo.StudyStopped, match="could not be pulled"):
        run("echo FoM: 1; true", observers=[listener], workload_image="lab/nope:1", launcher_options=options)
    assert not any(GONE in text for text in listener.notices)


def test_more_pods_than_followers(fake, tmp_path):
    """Those that nobody follows are read when they end, and wait for nobody."""
    gate = tmp_path / "gate"
    command = f"[ $HPO_TRIAL -gt 1 ] || {until(gate)}; echo FoM: $HPO_TRIAL; true"

    def open_gate():
        fake.wait_for(lambda: len(fake.requests("/log")) >= 5, "the logs of the others")
        gate.touch()

    thread = threading.Thread(target=open_gate)
    thread.start()
    found = run(command, n_trials=5, nodes=2, launcher_options={"followers": 1})
    thread.join()
    assert sorted(record.fom for record in found.trials) == [1, 2, 3, 4, 5]
