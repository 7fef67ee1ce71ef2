"""A full disk stops the study with everything so far intact; it goes on once there is room."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core._output import OutputFile

DRIVER = """
import sys, resource
import hpo_core as hpo
directory, command = sys.argv[1:3]
study = hpo.Study(
    hpo.Params([["--x", 0.5, (0.0, 1.0)]]), hpo.Evaluator(command, workload_manager="local"),
    n_trials=30, seed=2, directory=directory,
)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
try:
    study.optimize()
except hpo.JournalError as error:
    print("stopped:", error)
"""


def test_it_stops_says_so_and_goes_on_once_there_is_room(tmp_path: Path, program: Callable[[str], str]) -> None:
    command = program("print('FoM:', float(sys.argv[1].split('=')[1]))")
    answer = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path / "s"), command], capture_output=True, text=True, check=True
    )
    assert "everything before is intact" in answer.stdout
    with hpo.Study.load(tmp_path / "s") as study:
        before = [record for record in study.trials if record.result is not None]
        assert 0 < len(before) < 30
        study.optimize()
        assert len(study.trials) == 30
        assert all(record.result is not None for record in study.trials)
        assert [study.trials[record.number - 1] for record in before] == before


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_real_full_file_system(tmp_path: Path, program: Callable[[str], str]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        command = program("print('FoM:', float(sys.argv[1].split('=')[1]))")
        params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
        evaluator = hpo.Evaluator(command, workload_manager="local", num_parallel_evals=2)
        with hpo.Study(params, evaluator, n_trials=12, seed=2, directory=small / "s") as study:
            filler = small / "filler"
            fill(filler)
            with pytest.raises(hpo.JournalError, match="No space left on device"):
                study.optimize()
            filler.unlink()
            study.optimize()
            assert len(study.trials) == 12
            assert study.best_fom == min(record.values["--x"] for record in study.trials)
            kept = [record.result for record in study.trials]
        with hpo.Study.load(small / "s") as study:
            assert [record.result for record in study.trials] == kept
    finally:
        subprocess.run(["umount", small], check=True)


def test_output_that_cannot_be_kept_is_told_and_its_tail_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output = OutputFile(str(tmp_path / "file" / "out"), keep=True, limit=None)
    for i in range(20_000):
        output.write(b"line %d\n" % i)
    assert output.tail().endswith("line 19999")
    with pytest.raises(NotADirectoryError):
        output.close(keep=True)
