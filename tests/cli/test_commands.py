"""The commands, as the README shows them, on studies of a small real program."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo_core import _processes
from hpo_core._view import StudyView

ROOT = Path(__file__).parents[2]


def wait_for(condition, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.02)


def test_run_with_everything_as_options(hpo, train):
    outcome = hpo(
        *("run", "--strategy", "random", "--trials", "6", "--param", "--lr=1e-5:1e-1:log:default=0.05"),
        *("--seed", "3", "--", *train.split()),
    )
    assert outcome.status == 0
    assert "times better than the defaults:" in outcome.out
    assert "train.py --lr=" in outcome.out
    assert "Trials: 6 done; all trials of the budget are done." in outcome.out
    assert "hpo resume hpo-study-1 --trials 12" in outcome.out
    assert "done 6 of 6" in outcome.err


def test_the_best_command_of_the_end_can_be_pasted(hpo, study):
    line = hpo("best", study).out
    facts = json.loads(hpo("best", study, "--json").out)
    printed = subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    assert float(printed.removeprefix("FoM:")) == facts["fom"]
    assert facts["command"] == line.strip()


def test_placeholders_are_filled_in_for_pasting(hpo, folder):
    outcome = hpo(
        "run", "-q", "-d", "s", "--trials", "1", "--param", "--lr=1:2", "--", "@python", "train.py", "n=@trial"
    )
    assert f"    {sys.executable} train.py n=1 --lr=" in outcome.out
    assert hpo("best", "s").out.startswith(sys.executable)


def test_run_from_a_study_file_with_options_over_it(hpo, folder, train):
    (folder / "study.toml").write_text(
        f'command = "{train}"\nn_trials = 50\ndirectory = "from-file"\n[params]\n"--lr" = {{ range = [0.1, 0.2] }}\n'
    )
    assert hpo("run", "-q", "study.toml", "--trials", "3", "--set", "params.--lr.default=0.15").status == 0
    rows = list(csv.DictReader(io.StringIO(hpo("export", "from-file").out)))
    assert [row["trial"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["--lr"] == "0.15"


def test_dry_run_prints_exact_commands_and_makes_nothing(hpo, folder):
    before = sorted(os.listdir(folder))
    words = ("--trials", "4", "--seed", "5", "--param", "--lr=1e-5:1e-1:log", "--", "python3", "train.py", "a b")
    outcome = hpo("run", "--dry-run", "-d", "s", *words)
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("python3 train.py 'a b' --lr=") for line in lines)
    assert sorted(os.listdir(folder)) == before
    hpo("run", "-q", "-d", "s", *words)
    recorded = csv.DictReader(io.StringIO(hpo("export", "s").out))
    assert [line.rpartition("=")[2] for line in lines] == [row["--lr"] for row in recorded]


def test_dry_run_without_an_end_prints_some(hpo):
    outcome = hpo("run", "--dry-run", "--param", "--lr=0.0:1.0", "--", "true")
    assert len(outcome.out.splitlines()) == 10
    assert "give --trials" in outcome.err
    outcome = hpo("run", "--dry-run", "--strategy", "grid", "--trials", "9", "--param", "--a=x,y", "--", "true")
    assert set(outcome.out.splitlines()) == {"true --a=x", "true --a=y"}


def test_an_existing_directory_is_refused_naming_resume(hpo, study, train):
    outcome = hpo("run", "-d", study, "--trials", "3", "--param", "--lr=1:2", "--", *train.split())
    assert outcome.status == 2
    assert "hpo resume my-study" in outcome.err
    assert "Traceback" not in outcome.err


def test_resume_goes_on_to_more_trials(hpo, study):
    outcome = hpo("resume", study, "--trials", "23", "-q")
    assert outcome.status == 0
    assert "23 done" in outcome.out
    assert len(hpo("export", study).out.splitlines()) == 24


def test_resume_with_other_settings_of_evaluations(hpo, study):
    outcome = hpo("resume", study, "--trials", "22", "-q", "--parallel", "2", "--set", "grace=0.5")
    assert outcome.status == 0, outcome.err
    assert "22 done" in outcome.out
    recorded = [json.loads(line) for line in Path(study, "journal.jsonl").read_text().splitlines()]
    evaluator = next(record["evaluator"] for record in recorded if record["record"] == "evaluator")
    assert (evaluator["num_parallel_evals"], evaluator["grace"]) == (2, 0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "-2"], "hpo: --nodes: nodes=-2 must be a whole number, 0 or more"),
        (["--nodes", "2"], "hpo: --nodes: nodes=2, and no workload manager was found on this machine"),
        (["--workload-manager", "slrum"], "--workload-manager: no workload manager is called 'slrum'"),
        (["--set", "grce=3"], "hpo: --set 'grce=3': unknown key (did you mean 'grace'?)"),
        (["--set", "seed=3"], "hpo: --set 'seed=3': seed can't be changed so"),
        (["--set", "timeout=3"], "hpo: --set 'timeout=3': timeout can't be changed so"),
        (["--set", "manager_options.poll=3"], "hpo: --set 'manager_options.poll=3': workload manager 'local'"),
        (["--set", "cmd='true'"], "was begun with something else: cmd: recorded"),
    ],
)
def test_resume_says_which_setting_is_wrong_and_changes_nothing(hpo, study, words, said):
    outcome = hpo("resume", study, "--trials", "22", "-q", *words)
    assert outcome.status == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    again = hpo("resume", study, "--trials", "21", "-q")
    assert again.status == 0, again.err


@pytest.mark.parametrize("words", [["--seed", "4"], ["--strategy=grid"], ["--metric", "x"], ["--param", "--lr=1:2"]])
def test_resume_says_what_stays_as_it_was(hpo, study, words):
    outcome = hpo("resume", study, *words)
    name = words[0].partition("=")[0]
    assert outcome.status == 2
    assert f"hpo resume has no {name}: what is searched, and how, stays as the study was begun" in outcome.err
    assert "--sed'. Did you mean" in hpo("resume", study, "--sed", "4").err


def test_resume_of_a_program_that_changed_is_refused_unless_allowed(hpo, study, folder):
    with open(folder / "train.py", "a") as file:
        file.write("# better now\n")
    refused = hpo("resume", study, "--trials", "21", "-q")
    assert refused.status == 2
    assert "train.py changed" in refused.err
    assert "--allow-changes" in refused.err
    assert hpo("resume", study, "--trials", "21", "-q", "--allow-changes").status == 0


def test_a_job_that_is_started_again_goes_on(hpo, train):
    words = ("run", "-q", "-d", "s", "--resume-if-exists", "--trials", "3", "--param", "--lr=1:2", "--", *train.split())
    assert hpo(*words).status == 0
    assert "Trials: 3 done" in hpo(*words).out


def test_status_of_a_finished_study(hpo, study):
    line = hpo("status", study).out
    assert line.startswith("my-study: 20 of 20 done; best ")
    assert line.count("\n") == 1
    assert "nobody works on it, go on with: hpo resume my-study --trials 40" in line
    facts = json.loads(hpo("status", study, "--json").out)
    assert facts["states"] == {"running": 0, "done": 20, "failed": 0, "stopped": 0, "cancelled": 0}
    assert facts["factor"] == facts["default_fom"] / facts["best"]["fom"]
    assert facts["driver"] is None


def test_a_study_of_ask_and_tell_can_be_looked_at(hpo, folder):
    import hpo_core

    with hpo_core.Study(hpo_core.Params([["--x", 0.5, (0.0, 1.0)]]), directory="s", maximize=True) as study:
        study.tell(study.ask(), 0.5)
        study.ask()
    assert "1 done, 1 open; best 0.5 (trial 1)" in hpo("status", "s").out
    assert "Study.load" in hpo("status", "s").out
    assert hpo("best", "s").out == "--x=0.5\n"
    assert hpo("show", "s", "2").status == 0
    assert "no evaluator" in hpo("show", "s", "2", "--script").err
    assert hpo("resume", "s").status == hpo("clean", "s").status == 2


def test_show_tells_all_of_a_trial(hpo, study):
    outcome = hpo("show", study, "17")
    assert outcome.status == 0
    names = [line.split("  ")[0] for line in outcome.out.splitlines()]
    for name in ("trial", "state", "values", "fom", "duration", "nodes", "command"):
        assert name in names
    assert "train.py --lr=" in outcome.out
    assert hpo("show", study, "21").status == 2
    assert "numbered 1 to 20" in hpo("show", study, "0").err


def test_show_of_a_failure_gives_output_and_files(hpo, train, folder):
    outcome = hpo(
        *("run", "-q", "-d", "s", "--trials", "1", "--retries", "1", "--param", "--mode=crash"), "--", *train.split()
    )
    assert outcome.status == 1
    assert "No trial has a result. Trial 1: exit code 1: out of luck (look at it: hpo show s 1)" in outcome.out
    shown = hpo("show", "s", "1").out
    assert "out of luck" in shown
    assert "attempt 1" in shown
    assert "s/output/1.2.err" in shown
    assert hpo("show", "s", "1", "--script").out == (folder / "s/output/1.2.sh").read_text()
    assert hpo("best", "s").status == 1
    assert "1 failed (1 exit code)" in hpo("status", "s").out


def test_show_gives_a_script_that_does_again_what_a_trial_did(hpo, study, folder, monkeypatch, tmp_path_factory):
    """From anywhere; the script of a success is written nowhere else."""
    fom = StudyView(folder / study).trials[19].fom
    assert "again      hpo show my-study 20 --script | sh" in hpo("show", study, "20").out
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    script = hpo("show", str(folder / study), "20", "--script").out
    assert f"\ncd {folder} || exit 126\n" in script
    assert "\nexport HPO_TRIAL=20\n" in script
    again = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert again.stdout == f"FoM: {fom}\n"
    assert "numbered 1 to 20" in hpo("show", str(folder / study), "21", "--script").err


def test_export_has_the_number_in_the_first_column(hpo, study, folder):
    text = hpo("export", study, "--format", "csv").out
    assert text.startswith("trial,state,fom,--lr,")
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [str(n) for n in range(1, 21)]
    rows = json.loads(hpo("export", study, "--format", "json").out)
    assert [next(iter(row)) for row in rows] == ["trial"] * 20
    assert hpo("export", study, "--format", "jsonl", "--output", "out.jsonl").out == ""
    assert [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()] == rows
    assert hpo("export", study, "--output", "no/such/folder").status == 2


@pytest.mark.parametrize("words", [("plugins",), ("plugin", "list")])
def test_plugins_are_listed(hpo, words):
    lines = hpo(*words).out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "DISTRIBUTION", "VERSION", "HEALTH"]
    assert any(line.split()[:3] == ["grid", "strategy", "hpo-core"] and line.endswith("ok") for line in lines)


def test_a_command_that_does_not_exist_is_told_before_anything_runs(hpo, folder):
    outcome = hpo("run", "-d", "s", "--param", "--lr=1:2", "--", "no-such-program", "x")
    assert outcome.status == 2
    assert "there is no program 'no-such-program'" in outcome.err
    assert not (folder / "s").exists()


def test_a_command_that_only_the_shell_finds_missing_stops_the_study(hpo):
    outcome = hpo("run", "-q", "-d", "s", "--param", "--lr=1:2", "--", "true; no-such-program")
    assert outcome.status == 1
    assert "trial 1 could not be started" in outcome.err
    assert "hpo show s 1" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "did you mean 'run'"),
        (["run", "--strateg", "random"], "--strategy"),
        (["run", "python", "train.py"], "put the command behind --: hpo run [OPTIONS] -- python train.py"),
        (["run", "--param", "--lr=1:2"], "there is no command"),
        (["run", "--", "true"], "nothing to vary"),
        (["run", "--param", "--lr=2:1", "--", "true"], "--param '--lr=2:1': the bounds (2, 1) are reversed"),
        (["run", "--strategy", "gird", "--param", "--lr=1:2", "--", "true"], "did you mean 'grid'"),
        (["run", "--condition", "--b if --a > 1", "--param", "--a=1:2", "--", "true"], "--condition '--b if"),
        (["run", "--set", "nodse=2", "--param", "--a=1:2", "--", "true"], "did you mean 'nodes'"),
        (["run", "missing.toml"], "missing.toml: cannot be read"),
        (["status", "nowhere"], "no study in nowhere"),
        (["resume", "nowhere"], "no study in nowhere"),
        (["best", "nowhere"], "no study in nowhere"),
    ],
)
def test_mistakes_are_one_clean_message(hpo, words, message):
    outcome = hpo(*words)
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_mistake_in_a_study_file_is_told_with_its_line(hpo, folder):
    (folder / "study.toml").write_text('command = "true"\nn_trails = 3\n')
    assert hpo("run", "study.toml").err == "hpo: study.toml:2: n_trails: unknown key (did you mean 'n_trials'?)\n"


def test_a_warning_is_one_line(start, folder):
    process = start("run", "-q", "--dry-run", "--run-path", "x", "--param", "--a=1,2", "--trials", "1", "--", "true")
    _, err = process.communicate(timeout=20)
    assert err.startswith("hpo: warning: run_path='x' is ignored")
    assert err.count("\n") == 1


def test_status_while_it_runs_then_ctrl_c_then_resume(start, hpo, folder, train):
    process = start(
        "run", "-d", "s", "--parallel", "2", "--param", "--wait=20,30", "--stop-wait", "0.1", "--", *train.split()
    )
    wait_for(
        lambda: (folder / "s" / "journal.jsonl").exists() and '"trial":2' in (folder / "s/journal.jsonl").read_text()
    )
    line = hpo("status", "s").out
    assert "running 2" in line
    assert f"process {process.pid} on " in line
    assert json.loads(hpo("status", "s", "--json").out)["elapsed_s"] >= 0
    assert hpo("show", "s", "1").status == 0
    refused = hpo("clean", "s")
    assert refused.status == 2
    assert f"process {process.pid}" in refused.err
    assert "end it first: kill" in hpo("resume", "s").err
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Go on: hpo resume s" in out
    assert "2 open" in hpo("status", "s").out
    assert "open (its driver is gone)" in hpo("show", "s", "1").out


def test_a_reader_that_goes_away_is_no_error(start, study):
    with start("export", study) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_clean_ends_what_is_left_of_a_study(hpo, study):
    identity = json.loads(hpo("status", study, "--json").out)["id"]
    assert hpo("clean", study).out == "nothing was left running\n"
    left = subprocess.Popen(["sleep", "60"], env={**os.environ, "HPO_STUDY": identity}, start_new_session=True)
    while left.pid not in _processes.find("HPO_STUDY", identity):
        time.sleep(0.01)  # a process shows no environment for a moment while it starts
    try:
        assert hpo("clean", study).out == f"ended process {left.pid}\n"
        assert left.wait(timeout=5) == -signal.SIGTERM
    finally:
        left.kill()
        left.wait()


def test_version_and_module_call(start):
    out, _ = start("--version").communicate(timeout=20)
    assert out.startswith("hpo-core ")


def test_help_imports_nothing_heavy():
    """The promise is in CPU time; what costs it are these imports."""
    script = (
        "import sys\nfrom hpo_core.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'numpy', 'rich', 'networkx', 'pluggy', 'attr', 'hpo_core.study'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for name in ("run", "resume", "status", "best", "show", "export", "clean", "plugins"):
        assert f"  {name} " in shown


@pytest.mark.parametrize(
    "words", [["run"], ["resume"], ["status"], ["best"], ["show"], ["export"], ["clean"], ["plugins"], ["plugin"]]
)
def test_every_command_has_its_help(hpo, words):
    outcome = hpo(*words, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"Usage: hpo {words[0]}")


def test_the_help_of_run_names_every_option(hpo):
    text = hpo("run", "--help").out
    for option in ("--param", "--trials", "--set", "--eval-timeout", "--dry-run", "--workload-manager", "--maximize"):
        assert option in text
    assert text.index("Search space:") < text.index("Search:") < text.index("Evaluations:") < text.index("Other:")


def test_a_limit_that_was_reached_is_lifted_by_the_command_that_is_named(hpo, train):
    words = ("run", "-q", "-d", "s", "--trials", "50", "--target", "100", "--patience", "9", "--seed", "1")
    outcome = hpo(*words, "--param", "--lr=1:2", "--", *train.split())
    assert "the target was reached" in outcome.out
    assert "More trials: hpo resume s --target none\n" in outcome.out
    assert "go on with: hpo resume s --target none" in hpo("status", "s").out
    outcome = hpo("resume", "-q", "s", "--target", "none")
    assert "no improvement for the stated number of trials" in outcome.out
    assert "More trials: hpo resume s --patience none\n" in outcome.out
    outcome = hpo("resume", "-q", "s", "--patience", "none")
    assert "Trials: 50 done" in outcome.out
    assert "More trials: hpo resume s --trials 100" in outcome.out
    wrong = hpo("resume", "-q", "s", "--target", "low")
    assert wrong.status == 2
    assert "'low' is not a valid float" in wrong.err


def test_a_time_limit_is_taken_away(hpo, train):
    words = ("run", "-q", "-d", "s", "--trials", "1", "--eval-timeout", "0.05", "--param", "--wait=0.5,9")
    assert "1 time limit" in hpo(*words, "--", *train.split()).out
    zero = hpo("resume", "-q", "s", "--trials", "2", "--eval-timeout", "0")
    assert "--eval-timeout: eval_timeout='0' would end every evaluation at once" in zero.err
    assert "2 of 2 done" not in hpo("status", "s").out
    assert "1 done" in hpo("resume", "-q", "s", "--trials", "2", "--eval-timeout", "none", "--stop-wait", "0").out


def test_after_failures_in_a_row_a_new_session_counts_anew(hpo, folder, train):
    words = ("run", "-q", "-d", "s", "--trials", "9", "--max-failures", "2", "--param", "--lr=0.0:2.0", "--seed", "1")
    good = (folder / "train.py").read_text()
    (folder / "train.py").write_text("raise SystemExit(3)\n")
    outcome = hpo(*words, "--", *train.split())
    assert "too many failures in a row" in outcome.out
    assert "Once that is mended: hpo resume s\n" in outcome.out
    (folder / "train.py").write_text(good)
    assert "7 done, 2 failed" in hpo("resume", "-q", "s", "--allow-changes").out
