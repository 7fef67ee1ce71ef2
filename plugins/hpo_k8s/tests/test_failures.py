"""Ways in which pods fail, and what the study makes of each."""

import shlex
import sys
import threading

import pytest

import hpo_core as hpo
from hpo_core import Failure

PYTHON = shlex.quote(sys.executable)


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
def listener():
    return Listener()


def run(cmd: str, *, listener=None, n_trials: int = 1, image: str = "lab/any:1", **arguments) -> hpo.Study:
    options = arguments.pop("launcher_options", {})
    with hpo.Evaluator(
        cmd, workload_manager="k8s", workload_image=image, launcher_options=options, grace=1, **arguments
    ) as evaluator:
        observers = [] if listener is None else [listener]
        study = hpo.Study(
            hpo.Params([["--x", 0.5, (0.0, 1.0)]]), evaluator, n_trials=n_trials, seed=1, observers=observers
        )
        with study:
            study.optimize()
    return study


def result(study: hpo.Study) -> hpo.Result:
    return study.trials[0].result


def once_running(fake, what: str, **body) -> threading.Thread:
    """Do something to the first pod that runs."""

    def wait_and_do():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        fake.tell(what, **body)

    thread = threading.Thread(target=wait_and_do)
    thread.start()
    return thread


def until(gate):
    """Shell text that waits for a file, but not for ever: a test that fails leaves nothing."""
    return f"timeout 120 sh -c 'while [ ! -e {gate} ]; do sleep 0.02; done'"


# The program's own end


@pytest.mark.parametrize("kills", ["group", "child"])
@pytest.mark.parametrize("form", ["{0}; true", "{0} || true; echo FoM: 1; true"])
def test_out_of_memory_is_told_even_behind_a_shell_that_ends_well(fake, kills, form):
    fake.knobs(kills=kills)
    hold = f"{PYTHON} -c 'import time; held = b\"x\" * 200_000_000; time.sleep(60)'"
    found = run(form.format(hold), memory_limit="100M")
    assert result(found).failure is Failure.MEMORY_LIMIT
    assert "out of memory" in result(found).message
    assert "held more than 100 MiB" in result(found).message


def test_a_sidecar_that_goes_on_does_not_hold_it_up(fake):
    fake.knobs(sidecar=True)
    assert run("echo FoM: 1; true").best_fom == 1
    assert fake.left() == {}


def test_a_pod_that_was_never_seen_running(fake):
    fake.knobs(quick=True)
    assert run("echo FoM: 1; true", n_trials=3).best_fom == 1


# Not the program's fault


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ({"reason": "PreemptionByScheduler", "message": "preempting", "delete": True}, Failure.PREEMPTED),
        ({"reason": "DeletionByTaintManager", "message": "node is unreachable", "delete": True}, Failure.NODE_LOST),
        ({"reason": "EvictionByEvictionAPI", "message": "drained", "delete": True}, Failure.PREEMPTED),
        ({"own": "Evicted", "message": "The node was low on resource: memory."}, Failure.PREEMPTED),
    ],
)
def test_what_had_to_go_is_tried_again(fake, listener, body, failure):
    """Without using up a retry; what was said is heard."""
    command = "[ $HPO_ATTEMPT -gt 1 ] || sleep 300; echo FoM: 1; true"
    thread = once_running(fake, "disrupt", **body)
    found = run(command, listener=listener)
    thread.join()
    assert (result(found).state, result(found).attempts) == (hpo.State.DONE, 2)
    assert any(body["message"] in notice and "trying again" in notice for notice in listener.notices)
    assert failure.programs_fault is False


def test_a_pod_that_vanished_with_its_node_is_tried_again(fake, listener):
    command = "[ $HPO_ATTEMPT -gt 1 ] || sleep 300; echo FoM: 1; true"
    thread = once_running(fake, "vanish", remove=True)
    found = run(command, listener=listener)
    thread.join()
    assert (result(found).state, result(found).attempts) == (hpo.State.DONE, 2)
    assert any("went away with its node" in notice for notice in listener.notices)


def test_a_node_that_does_not_answer_any_more_is_given_up(fake, listener):
    """Its pod was deleted in its name and stays, as nobody is there to end it; that is said in the end, too."""

    def lose_node():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        fake.tell("vanish")
        fake.tell("disrupt", reason="DeletionByTaintManager", message="node is unreachable", delete=True)

    thread = threading.Thread(target=lose_node)
    thread.start()
    options = {"lost_timeout_s": 0.5, "template": {"spec": {"terminationGracePeriodSeconds": 1}}}
    command = "[ $HPO_ATTEMPT -gt 1 ] || sleep 300; echo FoM: 1; true"
    with pytest.warns(UserWarning, match="hpo-.*-1-1-.* may still be there"):
        found = run(command, listener=listener, launcher_options=options)
    thread.join()
    assert (result(found).state, result(found).attempts) == (hpo.State.DONE, 2)
    assert any("given up with its node node-1: node is unreachable" in notice for notice in listener.notices)


def test_a_study_whose_objects_somebody_deletes_goes_on(fake, listener):
    """With its anchor all goes; it is made again for the next attempt."""

    def delete_anchor():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        name = fake.left()["configmaps"][0]
        fake.ask("DELETE", f"/api/v1/namespaces/hpo/configmaps/{name}")

    thread = threading.Thread(target=delete_anchor)
    thread.start()
    found = run("[ $HPO_ATTEMPT -gt 1 ] || sleep 300; echo FoM: 1; true", listener=listener)
    thread.join()
    assert (result(found).state, result(found).attempts) == (hpo.State.DONE, 2)
    assert len(fake.requests("POST .*/configmaps")) == 2
    assert fake.left() == {}


def test_a_job_that_somebody_deletes_before_it_has_a_pod_is_made_again(fake, listener):
    fake.knobs(quota=0)

    def delete_job():
        fake.wait_for(lambda: fake.objects("jobs"), "a Job")
        name = fake.left()["jobs"][0]
        fake.ask("DELETE", f"/apis/batch/v1/namespaces/hpo/jobs/{name}?propagationPolicy=Background")
        fake.knobs(quota=None)

    thread = threading.Thread(target=delete_job)
    thread.start()
    found = run("echo FoM: 1; true", listener=listener)
    thread.join()
    assert (result(found).state, result(found).attempts) == (hpo.State.DONE, 2)
    assert any("was deleted by somebody else" in notice for notice in listener.notices)


# Set-ups that can't work


@pytest.mark.parametrize(
    ("knobs", "arguments", "message"),
    [
        ({}, {"image": "UPPER/Bad::"}, "InvalidImageName.*must be lowercase"),
        ({}, {"image": "lab/nope:1", "launcher_options": {"image_timeout_s": 0.5}}, "could not be pulled within 0.5 s"),
        ({}, {"launcher_options": {"secrets": {"TOKEN": "nope/k"}}}, "CreateContainerConfigError.*nope"),
        (
            {},
            {"launcher_options": {"gpus": 1, "pending_timeout_s": 0.5}},
            "no node was found for pod .* within 0.5 s .*scheduler says: .*Insufficient nvidia.com/gpu",
        ),
        (
            {},
            {"launcher_options": {"node_selector": "disk=ssd", "pending_timeout_s": 0.5}},
            "didn't match Pod's node affinity/selector",
        ),
        ({"stuck": True}, {"launcher_options": {"pending_timeout_s": 0.5}}, "did not start within 0.5 s.*Creating"),
        ({}, {"launcher_options": {"namespace": "none"}}, "there is no namespace 'none'"),
        (
            {
                "faults": [
                    {"match": "POST .*/jobs", "status": 403, "reason": "Forbidden", "message": "a policy says no"}
                ]
            },
            {},
            "the cluster refuses: a policy says no; what has to be allowed is in the Role",
        ),
        (
            {"faults": [{"match": "POST .*/configmaps", "status": 403, "message": "exceeded quota: maps, used: 9"}]},
            {},
            "a quota of namespace 'hpo' has no room for what a study needs beside its Jobs: exceeded quota: maps",
        ),
        (
            {},
            {"launcher_options": {"template": {"spec": {"tolerationz": []}}}},
            'Kubernetes refuses the Job: .*unknown field "spec.template.spec.tolerationz"',
        ),
    ],
)
def test_set_ups_that_cannot_work_stop_the_study(fake, knobs, arguments, message):
    """In a stated time, with the cluster's own words; nothing is left."""
    fake.knobs(**knobs)
    with pytest.raises(hpo.StudyStopped, match=f"(?s){message}"):
        run("echo FoM: 1; true", **arguments)
    fake.wait_for(lambda: fake.left() == {}, "nothing left")


def test_a_program_that_is_not_in_the_image_stops_the_study(fake):
    with pytest.raises(hpo.StudyStopped, match="no program '/nonexistent/program' in the image"):
        run("/nonexistent/program")


def test_a_pod_that_waits_for_a_node_runs_once_there_is_one(fake, listener):
    fake.knobs(unschedulable="0/1 nodes are available: 1 Insufficient cpu.")

    def make_room():
        fake.wait_for(fake.pods, "a pod")
        fake.wait_for(lambda: any("Insufficient cpu" in notice for notice in listener.notices), "a notice")
        fake.knobs(unschedulable="")

    thread = threading.Thread(target=make_room)
    thread.start()
    found = run("echo FoM: 1; true", listener=listener)
    thread.join()
    assert (found.best_fom, result(found).attempts) == (1, 1)


def test_a_quota_means_fewer_at_a_time(fake, listener, tmp_path):
    """It is said, others go first, and all are done in the end."""
    fake.knobs(quota=1)
    gate, log = tmp_path / "gate", tmp_path / "log"

    def open_gate():
        fake.wait_for(lambda: any("exceeded quota" in notice for notice in listener.notices), "a notice")
        gate.touch()

    thread = threading.Thread(target=open_gate)
    thread.start()
    wait = until(gate)
    found = run(f"echo + >> {log}; {wait}; echo - >> {log}; echo FoM: 1; true", listener=listener, n_trials=4, nodes=3)
    thread.join()
    assert [record.state for record in found.trials] == [hpo.State.DONE] * 4
    assert log.read_text() == "+\n-\n" * 4
    assert fake.left() == {}


def test_a_quota_that_has_room_for_a_part_of_the_pods_is_told(fake, listener, tmp_path):
    """Once, while those that are there wait for the others."""
    fake.knobs(quota=1)
    gate = tmp_path / "gate"

    def told():
        return [notice for notice in listener.notices if "exceeded quota" in notice]

    def make_room():
        fake.wait_for(lambda: told() and len(fake.requests("GET .*/events")) > 2, "three looks and a notice")
        fake.knobs(quota=None)
        gate.touch()

    thread = threading.Thread(target=make_room)
    thread.start()
    found = run(f"{until(gate)}; echo FoM: 1; true", listener=listener, nodes=2, nodes_per_eval=2)
    thread.join()
    assert len(told()) == 1
    assert (found.best_fom, result(found).attempts) == (1, 1)


def test_a_quota_of_jobs_is_waited_for(fake, listener):
    """As it refuses the Job itself."""
    fake.knobs(faults=[{"match": "POST .*/jobs", "status": 403, "message": "exceeded quota: jobs, used: count=1"}])
    found = run("echo FoM: 1; true", listener=listener)
    assert (found.best_fom, result(found).attempts) == (1, 1)
    assert any("exceeded quota: jobs" in notice for notice in listener.notices)
