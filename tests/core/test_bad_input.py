"""Programs and commands that misbehave, each with its documented outcome."""

import subprocess
import sys
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core import Failure, State


@pytest.mark.parametrize("command", ["no-such-program", "./no-such-program --x", "no-such-program train.py"])
def test_a_command_that_does_not_exist_is_refused_before_anything_is_made(search, command):
    with pytest.raises(hpo.ConfigurationError, match=r"there is no program '.*no-such-program'"):
        search(command)
    assert not Path("study").exists()


def test_such_a_command_behind_a_shell_stops_the_study_at_its_first_trial(search):
    with pytest.raises(hpo.StudyStopped, match=r"trial 1 could not be started.*no-such-program"):
        search("true && no-such-program", study={"n_trials": 100})


def test_200_mb_of_output_are_read_in_bounded_memory(search, program):
    """The driver grows by less than a tenth of it; lines of any length, the value at the end is found."""
    program(
        "loud",
        f"#!{sys.executable} -S\n"
        "import sys\n"
        "block = (b'x' * 99 + b'\\n') * 10_000 if len(sys.argv) == 1 else b'y' * 1_000_000\n"
        "for _ in range(100): sys.stdout.buffer.write(block)\n"
        "for _ in range(100): sys.stdout.buffer.write(block.replace(b'\\n', b'z'))\n"
        "sys.stdout.buffer.write(b'\\nFoM: 4\\n')\n",
    )
    driver = """
import resource
import hpo_core as hpo
def run(command, directory):
    evaluator = hpo.Evaluator(command, workload_manager="local", max_output="1M")
    study = hpo.Study(hpo.Params([["--x", 1, (0, 9)]]), evaluator, n_trials=1, directory=directory)
    return study.optimize().best_fom
run("./value", "first")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(run("./loud ; :", "study"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, check=True)
    fom, grown = done.stdout.split()
    assert float(fom) == 4
    assert int(grown) * (1 if sys.platform == "darwin" else 1024) < 20 * 2**20
    assert sum(path.stat().st_size for path in Path("study").rglob("*") if path.is_file()) < 2_000_000


@pytest.mark.parametrize(
    "output",
    [
        "bytes(range(256)) * 10 + b'\\nFoM: 2\\n'",
        "b'\\xff\\xfe\\x00\\n' * 3 + b'FoM: 2\\n'",
        "b'caf\\xe9 FoM: 2\\n'",
        "b'\\xe2\\x82'  + b'\\nFoM: 2'",
        "b'\\x00FoM: 2\\n'",
        "b'FoM: 2\\r\\n'",
        "b'\\x1b[1mFoM: 2\\x1b[0m\\n'",
    ],
)
def test_binary_and_undecodable_output_hides_nothing(search, program, output):
    program("binary", f"#!{sys.executable} -S\nimport sys\nsys.stdout.buffer.write({output})\n")
    study = search("./binary #", study={"n_trials": 1})
    assert study.trials[0].fom == 2
    study.to_csv()


def test_the_tail_of_binary_output_is_text(search, program):
    program("binary", f"#!{sys.executable} -S\nimport sys\nsys.stderr.buffer.write(bytes(range(256)))\nsys.exit(1)\n")
    search("./binary", study={"n_trials": 1})
    with hpo.Study.load("study") as study:
        assert isinstance(study.trials[0].result.tail, str)
        assert "abc" in study.trials[0].result.tail


@pytest.mark.parametrize(
    ("printed", "failure"),
    [
        ("FoM: nan", Failure.NAN_METRIC),
        ("FoM: inf", Failure.NAN_METRIC),
        ("FoM: -inf", Failure.NAN_METRIC),
        ("FoM: 1e999", Failure.NAN_METRIC),
        ("FoM: 1,5", Failure.NO_METRIC),
        ("FoM:", Failure.NO_METRIC),
        ("FoM: good", Failure.NO_METRIC),
        ("fom = 3.1", Failure.NO_METRIC),
        ("", Failure.NO_METRIC),
    ],
)
def test_what_is_no_figure_of_merit(search, program, printed, failure):
    program("prints", f"#!/bin/sh\necho '{printed}'\n")
    study = search("./prints", study={"n_trials": 2})
    result = study.trials[0].result
    assert (result.state, result.failure) == (State.FAILED, failure)
    assert result.message
    assert study.best_fom is None


def test_the_message_shows_the_near_miss(search, program):
    program("prints", "#!/bin/sh\necho one; echo 'fom = 3.1'\n")
    message = search("./prints", study={"n_trials": 1}).trials[0].result.message
    assert "fom = 3.1" in message
    assert "line 2" in message
    assert "FoM: " in message


@pytest.mark.parametrize(("printed", "fom"), [("FoM: -1.5E-07", -1.5e-7), ("FoM: 5.977443e+02", 597.7443)])
def test_exponents(search, program, printed, fom):
    program("prints", f"#!/bin/sh\necho '{printed}'\n")
    assert search("./prints", study={"n_trials": 1}).best_fom == fom


def test_a_program_that_closes_its_output_and_goes_on(search, program):
    program("closes", "#!/bin/sh\necho FoM: 3\nexec >&- 2>&-\nsleep 0.3\ntouch done\n")
    study = search("./closes", study={"n_trials": 1})
    assert study.best_fom == 3
    assert Path("done").exists()
    assert study.trials[0].result.duration_s > 0.2, "until its end, not until its output ended"


def test_a_program_that_deletes_its_workspace(search, program):
    program("source/vanish", '#!/bin/sh\ncd / && rm -r "$HPO_DIRECTORY"\necho FoM: 3\nexit "${HPO_TRIAL#1}"\n')
    study = search("./vanish", src_path="source", num_retries=1, study={"n_trials": 2})
    assert study.trials[0].result is not None
    assert study.trials[1].result.failure is Failure.EXIT_CODE


def test_a_program_that_reads_its_input_finds_none(search, program):
    program("reads", "#!/bin/sh\nread line && exit 1\necho FoM: 3\n")
    assert search("./reads", study={"n_trials": 1}).best_fom == 3


def test_a_program_that_leaves_a_child_with_its_output_open(search, program):
    """The evaluation ends with its own process, not with what it left behind."""
    program("leaves", "#!/bin/sh\nsleep 30 &\necho FoM: 3\n")
    study = search("./leaves", study={"n_trials": 1})
    assert study.best_fom == 3
    assert study.trials[0].result.duration_s < 10


def test_a_program_that_kills_itself(search, program):
    program("dies", "#!/bin/sh\necho FoM: 1\nkill -SEGV $$\n")
    result = search("./dies", study={"n_trials": 1}).trials[0].result
    assert result.failure is Failure.SIGNAL
    assert "SIGSEGV" in result.message


def test_a_command_line_that_is_too_long_stops_the_study_with_the_reason(search):
    long = "x" * 200_000
    with pytest.raises(hpo.StudyStopped, match="too long for this system"):
        search("./value", params=[["--x", 1, (0, 9)], ["--w", [long, long + "y"]]], study={"n_trials": 2})


def test_nonsense_in_the_environment_of_the_driver_is_passed_on(search, program, monkeypatch):
    monkeypatch.setenv("ODD", "a\nb\udcff")
    program("odd", '#!/bin/sh\ntest -n "$ODD" && echo FoM: 1\n')
    assert search("./odd", study={"n_trials": 1}).best_fom == 1
