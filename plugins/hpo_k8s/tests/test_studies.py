"""Whole studies on the fake cluster, and what happens to them."""

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import hpo_core as hpo

PYTHON = shlex.quote(sys.executable)
PARAMS = [["--x", 0.5, (0.0, 1.0)]]


class Listener(hpo.Observer):
    """Remembers what people were told."""

    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture(autouse=True)
def _here(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def program(tmp_path) -> str:
    path = tmp_path / "train.py"
    path.write_text("import sys\nprint('FoM:', sys.argv[1].partition('=')[2])\n")
    return f"{PYTHON} {path}"


def study(cmd: str, *, n_trials: int = 3, **arguments) -> hpo.Study:
    budget = {key: arguments.pop(key) for key in ("max_failures", "target") if key in arguments}
    observers = arguments.pop("observers", ())
    params = arguments.pop("params", PARAMS)
    evaluator = hpo.Evaluator(cmd, **{"workload_manager": "k8s", "workload_image": "lab/any:1", **arguments})
    return hpo.Study(hpo.Params(params), evaluator, n_trials=n_trials, seed=1, observers=observers, **budget)


def run(cmd: str, **arguments) -> hpo.Study:
    found = study(cmd, **arguments)
    try:
        found.optimize()
    finally:
        found.evaluator.close()
        found.close()
    return found


def results(found: hpo.Study) -> list[hpo.Result]:
    return [record.result for record in found.trials]


def test_it_is_found_by_its_entry_point():
    found = {(info.kind, info.name, info.health) for info in hpo.list_plugins() if info.distribution == "hpo-k8s"}
    assert found == {("launcher", "k8s", "ok"), ("workload_manager", "k8s", "ok")}


def test_a_study_runs_and_leaves_nothing(fake, program):
    found = run(program, n_trials=6, nodes=3)
    assert [result.state for result in results(found)] == [hpo.State.DONE] * 6
    assert found.best_fom == min(record.fom for record in found.trials)
    assert {node for result in results(found) for node in result.nodes} <= {"pod-1", "pod-2", "pod-3"}
    assert fake.left() == {}


def test_requests_stay_few(fake, program):
    """A Job, its log and the log's last lines for each evaluation; one list and one watch for all."""
    found = run(program, n_trials=10, nodes=5)
    assert len(found.trials) == 10
    assert len(fake.requests("POST .*jobs")) == 10
    assert len(fake.requests("GET .*/log")) <= 20
    assert len(fake.requests("watch=true")) <= 2
    assert len(fake.requests()) <= 4 * 10 + 8


def test_values_are_no_shell_syntax_and_no_variables(tmp_path):
    """What a shell or Kubernetes would replace arrives letter by letter."""
    nasty = "$(HPO_TRIAL) $$ $HOME `id` $(touch broken) 'a' \"b\" & | > broken"
    (tmp_path / "nasty").write_text(nasty)
    (tmp_path / "train.py").write_text(
        "import sys\nwanted = open(sys.argv[1]).read()\nprint('FoM:', 1 if sys.argv[2] == '--word=' + wanted else 2)\n"
    )
    params = [["--word", nasty, [nasty, "a"]]]
    found = run(f"{PYTHON} {tmp_path}/train.py {tmp_path}/nasty", params=params, n_trials=1)
    assert found.best_fom == 1


def test_the_program_hears_of_its_trial(tmp_path):
    found = run("echo FoM: $HPO_TRIAL; echo $HPO_STUDY $HPO_NUM_NODES; true", n_trials=3)
    assert [record.fom for record in found.trials] == [1, 2, 3]


def test_intermediate_values_arrive_while_it_runs(fake, tmp_path):
    """A strategy may stop a trial by what it prints, long before the program would end."""
    from hpo_core.registry import added

    class Stopper(hpo.Strategy):
        name = "stopper"
        capabilities = frozenset({hpo.interfaces.Capability.REPORTS})

        def ask(self):
            return hpo.Proposal(self.space.draw(self.rng))

        def report(self, trial, report):
            return report.step >= 2

    with added(Stopper):
        evaluator = hpo.Evaluator(
            "for i in 1 2 3; do echo FoM: $i; sleep 0.2; done; sleep 300; true",
            workload_manager="k8s",
            workload_image="lab/any:1",
        )
        with hpo.Study(hpo.Params(PARAMS), evaluator, strategy="stopper", n_trials=1, seed=1) as found, evaluator:
            found.optimize()
    assert [record.state for record in found.trials] == [hpo.State.STOPPED]
    assert fake.left() == {}


def test_several_pods_for_one_evaluation(fake, tmp_path):
    """Each knows its rank and the names of all; what the first prints counts."""
    command = f"echo $HPO_NODE_RANK $HPO_MASTER_ADDR $HPO_NODELIST >> {tmp_path}/ranks; echo FoM: $HPO_NODE_RANK; true"
    found = run(command, n_trials=2, nodes=4, nodes_per_eval=2)
    assert [record.fom for record in found.trials] == [0, 0]
    lines = sorted((tmp_path / "ranks").read_text().split("\n"))[1:]
    assert [line.split()[0] for line in lines] == ["0", "0", "1", "1"]
    name = f"hpo-{found.id}-1-1"
    assert f"0 {name}-0.hpo-{found.id} {name}-0.hpo-{found.id},{name}-1.hpo-{found.id}" in lines
    services = fake.requests("POST .*/services")
    assert len(services) == 1
    assert fake.left() == {}


# Drivers that are ended

DRIVER = """
import sys
import hpo_core as hpo
evaluator = hpo.Evaluator(sys.argv[2], workload_manager="k8s", workload_image="lab/any:1", nodes=2)
study = hpo.Study(
    hpo.Params([["--x", 0.5, (0.0, 1.0)]]), evaluator, n_trials=4, seed=1, directory=sys.argv[1], resume_if_exists=True
)
study.optimize()
evaluator.close()
print(study.stop_reason.value)
"""


@pytest.fixture
def driver(tmp_path, fake):
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER))
    started = []

    def start(command: str) -> subprocess.Popen:
        words = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "study"), command]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def waits_for(gate: Path) -> str:
    return f"echo x >> {gate}.runs; timeout 120 sh -c 'while [ ! -e {gate} ]; do sleep 0.05; done'; echo FoM: 1; true"


def killed_while_two_run(fake, driver, command: str) -> None:
    first = driver(command)
    fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Running"] * 2, "two running pods")
    first.kill()
    first.communicate()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_told_to_stop_leaves_nothing(fake, driver, sent, tmp_path):
    process = driver("echo x; sleep 300; true")
    fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Running"] * 2, "two running pods")
    process.send_signal(sent)
    if sent is signal.SIGINT:
        time.sleep(0.2)
        process.send_signal(sent)
    process.communicate(timeout=120)
    assert fake.left() == {}


def test_what_a_killed_driver_left_is_adopted(fake, driver, tmp_path):
    """The pods go on; the next driver takes their output from the first byte on, and nothing runs twice."""
    gate = tmp_path / "gate"
    killed_while_two_run(fake, driver, waits_for(gate))
    pods = fake.pods()
    second = driver(waits_for(gate))
    fake.wait_for(lambda: len(fake.requests("watch=true")) >= 2, "the second driver's watch")
    assert fake.pods() == pods
    gate.touch()
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert (tmp_path / "gate.runs").read_text() == "x\n" * 4
    records = [json.loads(line) for line in (tmp_path / "study" / "journal.jsonl").read_text().splitlines()]
    assert [record["attempts"] for record in records if record["record"] == "finished"] == [1] * 4
    assert fake.left() == {}


def test_a_result_that_was_not_recorded_is_not_lost(fake, driver, tmp_path):
    """Pods that end while nobody listens are kept until their results are on disk: the next driver reads them."""
    gate = tmp_path / "gate"
    first = driver(waits_for(gate))
    fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Running"] * 2, "two running pods")
    first.send_signal(signal.SIGSTOP)
    gate.touch()
    fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Succeeded"] * 2, "two pods that have ended")
    first.kill()
    first.communicate()
    second = driver(waits_for(gate))
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert (tmp_path / "gate.runs").read_text() == "x\n" * 4
    records = [json.loads(line) for line in (tmp_path / "study" / "journal.jsonl").read_text().splitlines()]
    assert [record["attempts"] for record in records if record["record"] == "finished"] == [1] * 4
    assert fake.left() == {}


def test_jobs_are_deleted_once_their_results_are_on_disk(fake, tmp_path):
    """While the study goes on, several with one request."""
    gate = tmp_path / "gate"
    command = f"[ $HPO_TRIAL -lt 6 ] || {{ {waits_for(gate)}; }}; echo FoM: 1; true"

    def open_gate():
        fake.wait_for(lambda: len(fake.requests("POST .*/jobs")) == 6, "the last Job")
        fake.wait_for(lambda: len(fake.objects("jobs")) == 1, "only the last Job")
        gate.touch()

    thread = threading.Thread(target=open_gate)
    thread.start()
    assert len(run(command, n_trials=6, nodes=2).trials) == 6
    thread.join()
    assert len(fake.requests("DELETE .*/jobs")) < 6


def test_what_a_killed_driver_left_is_cleaned(fake, driver, tmp_path):
    """``hpo clean`` ends and deletes it all, and names it."""
    killed_while_two_run(fake, driver, "sleep 300; true")
    words = [sys.executable, "-m", "hpo_core", "clean", str(tmp_path / "study")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ended job hpo-") == 2
    assert fake.left() == {}


def test_in_another_namespace_what_was_left_in_the_former_one_is_ended(fake, driver, tmp_path):
    gate = tmp_path / "gate"
    killed_while_two_run(fake, driver, waits_for(gate))
    gate.touch()
    with hpo.Study.load(tmp_path / "study", {"launcher_options": {"namespace": "default"}}) as study:
        study.optimize()
        study.evaluator.close()
        assert [record.state for record in study.trials] == [hpo.State.DONE] * 4
    assert fake.requests("POST .*/namespaces/default/jobs")
    assert fake.left() == {}


@pytest.mark.parametrize("changed", [{"nodes": 3}, {"launcher_options": {"patience_s": 60.0}}])
def test_with_other_settings_what_was_left_is_adopted(fake, driver, tmp_path, changed):
    gate = tmp_path / "gate"
    killed_while_two_run(fake, driver, waits_for(gate))
    gate.touch()
    with hpo.Study.load(tmp_path / "study", changed) as study:
        study.optimize()
        study.evaluator.close()
        assert [record.result.attempts for record in study.trials] == [1] * 4
    assert (tmp_path / "gate.runs").read_text() == "x\n" * 4
    assert fake.left() == {}


def test_deleting_the_studys_object_deletes_all(fake, driver):
    """As the words say that a driver leaves behind which cannot reach the cluster."""
    process = driver("sleep 300; true")
    fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Running"] * 2, "two running pods")
    process.kill()
    process.communicate()
    name = fake.left()["configmaps"][0]
    fake.ask("DELETE", f"/api/v1/namespaces/hpo/configmaps/{name}")
    fake.wait_for(lambda: fake.left() == {}, "nothing left")


# What is refused before anything runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workload_image": ""}, "needs workload_image"),
        ({"checkpoint": "ckpt"}, "checkpoint with workload_manager='k8s' needs a persistent volume claim"),
        ({"launcher": "local"}, "'k8s' needs 'k8s' for both"),
        ({"launcher_options": {"memmory": "1G"}}, "no option 'memmory'.*did you mean 'memory'"),
        ({"launcher_options": {"memory": "1 GB"}}, "memory='1 GB' is no quantity of Kubernetes"),
        ({"launcher_options": {"claims": {"data": "data"}}}, "must be the absolute path"),
        ({"launcher_options": {"secrets": {"A": "b"}}}, "must be SECRET/KEY"),
        ({"launcher_options": {"tolerations": [5]}}, "tolerations: 5 is no table and no text"),
        ({"launcher_options": {"deadline_s": float("inf")}}, "'deadline_s' must be <= 2147483647: inf"),
        ({"launcher_options": {"template": {"containers": []}}}, "fields of a pod stand below 'spec'"),
        ({"launcher_options": {"template": "missing.yaml"}}, "cannot read missing.yaml"),
    ],
)
def test_wrong_options_are_refused(fake, arguments, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        study("true", **arguments)
    assert fake.requests() == []


def test_without_a_cluster_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(hpo.ConfigurationError, match="no way to a Kubernetes cluster was found"):
        run("true", launcher_options={"kubeconfig": str(tmp_path / "missing")})


def test_sources_and_checkpoints_on_a_claim_that_the_driver_mounts_too(fake, tmp_path):
    """Workspaces are made on the claim by the driver, and are there in the pod."""
    data, source = tmp_path / "data", tmp_path / "source"
    data.mkdir()
    source.mkdir()
    (source / "train.py").write_text("import os\nassert os.path.isdir('ckpt')\nprint('FoM:', os.getcwd()[-1])\n")
    found = run(
        f"{PYTHON} train.py",
        src_path=str(source),
        run_path=str(data / "run"),
        checkpoint="ckpt",
        launcher_options={"claims": {"data": str(data)}},
        n_trials=2,
    )
    assert [record.fom for record in found.trials] == [1, 2]
    assert os.path.isfile(data / "run" / "point2" / ".hpo" / "stdout")
