"""The evaluator: arguments are checked when it is made, combinations when a study is built."""

import gc
import json
import warnings
from pathlib import Path

import attrs
import pytest

import hpo_core as hpo
from hpo_core.builtin.local import LocalManager
from hpo_core.testing.plugins import registered


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cmd": ""}, "cmd is empty"),
        ({"cmd": "  "}, "cmd is empty"),
        ({"cmd": 7}, "cmd=7 must be text"),
        ({"cmd": ["python", "t.py"]}, "must be text"),
        ({"cmd": "a\0b"}, "NUL"),
        ({"cmd": "train caf\udce9.py"}, r"cmd='train caf\\udce9.py' is no UTF-8"),
        ({"nodes": -1}, "nodes=-1 must be a whole number, 0 or more"),
        ({"nodes": 1.5}, "nodes=1.5 must be a whole number"),
        ({"nodes": True}, "nodes=True must be a whole number"),
        ({"nodes_per_eval": "2"}, "nodes_per_eval='2' must be a whole number"),
        ({"num_parallel_evals": -2}, "num_parallel_evals=-2"),
        ({"num_retries": 0.5}, "num_retries=0.5"),
        ({"alloc_jobid": -5}, "alloc_jobid=-5"),
        ({"alloc_timeout": -1}, "alloc_timeout: -1 is no duration"),
        ({"alloc_timeout": "soon"}, "alloc_timeout: 'soon' is no duration"),
        ({"timeout": float("nan")}, "timeout: nan is no duration"),
        ({"timeout": float("inf")}, "timeout: inf is no duration"),
        ({"eval_timeout": "10 parsecs"}, "eval_timeout: '10 parsecs'"),
        ({"memory_limit": "lots"}, "memory_limit: 'lots' is no size"),
        ({"max_output": -1}, "max_output: -1 is no size"),
        ({"verbose": "yes"}, "verbose='yes' must be True or False"),
        ({"maximize": 1}, "maximize=1 must be True or False"),
        ({"launcher": 3}, "launcher=3 must be text"),
        ({"grace": None}, "grace: None is no duration"),
        ({"checkpoint": 3}, "checkpoint=3 must be text"),
        ({"src_path": 3}, "src_path=3 must be text"),
        ({"run_path": 3.0}, r"run_path=3\.0 must be text"),
        ({"keep_output": "some"}, "keep_output='some' must be one of 'failed', 'all'"),
        (
            {"flag": {"nodes_per_evaluatoin": "--N"}},
            r"no key .*did you mean 'nodes_per_evaluation'\?.*known: nodes_per_",
        ),
        ({"flag": {"nodes_per_evaluation": ""}}, "must be the text of a flag"),
        ({"flag": {"nodes_per_evaluation": 3}}, "must be the text of a flag"),
        ({"flag": "--N"}, r"flag='--N' must be a dict"),
        ({"flag": 3}, "flag=3 must be a dict"),
        ({"metric_options": [1]}, r"metric_options=\[1\] must be a dict"),
        ({"manager_options": 3}, "manager_options=3 must be a dict"),
        ({"launcher_options": "x"}, "launcher_options='x' must be a dict"),
        ({"metric": {}}, "metric"),
        ({"metric": {"a": "heavy"}}, "metric"),
        ({"metric": 3}, "metric"),
        ({"metric_rule": "best"}, "rule 'best' is unknown"),
        ({"num_paralel_evals": 2}, r"no argument 'num_paralel_evals' \(did you mean 'num_parallel_evals'\?\)"),
        ({"zzz": 2}, "has no argument 'zzz'$"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        hpo.Evaluator(**{"cmd": "train", **arguments})


def test_a_wrong_argument_is_a_value_error():
    """Users without our exceptions catch it too."""
    with pytest.raises(ValueError, match="nodes"):
        hpo.Evaluator("train", nodes=-1)


def test_none_means_not_given():
    evaluator = hpo.Evaluator(
        "train", src_path=None, checkpoint=None, workload_image=None, launch_args=None, alloc_jobid=None,
        alloc_args=None, timeout=None, flag=None, urika_args=None,
    )  # fmt: skip
    assert evaluator.to_json() == {"cmd": "train"}


@pytest.mark.parametrize(
    ("arguments", "name", "seconds"),
    [
        ({"timeout": 1.5}, "timeout_s", 90),
        ({"timeout": "1h30m"}, "timeout_s", 5400),
        ({"timeout": 0}, "timeout_s", None),
        ({"alloc_timeout": 30}, "alloc_timeout_s", 1800),
        ({"alloc_timeout": "2h"}, "alloc_timeout_s", 7200),
        ({"eval_timeout": 3}, "eval_timeout_s", 3),
        ({"eval_timeout": "15m"}, "eval_timeout_s", 900),
        ({"eval_timeout": None}, "eval_timeout_s", None),
        ({"grace": "250ms"}, "grace_s", 0.25),
        ({"stop_wait": 7}, "stop_wait_s", 7),
        ({"memory_limit": "4G"}, "memory_limit_bytes", 4 * 2**30),
        ({"max_output": "1k"}, "max_output_bytes", 1024),
    ],
)
def test_durations_and_sizes(arguments, name, seconds):
    """The seed's are minutes; what is ours is in seconds; text carries its unit."""
    assert getattr(hpo.Evaluator("train", **arguments), name) == seconds


@pytest.mark.parametrize("checkpoint", ["..", "../saved", "a/../..", "../../saved"])
def test_a_checkpoint_outside_of_its_trials_directory_is_refused(checkpoint):
    """Trials would share it, and whoever deletes one's would delete everybody's."""
    with pytest.raises(hpo.ConfigurationError, match=r"checkpoint='.*' leads out of .* absolute path"):
        hpo.Evaluator("train @checkpoint", checkpoint=checkpoint)
    assert hpo.Evaluator("train @checkpoint", checkpoint="a/../b").checkpoint == "a/../b"


def test_a_checkpoint_that_is_named_but_not_set_is_warned_of():
    with pytest.warns(UserWarning, match=r"@checkpoint stays as it is.*checkpoint='ckpt'"):
        hpo.Evaluator("train --weights=@checkpoint/model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hpo.Evaluator("train --weights=@models me@checkpoint.org", checkpoint="ckpt")
        hpo.Evaluator("train --weights=@models")


def test_paths_may_be_paths():
    evaluator = hpo.Evaluator("train", src_path=Path("a") / "b", run_path=Path("c"), checkpoint=Path("d"))
    assert (evaluator.src_path, evaluator.run_path, evaluator.checkpoint) == ("a/b", "c", "d")


def test_json_gives_an_equal_evaluator():
    arguments = {
        "cmd": "python t.py", "src_path": "s", "run_path": "r", "metric": {"a": 1.0, "b": -2.0}, "checkpoint": "c",
        "nodes": 4, "nodes_per_eval": 2, "num_parallel_evals": 2, "workload_manager": "simulated",
        "flag": {"nodes_per_evaluation": "--N"}, "num_retries": 3, "eval_timeout": "15m", "memory_limit": "4G",
        "launcher_options": {"sigma": 0.5},
    }  # fmt: skip
    evaluator = hpo.Evaluator(**arguments)
    data = json.loads(json.dumps(evaluator.to_json()))
    assert data == arguments
    again = hpo.Evaluator.from_json(data)
    for item in attrs.fields(hpo.Evaluator):
        if item.init:
            assert getattr(again, item.name) == getattr(evaluator, item.name)


def test_two_evaluators_share_no_defaults():
    one, two = hpo.Evaluator("a"), hpo.Evaluator("b")
    one.flag["nodes_per_evaluation"] = "--N"
    one.metric["x"] = 2.0
    assert two.flag == {}
    assert two.metric == {"FoM": 1.0}


def combine(**arguments):
    return hpo.Evaluator("true", **arguments).backend


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workload_manager": "local", "nodes": 3}, "nodes=3 with workload_manager='local', which has 1"),
        ({"workload_manager": "simulated", "nodes": 2, "nodes_per_eval": 3}, "nodes_per_eval=3 is more than nodes=2"),
        (
            {"workload_manager": "simulated", "nodes": 2, "nodes_per_eval": 2, "launcher": "local"},
            "'local' runs an evalu",
        ),
        ({"workload_manager": "local", "workload_image": "a:1"}, "workload_image='a:1' is for workload_manager='k8s'"),
        ({"workload_manager": "local", "alloc_jobid": 3}, "alloc_jobid=3 is for workload_manager='slurm'"),
        ({"workload_manager": "simulated", "memory_limit": "1G"}, "launcher 'simulated' can't keep it"),
        ({"workload_manager": "local", "manager_options": {"gpu": "0"}}, r"no option 'gpu' \(did you mean 'gpus'\?\)"),
        ({"workload_manager": "local", "launcher_options": {"x": 1}}, "launcher 'local' has no options; given: x"),
        ({"metric_parser": "txt", "workload_manager": "local"}, r"no metric parser .*did you mean 'text'\?"),
        ({"launcher": "locl", "workload_manager": "local"}, r"no launcher is called 'locl' \(did you mean 'local'\?\)"),
    ],
)
def test_combinations_are_checked(arguments, message):
    with pytest.raises((hpo.ConfigurationError, hpo.PluginNotFoundError), match=message):
        combine(**arguments)


def test_auto_without_a_cluster_and_many_nodes_lists_what_was_asked(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(hpo.ConfigurationError, match=r"nodes=4, and no workload manager was found.*asked: .*local"):
        combine(nodes=4)


def test_auto_falls_back_to_this_machine(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    backend = combine()
    assert (backend.manager.name, backend.launcher.name) == ("local", "local")


class Unsure(LocalManager):
    """Is installed where it can't tell whether it is there."""

    name = "unsure"

    @classmethod
    def detect(cls):
        raise OSError("no socket")


def test_auto_passes_over_a_manager_that_fails_to_tell_and_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with registered(Unsure):
        backend = combine()
        assert backend.manager.name == "local"
        assert "could not ask workload manager unsure: OSError: no socket" in backend.chosen
        with pytest.raises(hpo.ConfigurationError, match=r"asked: .*unsure: OSError: no socket"):
            combine(nodes=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workload_manager": "local", "launch_args": "-v"}, "launch_args is ignored"),
        ({"workload_manager": "simulated", "nodes": 5, "nodes_per_eval": 2}, "2 evaluations run at a time"),
    ],
)
def test_combinations_that_are_warned_of(arguments, message):
    with pytest.warns(UserWarning, match=message):
        combine(**arguments)


def test_run_path_alone_is_a_warning_at_the_users_line():
    with pytest.warns(UserWarning, match="run_path='x' is ignored without src_path") as caught:
        hpo.Evaluator("train", run_path="x")
    assert caught[0].filename == __file__


def test_a_recorded_evaluator_does_not_warn_again():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hpo.Evaluator.from_json({"cmd": "train", "run_path": "x"})


class Counting(hpo.WorkloadManager):
    """Counts what it gets and gives back."""

    name = "counting"
    got = 0
    given = 0

    def acquire(self, request, events):
        type(self).got += 1
        self.attach(events)

    def attach(self, events):
        from hpo_core.events import NodesJoined

        events.post(NodesJoined((hpo.Node("here"),)))

    def release(self):
        type(self).given += 1


@pytest.fixture
def counting(monkeypatch):
    """`Counting` as if a distribution had brought it."""
    from hpo_core import registry

    monkeypatch.setattr(Counting, "got", 0)
    monkeypatch.setattr(Counting, "given", 0)
    found = registry.get

    def get(kind, name):
        return Counting if (kind, name) == (hpo.WorkloadManager, "counting") else found(kind, name)

    monkeypatch.setattr(registry, "get", get)
    return Counting


def run(evaluator, n=1):
    with hpo.Study(hpo.Params([["--x", 1, (0, 9)]]), evaluator, n_trials=n) as study:
        return study.optimize()


def test_one_allocation_is_shared_by_all_its_studies_and_given_back_once(here, counting):
    with hpo.Evaluator("./value", workload_manager="counting") as evaluator:
        run(evaluator)
        run(evaluator)
        assert (counting.got, counting.given) == (1, 0)
    assert (counting.got, counting.given) == (1, 1)
    evaluator.close()
    assert counting.given == 1
    run(evaluator)
    evaluator.close()
    assert (counting.got, counting.given) == (2, 2)


def test_nothing_is_allocated_before_optimize(here, counting):
    evaluator = hpo.Evaluator("./value", workload_manager="counting")
    study = hpo.Study(hpo.Params([["--x", 1, (0, 9)]]), evaluator, n_trials=1)
    assert counting.got == 0
    study.close()
    evaluator.close()
    assert counting.given == 0


def test_del_gives_the_allocation_back(here, counting):
    evaluator = hpo.Evaluator("./value", workload_manager="counting")
    study = run(evaluator)
    del study
    del evaluator
    gc.collect()
    assert counting.given == 1


def test_one_study_at_a_time(here, program):
    """A second study that is started while the first one runs is told so."""
    evaluator = hpo.Evaluator("./value", workload_manager="local")
    heard = []

    class Second(hpo.Observer):
        name = "second"

        def trial_started(self, trial, attempt):
            try:
                run(evaluator)
            except hpo.ConfigurationError as error:
                heard.append(str(error))

    with hpo.Study(hpo.Params([["--x", 1, (0, 9)]]), evaluator, n_trials=1, observers=[Second()]) as study:
        study.optimize()
    evaluator.close()
    assert len(heard) == 1
    assert "running another study now" in heard[0]
