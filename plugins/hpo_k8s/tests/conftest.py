"""A fake cluster for all tests of this folder, in a process of its own, or a real one where one is named."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
CONTEXT = os.environ.get("HPO_K8S_TEST_CONTEXT", "")
"""A context of a real cluster, on which the contracts run then."""
NAMESPACE = os.environ.get("HPO_K8S_TEST_NAMESPACE", "hpo-test") if CONTEXT else "hpo"
IMAGE = os.environ.get("HPO_K8S_TEST_IMAGE", "busybox:1.36")
SHARED = os.environ.get("HPO_K8S_TEST_SHARED", "")
"""A folder that is the same on this machine and on the real cluster's only node."""


def role() -> list[dict[str, Any]]:
    """The rules of the Role in the README: the fake allows these and no others."""
    text = (HERE.parent / "README.md").read_text(encoding="utf-8")
    return next(
        document["rules"]
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        for document in yaml.safe_load_all(block)
        if document.get("kind") == "Role"
    )


class Fake:
    """The fake cluster, as seen by somebody beside us."""

    def __init__(self, folder: Path, certificate: Path | None = None, authority: Path | None = None) -> None:
        self.folder = folder
        port = folder / "port"
        words = [sys.executable, str(HERE / "cluster"), str(port), *([str(certificate)] if certificate else [])]
        self.errors = open(folder / "errors", "wb")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=self.errors)
        until = time.monotonic() + 30
        while not port.exists():
            assert self.process.poll() is None, "the fake cluster did not start"
            assert time.monotonic() < until, "the fake cluster did not start in time"
            time.sleep(0.02)
        scheme = "https" if certificate else "http"
        self.context = ssl.create_default_context(cafile=authority) if authority else None
        self.address = f"{scheme}://127.0.0.1:{port.read_text()}"
        self.kubeconfig = folder / "kubeconfig"
        self.write_kubeconfig("secret-token", authority)

    def write_kubeconfig(self, token: str, authority: Path | None = None) -> None:
        cluster = {"server": self.address, **({"certificate-authority": str(authority)} if authority else {})}
        text = yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "fake",
                "clusters": [{"name": "fake", "cluster": cluster}],
                "users": [{"name": "somebody", "user": {"token": token}}],
                "contexts": [
                    {"name": "fake", "context": {"cluster": "fake", "user": "somebody", "namespace": "hpo"}},
                    {"name": "elsewhere", "context": {"cluster": "fake", "user": "somebody", "namespace": "none"}},
                ],
            }
        )
        self.kubeconfig.write_text(text)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A request of somebody beside us."""
        headers = {"Authorization": "Bearer secret-token"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
            return json.load(answer)

    def tell(self, what: str, **body: Any) -> dict[str, Any]:
        """Turn a knob, or ask."""
        return self.ask("POST", f"/fake/{what}", body)

    def knobs(self, **body: Any) -> None:
        self.tell("knobs", **body)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return self.tell("objects")[kind]

    def requests(self, pattern: str = "") -> list[str]:
        return [line for line in self.tell("requests")["requests"] if re.search(pattern, line)]

    def wait_for(self, condition: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
        until = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < until, f"{what}: not within {limit_s:g} s; pods: {self.pods()}"
            time.sleep(0.03)

    def pods(self) -> list[tuple[str, str]]:
        return [(pod["metadata"]["name"], pod["status"]["phase"]) for pod in self.objects("pods")]

    def left(self) -> dict[str, list[str]]:
        """Names of all that is there, but for events."""
        there = self.tell("objects")
        found = {kind: [one["metadata"]["name"] for one in there[kind]] for kind in there if kind != "events"}
        return {kind: names for kind, names in found.items() if names}

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.errors.close()


@pytest.fixture(scope="session")
def fake_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    fake = Fake(tmp_path_factory.mktemp("cluster"))
    yield fake
    fake.close()
    assert (fake.folder / "errors").read_text() == ""


@pytest.fixture
def fake(fake_of_all: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """The fake cluster, as new; KUBECONFIG names it."""
    fake_of_all.tell("reset")
    fake_of_all.knobs(role=role())
    monkeypatch.setenv("KUBECONFIG", str(fake_of_all.kubeconfig))
    yield fake_of_all
    fake_of_all.tell("reset")


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Fake]:
    """A fake cluster of its own, over TLS."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl makes the certificate, and is not installed")
    made, authority, both = (tmp_path / name for name in ("made.pem", "ca.pem", "both.pem"))
    words = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*words.split(), "-keyout", made, "-out", authority], check=True, capture_output=True)
    both.write_bytes(made.read_bytes() + authority.read_bytes())
    cluster = Fake(tmp_path, both, authority)
    cluster.knobs(role=role())
    yield cluster
    cluster.close()


@pytest.fixture
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Options of a launcher for the cluster on which contracts run."""
    if not CONTEXT:
        fake = request.getfixturevalue("fake")
        return {"image": "lab/any:1", "kubeconfig": str(fake.kubeconfig)}
    found: dict[str, Any] = {"image": IMAGE, "context": CONTEXT, "namespace": NAMESPACE}
    if SHARED:
        mount = {"name": "shared", "mountPath": SHARED}
        volume = {"name": "shared", "hostPath": {"path": SHARED}}
        containers = [{"name": "main", "volumeMounts": [mount]}]
        found["template"] = {"spec": {"volumes": [volume], "containers": containers}}
    return found


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that pods and tests can both reach."""
    if not CONTEXT:
        return tmp_path
    if not SHARED:
        pytest.skip("HPO_K8S_TEST_SHARED names no folder that is the same here and on the cluster's node")
    folder = Path(SHARED) / tmp_path.name
    folder.mkdir(mode=0o777)
    return folder
