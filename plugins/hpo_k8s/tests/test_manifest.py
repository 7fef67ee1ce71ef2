"""What Kubernetes is given, and what is made of what it says: pure functions."""

import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import yaml

import hpo_core as hpo
from hpo_core import Evaluation, Failure, Slot
from hpo_k8s import K8sLauncher, K8sOptions
from hpo_k8s._jobs import Jobs, escaped
from hpo_k8s._logs import Feed, Reading, Rotated
from hpo_k8s._manifest import name_of
from hpo_k8s._pods import read, verdict
from hpo_k8s._yaml import as_yaml

TRANSCRIPTS = Path(__file__).parent / "transcripts"
EVALUATION = Evaluation(
    trial=3,
    attempt=1,
    command="python3 train.py --x=$(id)",
    argv=None,
    directory=None,
    environment={"HPO_STUDY": "abc", "ODD": "$(HPO_STUDY) $$"},
    slots=(Slot("pod-1"),),
    name="hpo-abc-3-1",
)


def made(evaluation: Evaluation = EVALUATION, template: dict | None = None, **options) -> dict:
    return Jobs("abc", K8sOptions(**{"image": "i:1", **options}), template or {}).job(evaluation)


def container(manifest: dict) -> dict:
    return manifest["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("text", "name"),
    [("hpo-abc-3-1", "hpo-abc-3-1"), ("a" * 57, "a" * 57), ("x-1", "x-1")],
)
def test_good_names_stay(text, name):
    assert name_of(text) == name


@pytest.mark.parametrize("text", ["A_b", "a.b", "-a-", "a" * 58, "ü", "", "a b"])
def test_other_names_are_mapped_one_to_one(text):
    name = name_of(text)
    assert 0 < len(name) <= 57
    assert name.strip("-") == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name == name_of(text) != name_of(text + "_")


def test_no_dollar_is_left_to_kubernetes():
    assert escaped("$HOME $$ $(id)") == "$$HOME $$$$ $$(id)"
    manifest = made()
    assert container(manifest)["command"][-1] == "python3 train.py --x=$$(id)"
    assert {"name": "ODD", "value": "$$(HPO_STUDY) $$$$"} in container(manifest)["env"]


def test_a_job_is_tried_once_and_is_bounded_in_time():
    manifest = made()
    assert manifest["spec"]["backoffLimit"] == 0
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 86400
    pod = manifest["spec"]["template"]["spec"]
    assert (pod["restartPolicy"], pod["activeDeadlineSeconds"]) == ("Never", 7 * 86400)
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] == 5


def test_options_reach_the_pod():
    manifest = made(
        cpu="2",
        memory="1Gi",
        gpus=1,
        service_account="sa",
        node_selector="disk=ssd",
        tolerations="gpu=yes:NoSchedule,spot",
        env="A=1",
        secrets="TOKEN=mine/key",
        claims="data=/data",
        pull_policy="Always",
        pull_secrets="pull",
    )
    pod, ours = manifest["spec"]["template"]["spec"], container(manifest)
    assert ours["resources"] == {
        "requests": {"cpu": "2", "memory": "1Gi"},
        "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"},
    }
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("sa", True)
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    ]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert {"name": "A", "value": "1"} in ours["env"]
    assert {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "key"}}} in ours["env"]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data"}
    assert ours["volumeMounts"] == [{"name": pod["volumes"][0]["name"], "mountPath": "/data"}]


def test_the_memory_limit_of_an_evaluation_wins():
    limited = attrs.evolve(EVALUATION, memory_limit_bytes=1000)
    assert container(made(limited, memory="1Gi"))["resources"] == {
        "requests": {"memory": "1000"},
        "limits": {"memory": "1000"},
    }


def test_a_template_is_added_to_and_never_changed(tmp_path):
    template = {
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "containers": [{"name": "proxy", "image": "p"}, {"name": "main", "env": [{"name": "A", "value": "1"}]}],
            "tolerations": [{"key": "t"}],
            "terminationGracePeriodSeconds": 60,
        },
    }
    before = json.dumps(template)
    manifest = made(template=template, tolerations="spot")
    pod = manifest["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["containers"]] == ["main", "proxy"]
    assert [one["key"] for one in pod["tolerations"]] == ["t", "spot"]
    assert pod["terminationGracePeriodSeconds"] == 60
    assert manifest["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    assert container(manifest)["env"][0] == {"name": "A", "value": "1"}
    assert json.dumps(template) == before
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(template))
    by_file = K8sLauncher(K8sOptions(image="i:1", template=str(tmp_path / "pod.yaml"), tolerations="spot"))
    assert list(yaml.safe_load_all(by_file.preview(EVALUATION)))[-1] == manifest


def test_a_template_with_containers_of_which_none_is_ours_is_refused():
    template = {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    with pytest.raises(hpo.ConfigurationError, match="none is called 'main'"):
        made(template=template)


@pytest.mark.parametrize(
    ("name", "failure", "message"),
    [
        ("pod-oomkilled", Failure.MEMORY_LIMIT, "out of memory"),
        ("pod-deadline", Failure.TIME_LIMIT, "deadline"),
        ("pod-start-error", Failure.COULD_NOT_START, "no such file or directory"),
    ],
)
def test_recorded_pods_are_understood(name, failure, message):
    pod = json.loads((TRANSCRIPTS / f"{name}.json").read_text())["response"]["items"][0]
    found = verdict([read(pod, "hpo/eval")], "64Mi")
    assert found.failure is failure
    assert message in found.message


def test_the_limit_that_a_pod_ran_out_of_is_its_own():
    """A template or the namespace may have set it."""
    pod = json.loads((TRANSCRIPTS / "pod-oomkilled.json").read_text())["response"]["items"][0]
    limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert verdict([read(pod, "hpo/eval")]).message.endswith(f"held more than {limit}")


def test_recorded_pods_that_ended_by_themselves():
    for name, code in (("pod-succeeded", 0), ("pod-failed-exit3", 3)):
        pod = json.loads((TRANSCRIPTS / f"{name}.json").read_text())["response"]["items"][0]
        found = verdict([read(pod, "hpo/eval")], "")
        assert (found.exit_code, found.failure) == (code, None)


def test_recorded_pods_that_wait():
    for name, reason in (("pod-image-error", "ErrImagePull"), ("pod-invalid-image-name", "InvalidImageName")):
        pod = read(json.loads((TRANSCRIPTS / f"{name}.json").read_text())["response"]["items"][0], "hpo/eval")
        assert (pod.reason, pod.over, pod.started) == (reason, False, False)
    unschedulable = json.loads((TRANSCRIPTS / "pod-unschedulable.json").read_text())["response"]["items"][0]
    assert "Insufficient nvidia.com/gpu" in read(unschedulable, "hpo/eval").unschedulable


def test_a_log_read_anew_goes_on_where_it_stopped():
    posted: list[bytes] = []
    feed = Feed(posted.append, posted.append)
    Reading(feed).take(b"one\ntwo\n")
    again = Reading(feed)
    for byte in b"one\ntwo\nthree\n":
        again.take(bytes([byte]))
    assert b"".join(posted) == b"one\ntwo\nthree\n"
    assert feed.ends_with(b"three\n")
    assert not feed.ends_with(b"four\n")


def test_a_log_whose_beginning_is_gone_goes_on_where_it_stopped():
    posted, notices = [], []
    feed = Feed(posted.append, notices.append)
    Reading(feed).take(b"one\ntwo\n")
    with pytest.raises(Rotated):
        Reading(feed).take(b"two\nthree\n")
    feed.rebase(b"two\nthree\n", "p")
    assert b"".join(posted) == b"one\ntwo\nthree\n"
    assert notices == []
    feed.rebase(b"nine\n", "p")
    assert "some output is lost" in notices[0]


def test_other_readers_of_yaml_find_text_where_there_is_text():
    """Not only our own: to kubectl's, ``1e-05`` is a number and ``y`` a truth if they stand there bare."""
    odd = ["1e-05", "1.5e3", "089", "0o7", "+.5E3", "y", "N", "a\u2028b", "x\x85\ny", "nl\n", "tab\t", " a", "-c", ""]
    manifest = made(attrs.evolve(EVALUATION, argv=("train", *odd), environment={"A": "1e3"}))
    text = as_yaml([manifest], "it")
    assert list(yaml.safe_load_all(text)) == [manifest]
    for bare in ("1e-05", "1.5e3", "089", "0o7", "+.5E3", "y", "N"):
        assert f'        - "{bare}"\n' in text
    assert 'value: "1e3"\n' in text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"metadata": "x"}, "metadata must be a table, not 'x'"),
        ({"metadata": {"labels": ["a"]}}, r"metadata.labels must be a table, not \['a'\]"),
        ({"spec": {"containers": {"name": "main"}}}, "spec.containers must be a list, not {'name': 'main'}"),
        ({"spec": {"containers": ["main"]}}, r"spec.containers\[0\] must be a table, not 'main'"),
        ({"spec": {"containers": [{"env": {"A": "1"}}]}}, r"spec.containers\[0\].env must be a list, not {'A': '1'}"),
        ({"spec": {"containers": [{"resources": {"limits": 1}}]}}, "resources.limits must be a table, not 1"),
        ({"spec": {"nodeSelector": "disk=ssd"}}, "spec.nodeSelector must be a table, not 'disk=ssd'"),
    ],
)
def test_a_template_of_another_shape_is_refused_by_its_path(template, message):
    with pytest.raises(hpo.ConfigurationError, match=f"launcher 'k8s': template: .*{message}"):
        K8sLauncher(K8sOptions(image="i:1", template=template))


def test_a_template_may_leave_things_empty():
    """As YAML has it where nothing follows a name."""
    template = {"metadata": None, "spec": {"containers": [{"name": "main", "env": None}], "volumes": None}}
    assert K8sLauncher(K8sOptions(image="i:1", template=template)).preview(EVALUATION)


# The same options everywhere, and what a dry run prints

TOML = """
command = "true"
n_trials = 2
seed = 5
grace = 60
workload_manager = "k8s"
workload_image = "lab/any:1"
nodes = 2

[params]
"--x" = { range = [0.0, 1.0], default = 0.5 }

[launcher_options]
"""
OPTIONS = {
    "namespace": "hpo",
    "service_account": "runner",
    "cpu": 1.5,
    "cpu_limit": 4,
    "memory": "1Gi",
    "memory_limit": "2Gi",
    "gpus": 1,
    "gpu_resource": "example.com/gpu",
    "node_selector": {"disk": "ssd"},
    "tolerations": ["gpu=yes:NoSchedule"],
    "env": {"A": "1"},
    "secrets": {"TOKEN": "mine/key"},
    "claims": {"data": "/data"},
    "pull_policy": "Always",
    "pull_secrets": ["registry"],
    "template": {"spec": {"priorityClassName": "low"}},
    "deadline_s": 100.0,
    "keep_s": 200.0,
}


def as_toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(as_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def dry_run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hpo_core", "run", "--dry-run", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text: str) -> list[dict]:
    """Manifests without what each study has for itself."""
    study_id = re.search(r"hpo-core/study: \W?(\w+)", text)[1]
    text = re.sub(r"/\S*/STUDY", "STUDY", text.replace(study_id, "ID"))
    return [found for found in yaml.safe_load_all(text) if found is not None]


def test_options_are_the_same_in_python_in_a_file_and_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluator = hpo.Evaluator(
        "true", workload_manager="k8s", workload_image="lab/any:1", nodes=2, grace=60, launcher_options=OPTIONS
    )
    with hpo.Study(hpo.Params([["--x", 0.5, (0.0, 1.0)]]), evaluator, n_trials=2, seed=5) as study:
        python = documents("\n".join(study.plan(2)))
    lines = [f"{key} = {as_toml(value)}" for key, value in OPTIONS.items()]
    Path("whole.toml").write_text(TOML + "\n".join(lines))
    Path("bare.toml").write_text(TOML)
    options = [word for line in lines for word in ("--set", f"launcher_options.{line}")]
    assert documents(dry_run("whole.toml")) == documents(dry_run("bare.toml", *options)) == python
    assert [one["kind"] for one in python] == ["ConfigMap", "Job"] * 2
    assert {one["metadata"]["namespace"] for one in python} == {"hpo"}
    assert python[1]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60
    assert container(python[1])["resources"] == {
        "requests": {"cpu": "1.5", "memory": "1Gi"},
        "limits": {"cpu": "4", "memory": "2Gi", "example.com/gpu": "1"},
    }


def test_what_a_dry_run_prints_can_be_applied(fake, tmp_path, monkeypatch):
    """By anybody, as it is; and runs then."""
    monkeypatch.chdir(tmp_path)
    Path("source").mkdir()
    Path("source/train.sh").write_text("echo $$ > $HPO_TRIAL.ran; echo x >> " + str(tmp_path / "runs") + "\n")
    words = [
        "--param=--x=0:1",
        "--workload-manager=k8s",
        "--workload-image=lab/any:1",
        "--src-path=source",
        "--trials=2",
    ]
    places = {"ConfigMap": "/api/v1/namespaces/hpo/configmaps", "Job": "/apis/batch/v1/namespaces/hpo/jobs"}
    made = set()
    for one in filter(None, yaml.safe_load_all(dry_run(*words, "--", "sh", "train.sh"))):
        name = (one["kind"], one["metadata"]["name"])
        if name not in made:
            made.add(name)
            fake.ask("POST", places[one["kind"]] + "?fieldValidation=Strict", one)
    assert len(made) == 4
    fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Succeeded"] * 2, "the end of both pods")
    assert (tmp_path / "runs").read_text() == "x\n" * 2
