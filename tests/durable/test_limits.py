"""Limits on each evaluation, for any command, and programs that misbehave."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from driving import gone_within, left_of
from hpo_core.trial import Failure, State

Program = Callable[[str], str]


def run(tmp_path: Path, command: str, n_trials: int = 1, **evaluator: Any) -> hpo.Study:
    study = hpo.Study(
        hpo.Params([["--x", 0.5, (0.0, 1.0)]]),
        hpo.Evaluator(command, workload_manager="local", **evaluator),
        n_trials=n_trials,
        seed=1,
        directory=tmp_path / "study",
    )
    study.optimize()
    study.close()
    assert gone_within(study.id, 2.0), left_of(study.id)
    return study


def failure(study: hpo.Study) -> tuple[Failure | None, str]:
    result = study.trials[0].result
    assert result is not None
    return result.failure, result.message


HANGS = """
print("starting", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for session in (False, True):
    subprocess.Popen(
        [sys.executable, "-S", "-c", "import signal,time;signal.signal(15,signal.SIG_IGN);time.sleep(60)"],
        start_new_session=session,
    )
time.sleep(60)
"""


def test_the_time_limit_kills_the_whole_tree_even_if_it_ignores_term_and_moved_to_other_sessions(
    tmp_path: Path, program: Program
) -> None:
    start = time.monotonic()
    study = run(tmp_path, program(HANGS), eval_timeout=0.5, grace=0.3)
    assert time.monotonic() - start < 10
    kind, message = failure(study)
    assert kind is Failure.TIME_LIMIT
    assert "longer than eval_timeout, 0.5 s" in message
    assert study.trials[0].result.tail == "starting"


def test_a_program_that_ends_on_term_has_its_grace(tmp_path: Path, program: Program) -> None:
    text = """
signal.signal(15, lambda *a: (print('saved', flush=True), sys.exit(0)))
print('up', flush=True)
time.sleep(60)
"""
    study = run(tmp_path, program(text), eval_timeout=1, grace=30)
    assert failure(study)[0] is Failure.TIME_LIMIT
    assert study.trials[0].result.tail == "up\nsaved"


def test_the_memory_limit_counts_the_whole_tree(tmp_path: Path, program: Program) -> None:
    child = "import time; data = bytearray(80 << 20); time.sleep(30)"
    text = f"for _ in range(3): subprocess.Popen([sys.executable, '-S', '-c', {child!r}])\ntime.sleep(30)"
    study = run(tmp_path, program(text), memory_limit="150M")
    kind, message = failure(study)
    assert kind is Failure.MEMORY_LIMIT
    assert "memory_limit is 150 MiB" in message


def test_within_the_memory_limit_nothing_happens(tmp_path: Path, program: Program) -> None:
    study = run(tmp_path, program("data = bytearray(20 << 20); time.sleep(0.6); print('FoM: 2')"), memory_limit="500M")
    assert study.best_fom == 2


def test_a_bounded_fork_bomb_is_gone_at_the_end(tmp_path: Path, program: Program) -> None:
    text = """
for _ in range(5):
    os.fork()
if os.getpid() % 3 == 0:
    os.setsid() if os.getpgrp() != os.getpid() else None
time.sleep(60)
"""
    study = run(tmp_path, program(text), eval_timeout=1, grace=0.2)
    assert failure(study)[0] is Failure.TIME_LIMIT


def test_what_a_program_leaves_running_is_ended_with_it(tmp_path: Path, program: Program) -> None:
    text = (
        "subprocess.Popen(['sleep', '60']); subprocess.Popen(['sleep', '60'], start_new_session=True); print('FoM: 3')"
    )
    assert run(tmp_path, program(text)).best_fom == 3


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("print('FoM: 1'); sys.exit(3)", Failure.EXIT_CODE, "exit code 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Failure.SIGNAL, "signal 11 (SIGSEGV)"),
        ("print('loss 3')", Failure.NO_METRIC, "expected 'FoM: '"),
        ("print('FoM: nan')", Failure.NAN_METRIC, "nan"),
        ("print('FoM: inf')", Failure.NAN_METRIC, "inf"),
        ("sys.stdout.close(); os.close(1); time.sleep(0.2); sys.exit(2)", Failure.EXIT_CODE, "exit code 2"),
    ],
)
def test_failure_classes(tmp_path: Path, program: Program, text: str, kind: Failure, words: str) -> None:
    study = run(tmp_path, program(text))
    assert failure(study)[0] is kind
    assert words in failure(study)[1]
    assert study.best_fom is None


def test_failed_ones_are_tried_again_num_retries_times_and_every_attempt_is_recorded(
    tmp_path: Path, program: Program
) -> None:
    text = f"""
path = {str(tmp_path)!r} + "/count"
count = int(open(path).read()) if os.path.exists(path) else 0
open(path, "w").write(str(count + 1))
assert os.environ["HPO_ATTEMPT"] == str(count + 1)
if count < 2: sys.exit(7)
print("FoM: 5")
"""
    study = run(tmp_path, program(text), num_retries=2)
    assert study.trials[0].state is State.DONE
    assert study.trials[0].result.attempts == 3


def test_100_mb_without_a_newline_pass_in_bounded_memory(tmp_path: Path, program: Program) -> None:
    text = "chunk = b'x' * (1 << 20)\nfor _ in range(100): os.write(1, chunk)\nos.write(1, b'\\nFoM: 4\\n')"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(tmp_path, program(text)).best_fom == 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


def test_output_files_are_capped_and_the_tail_still_shows_the_end(tmp_path: Path, program: Program) -> None:
    text = "chunk = b'x' * 1000 + b'\\n'\nfor _ in range(3000): os.write(1, chunk)\nprint('the end'); sys.exit(1)"
    study = run(tmp_path, program(text), max_output="1M")
    assert (study.directory / "output" / "1.1.out").stat().st_size == 2**20
    assert study.trials[0].result.tail.endswith("the end")


def test_a_program_that_deletes_its_working_directory_harms_nobody(tmp_path: Path, program: Program) -> None:
    source = tmp_path / "source"
    source.mkdir()
    command = program("import shutil; shutil.rmtree(os.getcwd()); print('FoM: 6')")
    study = run(tmp_path, command, src_path=str(source), run_path=str(tmp_path / "run"))
    assert study.best_fom == 6


def test_a_failure_keeps_whole_output_and_a_script_that_does_it_again(tmp_path: Path, program: Program) -> None:
    study = run(tmp_path, program("print('a'); print('b', file=sys.stderr); sys.exit(1)"))
    output = study.directory / "output"
    assert (output / "1.1.out").read_text() == "a\n"
    assert (output / "1.1.err").read_text() == "b\n"
    assert "--x=0.5" in (output / "1.1.sh").read_text()
