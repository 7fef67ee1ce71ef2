"""Command lines, and what Slurm 22.05 was recorded to print: no cluster is needed here."""

import pytest

from hpo_core import Failure
from hpo_slurm import _commands as cmd
from hpo_slurm._guard import Left
from hpo_slurm._inquiry import read_inquiry
from hpo_slurm._verdict import Doubt, judge


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10:00", 600),
        ("0:55", 55),
        ("1:00:01", 3601),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_times(text, seconds):
    assert cmd.read_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n[1-4]", ["n1", "n2", "n3", "n4"]),
        ("n[1-3,7],gpu[08-10]", ["n1", "n2", "n3", "n7", "gpu08", "gpu09", "gpu10"]),
        ("r[1-2]n[1-2],login", ["r1n1", "r1n2", "r2n1", "r2n2", "login"]),
        ("nid00001", ["nid00001"]),
        ("a[1-2]-ib", ["a1-ib", "a2-ib"]),
        ("", []),
    ],
)
def test_lists_of_nodes(text, names):
    assert list(cmd.expand(text)) == names


def test_how_a_job_stands():
    assert cmd.read_job("12|RUNNING|None|9:28|n[1,3-4]\n") == cmd.Job(12, "RUNNING", "None", 568, ("n1", "n3", "n4"))
    assert cmd.read_job("13|PENDING|PartitionConfig|5:00|\n") == cmd.Job(13, "PENDING", "PartitionConfig", 300, ())
    assert cmd.read_job("") is None
    assert cmd.read_jobs("7|RUNNING|a|b|hpo-x:1\n8|PENDING|c|(null)\n") == [
        (7, "RUNNING", "a|b", "hpo-x:1"),
        (8, "PENDING", "c", "(null)"),
    ]
    assert cmd.read_steps("7.0|hpo-x-1-1\n7.extern|extern\n") == [("7.0", "hpo-x-1-1"), ("7.extern", "extern")]


def test_the_users_arguments_come_last():
    words = cmd.salloc_words("hpo-x", "hpo-x:1", 4, 1801.0, exclusive=True, arguments=["-N", "2", "-t", "4:00:00"])
    assert words[:3] == ("salloc", "--no-shell", "--no-kill")
    assert words[-6:] == ("--time=31", "--exclusive", "-N", "2", "-t", "4:00:00")
    words = cmd.srun_words(7, ["n2", "n4"], "hpo-x-1-1", arguments=["-n", "8"], error="/dev/fd/9")
    assert words[-3:] == ("--error=/dev/fd/9", "-n", "8")
    assert not any(word.startswith("--ntasks") for word in words)
    words = cmd.srun_words(7, ["n2", "n4"], "hpo-x-1-1")
    assert {"--jobid=7", "--overlap", "--nodes=2", "--ntasks=2", "--nodelist=n2,n4", "--mem=0"} <= set(words)


@pytest.mark.parametrize(
    ("arguments", "sets"),
    [(["-D", "/x"], True), (["-D/x"], True), (["--chdir=/x"], True), (["--chdir", "/x"], True), (["-d", "1"], False)],
)
def test_arguments_that_set_the_directory(arguments, sets):
    assert cmd.sets_directory(arguments) is sets


EXITED = "srun: error: n1: task 0: Exited with exit code {}\n"
STEP = "slurmstepd-n1: error: *** STEP 36.0 ON n1 CANCELLED AT 2026-11-24T03:32:25{} ***\n"
LAUNCH = (
    "srun: error: Task launch for StepId=1.4 failed on node n4: Communication connection failure\n"
    "srun: error: Application launch failed: Communication connection failure\nsrun: Job step aborted\n"
)


@pytest.mark.parametrize(
    ("code", "messages", "errors", "exit_code", "number", "failure", "doubt"),
    [
        (0, "", "", 0, None, None, Doubt.NONE),
        (3, EXITED.format(3), "", 3, None, None, Doubt.NONE),
        (255, EXITED.format(255), "", 255, None, None, Doubt.NONE),
        (143, EXITED.format(143), "", None, 15, None, Doubt.NONE),
        (137, EXITED.format(137), "", None, 9, None, Doubt.NONE),
        (137, "srun: error: n2: task 0: Killed\n", "", None, 9, None, Doubt.NODE),
        (139, "srun: error: n1: task 0: Segmentation fault (core dumped)\n", "", None, 11, None, Doubt.NONE),
        (143, EXITED.format(5) + "srun: error: n2: task 1: Terminated\n", STEP.format(""), 5, None, None, Doubt.JOB),
        (137, "srun: error: n1: task 0: Killed\n", STEP.format(""), None, 9, Failure.CANCELLED, Doubt.JOB),
        (
            *(143, "srun: error: n1: task 0: Terminated\n", STEP.format(" DUE TO TIME LIMIT")),
            *(None, 15, Failure.TIME_LIMIT, Doubt.JOB),
        ),
        (
            *(143, "srun: error: Node failure on n2\n", STEP.format(" DUE TO NODE FAILURE, SEE SLURMCTLD LOG")),
            *(None, 15, Failure.NODE_LOST, Doubt.JOB),
        ),
        (
            *(143, "srun: error: n1: task 0: Terminated\n", STEP.format(" DUE TO PREEMPTION")),
            *(None, 15, Failure.PREEMPTED, Doubt.JOB),
        ),
        (
            *(1, "srun: error: n1: task 0: Out Of Memory\n", "slurmstepd: error: Detected 1 oom-kill event(s)\n"),
            *(1, None, Failure.MEMORY_LIMIT, Doubt.NONE),
        ),
        (
            *(
                137,
                "",
                "slurmstepd-n1: error: StepId=1.0 exceeded memory limit (622465024 > 209715200), being killed\n",
            ),
            *(None, 9, Failure.MEMORY_LIMIT, Doubt.NONE),
        ),
        (233, LAUNCH, "", 233, None, None, Doubt.REFUSED),
        (
            *(1, "srun: error: Unable to create step for job 1: Requested node configuration is not available\n", ""),
            *(1, None, None, Doubt.REFUSED),
        ),
        (
            *(1, "srun: error: Unable to confirm allocation for job 1: Unable to contact slurm controller\n", ""),
            *(1, None, None, Doubt.SILENT),
        ),
        (1, EXITED.format(1), "out of memory, says the program\n", 1, None, None, Doubt.NONE),
        (-9, "", "", None, 9, None, Doubt.JOB),
    ],
)
def test_how_steps_end(code, messages, errors, exit_code, number, failure, doubt):
    verdict = judge(code, messages, errors)
    assert (verdict.exit_code, verdict.signal, verdict.failure, verdict.doubt) == (exit_code, number, failure, doubt)


def test_a_node_that_cannot_be_reached_is_named():
    assert judge(233, LAUNCH, "").node == "n4"


def test_gpus_and_cores_of_nodes():
    found = read_inquiry("n1|0,1|0-3,8\nn2|NoDevFiles|0\nn3||\n")
    assert found.gpus == {"n1": ("0", "1"), "n2": (), "n3": ()}
    assert found.cores == {"n1": (0, 1, 2, 3, 8), "n2": (0,), "n3": ()}


def test_what_the_guard_hears():
    left = Left("mark")
    for line in ("salloc 5", "job 12", "salloc 0", "name hpo-x-", "srun 7", "srun 8", "srun -7", "folder /a b"):
        word, _, text = line.partition(" ")
        left.hear(word, text)
    assert (left.salloc, left.job, left.names, left.sruns, left.folder) == (0, "12", ("hpo-x-",), {8}, "/a b")
