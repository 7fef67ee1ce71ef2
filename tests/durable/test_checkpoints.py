"""Checkpoints: there before the program starts, begun from the parent's, never deleted while somebody may need them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import continuing
import hpo_core as hpo
from continuing import Chain, Wanderer
from hpo_core import ConfigurationError, Failure, State, StudyStopped, _trees
from hpo_core._view import StudyView
from hpo_core.cli._session import report
from hpo_core.journal import read
from hpo_core.registry import added

COUNTS = """
path = os.path.join(os.environ["HPO_CHECKPOINT"], "count")
count = int(open(path).read()) if os.path.exists(path) else 0
with open(path, "w") as file:
    file.write(str(count + 1))
print("FoM:", -(count + 1))
"""

Make = Callable[..., hpo.Study]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a study of a strategy that continues."""
    monkeypatch.chdir(tmp_path)
    studies: list[hpo.Study] = []

    def make(cmd: str, *, strategy: str = "chain", study: dict[str, Any] | None = None, **evaluator: Any) -> hpo.Study:
        settings = {"workload_manager": "local", "checkpoint": "ckpt", **evaluator}
        options = {"n_trials": 5, "evaluate_defaults": False, "seed": 1, **(study or {})}
        name = tmp_path / f"study{len(studies)}"
        space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
        studies.append(hpo.Study(space, hpo.Evaluator(cmd, **settings), strategy=strategy, directory=name, **options))
        return studies[-1]

    with added(Chain, Wanderer):
        yield make
        for study in studies:
            study.close()


def held(study: hpo.Study) -> set[str]:
    return {path.name for path in (study.directory / "checkpoints").iterdir() if (path / "ckpt").exists()}


def foms(study: hpo.Study) -> list[float]:
    return [record.fom for record in study.trials]


def test_a_trial_goes_on_from_its_parent(make: Make, program: Callable[[str], str]) -> None:
    study = make(program(COUNTS))
    study.optimize()
    assert foms(study) == [-1, -2, -3, -4, -5]
    assert [record.trial.parent for record in study.trials] == [None, 1, 2, 3, 4]
    assert held(study) == {"point5"}, "what nobody can continue is deleted"


def test_the_best_checkpoint_stays(make: Make, program: Callable[[str], str]) -> None:
    study = make(program(COUNTS.replace("-(count + 1)", "abs(count - 2)")))
    study.optimize()
    assert study.best_trial is not None
    assert study.best_trial.number == 3
    assert held(study) == {"point3", "point5"}


def test_it_is_there_before_the_program_starts_and_the_placeholder_names_it(make: Make) -> None:
    study = make('sh -c \'ls "$1" | wc -l; echo x > "$1"/new; echo FoM: $(ls "$1" | wc -l)\' sh @checkpoint')
    study.optimize()
    assert foms(study) == [1] * 5


def test_a_whole_tree_is_copied_and_the_parents_is_left_alone(make: Make, program: Callable[[str], str]) -> None:
    tree = """
top = os.environ["HPO_CHECKPOINT"]
if not os.listdir(top):
    os.makedirs(top + "/a/b")
    open(top + "/a/b/data", "wb").write(bytes(range(256)) * 5000)
    os.symlink("a/b/data", top + "/link")
    os.chmod(top + "/a/b/data", 0o640)
else:
    assert open(top + "/link", "rb").read() == bytes(range(256)) * 5000
    assert os.readlink(top + "/link") == "a/b/data"
    assert os.stat(top + "/a/b/data").st_mode & 0o777 == 0o640
    open(top + "/a/b/data", "r+b").write(b"mine")
    assert False
print("FoM: 1")
"""
    study = make(program(tree), study={"n_trials": 2})
    study.optimize()
    assert [record.state for record in study.trials] == [State.DONE, State.FAILED]
    assert (study.directory / "checkpoints/point1/ckpt/a/b/data").read_bytes() == bytes(range(256)) * 5000
    assert held(study) == {"point1"}, "the failed trial's is deleted, the one that may be continued again is not"


def test_a_checkpoint_that_is_left_empty_is_said_once(make: Make, program: Callable[[str], str]) -> None:
    """The command may read the variable, so that only what it leaves shows whether it knows of checkpoints."""
    told: list[str] = []

    class Listener(hpo.Observer):
        name = "listener"

        def notice(self, text: str) -> None:
            told.append(text)

    make(program("print('FoM: 1')"), study={"n_trials": 4, "observers": [Listener()]}).optimize()
    assert [text for text in told if "checkpoint" in text] == [
        "trial 2 continues trial 1, which left its checkpoint empty, so it begins anew: the command should write its "
        "state below @checkpoint (the variable HPO_CHECKPOINT), and read it there"
    ]
    told.clear()
    make(program(COUNTS), study={"n_trials": 4, "observers": [Listener()]}).optimize()
    assert not [text for text in told if "checkpoint" in text]


def test_each_attempt_begins_from_the_parents(make: Make, program: Callable[[str], str]) -> None:
    """What a failed attempt has left in its directory is not gone on with."""
    fails = COUNTS + "\nif count == 1 and os.environ['HPO_ATTEMPT'] != '3': sys.exit(1)\n"
    study = make(program(fails), num_retries=2)
    study.optimize()
    assert foms(study) == [-1, -2, -3, -4, -5]
    result = study.trials[1].result
    assert result is not None
    assert result.attempts == 3
    assert held(study) == {"point5"}


@pytest.mark.parametrize("place", ["workspace", "absolute"])
def test_in_workspaces_and_elsewhere(make: Make, tmp_path: Path, place: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "program.py").write_text("import os, sys\n" + COUNTS)
    checkpoint = "weights" if place == "workspace" else str(tmp_path / "scratch")
    study = make(f"{sys.executable} program.py", src_path="src", checkpoint=checkpoint)
    study.optimize()
    assert foms(study) == [-1, -2, -3, -4, -5]
    left = tmp_path / "run/point5/weights" if place == "workspace" else tmp_path / "scratch" / study.id / "point5"
    gone = [Path(str(left).replace("point5", f"point{n}")) for n in range(1, 5)]
    assert (left / "count").read_text() == "5"
    assert not any(path.exists() for path in gone)
    assert (tmp_path / "run/point1/program.py").exists(), "the workspace itself stays"


def test_a_study_that_stopped_goes_on_from_its_checkpoints(make: Make, program: Callable[[str], str]) -> None:
    study = make(program(COUNTS), study={"n_trials": 2})
    study.optimize()
    study.close()
    with hpo.Study.load(study.directory, n_trials=4) as again:
        again.optimize()
        assert foms(again) == [-1, -2, -3, -4]
        assert held(again) == {"point4"}


def test_a_driver_killed_in_the_middle_of_a_copy_is_repaired(tmp_path: Path, program: Callable[[str], str]) -> None:
    many = COUNTS + "\nif count == 0:\n    for i in range(1500): open(f'{path}.{i}', 'w').write('x')\n"
    many += "\nassert len(os.listdir(os.environ['HPO_CHECKPOINT'])) == 1501\n"
    words = [sys.executable, continuing.__file__, str(tmp_path / "study"), program(many), "4"]
    half = tmp_path / "study/checkpoints/point2/ckpt.part"
    driver = subprocess.Popen(words, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not half.exists():
            assert driver.poll() is None
            assert time.monotonic() < deadline
        driver.send_signal(signal.SIGKILL)
    finally:
        driver.kill()
        driver.wait()
    subprocess.run(words, check=True, timeout=60)
    records = [line.record for line in read(tmp_path / "study")]
    assert [record["fom"] for record in records if record["record"] == "finished"] == [-1, -2, -3, -4]
    left = sorted((tmp_path / "study/checkpoints").rglob("ckpt*"))
    assert [path.parent.name for path in left] == ["point4"], "no half copy is left"
    assert sorted(os.listdir(tmp_path / "study/checkpoints")) == ["point4"]


def test_with_a_budget_what_is_not_needed_goes_oldest_first(make: Make, program: Callable[[str], str]) -> None:
    big = COUNTS + "\nopen(path + '.big', 'wb').write(bytes(100_000))\n"
    study = make(program(big), checkpoint_budget="300K")
    study.optimize()
    assert held(study) == {"point3", "point4", "point5"}


def test_a_budget_that_does_not_do_stops_the_study_and_loses_nothing(make: Make, program: Callable[[str], str]) -> None:
    big = COUNTS + "\nopen(path + '.big', 'wb').write(bytes(100_000 * (count + 1)))\n"
    study = make(program(big), checkpoint_budget="250K")
    with pytest.raises(StudyStopped, match=r"still needed hold 293 KiB, and checkpoint_budget is 250 KiB") as told:
        study.optimize()
    assert "(hpo resume --checkpoint-budget)" in str(told.value)
    assert "mended: hpo resume" in "".join(report(study))
    assert foms(study)[:3] == [-1, -2, -3]
    assert study.trials[3].state is State.RUNNING
    study.close()
    with hpo.Study.load(study.directory, {"checkpoint_budget": "1M"}) as again:
        again.optimize()
        assert foms(again) == [-1, -2, -3, -4, -5]


def test_the_script_of_a_trial_finds_its_parents_workspace_from_anywhere(
    make: Make, program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "elsewhere").mkdir()
    study = make(program(COUNTS), study={"n_trials": 3}, src_path="src", checkpoint_budget="1G")
    study.optimize()
    study.close()
    monkeypatch.chdir(tmp_path / "elsewhere")
    script = StudyView(study.directory).script(3)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "FoM: -3\n", done.stderr


@pytest.mark.parametrize(("checkpoint", "said"), [("other", "now 'other'"), ("", "now ''"), ("/tmp/c", "now '/tmp/c'")])
def test_checkpoints_stay_where_they_are(make: Make, program: Callable[[str], str], checkpoint: str, said: str) -> None:
    study = make(program(COUNTS), study={"n_trials": 2})
    study.optimize()
    study.close()
    with pytest.raises(hpo.StudyChangedError, match=rf"checkpoint: recorded 'ckpt', {said}"):
        hpo.Study.load(study.directory, {"checkpoint": checkpoint}, allow_changes=True)


def test_the_script_of_a_trial_begins_as_it_began_and_leaves_its_checkpoint(
    make: Make, program: Callable[[str], str]
) -> None:
    """The first begins with nothing, the third where the second ended; the parent of the second is gone."""
    study = make(program(COUNTS), study={"n_trials": 3}, checkpoint_budget="1G")
    study.optimize()
    for _ in range(2):
        for number in (1, 3):
            done = subprocess.run(["sh", "-c", study.script(number)], capture_output=True, text=True, timeout=60)
            assert done.stdout == f"FoM: {-number}\n", done.stderr
    kept = study.directory / "checkpoints"
    assert [(kept / f"point{number}/ckpt/count").read_text() for number in (1, 2, 3)] == ["1", "2", "3"]
    _trees.remove(kept / "point1")
    done = subprocess.run(["sh", "-c", study.script(2)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 126
    assert "the checkpoint of trial 1, from which trial 2 went on, is gone" in done.stderr
    assert "leave its checkpoint as it is: hpo show" in "".join(report(study))


def test_a_checkpoint_that_somebody_removed_is_named(make: Make, program: Callable[[str], str]) -> None:
    study = make(program(COUNTS), study={"n_trials": 2})
    study.optimize()
    study.close()
    _trees.remove(study.directory / "checkpoints")
    with (
        hpo.Study.load(study.directory, n_trials=3) as again,
        pytest.raises(StudyStopped, match=r"trial 3 continues trial 2, whose checkpoint .*point2/ckpt is gone"),
    ):
        again.optimize()


def test_an_interruption_during_a_copy_leaves_the_trial_open(make: Make, program: Callable[[str], str]) -> None:
    class StopsAt2(hpo.Observer):
        def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
            if trial.number == 1:
                os.kill(os.getpid(), signal.SIGINT)

    many = COUNTS + "\nif count == 0:\n    for i in range(1500): open(f'{path}.{i}', 'w').write('x')\n"
    study = make(program(many), study={"observers": [StopsAt2()]})
    study.optimize()
    assert study.stop_reason is hpo.StopReason.INTERRUPTED
    assert foms(study)[:1] == [-1]
    assert {record.state for record in study.trials[1:]} <= {State.RUNNING}
    study.close()
    with hpo.Study.load(study.directory) as again:
        again.optimize()
        assert foms(again) == [-1, -2, -3, -4, -5]


def test_a_strategy_that_continues_needs_checkpoints(make: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"set Evaluator\(checkpoint='ckpt'\)"):
        make("true", checkpoint="")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(1, 10**6), failing=st.floats(0.0, 0.6), nodes=st.integers(1, 5), retries=st.integers(0, 1))
def test_whatever_may_be_continued_is_there(make: Make, seed: int, failing: float, nodes: int, retries: int) -> None:
    """Many at a time, some fail: no parent's checkpoint is ever missing, and in the end few are left."""
    study = make(
        "program",
        strategy="wanderer",
        workload_manager="simulated",
        nodes=nodes,
        num_retries=retries,
        launcher_options={
            "objective": lambda values: float("nan") if float(values["--x"]) < failing else float(values["--x"]),
            "seed": seed,
        },
        study={"n_trials": 40, "seed": seed},
    )
    study.optimize()
    assert len(study.trials) == 40
    assert all(r.result is None or r.result.failure in (None, Failure.NAN_METRIC) for r in study.trials)
    kept = {f"point{n}" for n in still_needed(study)}
    assert held(study) == kept


def still_needed(study: hpo.Study) -> set[int]:
    """What the strategy could yet continue, and the best."""
    ok = {record.number for record in study.trials if record.result and record.result.ok}
    best = {study.best_trial.number} if study.best_trial else set()
    order = [line.record["trial"] for line in read(study.directory) if line.record["record"] == "finished"]
    return set([number for number in order if number in ok][-Wanderer.most :]) | best
