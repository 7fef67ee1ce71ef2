"""The progress display: lines where there is no terminal, a picture drawn anew where there is one."""

import os
import pty
import re
import subprocess
import sys

from hpo_core._summary import best_sentence, by_class, compared, factor, with_command
from hpo_core.trial import Failure


def test_the_factor_is_told_only_where_it_means_something():
    assert factor(0.5, 2.0, maximize=False) == 4.0
    assert compared(0.5, 2.0, maximize=False) == "4 times better than the defaults"
    assert compared(3.0, 2.0, maximize=True) == "1 above the defaults"
    assert compared(-1.0, 2.0, maximize=False) == "3 below the defaults"
    assert compared(0.0, 2.0, maximize=False) == "2 below the defaults"
    assert compared(2.0, 2.0, maximize=False) == "as good as the defaults"
    assert best_sentence(3, 2.0, None, maximize=False) == "best 2 (trial 3)"
    assert best_sentence(None, None, 1.0, maximize=False) == "no result yet"


def test_what_was_cancelled_is_no_failure():
    assert by_class({Failure.CANCELLED: 3}) == ""
    assert by_class({Failure.NO_METRIC: 1, Failure.EXIT_CODE: 2}) == " (2 exit code, 1 no metric)"


def test_a_message_that_names_a_trial_names_the_command_to_look_at_it(tmp_path):
    assert with_command("trial 7, attempt 1: it ended", tmp_path).endswith(f"(hpo show {tmp_path} 7)")
    assert with_command("the queue is long", tmp_path) == "the queue is long"


def test_lines_where_there_is_no_terminal(hpo, train):
    outcome = hpo("run", "-d", "s", "--trials", "40", "--param", "--mode=crash,ok,fine", "--", *train.split())
    lines = outcome.err.splitlines()
    assert sum(line.startswith("done ") for line in lines) == 20
    assert sum("failed: exit code 1" in line and "(hpo show s " in line for line in lines) == 1
    counts = re.match(r"done (\d+) of 40, running 0, failed (\d+) ", lines[-1])
    assert counts is not None
    assert sum(map(int, counts.groups())) == 40


def test_without_a_number_of_trials_the_time_is_told(hpo, train):
    outcome = hpo("run", "-d", "s", "--timeout", "1s", "--param", "--lr=0.0:1.0", "--", *train.split())
    assert "the total time is over" in outcome.out
    assert " of " not in outcome.err.splitlines()[0]
    assert "about 0." in outcome.err


def test_rich_is_not_imported_where_there_is_no_display(folder, train):
    script = (
        "import sys\nfrom hpo_core.cli import main\n"
        f"try: main(['run', '-d', 's', '--trials', '2', '--param', '--lr=1:2', '--', *{train.split()!r}])\n"
        "except SystemExit: pass\n"
        "print('rich' in sys.modules, 'numpy' in sys.modules, 'networkx' in sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False False False"


def test_no_progress_when_nobody_wants_it(hpo, train):
    assert hpo("run", "-q", "-d", "s", "--trials", "2", "--param", "--lr=1:2", "--", *train.split()).err == ""


def test_a_terminal_gets_a_display_that_is_gone_at_the_end(folder, train):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hpo_core",
            "run",
            "-d",
            "s",
            "--trials",
            "8",
            "--param",
            "--lr=1:2:default=2",
            "--",
            *train.split(),
        ],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # Linux says so when the other side is closed.
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    text = shown.decode()
    assert process.returncode == 0
    assert "done 8 of 8" in text
    assert "times better than the defaults" in text
    assert "\x1b[2K" in text
    assert b"Best " in out
