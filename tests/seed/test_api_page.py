"""The published API page, sentence by sentence: classes, arguments, defaults, methods, examples."""

import inspect
import warnings

import networkx as nx
import pytest

import hpo_core as hpo
from hpo_core import condition

EVALUATOR_DEFAULTS = {
    "src_path": "",
    "run_path": "run",
    "metric": {"FoM": 1.0},
    "checkpoint": "",
    "nodes": 0,
    "nodes_per_eval": 0,
    "num_parallel_evals": 0,
    "workload_manager": "auto",
    "launcher": "auto",
    "workload_image": "",
    "launch_args": "",
    "alloc_jobid": 0,
    "alloc_timeout": 30,
    "alloc_args": "",
    "timeout": 0.0,
    "flag": {},
    "verbose": False,
    "num_retries": 0,
}


def conditions():
    return [
        condition.greater_than("-b", "-a", 2),
        condition.greater_than("-b", "-c", 3),
        condition.less_than("-f", "-d", 2),
        condition.less_than("-e", "-b", 4),
        condition.less_than("-a", "-g", 5),
        condition.less_than("-c", "-g", 5),
    ]


def seven_flags():
    return hpo.Params([[f"-{letter}", 1.0, (1, 10.0)] for letter in "abcdefg"])


# -- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("params", ["Params"]),
        ("evaluator", ["Evaluator"]),
        ("condition", ["Condition", "equals", "greater_than", "inside", "less_than", "not_equals"]),
        ("random_optimizer", ["RandomOptimizer"]),
        ("grid_optimizer", ["GridOptimizer"]),
        ("genetic_optimizer", []),
    ],
)
def test_the_modules_of_the_page_import(module, names):
    found = getattr(hpo, module)
    assert inspect.ismodule(found)
    assert found.__name__ == f"hpo_core.{module}"
    for name in names:
        assert inspect.isclass(getattr(found, name))
        assert getattr(hpo, name, getattr(found, name)) is getattr(found, name)


def test_the_genetic_optimizer_says_how_to_install_it():
    """Until its distribution is there; then this is its own tests' business."""
    try:
        import hpo_genetic  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        pytest.skip("hpo-genetic is installed")
    for ask in (
        lambda: hpo.GeneticOptimizer,
        lambda: hpo.genetic.Optimizer,
        lambda: hpo.genetic_optimizer.GeneticOptimizer,
    ):
        with pytest.raises(hpo.PluginNotFoundError, match="pip install hpo-genetic") as caught:
            ask()
        assert (caught.value.kind, caught.value.name) == ("strategy", "genetic")


# -- Params --------------------------------------------------------------------------------------------------


def test_params_example(place):
    """As printed, with the comma that it lacks."""
    done = place.drive(
        """
import hpo_core as hpo
my_params = hpo.Params([['--learning_rate', 1e-4, (1e-6, 1)],
                        ['--dropout_rate', (0.1, 1)],
                        ['--optimizer', 'sgd', ['sgd', 'gd', 'adam']]])
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND', workload_manager='local'), num_iters=4, seed=5)
optimizer.optimize(my_params)
"""
    )
    assert done.stderr == ""
    assert len(place.argvs) == 4
    for argv in place.argvs:
        flags, values = zip(*(word.split("=") for word in argv), strict=True)
        assert flags == ("--learning_rate", "--dropout_rate", "--optimizer")
        assert 1e-6 <= float(values[0]) <= 1
        assert 0.1 <= float(values[1]) <= 1
        assert values[2] in ("sgd", "gd", "adam")
    assert place.argvs[0][0] == "--learning_rate=0.0001"
    assert place.argvs[0][2] == "--optimizer=sgd"


def test_each_form_of_a_parameter():
    params = hpo.Params([["--a", 0.5, (0.0, 1.0)], ["--b", 2, [1, 2, 3]], ["--c", [7, 8]], ["--d", (5, 9)]])
    shown = params.get_params()
    assert (shown["--a"], shown["--b"]) == ("0.5", "2")
    assert shown["--c"] in ("7", "8")
    assert shown["--d"] in [str(n) for n in range(5, 10)]


def test_without_a_default_the_initial_value_is_chosen_at_random(tmp_path):
    """It is part of the first point that runs; equal seeds draw equal ones."""
    params = hpo.Params([["--x", (0, 1000)], ["--y", 3, (0, 9)]])
    first = [hpo.Study(params, seed=seed, directory=tmp_path / f"{i}").ask() for i, seed in enumerate((1, 1, 2, 3))]
    assert [trial.values["--y"] for trial in first] == [3, 3, 3, 3]
    assert first[0].values == first[1].values
    assert len({trial.values["--x"] for trial in first}) == 3


def test_get_params_gives_text_for_each_name():
    shown = hpo.Params([["--learning_rate", 0.01, (1e-6, 1)], ["--n", 3, (1, 9)]]).get_params()
    assert shown == {"--learning_rate": "0.01", "--n": "3"}
    assert type(shown) is dict
    assert {type(value) for value in shown.values()} == {str}


def test_detect_cycle_and_serialize_graph_take_a_networkx_graph():
    params = seven_flags()
    line, circle = nx.DiGraph([("x", "y"), ("y", "z")]), nx.DiGraph([("x", "y"), ("y", "x")])
    assert params.detect_cycle(circle) is True
    assert params.detect_cycle(g=line) is False
    assert params.serialize_graph(line) == ["x", "y", "z"]
    assert params.serialize_graph(graph=line) == ["x", "y", "z"]


def test_dependency_graph_as_text():
    params = seven_flags()
    params.add_conditions(conditions())
    text = params.get_dependency_graph_as_str()
    assert type(text) is str
    assert text.split(";") == [str(item) for item in conditions()]
    assert str(conditions()[0]) == "-b | -a > 2"


def test_ordered_params():
    params = seven_flags()
    params.add_conditions(conditions())
    order = params.get_ordered_param_when_valid()
    assert sorted(order) == [f"-{letter}" for letter in "abcdefg"]
    for item in conditions():
        assert order.index(item.parent_param) < order.index(item.dependent_param)


def test_ordered_params_of_a_cycle_names_the_cycle():
    params = seven_flags()
    params.add_conditions([condition.equals("-a", "-b", 1), condition.equals("-b", "-a", 1)])
    with pytest.raises(hpo.CyclicConditionError, match=r"-a.*-b|-b.*-a") as caught:
        params.get_ordered_param_when_valid()
    assert set(caught.value.cycle) == {"-a", "-b"}


# -- Condition -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "operator"),
    [("Condition", ""), ("equals", "=="), ("greater_than", ">"), ("inside", "in"), ("less_than", "<"),
     ("not_equals", "!=")],
)  # fmt: skip
def test_condition_signatures(name, operator):
    cls = getattr(condition, name)
    assert issubclass(cls, condition.Condition)
    arguments = list(inspect.signature(cls).parameters.values())
    assert [argument.name for argument in arguments] == [
        "dependent_param", "parent_param", "parent_param_value", "dependent_param_value", "operator"
    ]  # fmt: skip
    assert [argument.default for argument in arguments[3:]] == [None, operator]
    value = [1, 2] if operator == "in" else 1
    made = cls(dependent_param="b", parent_param="a", parent_param_value=value)
    assert (made.dependent_param, made.parent_param, made.parent_param_value) == ("b", "a", value)
    assert (made.dependent_param_value, made.operator) == (None, operator)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (condition.equals("b", "a", 1), "b | a == 1"),
        (condition.greater_than("b", "a", 5.0), "b | a > 5.0"),
        (condition.inside("b", "a", [1, 2, 3, 4]), "b | a in [1, 2, 3, 4]"),
        (condition.less_than("b", "a", 10.0), "b | a < 10.0"),
        (condition.not_equals("b", "a", 1), "b | a != 1"),
    ],
)
def test_conditions_read_as_the_page_writes_them(make, text):
    assert str(make) == text


@pytest.mark.parametrize(("value", "text"), [(1, "int"), (0.5, "float"), (["x", "y"], "list(str)")])
def test_type_as_str(value, text):
    assert condition.equals("b", "a", 1).type_as_str(value) == text


def test_conditions_example_runs(place):
    """Each flag is on the command line when, and only when, its conditions hold and its parents are there."""
    place.write("source/sin.py", (place.path / "train.py").read_text())
    place.drive(
        """
import sys
import hpo_core as hpo
from hpo_core import condition
evaluator = hpo.Evaluator(sys.executable + ' -S source/sin.py')
params = hpo.Params([["-a", 1.0, (1, 10.0)],
                     ["-b", 1.0, (1, 10.0)],
                     ["-c", 1.0, (1, 10.0)],
                     ["-d", 1.0, (1, 10.0)],
                     ["-e", 1.0, (1, 10.0)],
                     ["-f", 1.0, (1, 10.0)],
                     ["-g", 1.0, (1, 10.0)]])
conditions = [ condition.greater_than('-b','-a', 2),
               condition.greater_than('-b', '-c', 3),
               condition.less_than('-f', '-d', 2),
               condition.less_than('-e', '-b', 4),
               condition.less_than('-a', '-g', 5),
               condition.less_than('-c', '-g', 5)
             ]
params.add_conditions(conditions)
hpo.RandomOptimizer(evaluator, num_iters=24, seed=3).optimize(params)
"""
    )
    seen = set()
    for argv in place.argvs:
        values = {flag: float(text) for flag, _, text in (word.partition("=") for word in argv)}
        seen.add(frozenset(values))
        assert ("-f" in values) == (values["-d"] < 2)
        assert ("-a" in values) == (values["-g"] < 5) == ("-c" in values)
        assert ("-b" in values) == (values.get("-a", 0) > 2 and values.get("-c", 0) > 3)
        assert ("-e" in values) == (values.get("-b", 9) < 4)
    assert len(seen) > 2
    assert place.argvs[0] == ["-a=1", "-c=1", "-d=1", "-f=1", "-g=1"]


def test_a_dependent_value_holds_while_the_condition_does(place):
    place.execute(
        """
import hpo_core as hpo
params = hpo.Params([["--optimizer", "sgd", ["sgd", "adam"]], ["--momentum", 0.9, (0.0, 0.99)]])
params.add_conditions([hpo.condition.equals("--momentum", "--optimizer", "sgd", dependent_param_value=(0.5, 0.6))])
hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=12, seed=1).optimize(params)
"""
    )
    lengths = set()
    for argv in place.argvs:
        lengths.add(len(argv))
        assert (len(argv) == 2) == (argv[0] == "--optimizer=sgd")
        if len(argv) == 2:
            assert 0.5 <= float(argv[1].partition("=")[2]) <= 0.6
    assert lengths == {1, 2}


# -- Evaluator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVALUATOR_DEFAULTS)
def test_evaluator_default(name):
    default = getattr(hpo.Evaluator("train"), name)
    assert default == EVALUATOR_DEFAULTS[name]
    assert type(default) is type(EVALUATOR_DEFAULTS[name])


@pytest.mark.parametrize("name", EVALUATOR_DEFAULTS)
def test_evaluator_accepts_its_default_by_name(name):
    hpo.Evaluator(cmd="train", **{name: EVALUATOR_DEFAULTS[name]})


def test_evaluator_examples():
    evaluator = hpo.Evaluator("python3 relative/path/to/train_model.py", workload_manager="local")
    assert evaluator.workload_manager == "local"
    evaluator = hpo.Evaluator("python3 relative/path/to/train_model.py", workload_manager="slurm", nodes=4)
    assert (evaluator.workload_manager, evaluator.nodes) == ("slurm", 4)
    evaluator = hpo.Evaluator(
        "python3 relative/path/to/train_model.py --FoM",
        metric={"Metric_categorical_crossentropy": 0.5, "Metric_weighted_categorical_crossentropy": 0.5},
    )
    assert list(evaluator.metric.values()) == [0.5, 0.5]


def test_several_metrics_are_a_weighted_sum(place):
    """The third example, run; one metric's name ends with the other's."""
    place.write(
        "train.py",
        "print('Metric_categorical_crossentropy: 0.5')\nprint('Metric_weighted_categorical_crossentropy: 1.5')\n",
    )
    done = place.drive(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator(
  'COMMAND --FoM',
  metric={
    'Metric_categorical_crossentropy': 0.5,
    'Metric_weighted_categorical_crossentropy': 0.5
  }
)
optimizer = hpo.RandomOptimizer(evaluator, num_iters=1)
optimizer.optimize(hpo.Params([['--x', 1, (0, 2)]]))
print(optimizer.best_fom)
"""
    )
    assert done.stdout.split() == ["1.0"]


@pytest.mark.parametrize("metric", ["f1: ", "f1:"])
def test_one_text_is_one_metric_with_all_the_weight(place, metric):
    place.write("train.py", "print('macro f1: 9')\nprint('f1: 0.25')\n")
    done = place.execute(
        f"""
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND', metric={metric!r}), num_iters=1)
optimizer.optimize(hpo.Params([['--x', 1, (0, 2)]]))
print(optimizer.best_fom)
"""
    )
    assert done.split() == ["0.25"]


def test_without_src_path_everything_runs_in_the_current_directory(place):
    place.execute(
        """
import hpo_core as hpo
hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=2).optimize(hpo.Params([['--x', 1, (0, 2)]]))
"""
    )
    assert {call["cwd"] for call in place.calls} == {str(place.path)}
    assert not (place.path / "run").exists()


@pytest.mark.parametrize("absolute", [False, True])
def test_src_path_and_run_path(place, absolute):
    """The command is set as if from src_path; both paths may be relative or absolute."""
    place.write("source/train.py", (place.path / "train.py").read_text())
    (place.path / "train.py").unlink()
    src, run = ("source", "work/runs") if not absolute else (str(place.path / "source"), str(place.path / "work/runs"))
    place.execute(
        f"""
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND', src_path={src!r}, run_path={run!r})
hpo.RandomOptimizer(evaluator, num_iters=2, name='trying').optimize(hpo.Params([['--x', 1, (0, 2)]]))
"""
    )
    runs = place.path / "work" / "runs"
    assert [call["cwd"] for call in place.calls] == [str(runs / "point1"), str(runs / "point2")]
    assert len(place.table("work/runs/trying.log")) == 2


def test_run_path_without_src_path_is_a_warning_and_ignored(place):
    done = place.drive(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND', run_path='elsewhere')
hpo.RandomOptimizer(evaluator, num_iters=1).optimize(hpo.Params([['--x', 1, (0, 2)]]))
"""
    )
    assert "driver.py:3: UserWarning: run_path='elsewhere' is ignored without src_path" in done.stderr
    assert place.calls[0]["cwd"] == str(place.path)
    assert not (place.path / "elsewhere").exists()


def resolved(**arguments):
    return hpo.Study(hpo.Params([["--x", 1, (0, 2)]]), hpo.Evaluator("/bin/echo", **arguments))


def test_many_nodes_with_local_are_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hpo.ConfigurationError, match=r"nodes=2 with workload_manager='local'.*num_parallel_evals"):
        resolved(workload_manager="local", nodes=2)
    for nodes in (0, 1):
        resolved(workload_manager="local", nodes=nodes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hpo-study-1", "hpo-study-2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workload_manager": "local", "launcher": "simulated", "workload_image": "x:1"}, "workload_manager='k8s'"),
        ({"workload_manager": "local", "alloc_jobid": 7}, "alloc_jobid=7 is for workload_manager='slurm'"),
        ({"workload_manager": "local", "launcher": "k8s"}, "hpo-k8s|'k8s' needs 'k8s' for both"),
        ({"flag": {"nodes": "--N"}}, "flag has no key 'nodes'.*nodes_per_evaluation"),
        ({"nodes_per_eval": 2, "workload_manager": "local"}, "nodes_per_eval=2 is more than nodes=1"),
        ({"workload_manager": "lokal"}, r"no workload manager is called 'lokal' \(did you mean 'local'\?\)"),
    ],
)
def test_combinations_that_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((hpo.ConfigurationError, hpo.PluginNotFoundError), match=message):
        resolved(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_nodes_per_evaluation_flag(place):
    """`flag` tells the program; the same flag as a hyperparameter decides itself."""
    place.execute(
        """
import hpo_core as hpo
evaluator = hpo.Evaluator('COMMAND', flag={'nodes_per_evaluation': '--N'})
hpo.RandomOptimizer(evaluator, num_iters=1).optimize(hpo.Params([['--x', 1, (0, 2)]]))
"""
    )
    assert place.argvs == [["--x=1", "--N=1"]]


def test_num_parallel_evals(place):
    """Evaluations wait for each other in pairs, which only pairs that run at the same time survive."""
    place.write(
        "train.py",
        "import os, pathlib, time\n"
        "n = int(os.environ['HPO_TRIAL'])\n"
        "pathlib.Path(f'here{n}').touch()\n"
        "other = pathlib.Path(f'here{n + 1 if n % 2 else n - 1}')\n"
        "end = time.monotonic() + 20\n"
        "while not other.exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "print('FoM:', 1.0 if other.exists() else 'alone')\n",
    )
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND', num_parallel_evals=2), num_iters=4, seed=1)
optimizer.optimize(hpo.Params([['--x', 1, (0, 9)]]))
print([record.fom for record in optimizer.study.trials])
"""
    )
    assert done.strip() == "[1.0, 1.0, 1.0, 1.0]"


def test_timeout_is_in_minutes_for_all_evaluations(place):
    place.write("train.py", "import time\ntime.sleep(0.3)\nprint('FoM: 1')\n")
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND', timeout=0.02, grace=1), num_iters=1000, seed=1)
optimizer.optimize(hpo.Params([['--x', 1, (0, 9)]]))
print(len(optimizer.study.trials), optimizer.study.stop_reason.name)
"""
    )
    count, reason = done.split()
    assert reason == "TIMEOUT"
    assert 1 <= int(count) <= 5


def test_a_failed_evaluation_is_tried_again(place):
    place.write("train.py", "import os\nif os.environ['HPO_ATTEMPT'] != '3': raise SystemExit(1)\nprint('FoM: 4')\n")
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND', num_retries=2), num_iters=1)
optimizer.optimize(hpo.Params([['--x', 1, (0, 9)]]))
print(optimizer.best_fom, optimizer.study.trials[0].result.attempts)
"""
    )
    assert done.split() == ["4.0", "3"]


# -- optimizers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "defaults"),
    [
        ("RandomOptimizer", {"num_iters": 1000, "seed": 0, "name": "", "verbose": False}),
        ("GridOptimizer", {"grid_size": 4, "chunk_size": 1000, "name": "", "verbose": False}),
    ],
)
def test_optimizer_defaults(optimizer, defaults):
    cls = getattr(hpo, optimizer)
    evaluator = hpo.Evaluator("train")
    for made in (cls(evaluator), cls(evaluator=evaluator), cls(evaluator, **defaults)):
        assert {name: getattr(made, name) for name in defaults} == defaults
        assert made.best_fom is None
        assert made.best_params is None
        assert made.evaluator is evaluator


@pytest.mark.parametrize("optimizer", ["RandomOptimizer", "GridOptimizer"])
def test_an_unknown_argument_is_refused_with_those_that_are_there(optimizer):
    with pytest.raises(hpo.ConfigurationError, match=r"no argument 'verbos' \(did you mean 'verbose'\?\).*it has:"):
        getattr(hpo, optimizer)(hpo.Evaluator("train"), verbos=True)


def test_random_search_minimises(place):
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=12, seed=7, name='mine')
optimizer.optimize(hpo.Params([['-a', 1.0, (-2.0, 2.0)], ['-n', 3, (0, 5)], ['--how', 'x', ['x', 'y']]]))
print(repr((optimizer.best_fom, optimizer.best_params)))
"""
    )
    fom, best = eval(done)
    totals = [sum(float(w.partition("=")[2]) ** 2 for w in argv[:2]) for argv in place.argvs]
    assert len(totals) == 12
    assert fom == min(totals)
    assert list(best) == ["-a", "-n", "--how"]
    assert (type(best["-n"]), type(best["--how"])) == (int, str)
    assert [float(row["avg_fom"]) for row in place.table("mine.log")] == pytest.approx(totals)


def test_the_seed_repeats_the_search_and_0_does_not(place):
    program = """
import hpo_core as hpo
for seed in (42, 42, 0, 0):
    hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=3, seed=seed).optimize(
        hpo.Params([['-a', 1.0, (-2.0, 2.0)]]))
"""
    place.execute(program)
    first, second, third, fourth = (place.argvs[i : i + 3] for i in range(0, 12, 3))
    assert first == second
    assert len({str(x) for x in (first, third, fourth)}) == 3


def test_grid_search(place):
    """grid_size points of a range with both bounds; lists are not touched by it."""
    done = place.execute(
        """
import hpo_core as hpo
optimizer = hpo.GridOptimizer(hpo.Evaluator('COMMAND'), grid_size=3, chunk_size=2)
optimizer.optimize(hpo.Params([['-a', 0.25, (-1.0, 1.0)], ['--how', 'x', ['x', 'y', 'z', 'u']], ['-n', 7, (0, 9)]]))
print(optimizer.best_fom, optimizer.best_params)
"""
    )
    assert place.argvs[0] == ["-a=0.25", "--how=x", "-n=7"]
    points = [tuple(word.partition("=")[2] for word in argv) for argv in place.argvs[1:]]
    lists = [f"-a={a} --how={h} -n={n}".split() for a in (-1, 0, 1) for h in "xyzu" for n in (0, points[1][2], 9)]
    assert place.argvs[1:] == lists
    assert points[1][2] in ("4", "5")
    assert done.split(maxsplit=1)[0] == "0.0"


def test_grid_size_defaults_to_4(place):
    place.execute(
        """
import hpo_core as hpo
hpo.GridOptimizer(hpo.Evaluator('COMMAND')).optimize(hpo.Params([['-a', 0.0, (0.0, 3.0)]]))
"""
    )
    assert [argv[0] for argv in place.argvs] == ["-a=0", "-a=0", "-a=1", "-a=2", "-a=3"]


def test_best_params_hold_active_flags_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = hpo.Params([["--a", 1, [1, 2]], ["--b", 5, (4, 6)]])
    params.add_conditions([condition.equals("--b", "--a", 2)])
    optimizer = hpo.RandomOptimizer(hpo.Evaluator("echo FoM: 1 #", workload_manager="local"), num_iters=1)
    optimizer.optimize(params)
    assert optimizer.best_params == {"--a": 1}


def test_verbose_tells_and_otherwise_there_is_silence(place):
    program = """
import hpo_core as hpo
hpo.RandomOptimizer(hpo.Evaluator('COMMAND'), num_iters=2, seed=1, verbose=VERBOSE).optimize(
    hpo.Params([['-a', 1.0, (-2.0, 2.0)]]))
"""
    silent = place.drive(program.replace("VERBOSE", "False"))
    assert (silent.stdout, silent.stderr) == ("", "")
    assert "best" in place.drive(program.replace("VERBOSE", "True")).stdout.lower()


def test_warnings_are_few():
    """A plain evaluator and optimizer warn of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hpo.RandomOptimizer(hpo.Evaluator("train", workload_manager="local"))
