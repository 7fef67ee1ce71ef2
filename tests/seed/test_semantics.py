"""What programs written for the original rely on beyond its API page: text on the command line, order, logs, places.

The sections are those of the notes on the original's behaviour.
"""

import os
import subprocess
import sys

import pytest

import hpo_core as hpo

HEAD = ["generation", "epoch", "best_fom", "avg_fom", "checkpoint_in", "checkpoint_out"]


# -- 1. the command line -------------------------------------------------------------------------------------


def test_flags_are_appended_in_the_order_of_params_after_the_commands_own(place):
    place.execute(
        """
import hpo_core as hpo
params = hpo.Params([['-z', 1.0, (0.0, 2.0)], ['--optimizer lr', 0.001, (1e-6, 1)], ['-a', 'Adam', ['Adam', 'SGD']]])
hpo.RandomOptimizer(hpo.Evaluator('COMMAND --own 3 -q'), num_iters=3, seed=2).optimize(params)
"""
    )
    assert place.argvs[0] == ["--own", "3", "-q", "-z=1", "--optimizer", "lr=0.001", "-a=Adam"]
    for argv in place.argvs:
        assert [word.partition("=")[0] for word in argv] == ["--own", "3", "-q", "-z", "--optimizer", "lr", "-a"]


def test_the_command_goes_through_a_shell_in_the_task(place):
    """Variables are expanded, quotes removed, at the time of each evaluation."""
    place.execute(
        """
import os
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND --output-dir "${CALLS}/hpo_%s_${HPO_TRIAL}" && true ')
hpo.RandomOptimizer(evaluator, num_iters=1).optimize(hpo.Params([['-a', 1, (0, 2)]]))
""".replace("&& true ", "")
    )
    assert place.argvs == [["--output-dir", f"{place.path}/calls.jsonl/hpo_%s_1", "-a=1"]]


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (0.99776378123, (-1.0, 1.0), "0.99776378"),
        (-0.000281968771, (-1.0, 1.0), "-0.00028196877"),
        (1.0, (-1.0, 1.0), "1"),
        (-1.0, (-1.0, 1.0), "-1"),
        (1024.0, (0.0, 4096.0), "1024"),
        (1e-7, (0.0, 1.0), "1e-07"),
    ],
)
def test_reals_have_eight_digits(value, bounds, text):
    assert hpo.Params([["-a", value, bounds]]).get_params() == {"-a": text}


# -- 2. types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "whole"),
    [
        (["--x", 32, (8, 128)], True),
        (["--x", 0.001, (1e-6, 1)], False),
        (["--x", 2.0, (1, 10)], False),
        (["--x", 2, (1, 10.0)], False),
        (["--x", (1, 10)], True),
    ],
)
def test_an_integer_is_what_has_no_float_about_it(element, whole):
    (domain,) = hpo.Params([element]).domains.values()
    assert isinstance(domain, hpo.Integer if whole else hpo.Real)


def test_grid_points_of_integers_are_integers(place):
    """A program that parses --KH with type=int, and steps of 444.4."""
    place.execute(
        """
import hpo_core as hpo
hpo.grid.Optimizer(hpo.Evaluator('COMMAND'), grid_size=10).optimize(hpo.Params([['--KH', 2000, (0, 4000)]]))
"""
    )
    numbers = [int(argv[0].partition("=")[2]) for argv in place.argvs]
    assert numbers[:2] == [2000, 0]
    assert numbers[-1] == 4000
    assert len(numbers) == 11


def test_listed_values_stay_as_written(place):
    place.execute(
        """
import hpo_core as hpo
params = hpo.Params([['--lr', 1e-3, [1e-5, 1e-4, 1e-3, 0.5]], ['--opt', 'Adam', ['Adam', 'my opt', "d'A"]]])
hpo.GridOptimizer(hpo.Evaluator('COMMAND')).optimize(params)
"""
    )
    assert place.argvs[0] == ["--lr=0.001", "--opt=Adam"]
    assert [argv[0] for argv in place.argvs[1::3]] == ["--lr=1e-05", "--lr=0.0001", "--lr=0.001", "--lr=0.5"]
    assert [argv[1] for argv in place.argvs[1:4]] == ["--opt=Adam", "--opt=my opt", "--opt=d'A"]


# -- 3. the figure of merit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "fom"),
    [
        ("print('FoM: %e' % 597.7443)", 597.7443),
        ("print('FoM:', 1.2522231845855714)", 1.2522231845855714),
        ("print('FoM: ' + str(-0.25)); print('All done!')", -0.25),
        ("print('rank 0 FoM: 3'); print('rank 1 FoM: 2')", 2.0),
        ("import sys; print('FoM: 1'); print('FoM: 9', file=sys.stderr)", 1.0),
    ],
)
def test_figure_of_merit(place, program, fom):
    place.write("train.py", program)
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=1)
optimizer.optimize(hpo.Params([['-a', 1, (0, 2)]]))
print(repr(optimizer.best_fom))
"""
    )
    assert float(done) == fom


def test_without_a_figure_of_merit_the_run_goes_on(place):
    place.write(
        "train.py", "import os\nprint('FoM:', os.environ['HPO_TRIAL'] if os.environ['HPO_TRIAL'] > '2' else '')"
    )
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=3, name='log')
optimizer.optimize(hpo.Params([['-a', 1, (0, 2)]]))
print(optimizer.best_fom)
"""
    )
    assert done.split() == ["3.0"]
    assert [row["avg_fom"] for row in place.table("log.log")] == ["inf", "inf", "3"]


# -- 4. the defaults first -----------------------------------------------------------------------------------


def test_the_defaults_are_evaluated_once_and_first_and_count(place):
    """num_iters includes them; a grid of 2^7 points has 129 evaluations, tags count from 1, last flag fastest."""
    place.write("train.sh", '#!/bin/sh\nprintf "%s " "$@" >>args\necho >>args\necho "FoM: $HPO_TRIAL"\n').chmod(0o755)
    done = place.drive(
        """
import hpo_core as hpo
params = hpo.Params([[f'-{x}', d, (-1.0, 1.0)] for x, d in zip('abcdefg', [1., -1., 1., -1., 1., -1., 1.])])
optimizer = hpo.grid.Optimizer(hpo.Evaluator('./train.sh'), grid_size=2, chunk_size=50, log_fn='grid.log')
optimizer.optimize(params)
print([record.trial.tag for record in optimizer.study.trials][:5], optimizer.best_params)
optimizer = hpo.random.Optimizer(hpo.Evaluator('./train.sh'), num_iters=9, seed=3)
optimizer.optimize(params)
"""
    )
    lines = (place.path / "args").read_text().splitlines()
    defaults = "-a=1 -b=-1 -c=1 -d=-1 -e=1 -f=-1 -g=1 "
    assert len(lines) == 129 + 9
    assert lines[0] == lines[129] == defaults
    assert lines[1:129].count(defaults) == 1
    assert lines[130:].count(defaults) == 0
    assert lines[4] == "-a=-1 -b=-1 -c=-1 -d=-1 -e=-1 -f=1 -g=1 "
    tags = "['point1', 'point2', 'point3', 'point4', 'point5']"
    assert done.stdout.strip() == tags + " {'-a': 1, '-b': -1, '-c': 1, '-d': -1, '-e': 1, '-f': -1, '-g': 1}"
    table = place.table("grid.log")
    assert [row["generation"] for row in table] == [str(i) for i in range(129)]
    assert {row["best_fom"] for row in table} == {"1"}


# -- 7. log files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "file"), [("log_fn='genetic.log'", "genetic.log"), ("name='study'", "study.log"), ("", None)]
)
def test_log_files(place, argument, file):
    """No argument, no file; else a table whose columns are whole, with the flags in order."""
    place.execute(
        f"""
import hpo_core as hpo
params = hpo.Params([['-a', 1.0, (-1.0, 1.0)], ['--optimizer lr', 0.5, (0.0, 1.0)], ['--w', 'x y', ['x y', 'z']]])
params.add_conditions([hpo.condition.greater_than('--w', '-a', 0)])
hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=6, seed=4, {argument}).optimize(params)
"""
    )
    logs = [name for name in os.listdir(place.path) if name.endswith(".log")]
    assert logs == ([file] if file else [])
    if not file:
        return
    table = place.table(file)
    assert list(table[0]) == [*HEAD, "-a", "--optimizer_lr", "--w"]
    assert [row["generation"] for row in table] == [str(i) for i in range(6)]
    assert [row["epoch"] for row in table] == [str(i) for i in range(1, 7)]
    foms = [float(row["avg_fom"]) for row in table]
    assert [float(row["best_fom"]) for row in table] == [min(foms[: i + 1]) for i in range(6)]
    assert {row["checkpoint_in"] for row in table} == {row["checkpoint_out"] for row in table} == {"NA"}
    assert table[0]["--w"] == "x_y"
    assert {row["--w"] == "NA" for row in table} == {True, False}
    for row in table:
        assert (row["--w"] == "NA") == (float(row["-a"]) <= 0)


def test_pandas_reads_a_log_file(place):
    pandas = pytest.importorskip("pandas")
    place.execute(
        """
import hpo_core as hpo
hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=3, log_fn='x.log').optimize(hpo.Params([['-a', 1, (0, 2)]]))
"""
    )
    table = pandas.read_csv(place.path / "x.log", sep=r"\s+")
    assert list(table.columns) == [*HEAD, "-a"]
    assert table["checkpoint_in"].isna().all()
    assert len(table) == 3


def test_an_existing_log_file_is_overwritten_with_a_warning(place):
    place.write("old.log", "something\n" * 100)
    done = place.drive(
        """
import hpo_core as hpo
hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=1, log_fn='old.log').optimize(hpo.Params([['-a', 1, (0, 2)]]))
"""
    )
    assert "overwriting existing log file: old.log" in done.stderr
    assert len(place.table("old.log")) == 1


def test_logs_and_results_survive_both_dels(place):
    done = place.drive(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND')
optimizer = hpo.RandomOptimizer(evaluator, num_iters=3, log_fn='x.log')
optimizer.optimize(hpo.Params([['-a', 1, (0, 2)]]))
best = optimizer.best_params
del evaluator
del optimizer
print(best, open('x.log').read().count(chr(10)))
"""
    )
    assert done.stdout.strip().endswith("} 4")


def test_an_evaluator_serves_several_optimizers(place):
    place.execute(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND')
params = hpo.Params([['-a', 1, (0, 2)]])
hpo.RandomOptimizer(evaluator, num_iters=2).optimize(params)
hpo.GridOptimizer(evaluator, grid_size=2).optimize(params)
"""
    )
    assert len(place.argvs) == 5


# -- 9. best_params ------------------------------------------------------------------------------------------


def test_best_params_are_numbers_as_they_ran(place):
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=5, seed=9)
optimizer.optimize(hpo.Params([['-a', 1.0, (-1.0, 1.0)], ['-n', 3, (1, 9)], ['-w', 'u', ['u', 'v']]]))
print(optimizer.best_params)
"""
    )
    best = eval(done)
    assert [f"-a={best['-a']:.8g}", f"-n={best['-n']}", f"-w={best['-w']}"] in place.argvs
    assert float(f"{best['-a']:.8g}") == best["-a"]


# -- 10. workspaces ------------------------------------------------------------------------------------------


def test_workspaces_hold_copies_and_a_retry_has_its_own(place):
    place.write("source/data/numbers.txt", "4\n")
    place.write(
        "source/train.py",
        "import os\n"
        "open('made', 'w').close()\n"
        "number = float(open('data/numbers.txt').read())\n"
        "open('data/numbers.txt', 'w').write('0')\n"
        "if os.environ['HPO_ATTEMPT'] == '1': raise SystemExit(3)\n"
        "print('FoM:', number)\n",
    )
    done = place.execute(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND', src_path='source', num_retries=1)
optimizer = hpo.RandomOptimizer(evaluator, num_iters=2)
optimizer.optimize(hpo.Params([['-a', 1, (0, 2)]]))
print(optimizer.best_fom)
"""
    )
    assert done.split() == ["4.0"]
    assert sorted(os.listdir(place.path / "run")) == ["point1", "point1.2", "point2", "point2.2"]
    assert all((place.path / "run" / tag / "made").exists() for tag in os.listdir(place.path / "run"))
    assert (place.path / "source/data/numbers.txt").read_text() == "4\n"
    assert not (place.path / "source/made").exists()


# -- 11. checkpoints -----------------------------------------------------------------------------------------


def test_the_checkpoint_directory_exists_before_the_program_starts(place):
    """`@checkpoint` stands anywhere in a word, several times; empty means off."""
    place.write(
        "source/train.py",
        "import os, sys\n"
        "load, save = (word.partition('=')[2] for word in sys.argv[1:3])\n"
        "assert load == save and os.path.dirname(load) == os.environ['HPO_CHECKPOINT'], sys.argv\n"
        "assert not os.path.exists(load)\n"
        "open(save, 'w').close()\n"
        "print('FoM: 1')\n",
    )
    done = place.execute(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND --load=@checkpoint/model.h5 --save=@checkpoint/model.h5', src_path='source',
                          checkpoint='saved')
optimizer = hpo.RandomOptimizer(evaluator, num_iters=2)
optimizer.optimize(hpo.Params([['-a', 1, (0, 2)]]))
print(optimizer.best_fom)
"""
    )
    assert done.split() == ["1.0"]
    assert (place.path / "run/point2/saved/model.h5").exists()


def test_without_checkpoint_the_word_stays(place):
    with pytest.warns(UserWarning, match="@checkpoint stays as it is"):
        place.execute(
            """
import hpo_core as hpo
hpo.RandomOptimizer(hpo.Evaluator('COMMAND @checkpoint', checkpoint=''), num_iters=1).optimize(
    hpo.Params([['-a', 1, (0, 2)]]))
"""
        )
    assert place.argvs == [["@checkpoint", "-a=1"]]


# -- 12. nodes -----------------------------------------------------------------------------------------------


def test_locally_one_evaluation_runs_at_a_time(place):
    place.write(
        "train.py",
        "import os, time\nos.mkdir('alone')\ntime.sleep(0.05)\nos.rmdir('alone')\nprint('FoM: 1')\n",
    )
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND', workload_manager='local'), num_iters=4)
optimizer.optimize(hpo.Params([['-a', 1, (0, 2)]]))
print([record.fom for record in optimizer.study.trials])
"""
    )
    assert done.strip() == "[1.0, 1.0, 1.0, 1.0]"


# -- 13. names by date ---------------------------------------------------------------------------------------


def test_older_names():
    assert hpo.random.Optimizer is hpo.RandomOptimizer
    assert hpo.grid.Optimizer is hpo.GridOptimizer
    evaluator = hpo.Evaluator("train", launcher="wlm", urika_args="--no-node-list", alloc_jobid=None, checkpoint="")
    assert (evaluator.launcher, evaluator.alloc_jobid, evaluator.checkpoint) == ("auto", 0, "")
    assert hpo.RandomOptimizer(evaluator, log_fn="x.log").log_fn == "x.log"


@pytest.mark.parametrize("imports", ["import hpo_core as hpo", "from hpo_core import random_optimizer, params as p"])
def test_imports(imports):
    subprocess.run([sys.executable, "-c", imports], check=True)


PORTED = """\
#!/usr/bin/env python3
# Minimise the error of a polynomial against sin(x).
import os
import sys
import hpo_core as hpo                                       # was: from crayai import hpo

cwd = os.path.dirname(os.path.realpath(__file__))
jobid = int(os.environ['NO_SUCH_JOB']) if 'NO_SUCH_JOB' in os.environ else None

evaluator = hpo.Evaluator(sys.executable + ' -S source/sin.py --quiet',
                          run_path=os.path.join(cwd, 'run'),
                          launcher='wlm',
                          alloc_jobid=jobid,
                          alloc_args='-C haswell -q interactive -t 4:00:00',
                          checkpoint='',
                          nodes=1,
                          verbose=True)

params = hpo.Params([["-a", 1.0, (-1.0, 1.0)],
                     ["-b", -1.0, (-1.0, 1.0)],
                     ["-c", 1.0, (-1.0, 1.0)],
                     ["--order n", 3, (1, 5)]])

optimizer = hpo.random.Optimizer(evaluator,
                                 num_iters=17,
                                 seed=42,
                                 log_fn='random.log',
                                 verbose=True)
optimizer.optimize(params)

print(optimizer.best_fom)
print(optimizer.best_params)
del optimizer
del evaluator
"""

SIN = """\
import argparse, math
parser = argparse.ArgumentParser()
parser.add_argument('--quiet', action='store_true')
parser.add_argument('-a', type=float)
parser.add_argument('-b', type=float)
parser.add_argument('-c', type=float)
parser.add_argument('--order', type=lambda text: dict([text.split('=')]))
args = parser.parse_args()
xs = [-math.pi + 2 * math.pi * i / 199 for i in range(200)]
FoM = sum((math.sin(x) - (args.a + args.b * x + args.c * x ** int(args.order['n']))) ** 2 for x in xs)
print('FoM: %e' % FoM)
print('All done!')
"""


def test_a_program_written_for_the_original_runs_after_its_import_line_is_changed(place):
    place.write("source/sin.py", SIN)
    done = place.drive(PORTED)
    fom, best = done.stdout.splitlines()[-2:]
    table = place.table("random.log")
    assert len(table) == 17
    assert float(table[-1]["best_fom"]) == float(fom)
    assert float(table[0]["avg_fom"]) > float(fom)
    assert list(eval(best)) == ["-a", "-b", "-c", "--order n"]
    assert type(eval(best)["--order n"]) is int
    assert "run_path=" in done.stderr
