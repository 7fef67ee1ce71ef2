"""The launcher ``urika``, with a real program called run_training that checks and runs what it is given."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

import hpo_core as hpo
import hpo_urika
from hpo_urika._commands import in_directory, shown, training_words

PYTHON = shlex.quote(sys.executable)
PARAMS = [["--x", 1, (1, 9)]]


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """run_training is on PATH, and notes its calls in this file."""
    monkeypatch.setenv("PATH", f"{Path(__file__).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RUN_TRAINING_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import sys\nprint('FoM:', float(sys.argv[1].partition('=')[2]))\n")
    return tmp_path / "calls.jsonl"


def calls(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def run(cmd: str = f"{PYTHON} train.py", *, n_trials: int = 2, **arguments) -> hpo.Study:
    with hpo.Evaluator(cmd, **{"workload_manager": "local", "launcher": "urika", **arguments}) as evaluator:
        study = hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=n_trials, seed=1)
        study.optimize()
        study.close()
    return study


def test_it_is_found_by_its_entry_point():
    found = [info for info in hpo.list_plugins() if info.distribution == "hpo-urika"]
    assert [(info.kind, info.name, info.health) for info in found] == [("launcher", "urika", "ok")]
    assert hpo_urika.UrikaLauncher.name == "urika"


def test_words():
    assert training_words("python t.py --x=1", nodes=2, arguments=["--ppn", "1"], node_list=False) == (
        ("run_training", "-n", "2", "--no-node-list", "--ppn", "1", "python t.py --x=1")
    )
    assert training_words("c", nodes=1, arguments=["--no-node-list"], node_list=False).count("--no-node-list") == 1
    assert "--no-node-list" not in training_words("c", nodes=1, arguments=[], node_list=True)


def test_shown_is_what_a_person_types():
    words = training_words("python 'my train.py'", nodes=1, arguments=[], node_list=False)
    line = shown(words, "/a b")
    assert line.startswith("cd '/a b' && run_training -n 1 --no-node-list ")
    assert tuple(shlex.split(line.partition(" && ")[2])) == words
    assert in_directory(words, None) == words


def test_a_study_runs_by_run_training(log):
    study = run(launch_args="-v --ppn 2 -e '/opt/my env'")
    assert study.best_fom == 1
    assert [record.state for record in study.trials] == [hpo.State.DONE] * 2
    first = calls(log)[0]["argv"]
    assert first == ["-n", "1", "--no-node-list", "-v", "--ppn", "2", "-e", "/opt/my env", f"{PYTHON} train.py --x=1"]


def test_the_older_name_of_its_arguments(log):
    run(urika_args="--no-node-list -v")
    assert calls(log)[0]["argv"][2:4] == ["--no-node-list", "-v"]


def test_the_node_list_is_appended_on_demand(log):
    (log.parent / "train.py").write_text("import sys\nassert sys.argv[2] == 'nid00001'\nprint('FoM: 1')\n")
    study = run(launcher_options={"node_list": True})
    assert study.best_fom == 1
    assert "--no-node-list" not in calls(log)[0]["argv"]


def test_in_a_workspace(log):
    (log.parent / "source").mkdir()
    (log.parent / "train.py").rename(log.parent / "source" / "train.py")
    study = run(src_path="source")
    assert study.best_fom == 1
    assert [call["cwd"] for call in calls(log)] == [str(log.parent / "run" / f"point{i}") for i in (1, 2)]


def test_the_program_hears_of_its_trial(log):
    (log.parent / "train.py").write_text("import os\nprint('FoM:', os.environ['HPO_TRIAL'])\n")
    assert [record.fom for record in run().trials] == [1, 2]


def test_values_are_no_shell_syntax(log):
    """The command is one argument of run_training, which hands it to a shell."""
    nasty = "$(touch broken); `touch broken` 'a' \"b\" & | > broken"
    (log.parent / "train.py").write_text(
        "import sys\nprint('FoM: 1' if sys.argv[1] == '--word=' + open('nasty').read() else 'FoM: 2')\n"
    )
    (log.parent / "nasty").write_text(nasty)
    with hpo.Evaluator(f"{PYTHON} train.py", workload_manager="local", launcher="urika") as evaluator:
        study = hpo.Study(hpo.Params([["--word", nasty, [nasty, "a"]]]), evaluator, n_trials=1)
        study.optimize()
        study.close()
    assert study.best_fom == 1
    assert not (log.parent / "broken").exists()


def test_exit_codes_and_signals_come_through(log):
    (log.parent / "train.py").write_text("import sys\nsys.exit(3)\n")
    assert {(r.result.failure, r.result.exit_code) for r in run().trials} == {(hpo.Failure.EXIT_CODE, 3)}


def test_an_evaluation_that_is_ended_leaves_nothing(log):
    (log.parent / "train.py").write_text("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    study = run(n_trials=1, eval_timeout="1s", grace="1s")
    assert study.trials[0].result.failure is hpo.Failure.TIME_LIMIT
    pid = int((log.parent / "pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_plan_shows_the_wrapped_command(log, tmp_path):
    with hpo.Evaluator("python3 train.py", workload_manager="local", launcher="urika", launch_args="-v") as evaluator:
        study = hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=1, directory=tmp_path / "s")
        assert study.plan(1) == ["run_training -n 1 --no-node-list -v 'python3 train.py --x=1'"]


def test_several_nodes_for_an_evaluation(tmp_path):
    evaluator = hpo.Evaluator(
        "python3 train.py", workload_manager="simulated", nodes=4, nodes_per_eval=2, launcher="urika"
    )
    with hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=1, directory=tmp_path / "s") as study:
        assert study.plan(1) == ["run_training -n 2 --no-node-list 'python3 train.py --x=1'"]


def test_without_run_training_the_study_stops_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hpo.StudyStopped, match=r"no program 'run_training' on PATH.*module 'analytics'"):
        run(f"{PYTHON} -c 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"launch_args": "-e 'open"}, "cannot be split into words"),
        ({"launcher_options": {"nodelist": True}}, "no option 'nodelist'.*did you mean 'node_list'"),
        ({"memory_limit": "1G"}, "launcher 'urika' can't keep it"),
    ],
)
def test_wrong_options_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hpo.ConfigurationError, match=message):
        run(f"{PYTHON} -c 1", **arguments)
