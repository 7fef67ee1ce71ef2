"""The ways to a cluster: over TLS, and from inside; what we may do there; and a driver that is a pod itself."""

import sys
import threading

import pytest

import hpo_core as hpo

PARAMS = [["--x", 0.5, (0.0, 1.0)]]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(cmd: str = "echo FoM: 1; true", *, n_trials: int = 1, **arguments) -> hpo.Study:
    evaluator = hpo.Evaluator(cmd, workload_manager="k8s", workload_image="lab/any:1", grace=1, **arguments)
    with evaluator, hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=n_trials, seed=1) as study:
        study.optimize()
    return study


def test_a_study_runs_over_https(secure):
    """With a certificate authority that the kubeconfig names."""
    assert run(n_trials=2, launcher_options={"kubeconfig": str(secure.kubeconfig)}).best_fom == 1


# Inside


@pytest.fixture
def account(secure, tmp_path, monkeypatch):
    """The files of a pod's service account."""
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("secret-token")
    (folder / "ca.crt").write_bytes((tmp_path / "ca.pem").read_bytes())
    (folder / "namespace").write_text("hpo\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", secure.address.rpartition(":")[2])
    return folder


def test_in_a_pod_its_own_service_account_is_used(secure, account, tmp_path, monkeypatch):
    """For its own namespace, before any kubeconfig."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert run(launcher_options={"account": str(account)}).best_fom == 1
    assert secure.requests("POST .*namespaces/hpo/jobs")


DRIVER = """
import sys
import hpo_core as hpo
options = {"account": sys.argv[2]} if sys.argv[2] else {}
evaluator = hpo.Evaluator(sys.argv[3], workload_manager="k8s", workload_image="a:1", nodes=2, launcher_options=options)
space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
study = hpo.Study(space, evaluator, n_trials=2, seed=1, directory=sys.argv[1], resume_if_exists=True)
study.optimize()
evaluator.close()
"""


@pytest.fixture
def driver_pod(secure, account, tmp_path):
    """A driver that runs as a Job of the cluster, with two evaluations that run."""
    (tmp_path / "driver.py").write_text(DRIVER)
    port = secure.address.rpartition(":")[2]
    words = [sys.executable, tmp_path / "driver.py", tmp_path / "study", account, waits_for(tmp_path / "gate")]
    container = {
        "name": "driver",
        "image": "lab/driver:1",
        "command": [str(word) for word in words],
        "env": [
            {"name": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1"},
            {"name": "KUBERNETES_SERVICE_PORT", "value": port},
        ],
    }
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    job = {"metadata": {"name": "driver"}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
    secure.ask("POST", "/apis/batch/v1/namespaces/hpo/jobs", job)
    secure.wait_for(lambda: [phase for _, phase in secure.pods()] == ["Running"] * 3, "three running pods")
    return "driver"


def waits_for(gate) -> str:
    return f"timeout 120 sh -c 'while [ ! -e {gate} ]; do sleep 0.05; done'; echo FoM: 1; true"


def _delete_job(cluster, name: str) -> None:
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "gracePeriodSeconds": 0}
    cluster.ask("DELETE", f"/apis/batch/v1/namespaces/hpo/jobs/{name}", body)


def test_who_deletes_the_drivers_pod_deletes_all(secure, driver_pod):
    """The driver itself is killed with its pod, and need not do anything."""
    (anchor,) = secure.objects("configmaps")
    (owner,) = anchor["metadata"]["ownerReferences"]
    assert owner["kind"] == "Pod"
    _delete_job(secure, driver_pod)
    secure.wait_for(lambda: secure.left() == {}, "nothing left")


def test_another_driver_that_goes_on_takes_the_study_over(secure, driver_pod, tmp_path, monkeypatch):
    """The pod of the first may be deleted then, and takes nothing with it."""
    secure.tell("vanish", labelSelector=f"batch.kubernetes.io/job-name={driver_pod}")
    monkeypatch.delenv("HOSTNAME", raising=False)
    options = {"kubeconfig": str(secure.kubeconfig)}
    evaluator = hpo.Evaluator(
        waits_for(tmp_path / "gate"),
        workload_manager="k8s",
        workload_image="a:1",
        nodes=2,
        launcher_options=options,
    )

    def delete_first_driver():
        secure.wait_for(lambda: "ownerReferences" not in secure.objects("configmaps")[0]["metadata"], "the take-over")
        secure.tell("vanish", labelSelector=f"batch.kubernetes.io/job-name={driver_pod}", remove=True)
        secure.wait_for(lambda: len(secure.pods()) == 2, "the end of the first driver's pod")
        (tmp_path / "gate").touch()

    thread = threading.Thread(target=delete_first_driver)
    thread.start()
    with evaluator, hpo.Study.load(tmp_path / "study", evaluator, force_lock=True, allow_changes=True) as study:
        study.optimize()
    thread.join()
    assert [(record.state, record.result.attempts) for record in study.trials] == [(hpo.State.DONE, 1)] * 2


# What we may do


@pytest.mark.parametrize("hides_rules", [False, True])
def test_what_is_not_allowed_is_said_before_anything_is_made(fake, hides_rules):
    """With the verbs, the resources, the namespace, and what to add to a Role."""
    role = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "delete", "deletecollection"]}]
    role += [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"], "resourceNames": ["x"]}]
    role += [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["*"]}]
    fake.knobs(role=role, hides_rules=hides_rules)
    with pytest.raises(hpo.ConfigurationError) as caught:
        run()
    assert "namespace 'hpo' does not allow what is needed to run there: create jobs.batch, get pods/log" in str(
        caught.value
    )
    assert "\n- {apiGroups: ['batch'], resources: [jobs], verbs: [create]}" in str(caught.value)
    assert "\n- {apiGroups: [''], resources: [pods/log], verbs: [get]}" in str(caught.value)
    assert fake.left() == {}


def test_services_are_needed_for_several_pods_only(fake):
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log", "configmaps"], "verbs": ["*"]},
    ]
    fake.knobs(role=rules)
    assert run().best_fom == 1
    with pytest.raises(hpo.ConfigurationError, match="create services, get services, delete services"):
        run(nodes=2, nodes_per_eval=2)


def test_who_may_not_delete_pods_ends_them_with_their_jobs(fake):
    fake.knobs(
        role=[
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["pods/log", "configmaps"], "verbs": ["*"]},
        ]
    )
    found = run("sleep 300; true", eval_timeout=1)
    assert [record.result.failure for record in found.trials] == [hpo.Failure.TIME_LIMIT]
    assert fake.left() == {}


def test_a_cluster_that_answers_no_such_question_is_believed(fake):
    fake.knobs(faults=[{"match": "selfsubject", "status": 403, "times": 100}])
    assert run().best_fom == 1


def test_credentials_that_are_not_taken_are_said_at_once(fake):
    fake.write_kubeconfig("wrong")
    try:
        with pytest.raises(hpo.ConfigurationError, match="does not take these credentials"):
            run()
    finally:
        fake.write_kubeconfig("secret-token")
