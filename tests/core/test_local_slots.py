"""Each slot of this machine has GPUs and cores of its own, where that is asked for."""

import os
from pathlib import Path

import pytest

import hpo_core as hpo

SHOW = """
import os, sys, time
open(sys.argv[1] + "/" + os.environ["HPO_TRIAL"], "w").write(
    os.environ.get("CUDA_VISIBLE_DEVICES", "none") + " " + os.environ.get("ROCR_VISIBLE_DEVICES", "none")
    + " " + str(sorted(os.sched_getaffinity(0))) + " " + os.environ.get("OMP_NUM_THREADS", "none"))
while len(os.listdir(sys.argv[1])) < int(sys.argv[2]):
    time.sleep(0.01)
print("FoM: 1")
"""


def seen(tmp_path: Path, parallel: int, **options: object) -> list[list[str]]:
    """What as many evaluations at a time see of the machine: CUDA ids, ROCR ids, cores, threads."""
    folder = tmp_path / "seen"
    folder.mkdir()
    program = tmp_path / "show.py"
    program.write_text(SHOW)
    evaluator = hpo.Evaluator(
        f"@python -S {program} {folder} {parallel}",
        workload_manager="local",
        num_parallel_evals=parallel,
        manager_options=options,
    )
    params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    with hpo.Study(params, evaluator, n_trials=parallel, directory=tmp_path / "s") as study:
        study.optimize()
        assert study.best_fom == 1, study.trials[0]
    rows = []
    for file in sorted(folder.iterdir()):
        cuda, rocr, rest = file.read_text().split(" ", 2)
        cores, threads = rest.rsplit(" ", 1)
        rows.append([cuda, rocr, cores, threads])
    return rows


def test_each_slot_has_its_own_gpus(tmp_path: Path) -> None:
    rows = seen(tmp_path, 2, gpus="0,1,2,3")
    assert sorted(row[0] for row in rows) == ["0,1", "2,3"]
    assert [row[0] for row in rows] == [row[1] for row in rows]


def test_gpus_are_found_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert sorted(row[0] for row in seen(tmp_path, 2, gpus="auto")) == ["GPU-a", "GPU-b"]


def test_gpus_are_found_by_the_drivers_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 0\necho 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    assert sorted(row[0] for row in seen(tmp_path, 2, gpus="auto")) == ["0", "1"]


def test_several_on_one_gpu_only_by_choice(tmp_path: Path) -> None:
    with pytest.raises(hpo.ConfigurationError, match="set evals_per_gpu to at least 2"):
        seen(tmp_path, 2, gpus="0")


def test_several_on_one_gpu_by_choice(tmp_path: Path) -> None:
    assert [row[0] for row in seen(tmp_path, 2, gpus="7", evals_per_gpu=2)] == ["7", "7"]


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processor cores"
)
def test_each_slot_has_its_own_cores_and_the_driver_keeps_all(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    rows = seen(tmp_path, 2, pin_cores=True)
    sets = [set(map(int, row[2].strip("[]").split(","))) for row in rows]
    assert sets[0]
    assert sets[1]
    assert not sets[0] & sets[1]
    assert [row[3] for row in rows] == [str(len(cores)) for cores in sets]
    assert os.sched_getaffinity(0) == before


def test_without_options_nothing_is_set(tmp_path: Path) -> None:
    assert seen(tmp_path, 1)[0][0] == os.environ.get("CUDA_VISIBLE_DEVICES", "none")


def test_options_are_checked_by_name(tmp_path: Path) -> None:
    with pytest.raises(hpo.ConfigurationError, match=r"no option 'gpu' \(did you mean 'gpus'\?\)"):
        seen(tmp_path, 1, gpu="0")
