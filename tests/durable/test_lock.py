"""One driver a study."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo_core._lock import NAME, Lock, holder
from hpo_core.exceptions import StudyLockedError


def test_a_second_driver_is_refused_and_told_who_holds_it_and_how_to_override(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(StudyLockedError) as caught:
        Lock(tmp_path)
    assert f"process {os.getpid()}" in str(caught.value)
    assert json.loads(caught.value.owner)["pid"] == os.getpid()
    lock.release()
    Lock(tmp_path).release()


def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from hpo_core._lock import Lock\n"
        "Lock(Path(sys.argv[1])); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / NAME).exists()
    assert holder(tmp_path) is None
    Lock(tmp_path).release()
    assert not (tmp_path / NAME).exists()


def test_the_lock_of_another_host_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "0", "since": "then"}))
    assert holder(tmp_path) == "process 1 on elsewhere since then"
    with pytest.raises(StudyLockedError, match=f"elsewhere.*hpo resume --force-lock {tmp_path}"):
        Lock(tmp_path)
    taken = Lock(tmp_path, force=True)
    assert f"process {os.getpid()}" in (holder(tmp_path) or "")
    taken.release()


def test_a_process_id_that_was_used_again_is_not_taken_for_the_owner(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    owner = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps({**owner, "started": "1"}))
    Lock(tmp_path).release()
    lock.release()


def test_a_lock_taken_by_force_is_not_released_by_its_old_owner(tmp_path: Path) -> None:
    old = Lock(tmp_path)
    new = Lock(tmp_path, force=True)
    old.release()
    assert (tmp_path / NAME).exists()
    new.release()


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_drivers_at_once_exactly_one_gets_it(tmp_path: Path, dead: bool) -> None:
    if dead:
        code = "import sys, os; from pathlib import Path; from hpo_core._lock import Lock; Lock(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", f"{code}; os._exit(0)", str(tmp_path)], check=True)
    code = (
        "import sys, time; from pathlib import Path; from hpo_core._lock import Lock\n"
        "try: Lock(Path(sys.argv[1])); print('got it', flush=True)\n"
        "except Exception: print('refused', flush=True)\n"
        "sys.stdin.read()"
    )
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    answers = [driver.stdout.readline().strip() for driver in drivers]
    for driver in drivers:
        driver.communicate("")
    assert sorted(answers) == ["got it"] + ["refused"] * 5


def test_a_live_driver_of_this_host_is_not_overridden_even_by_force(tmp_path: Path) -> None:
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holding.stdout.readline() == "held\n"
    for force in (False, True):
        with pytest.raises(
            StudyLockedError, match=f"process {holding.pid}.*is alive; end it first: kill {holding.pid}"
        ):
            Lock(tmp_path, force=force)
    holding.communicate("")
    Lock(tmp_path).release()


HOLD = """
import sys
from pathlib import Path
from hpo_core._lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""
