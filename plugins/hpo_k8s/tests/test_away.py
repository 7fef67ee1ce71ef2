"""An API server that is away for a while, or for too long."""

import contextlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import yaml

import hpo_core as hpo


class Door:
    """A way to the fake cluster that can be shut: connections are cut then, and new ones refused."""

    def __init__(self, address: str) -> None:
        self._target = ("127.0.0.1", int(address.rpartition(":")[2]))
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        with contextlib.suppress(OSError):  # It may be shut.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            one.close()
        self._open.clear()

    def reopen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            other = socket.create_connection(self._target)
            self._open += [one, other]
            threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while True:
                for ready in select.select([one, other], [], [], 0.2)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (other if ready is one else one).sendall(data)
        except (OSError, ValueError):
            pass  # It was shut.
        finally:
            one.close()
            other.close()


@pytest.fixture
def door(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Door(fake.address)
    config = yaml.safe_load(fake.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{found.port}"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield found
    found.shut()


def study(tmp_path, cmd: str, **options) -> hpo.Study:
    evaluator = hpo.Evaluator(
        cmd, workload_manager="k8s", workload_image="lab/any:1", nodes=2, grace=1, launcher_options=options
    )
    space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    return hpo.Study(space, evaluator, n_trials=6, seed=1, directory=tmp_path / "study", resume_if_exists=True)


@pytest.mark.parametrize("how", ["refused", "503", "dropped"])
def test_nothing_is_lost_while_it_is_away(fake, door, tmp_path, how):
    """What runs goes on and is recorded afterwards; nothing runs twice."""

    def go_away():
        fake.wait_for(lambda: "Running" in dict(fake.pods()).values(), "a running pod")
        if how == "refused":
            door.shut()
        elif how == "dropped":
            fake.knobs(away=True)
        else:
            fake.knobs(faults=[{"match": ".", "status": 503, "times": 10_000}])
            fake.tell("cut")
        fake.wait_for(lambda: {phase for _, phase in fake.pods()} == {"Succeeded"}, "the end of what ran")
        time.sleep(0.5)
        if how == "refused":
            door.reopen()
        fake.knobs(faults=[], away=False)

    absence = threading.Thread(target=go_away)
    absence.start()
    with study(tmp_path, f"echo x >> {tmp_path}/runs; sleep 0.5; echo FoM: 1; true") as found, found.evaluator:
        found.optimize()
    absence.join()
    assert [(record.state, record.result.attempts) for record in found.trials] == [(hpo.State.DONE, 1)] * 6
    assert (tmp_path / "runs").read_text() == "x\n" * 6
    assert fake.left() == {}


DRIVER = """
import sys
import hpo_core as hpo
evaluator = hpo.Evaluator(
    sys.argv[2],
    workload_manager="k8s",
    workload_image="a:1",
    nodes=2,
    launcher_options={"patience_s": 0.5},
)
space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
study = hpo.Study(space, evaluator, n_trials=2, seed=1, directory=sys.argv[1], resume_if_exists=True)
study.optimize()
evaluator.close()
"""


def test_after_all_patience_it_says_so_and_the_study_can_go_on(fake, door, tmp_path):
    """A driver that is interrupted meanwhile ends within `patience_s`, and names what is left; the next ends that."""
    command = f"[ $HPO_ATTEMPT -gt 1 ] || sleep 300; echo $HPO_TRIAL >> {tmp_path}/runs; echo FoM: 1; true"
    words = [sys.executable, "-c", DRIVER, str(tmp_path / "study"), command]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as first:
        fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Running"] * 2, "two running pods")
        door.shut()
        for _ in range(2):
            first.send_signal(signal.SIGINT)
            time.sleep(0.2)
        try:
            _, said = first.communicate(timeout=120)
        finally:
            first.kill()
    assert "kubectl -n hpo delete configmap hpo-" in said
    assert fake.left()["jobs"]
    door.reopen()
    subprocess.run(words, check=True, timeout=120)
    assert sorted((tmp_path / "runs").read_text().split()) == ["1", "2"]
    assert fake.left() == {}
