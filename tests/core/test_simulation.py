"""Studies played on a virtual clock: what stands in for the program, and what is told of it."""

import os
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core.builtin._surrogates import Recorded, durations
from hpo_core.builtin.random import RandomStrategy

SPACE = [["--x", 0.9, (0.0, 1.0)], ["--kind", "a", hpo.Values(["a b", "a", "it's"], ordered=False)]]


@pytest.fixture
def params():
    return hpo.Params(SPACE)


@pytest.fixture
def evaluator():
    with hpo.Evaluator("no-such-program --data=1", nodes=4, workload_manager="slurm", alloc_timeout="10h") as evaluator:
        yield evaluator


@pytest.fixture
def earlier(tmp_path: Path, params: hpo.Params) -> Path:
    """A study of three trials: two results and a failure."""
    with hpo.Study(params, strategy="random", seed=1, directory=tmp_path / "earlier", evaluate_defaults=False) as study:
        for x, kind, fom, time_s in ((0.1, "a", 5.0, 60.0), (0.9, "a", 2.0, 600.0), (0.9, "a b", None, 6.0)):
            study.enqueue({"--x": x, "--kind": kind})
            trial = study.ask()
            assert trial is not None
            study.tell(trial, fom, duration_s=time_s)
    return tmp_path / "earlier"


def loss(values):
    return (float(values["--x"]) - 0.3) ** 2


def test_the_same_seed_plays_the_same_study(params, evaluator):
    def play(seed):
        return hpo.simulate(params, evaluator, loss, run_time="5m:20m", n_trials=30, seed=seed)

    assert play(3) == play(3)
    assert play(3) != play(4)


def test_it_takes_as_long_as_the_slots_need(params, evaluator):
    run = hpo.simulate(params, evaluator, loss, run_time="10m", n_trials=30, seed=3)
    assert (run.slots, run.trials, run.failed) == (4, 30, 0)
    assert run.time_s == 8 * 600.0  # 7 times 4 evaluations, then 2
    assert run.busy == pytest.approx(30 / 32)
    assert run.stopped == "all trials of the budget are done"


def test_the_best_so_far_is_known_for_each_moment(params, evaluator):
    run = hpo.simulate(params, evaluator, loss, run_time=600.0, n_trials=12, seed=3)
    assert [run.at(time_s).trials for time_s in (0.0, 599.0, 600.0, 1e9)] == [0, 0, 4, 12]
    assert run.at(0.0).best_fom is None
    assert run.at(1e9).best_fom == run.best_fom == min(progress.best_fom for progress in run.progress)


def test_an_allocation_ends_as_a_real_one_would(params):
    with hpo.Evaluator("program", nodes=2, workload_manager="pbs", alloc_timeout="1h") as evaluator:
        run = hpo.simulate(params, evaluator, loss, run_time="25m", n_trials=30, seed=3)
    assert run.trials == 4
    assert "the allocation ends too soon" in run.stopped


def test_nothing_is_written_and_the_evaluator_stays_as_it_is(params, evaluator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = evaluator.to_json()
    hpo.simulate(params, evaluator, loss, n_trials=5, directory="real", resume_if_exists=True, observers=["progress"])
    assert os.listdir(tmp_path) == []
    assert evaluator.to_json() == before


def test_checkpoints_are_played_without_any_of_the_users_files(params, tmp_path, monkeypatch):
    pytest.importorskip("hpo_genetic")
    monkeypatch.chdir(tmp_path)
    with hpo.Evaluator("program @checkpoint", src_path="none", checkpoint="ckpt", nodes=2) as evaluator:
        options = {"pop_size": 2, "epochs": 2}
        run = hpo.simulate(params, evaluator, loss, run_time=1.0, strategy="pbt", strategy_options=options, seed=1)
    assert run.trials == 4
    assert os.listdir(tmp_path) == []


def test_an_earlier_study_stands_in_by_its_nearest_trial(earlier):
    recorded = Recorded(earlier)
    near = recorded({"--x": "0.2", "--kind": "a", "--data": "1"})
    assert (near.fom, near.exit_code, near.duration_s) == (5.0, 0, 60.0)
    assert recorded({"--x": "0.6", "--kind": "a"}).fom == 2.0
    assert recorded({"--x": "0.95", "--kind": "a b"}).exit_code == 1
    with pytest.raises(hpo.SpaceError, match=r"says nothing of --x=1\.5"):
        recorded({"--x": "1.5", "--kind": "a"})


def test_an_earlier_study_gives_run_times_and_failures_too(params, evaluator, earlier):
    run = hpo.simulate(params, evaluator, earlier, n_trials=40, seed=3)
    assert 0 < run.failed < 40
    assert run.best_fom == 2.0
    assert run.at(59.0).trials == run.at(6.0).trials + sum(6.0 < p.time_s <= 59.0 for p in run.progress)
    assert {round(p.time_s) for p in run.progress} & {6, 60}


def test_an_earlier_study_of_other_flags_is_refused(evaluator, earlier):
    params = hpo.Params([*SPACE, ["--depth", (1, 5)], ["--width", (1, 5)]])
    with pytest.raises(hpo.ConfigurationError, match="it did not vary --depth, --width"):
        hpo.simulate(params, evaluator, earlier, n_trials=4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "nowhere"}, r"option 'objective': 'nowhere' is neither the directory of a study nor a function"),
        ({"objective": "none.py:loss"}, r"option 'objective': 'none.py:loss': there is no file none.py"),
        ({"run_time": "soon"}, r"option 'run_time': time: 'soon' is no duration"),
        ({"run_time": "20m:5m"}, r"option 'run_time': '20m:5m' must be a duration such as '10m', or two"),
    ],
)
def test_what_makes_no_sense_is_refused(params, evaluator, given, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        hpo.simulate(params, evaluator, **{"objective": loss, "n_trials": 4, **given})


def test_a_file_without_the_function_and_one_that_fails_are_refused(params, evaluator, tmp_path):
    (tmp_path / "surrogate.py").write_text("1 / 0\n")
    with pytest.raises(hpo.ConfigurationError, match="can't be imported: ZeroDivisionError"):
        hpo.simulate(params, evaluator, f"{tmp_path}/surrogate.py:loss")
    (tmp_path / "surrogate.py").write_text("")
    with pytest.raises(hpo.ConfigurationError, match="has no function loss"):
        hpo.simulate(params, evaluator, f"{tmp_path}/surrogate.py:loss")


@pytest.mark.parametrize("which", ["objective", "run_time"])
def test_a_function_that_fails_stops_the_study_by_name(params, evaluator, which):
    def wrong(values):
        raise KeyError("--y")

    with pytest.raises(hpo.StudyStopped, match=rf"the simulation's {which} wrong failed at .*--x=.*KeyError: '--y'"):
        hpo.simulate(params, evaluator, **{"objective": loss, "n_trials": 4, which: wrong})


@pytest.mark.parametrize("answer", [-5.0, float("nan"), float("inf")])
def test_a_run_time_that_is_none_stops_the_study(params, evaluator, answer):
    with pytest.raises(hpo.StudyStopped, match=r"the simulation's run_time .* must be finite and not negative"):
        hpo.simulate(params, evaluator, loss, n_trials=4, run_time=lambda values: answer)


def test_a_point_outside_of_what_was_recorded_stops_the_study(evaluator, earlier):
    wider = hpo.Params([["--x", (0.0, 9.0)], SPACE[1]])
    with pytest.raises(hpo.StudyStopped, match=r"can't go on: .*earlier says nothing of --x=.* outside \(0, 1\)"):
        hpo.simulate(wider, evaluator, earlier, n_trials=40, seed=3)


def test_most_run_times_lie_between_the_two_that_are_given():
    import random

    draw = durations("5m:20m", random.Random(1))
    times = sorted(draw() for _ in range(1000))
    assert times[100] == pytest.approx(300, rel=0.1)
    assert times[900] == pytest.approx(1200, rel=0.1)


def test_a_value_reaches_the_surrogate_as_it_would_reach_the_program(params):
    """Quotes and blanks are the shell's: the launcher's words are the program's."""
    seen = set()

    def kind(values):
        seen.add(values["--kind"])
        return 0.0

    with hpo.Evaluator("cd work && program", workload_manager="simulated") as evaluator:
        hpo.simulate(params, evaluator, kind, run_time=1.0, n_trials=20, seed=1)
    assert seen == {"a b", "a", "it's"}


def test_options_of_the_simulated_cluster_count(params):
    """Nodes that fail or are preempted, as an evaluator of that cluster says."""
    options = {"node_failures": {"sim1": 90.0}, "preemptions": {"sim2": 90.0}}
    with hpo.Evaluator("program", nodes=3, workload_manager="simulated", manager_options=options) as evaluator:
        run = hpo.simulate(params, evaluator, loss, run_time=60.0, n_trials=6, seed=1)
    assert (run.trials, run.failed) == (6, 0)
    assert run.time_s == 240.0


def test_a_loss_of_a_node_that_there_is_not_is_refused(params):
    options = {"preemptions": {"sim2": 5.0, "sim99": 20.0}}
    with (
        hpo.Evaluator("program", nodes=8, workload_manager="simulated", manager_options=options) as evaluator,
        pytest.raises(
            hpo.ConfigurationError, match="'preemptions': there is no node 'sim99'; the nodes are sim1 to sim8"
        ),
    ):
        hpo.simulate(params, evaluator, loss, run_time=60.0, n_trials=6, seed=1)


def test_an_allocation_shorter_than_a_run_is_said(params):
    with hpo.Evaluator("program", workload_manager="simulated", manager_options={"walltime": "1m"}) as evaluator:
        run = hpo.simulate(params, evaluator, loss, run_time="5m", n_trials=6, seed=1)
    assert run.trials == 0
    assert "too soon for another evaluation (none has ended in time)" in run.stopped


def test_a_curve_is_printed_step_by_step_and_a_strategy_may_stop_it(params, evaluator):
    """What early stopping saves can be seen before it is paid for."""

    class Impatient(RandomStrategy):
        capabilities = frozenset({hpo.Capability.REPORTS})

        def report(self, trial, report):
            return report.step == 3 and report.fom > 0.1

    def curve(values):
        return [loss(values) + 1 / step for step in range(1, 11)]

    whole = hpo.simulate(params, evaluator, curve, run_time="10m", n_trials=24, seed=3)
    early = hpo.simulate(params, evaluator, curve, run_time="10m", n_trials=24, seed=3, strategy=Impatient)
    assert whole.time_s == 6 * 600.0
    assert early.time_s == 6 * 180.0  # all are above 0.1 after three of ten steps
    assert whole.best_fom == pytest.approx(min(progress.best_fom for progress in whole.progress))
    assert whole.best_fom < early.best_fom


def test_numbers_of_numpy_are_numbers(params, evaluator):
    np = pytest.importorskip("numpy")
    assert hpo.simulate(params, evaluator, lambda values: np.float64(2.5), n_trials=2, seed=1).best_fom == 2.5
    assert hpo.simulate(params, evaluator, lambda values: np.array([3.0, 0.5]), n_trials=2, seed=1).best_fom == 0.5


def cluster(params, **options):
    with hpo.Evaluator("program", nodes=50, workload_manager="simulated", manager_options=options) as evaluator:
        return hpo.simulate(params, evaluator, loss, run_time="30m:90m", n_trials=300, seed=1)


def test_failures_preemptions_and_queue_waits_are_drawn_from_the_seed(params):
    troubles = {"queue_wait": "10m:4h", "node_failures": "20h", "preemptions": "40h"}
    run = cluster(params, **troubles)
    assert run == cluster(params, **troubles)
    assert run != cluster(params, **troubles, seed=2)
    assert run.busy < cluster(params).busy - 0.05
    assert (run.trials, run.failed) == (300, 0), "what a lost node ran is tried again"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue_wait": "soon"}, "workload manager 'simulated', option 'queue_wait': time: 'soon' is no duration"),
        ({"walltime": -1.0}, "option 'walltime': time: -1.0 is no duration"),
        ({"node_failures": "0s"}, "option 'node_failures': the mean time after which a node is lost must be more"),
        ({"preemptions": {"sim1": "x"}}, "option 'preemptions': sim1: 'x' is no duration"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(params, options, message):
    with pytest.raises(hpo.ConfigurationError, match=message):
        cluster(params, **options)
