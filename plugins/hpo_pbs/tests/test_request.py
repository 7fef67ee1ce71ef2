"""From what is asked for to qsub's words."""

import shlex

import pytest

from hpo_core import AllocationError
from hpo_pbs._dialect import Dialect, Torque
from hpo_pbs._request import qsub_words, read_arguments


def words(arguments: str = "", dialect: Dialect | None = None, **more: object) -> str:
    given = {"cpus": 2, "gpus": 0, "exclusive": False, "output": "/f/out", "script": "/f/job", **more}
    dialect = dialect or Dialect()
    asked = read_arguments(shlex.split(arguments), dialect)
    return shlex.join(qsub_words(dialect, "hpo-x", 4, 1800.0, asked, **given))


def test_defaults():
    assert words() == (
        "qsub -N hpo-x -j oe -k oed -o /f/out -r n -l select=4:ncpus=2:mpiprocs=1 -l place=scatter "
        "-l walltime=00:30:00 -- /bin/sh /f/job"
    )


def test_torque():
    assert words(dialect=Torque(), gpus=1) == (
        "qsub -N hpo-x -j oe -S /bin/sh -o /f/out -r n -l nodes=4:ppn=2:gpus=1 -l walltime=00:30:00 /f/job"
    )
    assert " -n -o " in words(dialect=Torque(), exclusive=True)
    assert "/bin/sh" not in words("-S /bin/bash -w /scratch", Torque())


def test_more_of_a_node():
    assert "-l select=4:ncpus=2:mpiprocs=1:ngpus=2 -l place=scatter:excl" in words(gpus=2, exclusive=True)


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        ("-l select=2:ncpus=8+1:ncpus=4:mem=3gb", "select=4"),
        ("-lselect=2", "select=4"),
        ("-l walltime=1:00:00,mem=3gb", "walltime=00:30:00"),
        ("-l place=pack", "place=scatter"),
        ("-l nodes=4:ppn=2", "place=scatter"),
        ("-l ncpus=4", "select=4"),
        ("-N mine", "hpo-x"),
        ("-Nmine", "hpo-x"),
        ("-o /elsewhere", "/f/out"),
        ("-k n", "oed"),
        ("-r y", "-r n"),
        ("-j n", "-j oe"),
    ],
)
def test_what_the_user_says_is_left_out_of_ours(arguments, left_out):
    asked = words(arguments)
    assert left_out in words()
    assert left_out not in asked
    assert f" {arguments} -- " in asked


def test_what_the_user_leaves_open_stays_ours():
    asked = words("-q short -A project -W group_list=x -l select=2:ncpus=8")
    assert "-l place=scatter -l walltime=00:30:00 -q short -A project -W group_list=x -l select=2:ncpus=8 --" in asked


def test_what_is_not_understood_is_handed_on():
    assert "--site-option=1 -q x" in words("--site-option=1 -q x")


@pytest.mark.parametrize("arguments", ["-I", "-J 0-3", "-z", "-W block=true"])
def test_what_gives_no_nodes_is_refused(arguments):
    with pytest.raises(AllocationError, match="can't be used"):
        words(arguments)


def test_an_array_is_refused_as_each_dialect_writes_it():
    with pytest.raises(AllocationError, match="-t can't be used"):
        words("-t 0-3", Torque())


@pytest.mark.parametrize("arguments", ["short", "-q short train.sh", "-q short -- /bin/true", "--"])
def test_a_word_that_is_no_option_is_refused(arguments):
    """Else qsub would run it in our script's place."""
    with pytest.raises(AllocationError, match="is no option of qsub; what the job runs is ours"):
        words(arguments)


def test_the_time_that_is_asked_for():
    assert read_arguments(["-l", "walltime=1:30:00,mem=1gb"], Dialect()).walltime_s == 5400
    assert read_arguments(["-q", "x"], Dialect()).walltime_s is None
