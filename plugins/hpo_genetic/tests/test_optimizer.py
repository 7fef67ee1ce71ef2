"""`GeneticOptimizer` with real programs: arguments, results, log files."""

import math
import sys
from pathlib import Path

import pytest

import hpo_core as hpo
import hpo_genetic

TRAIN = """\
import sys
values = dict(word.split("=") for word in sys.argv[1:])
print("FoM:", (float(values["--x"]) - 0.25) ** 2 + abs(int(values["--n"]) - 7) + (values.get("--kind") == "a"))
"""
PARAMS = [["--x", 0.9, (0.0, 1.0)], ["--n", 3, (1, 9)], ["--kind", "a", ["a", "b"]]]
DEFAULTS = {
    "generations": 1000,
    "num_demes": 4,
    "pop_size": 64,
    "mutation_rate": 0.05,
    "crossover_rate": 0.33,
    "migration_interval": 5,
    "mul_mutation_bounds": [0.01, 0.1, 0.2],
    "add_mutation_bounds": [0.03, 0.03, 0.13],
    "name": "",
    "verbose": False,
    "seed": 0,
    "log_fn": "",
    "gens_per_epoch": 1,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAIN)
    return tmp_path


def evaluator(**arguments):
    return hpo.Evaluator(f"{sys.executable} -S train.py", workload_manager="local", **arguments)


def table(path):
    head, *rows = [line.split() for line in Path(path).read_text().splitlines()]
    assert all(len(row) == len(head) for row in rows)
    return head, [dict(zip(head, row, strict=True)) for row in rows]


def test_it_is_found_by_its_entry_point():
    found = [info for info in hpo.list_plugins() if info.distribution == "hpo-genetic"]
    assert [(info.kind, info.name, info.health) for info in found] == [
        ("strategy", "genetic", "ok"),
        ("strategy", "pbt", "ok"),
    ]
    assert hpo.GeneticOptimizer is hpo.genetic.Optimizer is hpo.genetic_optimizer.GeneticOptimizer
    assert hpo.GeneticOptimizer is hpo_genetic.GeneticOptimizer


def test_arguments_have_the_documented_defaults():
    optimizer = hpo.GeneticOptimizer()
    assert {name: getattr(optimizer, name) for name in DEFAULTS} == DEFAULTS
    assert optimizer.evaluator is None
    assert optimizer.best_fom is None
    assert optimizer.best_params is None
    strategy = hpo_genetic.GeneticOptions()
    for name in [name for name in DEFAULTS if hasattr(strategy, name)]:
        assert getattr(strategy, name) == DEFAULTS[name]


def test_it_cannot_search_without_an_evaluator():
    with pytest.raises(hpo.ConfigurationError, match=r"needs an evaluator: GeneticOptimizer\(evaluator\)"):
        hpo.GeneticOptimizer(generations=2).optimize(hpo.Params(PARAMS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"populations": 3}, "has no argument 'populations'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        hpo.GeneticOptimizer(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"pop_size": 0},
        {"num_demes": "four"},
        {"mutation_rate": 2},
        {"gens_per_epoch": 0},
        {"mul_mutation_bounds": None},
        {"add_mutation_bounds": 0.1},
    ],
)
def test_wrong_values_are_refused_before_anything_runs(place, arguments):
    with pytest.raises(hpo.ConfigurationError, match=next(iter(arguments))):
        hpo.GeneticOptimizer(evaluator(), **arguments)
    assert sorted(path.name for path in place.iterdir()) == ["train.py"]


TRAIN_ON = """\
import pathlib, sys
values = dict(word.split("=") for word in sys.argv[2:])
saved = pathlib.Path(sys.argv[1], "history.txt")
history = (saved.read_text() if saved.exists() else "") + values["--x"] + " "
saved.write_text(history)
print("FoM:", 1.0 / len(history.split()) + 0.01 * float(values["--x"]), "\\nhistory:", history)
"""


@pytest.mark.parametrize(("generations", "each"), [(4, 1), (4, 2)])
def test_children_train_the_checkpoints_of_their_parents_further(place, generations, each):
    """In an epoch all start from the same weights, so that weights are trained once an epoch."""
    Path("train.py").write_text(TRAIN_ON)
    optimizer = hpo.GeneticOptimizer(
        hpo.Evaluator(f"{sys.executable} -S train.py @checkpoint", checkpoint="ck", workload_manager="local"),
        generations=generations, num_demes=2, pop_size=3, gens_per_epoch=each, log_fn="genetic.log", seed=3,
    )  # fmt: skip
    optimizer.optimize(hpo.Params([["--x", 0.5, (0.0, 1.0)]]))
    trials = [record.trial for record in optimizer.study.trials]
    assert len(trials) == generations * 6
    depth = {}
    for number, trial in enumerate(trials, 1):
        epoch = (number - 1) // (6 * each) + 1
        depth[number] = depth.get(trial.parent, 0) + 1
        assert depth[number] <= epoch
        assert (trial.parent is None) == (epoch == 1)
        if trial.parent is not None:
            assert (trial.parent - 1) // (6 * each) + 1 < epoch
            assert trial.fidelity == depth[number]
    assert max(depth.values()) == generations // each

    best = optimizer.study.best_trial.trial
    saved = optimizer.study.directory / "checkpoints" / best.tag / "ck" / "history.txt"
    assert len(saved.read_text().split()) == depth[best.number]

    _, rows = table("genetic.log")
    assert [row["epoch"] for row in rows] == [f"{k // each + 1}" for k in range(generations)]
    assert rows[0]["checkpoint_in"] == "NA"
    assert rows[-1]["checkpoint_out"] == best.tag
    assert rows[-1]["checkpoint_in"] == trials[best.parent - 1].tag


def test_search_with_log_files(place):
    optimizer = hpo.GeneticOptimizer(
        evaluator(num_parallel_evals=2),
        generations=3, num_demes=2, pop_size=5, migration_interval=1.5, mul_mutation_bounds=(0.01, 0.1, 0.2),
        log_fn="genetic.log", seed=3,
    )  # fmt: skip
    optimizer.optimize(hpo.Params(PARAMS))
    trials = list(optimizer.study.trials)
    assert len(trials) == 30
    assert trials[0].values == {"--x": 0.9, "--n": 3, "--kind": "a"}
    assert trials[0].trial.tag == "deme1_ind0"
    foms = [record.fom for record in trials]
    assert optimizer.best_fom == min(foms)
    assert optimizer.best_params.keys() == {"--x", "--n", "--kind"}

    head, rows = table("genetic.log")
    flags = ["--x", "--n", "--kind"]
    assert head == ["generation", "epoch", "best_fom", "avg_fom", "checkpoint_in", "checkpoint_out", *flags]
    assert [row["generation"] for row in rows] == ["0", "1", "2"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = [float(row["best_fom"]) for row in rows]
    assert best == sorted(best, reverse=True)
    assert best[-1] == pytest.approx(optimizer.best_fom)
    assert {row["checkpoint_in"] for row in rows} == {"NA"}
    assert sum(float(row["avg_fom"]) for row in rows) / 3 == pytest.approx(sum(foms) / 30, rel=1e-6)

    count = 0
    for deme in (1, 2):
        head, rows = table(f"Deme{deme}_genetic.log")
        assert head == ["generation", "tag", "fitness", "FoM", *flags]
        assert rows[0]["tag"] == f"deme{deme}_ind0"
        assert rows[0]["--x"] == "0.9"
        count += len(rows)
        for generation in "012":
            own = [row for row in rows if row["generation"] == generation]
            ids = [int(row["tag"].partition("ind")[2]) for row in own]
            assert ids == sorted(ids)
            losses = [float(row["FoM"]) for row in own]
            low, high = min(losses), max(losses)
            for row, one in zip(own, losses, strict=True):
                assert float(row["fitness"]) == pytest.approx(
                    math.exp(-10 * ((one - low) / (high - low)) ** 2), abs=1e-5
                )
    assert count == 30 + 1  # the second deme's defaults are the first one's


def test_log_files_that_exist_are_overwritten_with_warnings(place):
    arguments = {"generations": 1, "num_demes": 1, "log_fn": "genetic.log", "seed": 3}
    hpo.GeneticOptimizer(evaluator(), pop_size=3, **arguments).optimize(hpo.Params(PARAMS))
    with pytest.warns(UserWarning, match="overwriting") as caught:
        hpo.GeneticOptimizer(evaluator(), pop_size=2, **arguments).optimize(hpo.Params(PARAMS))
    assert [str(one.message) for one in caught] == [
        "overwriting existing log file: genetic.log",
        "overwriting existing log file: Deme1_genetic.log",
    ]
    assert len(table("Deme1_genetic.log")[1]) == 2


def test_name_puts_log_files_into_run_path_beside_workspaces(place):
    Path("source").mkdir()
    Path("train.py").rename("source/train.py")
    optimizer = hpo.GeneticOptimizer(
        evaluator(src_path="source", run_path="out"),
        generations=1, num_demes=2, pop_size=2, migration_interval=0, name="first", seed=1,
    )  # fmt: skip
    optimizer.optimize(hpo.Params(PARAMS))
    assert {"first.log", "Deme1_first.log", "Deme2_first.log", "deme1_ind0", "deme2_ind1"} <= {
        path.name for path in Path("out").iterdir()
    }


def test_without_a_name_there_are_no_log_files(place):
    hpo.GeneticOptimizer(evaluator(), generations=1, num_demes=1, pop_size=3).optimize(hpo.Params(PARAMS))
    assert sorted(path.name for path in place.iterdir()) == ["hpo-study-1", "train.py"]


def test_equal_seeds_give_equal_results(place):
    found = []
    for _ in range(2):
        optimizer = hpo.GeneticOptimizer(evaluator(), generations=2, num_demes=1, pop_size=6, seed=11)
        optimizer.optimize(hpo.Params(PARAMS))
        found.append([dict(record.values) for record in optimizer.study.trials])
    assert found[0] == found[1]


def test_an_exhausted_space_ends_the_search(place):
    optimizer = hpo.GeneticOptimizer(evaluator(), pop_size=4, seed=1)
    optimizer.optimize(hpo.Params([["--x", 0.25, [0.25, 0.5]], ["--n", 7, (7, 8)]]))
    assert optimizer.best_fom == 0.0
    assert len(optimizer.study.trials) == 4


def test_blanks_in_flags_keep_the_columns(place):
    Path("train.py").write_text("import sys\nprint('FoM:', len(sys.argv))\n")
    optimizer = hpo.GeneticOptimizer(evaluator(), generations=1, num_demes=1, pop_size=3, name="t", seed=1)
    optimizer.optimize(hpo.Params([["--optimizer lr", 0.1, (0.0, 1.0)]]))
    assert table("t.log")[0][-1] == "--optimizer_lr"
    assert table("Deme1_t.log")[0][-1] == "--optimizer_lr"
