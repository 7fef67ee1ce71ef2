"""Whole studies, on the fake cluster or on a real one where HPO_K8S_TEST_CONTEXT names it; see the README."""

import os
import threading
import time

import pytest

import hpo_core as hpo
from hpo_core import Failure
from hpo_k8s._client import Client
from hpo_k8s._connection import ApiError
from hpo_k8s._manifest import anchor_name

REAL = bool(os.environ.get("HPO_K8S_TEST_CONTEXT"))
LIMIT_S = 300.0 if REAL else 60.0


@pytest.fixture
def client(options):
    found = Client(options.get("context", ""), options.get("kubeconfig", ""), options.get("namespace", ""))
    yield found
    found.close()


@pytest.fixture
def run(options, client, tmp_path, monkeypatch):
    """Run a study, and see to it that nothing of it is left."""
    monkeypatch.chdir(tmp_path)

    def run(cmd: str, *, n_trials: int = 1, image: str = "", params=(("--x", 0.5, (0.0, 1.0)),), **arguments):
        mine = {key: value for key, value in options.items() if key != "image"} | arguments.pop("launcher_options", {})
        evaluator = hpo.Evaluator(
            cmd,
            workload_manager="k8s",
            workload_image=image or options["image"],
            grace=1,
            launcher_options=mine,
            **arguments,
        )
        study = hpo.Study(hpo.Params([list(one) for one in params]), evaluator, n_trials=n_trials, seed=1)
        try:
            with evaluator, study:
                study.optimize()
        finally:
            wait_until(lambda: left(client, study.id) == [], "nothing left")
        return study

    return run


def left(client, study_id: str) -> list[str]:
    """Names of what is there of a study."""
    query = {"labelSelector": f"hpo-core/study={study_id}"}
    found = [one["metadata"]["name"] for kind in ("jobs", "pods") for one in client.all(kind, query)[0]]
    for kind in ("configmaps", "services"):
        try:
            found.append(client.get(kind, anchor_name(study_id))["metadata"]["name"])
        except ApiError as error:
            if error.status != 404:
                raise
    return found


def wait_until(condition, what: str) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {LIMIT_S:g} s"
        time.sleep(0.1)


def result(study: hpo.Study) -> hpo.Result:
    return study.trials[0].result


def test_several_at_a_time(run):
    found = run("echo FoM: $HPO_TRIAL; true", n_trials=6, nodes=3)
    assert [record.fom for record in found.trials] == [1, 2, 3, 4, 5, 6]


def test_what_a_shell_or_kubernetes_would_replace_arrives_letter_by_letter(run):
    """The length tells that nothing was."""
    nasty = "$(HPO_TRIAL) $$ $HOME `id` $(touch broken) 'a' \"b\" & | > broken"
    command = """sh -c 'echo FoM: ${#1}' sh"""
    found = run(command, params=[("--word", nasty, [nasty, "a"])])
    assert found.best_fom == len(f"--word={nasty}")


def test_logs_that_are_no_text_or_json(run):
    found = run("""printf '\\377\\376\\n'; echo '{"FoM": 3}'; echo FoM: 2; true""", keep_output="all")
    assert found.best_fom == 2
    output = (found.directory / "output" / "1.1.out").read_bytes()
    assert output == b'\xff\xfe\n{"FoM": 3}\nFoM: 2\n'


def test_sources_reach_the_pod_in_a_config_map(run, tmp_path):
    (tmp_path / "source" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "deep" / "value").write_text("7")
    (tmp_path / "source" / "tool").write_text("#!/bin/sh\necho FoM: $(cat deep/value)\n")
    (tmp_path / "source" / "tool").chmod(0o755)
    assert run("./tool", src_path="source").best_fom == 7


def test_several_pods_for_one_evaluation(run):
    """All ranks begin; one that fails fails the evaluation."""
    assert run("test $HPO_NODE_RANK -lt 2; echo FoM: $HPO_NUM_NODES; true", nodes=2, nodes_per_eval=2).best_fom == 2
    found = run("test $HPO_NODE_RANK = 0 && sleep 300; exit 7; true", nodes=2, nodes_per_eval=2)
    assert (result(found).failure, result(found).exit_code) == (Failure.EXIT_CODE, 7)


def test_ends_of_programs(run):
    found = run("echo last words; exit 3; true")
    assert (result(found).failure, result(found).exit_code) == (Failure.EXIT_CODE, 3)
    assert "last words" in result(found).tail
    assert result(run("kill -SEGV $$; true")).failure is Failure.SIGNAL


def test_limits_of_time(run):
    """Ours, in less than the pod's own grace, and the deadline of the pod."""
    assert result(run("trap '' TERM; sleep 300; true", eval_timeout=1)).failure is Failure.TIME_LIMIT
    found = run("sleep 300; true", launcher_options={"deadline_s": 1})
    assert (result(found).failure, "deadline" in result(found).message) == (Failure.TIME_LIMIT, True)


def test_a_pod_that_somebody_deletes_is_tried_again(run, client):
    def delete():
        query = {"labelSelector": "app.kubernetes.io/managed-by=hpo-core"}

        def running():
            pods = client.all("pods", query)[0]
            return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]

        wait_until(running, "a running pod")
        for name in running():
            client.delete("pods", name, grace_s=1)

    thread = threading.Thread(target=delete)
    thread.start()
    found = run("[ $HPO_ATTEMPT -gt 1 ] || sleep 300; echo FoM: 1; true")
    thread.join()
    assert (result(found).state, result(found).attempts) == (hpo.State.DONE, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": "lab/nope:1", "launcher_options": {"image_timeout_s": 1}}, "could not be pulled within 1 s"),
        ({"launcher_options": {"node_selector": "none=none", "pending_timeout_s": 3}}, "the scheduler says"),
        ({"launcher_options": {"secrets": "A=no-such-secret/key"}}, "CreateContainerConfigError"),
        ({"launcher_options": {"template": {"spec": {"tolerationz": []}}}}, 'unknown field "spec.template.spec.tol'),
        ({"cmd": "/nonexistent/program"}, "no program '/nonexistent/program' in the image"),
    ],
)
def test_set_ups_that_cannot_work_stop_the_study(run, arguments, message):
    with pytest.raises(hpo.StudyStopped, match=f"(?s){message}"):
        run(**{"cmd": "echo FoM: 1; true", **arguments})
