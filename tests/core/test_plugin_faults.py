"""A plugin that raises where it is made, or where a study begins, is told by name; the cause is chained."""

import subprocess
import sys

import pytest

import hpo_core as hpo
from hpo_core.builtin.local import LocalManager
from hpo_core.builtin.random import RandomStrategy
from hpo_core.builtin.text_metrics import TextMetrics
from hpo_core.processes import ProcessLauncher
from hpo_core.testing.plugins import registered


def raising(*arguments, **options):
    raise OSError("no socket")


def broken(base: type, method: str) -> type:
    return type("Broken", (base,), {"name": "broken", method: raising})


@pytest.mark.parametrize(
    ("base", "method", "where", "message"),
    [
        (LocalManager, "__init__", "workload_manager", "workload manager 'broken' could not be made"),
        (LocalManager, "event_loop", "workload_manager", "workload manager 'broken' failed in event_loop"),
        (LocalManager, "acquire", "workload_manager", "workload manager 'broken' failed in acquire"),
        (LocalManager, "release", "workload_manager", "workload manager 'broken' failed in release"),
        (ProcessLauncher, "__init__", "launcher", "launcher 'broken' could not be made"),
        (ProcessLauncher, "check", "launcher", "launcher 'broken' failed in check"),
        (ProcessLauncher, "open", "launcher", "launcher 'broken' failed in open"),
        (TextMetrics, "__init__", "metric_parser", "metric parser 'broken' could not be made"),
        (RandomStrategy, "__init__", "strategy", "strategy 'broken' could not be made"),
        (hpo.Observer, "__init__", "observers", "observer 'broken' could not be made"),
    ],
)
def test_it_is_said_by_name(here, base, method, where, message):
    of_study = {"strategy": {"strategy": "broken"}, "observers": {"observers": ["broken"]}}.get(where, {})
    of_evaluator = {} if of_study else {where: "broken"}
    evaluator = hpo.Evaluator("./value", **{"workload_manager": "local", **of_evaluator})
    space = hpo.Params([["--x", 5, (0, 9)]])

    def life():
        hpo.Study(space, evaluator, n_trials=1, directory="study", **of_study).optimize()
        evaluator.close()

    with registered(broken(base, method)), pytest.raises(hpo.PluginError, match=f"{message}: OSError: no socket") as e:
        life()
    assert isinstance(e.value.__cause__, OSError)


def test_at_exit_one_manager_that_fails_keeps_no_other_from_giving_its_nodes_back(here):
    program = """
import hpo_core as hpo
from hpo_core.builtin.local import LocalManager
from hpo_core.testing.plugins import registered

class Bad(LocalManager):
    name = "bad"
    def release(self):
        print("bad")
        raise OSError("no socket")

class Good(LocalManager):
    name = "good"
    def release(self):
        print("good")

with registered(Bad, Good):
    kept = [hpo.Evaluator("./value", workload_manager=name) for name in ("bad", "good", "bad")]
    for number, evaluator in enumerate(kept):
        hpo.Study(hpo.Params([["--x", 5, (0, 9)]]), evaluator, n_trials=1, directory=f"s{number}").optimize()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert sorted(done.stdout.split()) == ["bad", "bad", "good"]
    assert done.stderr.count("hpo-core: workload manager 'bad' failed in release: OSError: no socket") == 2
    assert "Traceback" not in done.stderr
