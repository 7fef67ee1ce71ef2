"""What goes on and what is stopped, by hand and with real programs."""

import sys
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_asha import AshaOptions, AshaStrategy
from hpo_core import Outlook, Report, Result, State, Trial

SPACE = hpo.Params([["--x", 0.5, (0.0, 1.0)]])

UNMODIFIED = """
import sys
x = float(sys.argv[1].partition("=")[2])
with open("epochs", "a") as file:
    for epoch in range(1, 65):
        print("FoM:", x + 1 / epoch, flush=True)
        file.write("x")
        file.flush()
        if epoch in (1, 4, 16):
            __import__("time").sleep(0.15)
"""

CONTINUING = """
import os, pathlib, sys
x = float(sys.argv[1].partition("=")[2])
saved = pathlib.Path(os.environ["HPO_CHECKPOINT"], "epochs")
done = int(saved.read_text()) if saved.exists() else 0
target = int(float(sys.argv[2].partition("=")[2])) if len(sys.argv) > 2 else 1
print("began at", done)
saved.write_text(str(target))
print("FoM:", x + 1 / target)
"""


def strategy(checkpoints: bool = True, **options) -> AshaStrategy:
    return AshaStrategy(SPACE, seed=1, options=AshaOptions(**options), outlook=Outlook(checkpoints=checkpoints))


def trial(number: int, proposal: hpo.Proposal | None = None) -> Trial:
    proposal = proposal or hpo.Proposal({"--x": 0.5})
    return Trial(number, proposal.values, parent=proposal.parent, fidelity=proposal.fidelity, info=proposal.info)


def step(asha: AshaStrategy, number: int, loss: float) -> hpo.Proposal:
    """Ask, and tell at once."""
    proposal = asha.ask()
    assert isinstance(proposal, hpo.Proposal)
    asha.tell(trial(number, proposal), Result(State.DONE, loss, loss))
    return proposal


def test_the_best_of_three_goes_on_at_once_and_so_on_up():
    """Table 1 of the paper in small: eta 3, r 1, R 9; nine at the bottom, three above, one at the top."""
    asha = strategy(mode="continue", max_fidelity=9, reduction=3)
    asked = [step(asha, number, number / 100) for number in range(1, 14)]
    assert [(one.info["rung"], one.fidelity, one.parent) for one in asked] == [
        (0, 1.0, None),
        (0, 1.0, None),
        (0, 1.0, None),
        (1, 3.0, 1),
        (0, 1.0, None),
        (0, 1.0, None),
        (0, 1.0, None),
        (1, 3.0, 2),
        (0, 1.0, None),
        (0, 1.0, None),
        (0, 1.0, None),
        (1, 3.0, 3),
        (2, 9.0, 4),
    ]
    assert asked[12].values == asked[3].values == asked[0].values


def test_failures_count_and_never_go_on():
    asha = strategy(mode="continue", max_fidelity=9, reduction=2)
    for number in range(1, 7):
        assert step(asha, number, float("inf")).info["rung"] == 0
    assert asha.continuable() == set()
    step(asha, 7, 0.5)
    assert asha.ask().parent == 7


def test_without_checkpoints_work_begins_anew():
    asha = strategy(mode="continue", max_fidelity=8, reduction=2, checkpoints=False)
    asked = [step(asha, number, 0.5) for number in range(1, 4)]
    assert [(one.parent, one.fidelity) for one in asked] == [(None, 1.0), (None, 1.0), (None, 2.0)]
    assert hpo.Capability.CONTINUES not in asha.capabilities


def test_whoever_is_behind_at_a_rung_is_stopped():
    asha = strategy(reduction=2, min_fidelity=10)
    assert not asha.report(trial(1), Report(9, {}, 9.0))
    assert not asha.report(trial(1), Report(10, {}, 0.5))
    assert not asha.report(trial(1), Report(11, {}, 99.0)), "nothing is decided between rungs"
    assert asha.report(trial(2), Report(10, {}, 0.6))
    assert not asha.report(trial(3), Report(10, {}, 0.4))
    assert not asha.report(trial(4), Report(10, {}, 0.45)), "second of four"
    assert not asha.report(trial(1), Report(40, {}, 0.3)), "the first at a rung, the one at 20 was passed"
    assert asha.report(trial(3), Report(40, {}, float("nan")))


def test_nothing_gets_more_than_the_maximum():
    asha = strategy(reduction=2, max_fidelity=6)
    assert [asha.report(trial(1), Report(step, {}, 1 / step)) for step in range(1, 7)] == [False] * 5 + [True]


def test_larger_may_be_better():
    asha = strategy(reduction=2)
    assert not asha.report(trial(1), Report(1, {}, 0.5, -0.5))
    assert asha.report(trial(2), Report(1, {}, 0.4, -0.4))


def test_the_defaults_get_the_full_work_where_programs_go_on():
    proposal = hpo.Proposal({"--x": 0.5})
    assert strategy(mode="continue", max_fidelity=9).foreign(proposal, "baseline").fidelity == 9.0
    assert strategy().foreign(proposal, "baseline") == proposal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "continue"}, "needs max_fidelity"),
        ({"max_fidelity": 2, "min_fidelity": 3}, "less than min_fidelity"),
        ({"mode": "halve"}, "'mode' must be in"),
        ({"reduction": 1}, "'reduction' must be >= 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, tmp_path):
    with pytest.raises(hpo.ConfigurationError, match=message):
        hpo.Study(SPACE, strategy=AshaStrategy, strategy_options=options, directory=tmp_path / "s")


def run(folder: Path, program: str, options: dict, n_trials: int, **more) -> hpo.Study:
    (folder / "train.py").write_text(program)
    arguments = {"workload_manager": "local", "num_parallel_evals": 3, "keep_output": "all", "grace": 0.2, **more}
    with (
        hpo.Evaluator(f"{sys.executable} -S train.py", **arguments) as evaluator,
        hpo.Study(
            SPACE,
            evaluator,
            strategy=AshaStrategy,
            strategy_options=options,
            n_trials=n_trials,
            seed=5,
            directory=folder / "study",
        ) as study,
    ):
        return study.optimize()


def test_an_unmodified_program_is_stopped_by_what_it_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = run(tmp_path, UNMODIFIED, {"reduction": 4}, 12)
    states = [record.state for record in study.trials]
    assert states.count(State.STOPPED) >= 4
    assert set(states) <= {State.STOPPED, State.DONE}
    assert (tmp_path / "epochs").stat().st_size < 12 * 64


def test_a_program_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"mode": "continue", "max_fidelity": 9, "reduction": 3}
    study = run(tmp_path, CONTINUING, options, 30, checkpoint="ckpt", flag={"fidelity": "--epochs"})
    continued = [record.trial for record in study.trials if record.trial.parent is not None]
    assert {one.fidelity for one in continued} == {3.0, 9.0}
    for one in continued:
        output = (study.directory / "output" / f"{one.number}.1.out").read_text()
        assert output.startswith(f"began at {int(study.trials[one.parent - 1].trial.fidelity)}\n")


def test_what_it_saves_shows_in_a_simulation():
    """Programs of about an hour on 16 nodes, each with a curve of 64 steps: much less time, and as good."""
    params = hpo.Params([["--x", 0.9, (0.0, 1.0)]])

    def curve(flags):
        return [(float(flags["--x"]) - 0.3) ** 2 + 1 / step for step in range(1, 65)]

    with hpo.Evaluator("program", nodes=16, workload_manager="simulated") as evaluator:
        plain, asha = (
            hpo.simulate(params, evaluator, curve, run_time="30m:90m", n_trials=200, seed=5, strategy=strategy)
            for strategy in ("random", AshaStrategy)
        )
    assert asha.trials == plain.trials == 200
    assert asha.time_s < plain.time_s / 4
    assert asha.best_fom < plain.best_fom + 0.001
