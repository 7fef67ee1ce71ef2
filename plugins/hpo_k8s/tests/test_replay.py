"""The fake cluster is held to answers that a real Kubernetes 1.33 gave: same request, same status, same fields."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

TRANSCRIPTS = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "transcripts").glob("*")}
VOLATILE = re.compile(
    r"uid|controller-uid|.*/controller-uid|resourceVersion|.*Timestamp|.*Time|.*At|containerID|imageID|.*IP|.*IPs|"
    r"ip|image|message|generateName|ready|buildDate|git.*|.*Version|compiler|platform|minor|name|retryAfterSeconds"
)
"""Fields whose values differ from one time to the next."""
JOBS = {
    "ok": "job-complete",
    "ex3": "job-failed-exit3",
    "pdl": "job-pod-deadline",
    "jdl": "job-deadline",
    "idx": "job-indexed-complete",
}
PODS = {
    "pod-succeeded": "ok",
    "pod-failed-exit3": "ex3",
    "pod-oomkilled": "oom",
    "pod-deadline": "pdl",
    "pod-unschedulable": "gpu",
    "pod-image-error": "img",
    "pod-invalid-image-name": "imgbad",
    "pod-config-error": "nosec",
    "pod-start-error": None,
    "pods-indexed": "idx",
    "pods-after-job-deadline": "jdl",
}


def shape(value: Any, key: str = "") -> Any:
    """An answer without what differs from one time to the next."""
    if isinstance(value, dict):
        return {name: shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "..." if VOLATILE.fullmatch(key) else value


def ask(fake, method: str, path: str, body: Any = None, token: str = "secret-token") -> tuple[int, dict, Any]:
    data = None if body is None else json.dumps(body).encode()
    path = path.replace(" ", "%20")
    request = urllib.request.Request(fake.address + path, data, {"Authorization": f"Bearer {token}"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, headers, text = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, headers, text = error.code, error.headers, error.read()
    try:
        return status, headers, json.loads(text)
    except ValueError:
        return status, headers, text.decode()


def again(fake, name: str, path: str = "", **arguments: Any) -> Any:
    """Make the recorded request, and hold the answer to the recorded one."""
    recorded = TRANSCRIPTS[name]
    status, headers, answer = ask(
        fake, recorded["method"], path or recorded["path"], recorded.get("request_body"), **arguments
    )
    assert status == recorded["status"]
    assert headers.get("Warning") == recorded.get("headers", {}).get("Warning")
    assert shape(answer) == shape(recorded["response"])
    return answer


def job_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The Job that a recorded pod must have come from."""
    labels = {key: text for key, text in pod["metadata"]["labels"].items() if key.startswith("hpo/")}
    keep = ("restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "automountServiceAccountToken")
    container = {
        key: value
        for key, value in pod["spec"]["containers"][0].items()
        if key in ("name", "image", "command", "resources") or (key == "env" and "JOB_COMP" not in str(value))
    }
    spec = {key: pod["spec"][key] for key in keep if key in pod["spec"]} | {"containers": [container]}
    return manifest(pod["metadata"]["labels"]["job-name"], labels, spec)


def manifest(name: str, labels: dict[str, str], pod: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"hpo/run": "r1"}},
        "spec": {"backoffLimit": 0, **spec, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def of_recorded_job(name: str) -> dict[str, Any]:
    """The request that a recorded Job must have come from."""
    job = TRANSCRIPTS[name]["response"]
    template = job["spec"]["template"]
    labels = {key: text for key, text in template["metadata"]["labels"].items() if key.startswith("hpo/")}
    pod = {"metadata": {"labels": {**labels, "job-name": job["metadata"]["name"]}}, "spec": template["spec"]}
    found = job_of(pod)
    keep = ("activeDeadlineSeconds", "completionMode", "completions", "parallelism")
    found["spec"] |= {key: job["spec"][key] for key in keep if key in job["spec"]}
    return found


def until(expected: Any, actual: Callable[[], Any]) -> None:
    """Wait until what is said is what was recorded."""
    limit = time.monotonic() + 30
    while (found := actual()) != expected:
        if time.monotonic() > limit:
            assert found == expected
        time.sleep(0.05)


def post(fake, job: dict[str, Any]) -> None:
    assert ask(fake, "POST", "/apis/batch/v1/namespaces/hpo/jobs?fieldValidation=Strict", job)[0] == 201


@pytest.fixture(scope="module")
def busy(fake_of_all):
    """The fake with all recorded Jobs at work."""
    fake_of_all.tell("reset")
    for name in JOBS.values():
        post(fake_of_all, of_recorded_job(name))
    for name, job in PODS.items():
        if job not in JOBS:
            post(fake_of_all, job_of(TRANSCRIPTS[name]["response"]["items"][0]))
    yield fake_of_all
    fake_of_all.tell("reset")


@pytest.mark.parametrize("name", PODS)
def test_pods_end_as_recorded(busy, name):
    recorded = TRANSCRIPTS[name]
    path = recorded["path"].replace("%3D", "=")
    until(shape(_pods(recorded["response"])), lambda: shape(_pods(ask(busy, "GET", path)[2])))


def _pods(listing: dict[str, Any]) -> dict[str, Any]:
    """A list whose pods have their conditions by type, in the order of their indices."""
    for pod in listing["items"]:
        status = pod["status"]
        status["conditions"] = sorted(status["conditions"], key=lambda one: one["type"])
        waiting = status.get("containerStatuses", [{"state": {}}])[0]["state"].get("waiting", {})
        if waiting.get("reason") == "ImagePullBackOff":
            waiting["reason"] = "ErrImagePull"  # The two take turns.
    listing["items"].sort(key=lambda pod: pod["metadata"]["name"])
    return listing


@pytest.mark.parametrize("job", JOBS)
def test_jobs_end_as_recorded(busy, job):
    recorded = TRANSCRIPTS[JOBS[job]]
    until(shape(recorded["response"]), lambda: shape(ask(busy, "GET", recorded["path"])[2]))


def _pod_name(fake, job: str) -> str:
    """The name of a Job's pod, once there is one."""
    fake.wait_for(lambda: _names(fake, job), f"a pod of job {job}")
    return _names(fake, job)[0]


def _names(fake, job: str) -> list[str]:
    return [name for name, _ in fake.pods() if name.startswith(f"{job}-")]


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("log-200", "ok"),
        ("log-image-error-400", "img"),
        ("log-pod-gone-404", None),
        ("log-previous-400", "ok"),
        ("log-unscheduled", "gpu"),
        ("log-wrong-container-400", "ok"),
    ],
)
def test_logs_are_as_recorded(busy, name, job):
    busy.wait_for(lambda: dict(busy.pods())[_pod_name(busy, "ok")] == "Succeeded", "the end of job ok")
    path = TRANSCRIPTS[name]["path"]
    if job is not None:
        path = re.sub(r"pods/[^/]+/", f"pods/{_pod_name(busy, job)}/", path)
    again(busy, name, path)


def test_words_of_the_scheduler_are_as_recorded(busy):
    recorded = TRANSCRIPTS["events-unschedulable"]["response"]["items"][:1]
    path = f"/api/v1/namespaces/hpo/events?fieldSelector=involvedObject.name%3D{_pod_name(busy, 'gpu')}"
    until(shape(recorded), lambda: shape(ask(busy, "GET", path)[2]["items"]))


@pytest.mark.parametrize("name", ["job-create-201", "job-create-typo-strict-400", "job-create-typo-warn-201"])
def test_what_is_made_is_as_recorded(fake, name):
    again(fake, name)


def test_a_running_job_is_as_recorded(fake):
    again(fake, "job-create-201")
    for name in ("job-running", "pod-running"):
        recorded = TRANSCRIPTS[name]
        path = recorded["path"]
        until(
            shape(recorded["response"]) if name == "job-running" else shape(_pods(recorded["response"])),
            lambda path=path, name=name: shape(
                ask(fake, "GET", path)[2] if name == "job-running" else _pods(ask(fake, "GET", path)[2])
            ),
        )


def test_its_version_is_as_recorded(fake):
    again(fake, "version")


def test_refusals_are_as_recorded(fake):
    for name in ("job-create-invalid-name-422", "job-get-404", "namespace-missing-404"):
        again(fake, name)
    again(fake, "unauthorized-401", token="wrong")
    again(fake, "job-create-201")
    again(fake, "job-create-dup-409")
    fake.knobs(role=[])
    again(fake, "forbidden-403")


def test_a_quota_refuses_as_recorded(fake):
    fake.knobs(quota=0, role=None)
    again(fake, "pod-create-quota-403")
    post(fake, of_recorded_job("job-under-quota"))
    recorded = TRANSCRIPTS["job-under-quota"]
    until(shape(recorded["response"]), lambda: shape(ask(fake, "GET", recorded["path"])[2]))
    recorded = TRANSCRIPTS["events-quota"]
    until(
        shape(recorded["response"]["items"][:1]),
        lambda: shape(ask(fake, "GET", recorded["path"])[2]["items"][:1]),
    )


def test_deleting_is_as_recorded(fake):
    """Without a policy the pod is left, without an owner; with Foreground the Job stays until its pods are gone."""
    for name, job in (("job-delete-default", "pl"), ("job-delete-foreground", "fg")):
        post(fake, of_recorded_job(name))
        fake.wait_for(lambda job=job: "Running" in dict(fake.pods()).get(_pod_name(fake, job), ""), "a running pod")
        until(
            True,
            lambda job=job: ask(fake, "GET", f"/apis/batch/v1/namespaces/hpo/jobs/{job}")[2]["status"]["ready"] == 1,
        )
        recorded = TRANSCRIPTS[name]
        status, headers, answer = ask(fake, "DELETE", recorded["path"])
        expected = shape(recorded["response"])
        assert (status, headers.get("Warning")) == (200, recorded["headers"].get("Warning"))
        assert shape(answer) == expected
    again(fake, "job-create-while-deleting-409")
    left = TRANSCRIPTS["pod-orphaned"]
    until(shape(_pods(left["response"])), lambda: shape(_pods(ask(fake, "GET", left["path"])[2])))


def test_old_versions_have_expired_as_recorded(fake):
    fake.tell("compact")
    again(fake, "list-expired-410")
    recorded = TRANSCRIPTS["watch-expired-410"]
    _, _, answer = ask(fake, "GET", recorded["path"])
    assert shape(answer) == shape(recorded["stream"][0])


def test_changes_come_as_recorded(fake):
    """The states through which a pod goes that ends by itself, and one that is deleted while it runs."""
    recorded = TRANSCRIPTS["watch-pods"]
    jobs = {"w": "true", "del": "exec sleep 100"}
    for name, command in jobs.items():
        container = {"name": "main", "image": "lab/busybox:1", "command": ["sh", "-c", command]}
        pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
        fake.knobs(quick=name == "w")
        version = ask(fake, "GET", "/api/v1/namespaces/hpo/pods")[2]["metadata"]["resourceVersion"]
        post(fake, manifest(name, {"hpo/eval": name}, pod))
        if name == "del":
            fake.wait_for(lambda: "Running" in dict(fake.pods()).get(_pod_name(fake, "del"), ""), "a running pod")
            version = ask(fake, "GET", "/api/v1/namespaces/hpo/pods")[2]["metadata"]["resourceVersion"]
            ask(fake, "DELETE", "/apis/batch/v1/namespaces/hpo/jobs/del?propagationPolicy=Background")
        expected = [_change(event) for event in recorded["stream"] if _is_of(event, name)]
        expected = [one for place, one in enumerate(expected) if place == 0 or one != expected[place - 1]]
        if name == "del":
            expected = expected[1:]
        assert _watched(fake, version, name, len(expected)) == expected


def _watched(fake, version: str, name: str, count: int) -> list[tuple]:
    """The first changes, so many of them, without repetitions."""
    query = f"watch=true&resourceVersion={version}&timeoutSeconds=60&labelSelector={quote(f'hpo/eval in ({name})')}"
    request = urllib.request.Request(
        f"{fake.address}/api/v1/namespaces/hpo/pods?{query}", headers={"Authorization": "Bearer secret-token"}
    )
    found: list[tuple] = []
    with urllib.request.urlopen(request, timeout=30) as answer:
        while len(found) < count and (line := answer.readline()):
            change = _change(json.loads(line))
            found += [change] if found[-1:] != [change] else []
    return found


def _is_of(event: dict[str, Any], name: str) -> bool:
    return event["object"]["metadata"].get("name", "").startswith(f"{name}-")


def _change(event: dict[str, Any]) -> tuple:
    """What happened, the phase, the container's state, and whether somebody deleted the pod."""
    status, metadata = event["object"]["status"], event["object"]["metadata"]
    state = (status.get("containerStatuses") or [{}])[0].get("state", {})
    detail = next(iter(state.values()), {})
    return (
        event["type"],
        status["phase"],
        next(iter(state), ""),
        detail.get("reason", ""),
        detail.get("exitCode"),
        "deletionTimestamp" in metadata,
    )
