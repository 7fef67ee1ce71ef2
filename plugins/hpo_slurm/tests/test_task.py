"""What runs on a node around a command: real shells, but no cluster."""

import subprocess
import time
from pathlib import Path

from hpo_core import Evaluation
from hpo_core.allocation import Slot
from hpo_slurm._task import program

SAME_STEP = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "4", "SLURM_STEP_ID": "2", "SLURM_PROCID": "0"}
"""Two clusters may share a machine, and each counts its jobs from 1."""


def begin(here: Path, study: str, command: str) -> subprocess.Popen[bytes]:
    evaluation = Evaluation(2, 1, command, None, str(here), {}, (Slot("n1"),), f"hpo-{study}-2-1")
    return subprocess.Popen(program(evaluation, ()), env=SAME_STEP, stdin=subprocess.DEVNULL)


def test_what_is_left_behind_is_killed_and_nothing_of_another_study(tmp_path):
    other = begin(tmp_path, "0000000b", "touch begun; while [ ! -e over ]; do sleep 0.05; done; touch through")
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    one = begin(tmp_path, "0000000a", "(while :; do touch left; sleep 0.05; done) & sleep 0.2")
    assert one.wait(30.0) == 0
    (tmp_path / "left").unlink()
    time.sleep(0.2)
    assert not (tmp_path / "left").exists()
    (tmp_path / "over").touch()
    assert other.wait(30.0) == 0
    assert (tmp_path / "through").exists()
