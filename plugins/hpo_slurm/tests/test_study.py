"""Studies on a real Slurm: many evaluations, wide ones, and everything that can go wrong around them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core import State
from hpo_core.exceptions import LeftoverWarning
from hpo_core.journal import read
from hpo_core.registry import get
from hpo_slurm import SlurmManager, SlurmOptions

pytestmark = pytest.mark.cluster
QUICK = {"poll": 0.2}
EVALUATION = """
echo "$SLURMD_NODENAME begin $HPO_TRIAL $(date +%s.%N) $CUDA_VISIBLE_DEVICES" >> log
[ -e fast ] || sleep {}
echo "$SLURMD_NODENAME end $HPO_TRIAL $(date +%s.%N)" >> log
echo "FoM: ${{1#--x=}}"
"""


class Watching(hpo.Observer):
    """Writes down what is heard, and how many run at the same time."""

    name = "watching"

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.running = self.most = 0

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
        self.running += attempt == 1
        self.most = max(self.most, self.running)

    def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
        self.running -= 1


def script(here: Path, sleep: float = 0.0) -> str:
    """A program that notes where and when it runs; it is at once over where there is a file called ``fast``."""
    (here / "evaluation.sh").write_text(EVALUATION.format(sleep))
    return "sh evaluation.sh"


def run(
    command: str,
    *,
    n_trials: int,
    params: list[Any] | None = None,
    points: Sequence[dict[str, Any]] = (),
    **arguments: Any,
) -> tuple[hpo.Study, Watching]:
    watching = Watching()
    options = {**QUICK, **arguments.pop("options", {})}
    given = {"workload_manager": "slurm", "alloc_timeout": 5, "manager_options": options, **arguments}
    with hpo.Evaluator(command, **given) as evaluator:
        space = hpo.Params(params or [["--x", 0.5, (0.0, 1.0)]])
        study = hpo.Study(space, evaluator, n_trials=n_trials, seed=1, observers=[watching], directory="study")
        for point in points:
            study.enqueue(point)
        study.optimize()
        study.close()
    return study, watching


def intervals(here: Path) -> list[tuple[str, int, float, float, str]]:
    """Node, trial, begin, end and GPUs of each task that ran to its end."""
    open_, found = {}, []
    for line in (here / "log").read_text().splitlines():
        node, what, trial, at, *gpus = line.split()
        if what == "begin":
            open_[node, trial] = float(at), "".join(gpus)
        else:
            began, devices = open_.pop((node, trial))
            found.append((node, int(trial), began, float(at), devices))
    return found


class Driver:
    """A driver in a process of its own, which can be killed."""

    def __init__(self, here: Path, command: str, *, n_trials: int, **arguments: Any) -> None:
        options = {**QUICK, **arguments.pop("options", {})}
        evaluator = {"workload_manager": "slurm", "alloc_timeout": 5, "manager_options": options, **arguments}
        settings = {"evaluator": {"cmd": command, **evaluator}, "study": {"n_trials": n_trials}}
        self.here, self.heard = here, here / "driver.out"
        with self.heard.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("driver.py")), json.dumps(settings)],
                cwd=here,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self, text: str) -> int:
        return self.heard.read_text().count(text)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, limit_s: float = 60.0) -> str:
        self.process.wait(limit_s)
        return self.heard.read_text()

    def study_id(self) -> str:
        return str(next(iter(read(self.here / "study"))).record["id"])

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [line.record for line in read(self.here / "study") if line.record["record"] == kind]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    """Those that are put here are ended after the test, whatever comes."""
    started: list[Driver] = []
    yield started
    for driver in started:
        driver.kill()


def alive(study_id: str) -> list[int]:
    """Processes of a study on this machine, which all nodes are."""
    entry, found = f"HPO_STUDY={study_id}".encode(), []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # It ended meanwhile, or is not ours.
    return found


# The time limit takes a minute or two: it is reached beside the other tests, and looked at in the last one.


@pytest.fixture(scope="session")
def timed(cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    here = tmp_path_factory.mktemp("timed")
    command = script(here, 4.0)
    driver = Driver(here, command, n_trials=1000, alloc_timeout=1, alloc_args="-J hpo-timed", options={"renewals": 1})
    yield driver
    driver.kill()


@pytest.fixture(scope="session")
def expiring(cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    program = Path(__file__).with_name("expiry.py")
    here = tmp_path_factory.mktemp("expiring")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, cwd=here) as process:
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def beside(timed: Driver, expiring: object) -> None:
    """All tests run beside it."""


@pytest.mark.parametrize("slots", [4, 8])
def test_a_hundred_evaluations(empty, here, slots):
    """Four nodes, one or two evaluations on each; each slot is one evaluation's alone."""
    study, watching = run(script(here), n_trials=100, nodes=4, num_parallel_evals=slots)
    assert [record.state for record in study.trials] == [hpo.State.DONE] * 100
    nodes = {node for record in study.trials for node in record.result.nodes}
    assert len(nodes) == 4
    assert watching.most == slots
    assert {node for node, *_ in intervals(here)} == nodes
    _check_at_most(intervals(here), slots // 4)


def test_two_and_three_nodes_side_by_side(empty, here):
    """Nodes as a hyperparameter: what runs at the same time runs on different nodes."""
    study, _ = run(
        script(here, 0.4),
        n_trials=12,
        nodes=6,
        params=[["--x", 2, [2, 3]]],
        points=[{"--x": 2}, {"--x": 3}] * 6,
        flag={"nodes_per_evaluation": "--x"},
        num_parallel_evals=3,
    )
    assert [record.state for record in study.trials] == [hpo.State.DONE] * 12
    ran = intervals(here)
    for record in study.trials:
        assert {node for node, trial, *_ in ran if trial == record.number} == set(record.result.nodes)
        assert len(record.result.nodes) == record.values["--x"]
    _check_at_most(ran, 1)
    pairs = [(a, b) for a in ran for b in ran if a[1] < b[1] and a[2] < b[3] and b[2] < a[3]]
    widths = {record.number: record.values["--x"] for record in study.trials}
    assert {tuple(sorted((widths[a[1]], widths[b[1]]))) for a, b in pairs} >= {(2, 3)}, "none ran side by side"


def _check_at_most(ran: list[tuple[str, int, float, float, str]], most: int) -> None:
    """No node ran more than so many at the same time."""
    for node, _, began, _, _ in ran:
        at_once = [one for one in ran if one[0] == node and one[2] <= began < one[3]]
        assert len(at_once) <= most, at_once


def test_gpus_are_shared_out(empty, here):
    """Two GPUs a node, two evaluations a node: each sees one, and no two see the same at the same time."""
    study, _ = run(script(here, 0.3), n_trials=8, nodes=2, num_parallel_evals=4, alloc_args="--gres=gpu:2")
    assert study.trials.failures() == {}
    ran = intervals(here)
    assert {gpus for *_, gpus in ran} == {"0", "1"}
    for node, trial, began, _, gpus in ran:
        others = [one for one in ran if one[0] == node and one[2] <= began < one[3] and one[1] != trial]
        assert gpus not in {one[4] for one in others}


def test_cores_are_shared_out(empty, here):
    (here / "cores.sh").write_text('echo "$HPO_CORES $OMP_NUM_THREADS" >> cores; echo FoM: 1')
    options = {"pin_cores": True}
    run("sh cores.sh", n_trials=2, nodes=1, num_parallel_evals=2, options=options)
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    wanted = {f"{','.join(map(str, part))} {half}" for part in (cores[:half], cores[half : 2 * half])}
    assert set((here / "cores").read_text().splitlines()) <= wanted


def test_an_allocation_made_beforehand(empty, here):
    """It is used, as many nodes as asked for, and is still there afterwards, without a step."""
    job = empty.allocate("-N3", "-J", "before")
    study, _ = run(script(here), n_trials=6, nodes=2, alloc_jobid=job)
    assert study.trials.failures() == {}
    assert len({node for record in study.trials for node in record.result.nodes}) == 2
    assert empty.jobs() == [f"{job} RUNNING before"]
    assert [line for line in empty.steps() if line.startswith(f"{job}.")] == []
    empty.cancel(job)


def test_the_allocation_around_us(empty, here, monkeypatch):
    """Inside a job all of its nodes are used; a job that is over is passed over, with a word."""
    job = empty.allocate("-N2", "-J", "around")
    monkeypatch.setenv("SLURM_JOB_ID", str(job))
    monkeypatch.setenv("SLURM_NTASKS", "7")
    study, _ = run(script(here), n_trials=4)
    assert study.trials.failures() == {}
    assert len({node for record in study.trials for node in record.result.nodes}) == 2
    assert empty.jobs() == [f"{job} RUNNING around"]
    empty.cancel(job)
    empty.wait_for(lambda: empty.jobs() == [])
    os.rename("study", "first")
    study, watching = run(script(here), n_trials=1)
    assert study.trials.failures() == {}
    assert any(f"SLURM_JOB_ID={job} in the environment is over" in text for text in watching.notices)


def test_an_allocation_that_is_not_there(empty, here):
    with pytest.raises(hpo.AllocationError, match="alloc_jobid=99999: this allocation is not known to Slurm"):
        run(script(here), n_trials=1, alloc_jobid=99999)


def test_what_slurm_refuses_is_refused_at_once(empty, here):
    with pytest.raises(hpo.AllocationError, match="invalid partition specified: nope"):
        run(script(here), n_trials=1, nodes=2, alloc_args="-p nope")


@pytest.mark.parametrize(
    "arguments", [{"nodes": 64}, {"nodes": 1, "alloc_args": "-p short -t 5"}], ids=["nodes", "time"]
)
def test_what_can_never_run_does_not_wait(empty, here, arguments):
    """Slurm itself would let it wait for ever."""
    study, _ = run(script(here), n_trials=1, **arguments)
    assert study.stop_reason is hpo.StopReason.ALLOCATION
    assert re.search(r"would let job \d+ wait for ever \(Partition", study.stop_detail or "")


def test_a_queue_that_must_wait(empty, here, drivers):
    """The scheduler's reason is said once; then the study runs."""
    job = empty.allocate("-N6", "-J", "before")
    driver = Driver(here, script(here), n_trials=4, nodes=4)
    drivers.append(driver)
    empty.wait_for(lambda: driver.said("waits: "))
    time.sleep(1.0)  # several looks later
    assert driver.said("notice: ") <= 2
    empty.cancel(job)
    assert "stopped: " in driver.end()
    assert len(driver.records("finished")) == 4


def test_a_node_dies(empty, here, drivers):
    """What ran there is tried again elsewhere; the node is used no more."""
    driver = Driver(here, script(here, 3.0), n_trials=6, nodes=3)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists() and (here / "log").read_text().count("begin") == 3)
    node = (here / "log").read_text().split()[0]
    try:
        empty.control("stop-node", node)
        out = driver.end()
    finally:
        empty.control("start-node", node)
        empty.wait_for(lambda: f"{node} idle" in empty.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t"))
    assert f"lost {node}" in out
    finished = driver.records("finished")
    assert [record["state"] for record in finished] == ["done"] * 6
    assert sorted(record["attempts"] for record in finished) == [1, 1, 1, 1, 1, 2]
    assert [record["failure"] for record in driver.records("attempt")] == ["node lost"]


def test_a_step_is_cancelled_from_outside(empty, here, drivers):
    """It is recorded as such; the others go on."""
    driver = Driver(here, script(here, 2.0), n_trials=4, nodes=2)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists())
    name = f"hpo-{driver.study_id()}-1-1"
    empty.wait_for(lambda: any(line.endswith(name) for line in empty.steps()))
    empty.cancel(next(line for line in empty.steps() if line.endswith(name)).split()[0])
    driver.end()
    finished = {record["trial"]: record for record in driver.records("finished")}
    assert finished[1]["failure"] == "cancelled"
    assert "cancelled from outside" in finished[1]["message"]
    assert [finished[number]["state"] for number in (2, 3, 4)] == ["done"] * 3


def test_the_job_is_cancelled_from_outside(empty, here, drivers):
    """The study stops and says why; what ran stays open for a resumed study."""
    driver = Driver(here, script(here, 60.0), n_trials=4, nodes=2)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists())
    empty.cancel("--name", f"hpo-{driver.study_id()}")
    out = driver.end()
    assert re.search(r"stopped: allocation \d+ was cancelled from outside", out)
    assert driver.records("finished") == []
    (here / "fast").touch()
    again = Driver(here, script(here, 60.0), n_trials=4, nodes=2)
    drivers.append(again)
    again.end()
    assert [record["state"] for record in again.records("finished")] == ["done"] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["INT", "TERM", "KILL"])
def test_the_driver_is_killed(empty, here, drivers, number):
    """Nothing is left in the queue and no task is alive; the study goes on afterwards."""
    driver = Driver(here, script(here, 60.0), n_trials=6, nodes=3, stop_wait="0.5s")
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists() and (here / "log").read_text().count("begin") == 3)
    study_id = driver.study_id()
    driver.signal(number)
    driver.end()
    empty.wait_for(lambda: empty.jobs() == [] and alive(study_id) == [])
    empty.wait_for(lambda: not list(here.glob(".hpo-slurm-*")))
    (here / "fast").touch()
    again = Driver(here, script(here, 60.0), n_trials=6, nodes=3, stop_wait="0.5s")
    drivers.append(again)
    again.end()
    assert [record["state"] for record in again.records("finished")] == ["done"] * 6


def test_the_driver_is_killed_in_an_allocation_that_is_not_its_own(empty, here, drivers):
    """Its steps are ended, and the allocation stays."""
    job = empty.allocate("-N2", "-J", "before")
    driver = Driver(here, script(here, 60.0), n_trials=4, nodes=2, alloc_jobid=job)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists() and (here / "log").read_text().count("begin") == 2)
    study_id = driver.study_id()
    driver.signal(signal.SIGKILL)
    driver.end()
    empty.wait_for(lambda: alive(study_id) == [])
    empty.wait_for(lambda: [line for line in empty.steps() if line.startswith(f"{job}.")] == [])
    assert empty.jobs() == [f"{job} RUNNING before"]
    empty.cancel(job)


def test_the_driver_is_killed_while_it_waits_in_the_queue(empty, here, drivers):
    job = empty.allocate("-N6", "-J", "before")
    driver = Driver(here, script(here), n_trials=4, nodes=4)
    drivers.append(driver)
    empty.wait_for(lambda: driver.said("waits: "))
    driver.signal(signal.SIGKILL)
    driver.end()
    empty.wait_for(lambda: empty.jobs() == [f"{job} RUNNING before"])
    empty.cancel(job)


def test_the_drivers_host_dies(empty, here, drivers):
    """Driver and guard are gone: the holder in the job sees that, and ends it."""
    driver = Driver(here, script(here, 60.0), n_trials=4, nodes=2, options={"holder_patience": 3.0})
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists() and any("hpo-holder" in line for line in empty.steps()))
    guards = [int(pid) for pid in _children(driver.process.pid) if "_guard.py" in _command(pid)]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    driver.signal(signal.SIGKILL)
    study_id = driver.study_id()
    empty.wait_for(lambda: empty.jobs() == [] and alive(study_id) == [])


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _command(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_what_a_driver_left_is_given_back_first(empty, here, drivers):
    """Driver and guard are gone, and nobody has noticed yet: a resumed study cancels the old allocation itself."""
    driver = Driver(here, script(here, 60.0), n_trials=2, nodes=2)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists())
    _kill_with_guard(driver)
    left = SlurmManager(SlurmOptions()).clean(driver.study_id())
    assert any(text.startswith("allocation ") for text in left)
    assert empty.jobs() == []
    assert list(SlurmManager(SlurmOptions()).clean(driver.study_id())) == []
    study_id = driver.study_id()
    empty.wait_for(lambda: alive(study_id) == [])


def _kill_with_guard(driver: Driver) -> None:
    for pid in _children(driver.process.pid):
        if "_guard.py" in _command(pid):
            os.kill(int(pid), signal.SIGKILL)
    driver.signal(signal.SIGKILL)
    driver.end()


def test_a_study_that_goes_on_without_slurm_ends_what_it_left_there(empty, here, drivers):
    driver = Driver(here, script(here, 60.0), n_trials=2, nodes=2)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists())
    _kill_with_guard(driver)
    (here / "fast").touch()
    with hpo.Study.load(here / "study", {"workload_manager": "local"}) as study:
        assert study.evaluator.nodes == 0
        study.optimize()
        assert [record.state for record in study.trials] == [State.DONE] * 2
    assert empty.jobs() == []


def test_a_slurm_that_cannot_be_asked_is_asked_again(empty, here, drivers, monkeypatch):
    """The study goes on, says so, and does not forget it."""
    driver = Driver(here, script(here, 60.0), n_trials=2, nodes=2)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists())
    _kill_with_guard(driver)
    (here / "fast").touch()
    (here / "bin").mkdir()
    for name in ("sh", "date", "sleep"):
        (here / "bin" / name).symlink_to(f"/bin/{name}")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PATH", str(here / "bin"))
        with (
            hpo.Study.load(here / "study", {"workload_manager": "local"}) as study,
            pytest.warns(LeftoverWarning, match="workload manager 'slurm'.*there is no squeue on PATH"),
        ):
            study.optimize()
    assert len(empty.jobs()) == 1
    words = [sys.executable, "-m", "hpo_core", "clean", "study"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ended allocation " in done.stdout
    assert empty.jobs() == []


def test_the_controller_is_away_for_a_while(empty, here, drivers):
    """What runs goes on, no node is given up, and the study ends as if nothing had been."""
    driver = Driver(here, script(here, 0.5), n_trials=30, nodes=4)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists() and (here / "log").read_text().count("end") >= 4)
    try:
        empty.control("stop-controller")
        time.sleep(3.0)
    finally:
        empty.control("start-controller")
    out = driver.end(120.0)
    assert "lost " not in out
    assert [record["state"] for record in driver.records("finished")] == ["done"] * 30
    assert [record["failure"] for record in driver.records("attempt")] == []


def test_launch_args_win(empty, here):
    (here / "tasks.sh").write_text('echo "$SLURM_PROCID $SLURM_NTASKS" >> tasks; echo FoM: 1\n')
    study, _ = run("sh tasks.sh", n_trials=1, nodes=1, launch_args="-n 3")
    assert study.trials.failures() == {}
    assert sorted((here / "tasks").read_text().splitlines()) == ["0 3", "1 3", "2 3"]


def test_wrong_launch_args_stop_the_study(empty, here):
    with pytest.raises(hpo.StudyStopped, match=r"could not be started: .*unrecognized option '--nonsense'"):
        run(script(here), n_trials=1, nodes=1, launch_args="--nonsense")


def test_time_limits_of_evaluations(empty, here):
    study, _ = run(script(here, 60.0), n_trials=1, nodes=1, eval_timeout="1s", grace="0.5s")
    assert study.trials[0].result.failure is hpo.Failure.TIME_LIMIT
    assert study.trials[0].result.duration_s < 5


def test_programs_on_nodes(empty, here):
    """`spawn` starts one process a node, which knows its node's name, and says when they are over."""
    from hpo_core.allocation import AllocationRequest
    from hpo_core.events import NodesJoined, RealEventLoop

    manager, events, heard = SlurmManager(SlurmOptions(**QUICK)), RealEventLoop(), []
    manager.acquire(AllocationRequest(nodes=2, name="hpo-spawn", timeout_s=300.0), events)
    nodes: list[str] = []
    while not nodes:
        nodes = [n.name for e in events.next_events(events.now() + 30.0) if isinstance(e, NodesJoined) for n in e.nodes]
    manager.spawn(["sh", "-c", 'echo "$HPO_NODE" > "$HPO_NODE"; echo "bye $1"', "sh", "a b"], nodes, heard.append)
    until = events.now() + 30.0
    while not heard and events.now() < until:
        events.next_events(events.now() + 0.1)
    assert heard == ["bye a b\nbye a b"]
    assert {(here / name).read_text().strip() for name in nodes} == set(nodes)
    manager.spawn(["sleep", "300"], nodes, heard.append)
    empty.wait_for(lambda: any("spawn" in line for line in empty.steps()))
    manager.release()
    events.close()
    assert len(heard) == 1


def test_slurm_is_detected_by_what_answers(cluster, monkeypatch, tmp_path):
    found = get(hpo.WorkloadManager, "slurm").detect()
    assert found is not None
    assert found.startswith("scontrol ping: Slurmctld(primary) at ")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "nothing"))
    assert SlurmManager.detect() is None


def test_the_plan_shows_the_srun_line(here):
    with hpo.Evaluator("python3 train.py", workload_manager="slurm", nodes=2, launch_args="-c 4") as evaluator:
        study = hpo.Study(hpo.Params([["--x", 1, (1, 9)]]), evaluator, n_trials=1, directory="study")
        words = shlex.split(study.plan(1)[0])
    assert words[:2] == ["srun", "--jobid=JOBID"]
    assert words[-5:] == ["-c", "4", "sh", "-c", "python3 train.py --x=1"]


def test_a_preview_shows_the_salloc_line_without_asking(cluster, monkeypatch):
    request = hpo.AllocationRequest(nodes=3, timeout_s=5400.0, args="-p long --exclusive", name="hpo-x")
    words = shlex.split(SlurmManager().preview(request))
    assert words[0] == "salloc"
    assert {"--job-name=hpo-x", "--nodes=3", "--time=90"} < set(words)
    assert words[-3:] == ["-p", "long", "--exclusive"]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert SlurmManager().preview(request) == ""


def test_it_is_found_by_its_entry_point():
    found = [info for info in hpo.list_plugins() if info.distribution == "hpo-slurm"]
    assert {(info.kind, info.name, info.health) for info in found} == {
        ("workload_manager", "slurm", "ok"),
        ("launcher", "slurm", "ok"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"manager_options": {"pol": 1}}, "no option 'pol'.*did you mean 'poll'"),
        ({"manager_options": {"poll": 0}}, "poll"),
        ({"launch_args": "-x 'open"}, "cannot be split into words"),
        ({"memory_limit": "1G"}, "launcher 'slurm' can't keep it"),
    ],
)
def test_wrong_options_are_refused(here, arguments, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        _ = hpo.Evaluator("true", **{"workload_manager": "slurm", **arguments}).backend


def test_an_allocation_ends_too_soon_for_another_evaluation(timed, cluster):
    """While the other tests ran: none was begun that would not end in time, another allocation came, and the study
    stopped at the end of that one.
    """
    out = timed.end(240.0)
    assert re.search(r"the time of allocation \d+ is nearly over; asking for another allocation \(1 of 1\)", out)
    assert "stopped: the allocation ends too soon for another evaluation" in out
    assert {record["state"] for record in timed.records("finished")} == {"done"}
    assert len(timed.records("finished")) >= 16
    assert {record["failure"] for record in timed.records("attempt")} <= {"allocation ended"}


def test_an_allocations_time_is_over(expiring, cluster):
    """Slurm says so, and nodes and allocation are gone, as ended and not as failed."""
    out, _ = expiring.communicate(timeout=240.0)
    joined, left, lost = out.splitlines()
    assert joined.startswith("NodesJoined(")
    assert re.match(r"NodesLeft\(.*the time of allocation \d+ is over.*ALLOCATION_ENDED", left)
    assert re.match(r"AllocationLost\(.*the time of allocation \d+ is over.*ALLOCATION_ENDED", lost)


# Workers of the core's launcher `pilot` on Slurm's nodes, and training that goes on across nodes

COUNTS = """
import os, sys
path = os.path.join(os.environ["HPO_CHECKPOINT"], "epochs")
nodes = open(path).read().split() if os.path.exists(path) else []
with open(path, "w") as file:
    file.write(" ".join([*nodes, os.environ["SLURMD_NODENAME"]]))
print("FoM:", abs(float(sys.argv[1].partition("=")[2]) - 0.3) / (1 + len(nodes)))
"""


def test_two_hundred_short_evaluations(empty, here):
    """All nodes work, each evaluation by itself; in the end nothing is left in the queue."""
    study, watching = run(script(here), n_trials=200, launcher="pilot", nodes=4)
    assert [record.state for record in study.trials] == [State.DONE] * 200
    ran = intervals(here)
    assert Counter(trial for _, trial, *_ in ran) == Counter(range(1, 201))
    assert {node for node, *_ in ran} == {"n1", "n2", "n3", "n4"}
    assert watching.most <= 4
    assert empty.jobs() == []


def test_an_evaluation_of_two_nodes_knows_both(empty, here):
    """The command runs on the first; all are in the host file."""
    command = "sh -c 'echo FoM: $(sort \"$HPO_HOSTFILE\" | uniq | wc -l)' sh"
    study, _ = run(command, n_trials=4, launcher="pilot", nodes=4, nodes_per_eval=2)
    assert [record.fom for record in study.trials] == [2.0] * 4
    used = [record.result.nodes for record in study.trials if record.result]
    assert {len(set(nodes)) for nodes in used} == {2}


def test_a_killed_driver_leaves_no_worker(empty, here, drivers):
    driver = Driver(here, script(here, 60.0), n_trials=20, launcher="pilot", nodes=3)
    drivers.append(driver)
    empty.wait_for(lambda: driver.said("started:") >= 3 and (here / "log").exists())
    study_id = driver.study_id()
    empty.wait_for(lambda: len(alive(study_id)) >= 3)
    driver.signal(signal.SIGKILL)
    driver.process.wait()
    empty.wait_for(lambda: alive(study_id) == [] and empty.jobs() == [])


def test_a_node_dies_under_its_worker(empty, here, drivers):
    """What ran there runs again elsewhere, and the study comes to its end."""
    driver = Driver(here, script(here, 1.0), n_trials=12, launcher="pilot", nodes=3)
    drivers.append(driver)
    empty.wait_for(lambda: (here / "log").exists() and (here / "log").read_text().count("n2 begin") >= 1)
    try:
        empty.control("stop-node", "n2")
        (here / "fast").touch()
        said = driver.end()
    finally:
        empty.control("start-node", "n2")
    assert "stopped: all trials of the budget are done" in said, said
    study = hpo.Study.load(here / "study")
    with study:
        assert {record.state for record in study.trials} == {State.DONE}
        assert max(record.result.attempts for record in study.trials if record.result) >= 2
    empty.wait_for(lambda: "n2" in empty.ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%N"))


@pytest.mark.parametrize("launcher", ["slurm", "pilot"])
def test_population_based_training_across_nodes(empty, here: Path, launcher):
    """Members go on from checkpoints that other nodes wrote."""
    pytest.importorskip("hpo_genetic")
    (here / "train.py").write_text(COUNTS)
    with hpo.Evaluator(
        f"{sys.executable} -S train.py",
        workload_manager="slurm",
        launcher=launcher,
        nodes=4,
        alloc_timeout=5,
        checkpoint="ckpt",
        manager_options={"poll": 0.2},
    ) as evaluator:
        params = hpo.Params([["--x", 0.9, (0.0, 1.0)]])
        options = {"pop_size": 4, "epochs": 6}
        with hpo.Study(
            params, evaluator, strategy="pbt", strategy_options=options, n_trials=24, seed=1, directory="study"
        ) as study:
            study.optimize()
            assert {record.state for record in study.trials} == {State.DONE}
            assert study.best_trial is not None
            checkpoint = here / "study" / "checkpoints" / study.best_trial.trial.tag / "ckpt" / "epochs"
            nodes = checkpoint.read_text().split()
            assert len(nodes) == _epochs(study, study.best_trial.number)
            parents = {record.trial.parent for record in study.trials}
            assert len(parents - {None}) >= 12
            assert len({node for folder in os.listdir("study/checkpoints") for node in _trained_on(folder)}) > 1


def _epochs(study: hpo.Study, number: int) -> int:
    """Trials from the first ancestor to this one."""
    parent = study.trials[number - 1].trial.parent
    return 1 if parent is None else 1 + _epochs(study, parent)


def _trained_on(folder: str) -> list[str]:
    path = Path("study/checkpoints") / folder / "ckpt" / "epochs"
    return path.read_text().split() if path.exists() else []
