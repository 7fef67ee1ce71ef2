"""A real Slurm of eight nodes, for all tests of this folder: brought up once and taken down in the end."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from hpo_core import _processes

SCRIPT = Path(__file__).parents[3] / "tests" / "clusters" / "slurm"
NODES = 8


VARIABLES: dict[str, str] = {}
"""Of the environment, by which the cluster is found once it is up."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Only the tests of this folder see the cluster, also where others are run by the same process."""
    if Path(__file__).parent not in item.path.parents:  # This is called for all tests, wherever it stands.
        return (yield)
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("SLURM_")]:
        del os.environ[name]
    os.environ.update(VARIABLES)
    try:
        return (yield)
    finally:
        os.environ.clear()
        os.environ.update(before)


class Cluster:
    """The cluster, as seen by somebody beside us."""

    def control(self, *words: str) -> str:
        """Run the script that brings clusters up."""
        environment = {**os.environ, **VARIABLES}
        done = subprocess.run(
            [SCRIPT, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, *words: str) -> str:
        """Run a command of Slurm."""
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        return done.stdout

    def jobs(self, *, but: str = "hpo-timed") -> list[str]:
        """Jobs that wait or run, as ``ID STATE NAME``, but for the one that runs beside all tests."""
        return [line for line in self.ask("squeue", "-h", "-o", "%i %T %j").splitlines() if but not in line]

    def steps(self) -> list[str]:
        """Job steps, as ``ID NAME``."""
        return self.ask("squeue", "-s", "-h", "-o", "%i %j").splitlines()

    def wait_for(self, condition: Callable[[], object], limit_s: float = 30.0) -> None:
        """Poll until something is so."""
        until = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < until, f"it did not come to pass; jobs: {self.jobs()}, steps: {self.steps()}"
            time.sleep(0.05)

    def allocate(self, *words: str) -> int:
        """An allocation that somebody made before; all of its nodes, in the background."""
        done = subprocess.run(
            ["salloc", "--no-shell", "--exclusive", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return int(done.stderr.rpartition("Granted job allocation ")[2].split()[0])

    def cancel(self, *words: object) -> None:
        """End jobs or steps, from outside."""
        subprocess.run(["scancel", *map(str, words)], check=False, stdin=subprocess.DEVNULL)


def missing() -> str:
    """Why there can be no cluster here; empty: there can."""
    if not SCRIPT.exists():
        return f"{SCRIPT.name} is only in a checkout of the repository (tests/clusters)"
    for program in ("slurmctld", "slurmd", "srun", "munged"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"there is no {program}: as root, on Debian or Ubuntu, run 'tests/clusters/slurm install'"
    return ""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    why_not = missing()
    if why_not and os.environ.get("HPO_REQUIRE_SLURM"):
        pytest.fail(f"HPO_REQUIRE_SLURM is set, and {why_not}")
    if why_not:
        pytest.skip(why_not)
    folder = tempfile.mkdtemp(prefix="hs-")
    port = 20000 + os.getpid() % 6000
    VARIABLES.update(HPO_SLURM_DIR=folder, HPO_SLURM_GPUS="2", HPO_SLURM_PORT=str(port))
    cluster = Cluster()
    try:
        line = cluster.control("up", str(NODES))
        VARIABLES["SLURM_CONF"] = line.strip().partition("=")[2]
        os.environ.update(VARIABLES)
        yield cluster
    finally:
        cluster.control("down")
        # Guards would look for the cluster's answer for a day; of its variables they have this one.
        _processes.sweep("SLURM_CONF", VARIABLES.get("SLURM_CONF", ""), 0.0)
        VARIABLES.clear()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; nothing of this test may be left on it.

    A step whose controller dies while it is told of the step's end tells it again after 60 s, and its job is ending so
    long: that is Slurm's own, and waited for.
    """
    yield cluster
    left = [line for line in cluster.jobs() if " COMPLETING " not in line]
    for line in left:
        cluster.cancel(line.split()[0])
    cluster.wait_for(lambda: cluster.jobs() == [], limit_s=120.0)
    assert left == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
