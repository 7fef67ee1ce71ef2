"""A plugin that raises where it is made, or where a study begins, is told by name; the cause is chained."""

import subprocess
import sys

import pytest

import hpo_core as hpo
from hpo_core import _processes
from hpo_core.builtin.local import LocalLauncher, LocalManager
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


class Second(LocalLauncher):
    """Fails in one of its methods, after the first trial."""

    name = "second"
    failing = ""
    launched = 0

    def launch(self, evaluation):
        self.launched += 1
        self.perhaps("launch")
        super().launch(evaluation)

    def end(self, key, grace_s):
        self.perhaps("end")
        super().end(key, grace_s)

    def forget(self, keys):
        self.perhaps("forget")
        super().forget(keys)

    def clean(self, study_id, grace_s):
        self.launched = 2
        self.perhaps("clean")
        return super().clean(study_id, grace_s)

    def close(self):
        super().close()
        self.perhaps("close")

    def perhaps(self, method):
        if self.failing == method and self.launched > 1:
            raising()


@pytest.mark.parametrize("method", ["launch", "end", "forget", "clean", "close"])
def test_a_launcher_that_fails_while_a_study_runs_is_said_by_name(here, program, method):
    """What was recorded before is there, and no process is left."""
    program("value", "#!/bin/sh\n[ $1 = --x=5 ] || exec sleep 300\necho FoM: 1\n")
    space = hpo.Params([["--x", 5, (0, 9)]])
    if method == "clean":  # A study with an open trial goes on.
        with hpo.Study(space, n_trials=3, directory="study") as study:
            study.tell(study.ask(), 1.0)
            study.ask()
    failing = type("Failing", (Second,), {"failing": method})
    evaluator = hpo.Evaluator("./value", launcher="second", workload_manager="local", eval_timeout=0.2, grace=0.1)
    message = f"launcher 'second' failed in {method}: OSError: no socket"
    with registered(failing), evaluator:
        study = hpo.Study(space, evaluator, n_trials=3, directory="study", resume_if_exists=True, allow_changes=True)
        with study, pytest.raises(hpo.HpoError, match=message) as e:
            study.optimize()
        with hpo.Study.load("study") as study:
            assert study.best_fom == 1.0
            assert not _processes.find("HPO_STUDY", study.id)
    assert isinstance(e.value.__cause__, OSError)


def test_at_exit_one_manager_that_fails_keeps_no_other_from_giving_its_nodes_back(here):
    program = """
import hpo_core as hpo
from hpo_core import _processes
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
