"""What people do with a study: run it, ask and tell by hand, put points in, take results out, set its limits."""

import csv
import io
import json
import math
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core import Failure, State, StopReason, condition
from hpo_core._history import History
from hpo_core._view import StudyView

SPACE = [["--x", 5, (0, 9)]]


def make(directory="study", params=None, evaluator=None, **options) -> hpo.Study:
    return hpo.Study(
        params or hpo.Params([["-a", 1.0, (-2.0, 2.0)], ["--how", "x", ["x", "y"]]]),
        evaluator,
        **{"seed": 7, "directory": directory, **options},
    )


# -- running -------------------------------------------------------------------------------------------------


def test_optimize(search):
    study = search(study={"n_trials": 6})
    assert study.stop_reason is StopReason.TRIALS
    assert [record.number for record in study.trials] == [1, 2, 3, 4, 5, 6]
    assert [record.fom for record in study.trials] == [record.values["--x"] for record in study.trials]
    assert {record.state for record in study.trials} == {State.DONE}
    assert study.default_fom == 5
    best = min(study.trials, key=lambda record: record.fom)
    assert study.best_trial == best
    assert (study.best_fom, study.best_params) == (best.fom, dict(best.values))
    assert study.command(study.best_trial) == f"./value --x={best.values['--x']}"


def test_the_earliest_of_equals_is_best(search):
    study = search("echo FoM: 4 #", study={"n_trials": 4})
    assert study.best_trial.number == 1


def test_maximize(search):
    study = search(maximize=True, study={"n_trials": 8})
    foms = [record.fom for record in study.trials]
    assert study.best_fom == max(foms) > min(foms)
    assert study.trials[0].result.loss == -study.trials[0].fom


def test_optimize_again_goes_on_only_with_a_budget(search, here):
    evaluator = hpo.Evaluator("./value", workload_manager="local")
    study = hpo.Study(hpo.Params(SPACE), evaluator, n_trials=2, directory="study")
    study.optimize()
    study.optimize()
    assert len(study.trials) == 2
    study.close()
    study = hpo.Study.load("study", n_trials=4)
    study.optimize()
    study.close()
    assert len(study.trials) == 4
    assert (Path("study") / "journal.jsonl").exists() or list(Path("study").glob("journal*"))


def test_without_an_evaluator_there_is_nothing_to_optimize(here):
    with make() as study, pytest.raises(hpo.ConfigurationError, match="no evaluator: use ask and tell"):
        study.optimize()


def test_plan_shows_what_would_run_and_leaves_no_trace(here):
    evaluator = hpo.Evaluator("./value @tag", workload_manager="local")
    with make(
        evaluator=evaluator, params=hpo.Params(SPACE), strategy="grid", strategy_options={"grid_size": 2}
    ) as study:
        assert study.plan(9) == [
            "./value point1 --x=5",
            "./value point2 --x=0",
            "./value point3 --x=9",
        ]
        assert len(study.trials) == 0


# -- ask and tell --------------------------------------------------------------------------------------------


def test_ask_and_tell(here):
    with make(n_trials=4) as study:
        assert (study.best_fom, study.best_params, study.best_trial, study.default_fom) == (None, None, None, None)
        first = study.ask()
        assert (first.number, first.origin, dict(first.values)) == (1, "baseline", {"-a": 1.0, "--how": "x"})
        second, third = study.ask(), study.ask()
        study.tell(third, 0.5)
        study.tell(first.number, 2.0, metrics={"loss": 2.0}, duration_s=1.5)
        assert study.best_trial.number == 3
        assert study.trials[1].state is State.RUNNING
        assert math.isnan(study.trials[1].fom)
        study.tell(second, failure="it burnt down")
        fourth = study.ask()
        assert study.ask() is None
        study.tell(fourth, 0.25)
        assert (study.best_fom, study.default_fom) == (0.25, 2.0)
        result = study.trials[1].result
        assert (result.state, result.message) == (State.FAILED, "it burnt down")
        assert study.trials[0].result.duration_s == 1.5


@pytest.mark.parametrize(
    ("fom", "kind"), [(math.nan, Failure.NAN_METRIC), (math.inf, Failure.NAN_METRIC), (None, Failure.NO_METRIC)]
)
def test_what_is_no_number_is_a_failure_and_never_best(here, fom, kind):
    with make(maximize=True) as study:
        study.tell(study.ask(), fom)
        assert study.trials[0].result.failure is kind
        assert study.best_trial is None


def test_tell_refuses_what_was_not_asked_and_what_has_a_result(here):
    with make() as study:
        trial = study.ask()
        for number in (0, 2, -1):
            with pytest.raises(hpo.ConfigurationError, match=f"there is no trial {number}"):
                study.tell(number, 1.0)
        study.tell(trial, 1.0)
        with pytest.raises(hpo.ConfigurationError, match="trial 1 has its result already"):
            study.tell(trial, 2.0)
        assert study.best_fom == 1.0


def test_a_strategy_that_is_done_says_so(here):
    with make(strategy="grid", params=hpo.Params([["--w", ["a", "b"]]]), evaluate_defaults=False) as study:
        trials = [study.ask(), study.ask()]
        assert [trial.values["--w"] for trial in trials] == ["a", "b"]
        assert study.ask() is None
        assert study.done


def test_equal_seeds_ask_the_same_and_seed_0_is_recorded(here):
    asked = []
    for directory, seed in (("a", 3), ("b", 3), ("c", 4), ("d", 0)):
        with make(directory, seed=seed) as study:
            asked.append([dict(study.ask().values) for _ in range(5)])
            assert study.seed > 0
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]
    again = hpo.Study.load("d")
    assert again.seed > 0
    again.close()


def test_enqueued_points_come_before_the_strategys(here):
    with make() as study:
        study.enqueue({"-a": 0.25, "--how": "y"})
        study.enqueue({"-a": -1, "--how": "x"})
        trials = [study.ask() for _ in range(4)]
        assert [trial.origin for trial in trials] == ["baseline", "enqueued", "enqueued", "strategy"]
        assert dict(trials[1].values) == {"-a": 0.25, "--how": "y"}
        assert trials[2].values["-a"] == -1.0


def test_enqueued_points_are_run_by_optimize_and_survive_a_resume(search, here):
    evaluator = hpo.Evaluator("./value", workload_manager="local")
    with hpo.Study(hpo.Params(SPACE), evaluator, n_trials=3, directory="study") as study:
        study.enqueue({"--x": 8})
    with hpo.Study.load("study") as study:
        study.optimize()
        assert [record.values["--x"] for record in study.trials][:2] == [5, 8]
        assert study.trials[1].trial.origin == "enqueued"


def test_inserted_points_are_told_and_do_not_count(here):
    with make(n_trials=1) as study:
        trial = study.insert({"-a": 0.5, "--how": "y"}, 0.125, metrics={"m": 1.0})
        assert (trial.number, trial.origin) == (1, "inserted")
        assert (study.best_fom, study.best_params) == (0.125, {"-a": 0.5, "--how": "y"})
        assert study.ask() is not None
        assert study.ask() is None


@pytest.mark.parametrize(
    "values",
    [{"-a": 3.0, "--how": "x"}, {"-a": 1.0}, {"-a": 1.0, "--how": "z"}, {"-a": 1.0, "--how": "x", "-b": 1}, {}],
)
def test_what_is_no_point_is_refused_and_leaves_no_trace(here, values):
    with make() as study:
        with pytest.raises(hpo.SpaceError):
            study.enqueue(values)
        with pytest.raises(hpo.SpaceError):
            study.insert(values, 1.0)
        assert len(study.trials) == 0
        assert study.ask().origin == "baseline"


# -- loading -------------------------------------------------------------------------------------------------


def test_load_gives_the_study_back(search, here):
    study = search(study={"n_trials": 5, "name": "mine"})
    with hpo.Study.load("study") as again:
        assert again.rows() == study.rows()
        assert list(again.trials) == list(study.trials)
        assert (again.best_fom, again.best_params, again.name, again.id) == (
            study.best_fom, study.best_params, "mine", study.id
        )  # fmt: skip
        assert again.params == study.params
        assert again.evaluator.to_json() == study.evaluator.to_json()
        assert again.budget == study.budget


def test_ask_and_tell_go_on_after_a_load(here):
    with make() as study:
        study.tell(study.ask(), 1.0)
        pending = study.ask()
    with hpo.Study.load("study") as again:
        assert again.trials[1].state is State.RUNNING
        again.tell(pending.number, 0.5)
        assert again.best_fom == 0.5
        assert again.ask().number == 3


def test_load_of_nothing_names_the_directory(here):
    (here / "empty").mkdir()
    for directory in ("nowhere", "empty"):
        with pytest.raises(hpo.JournalError, match=directory):
            hpo.Study.load(directory)


def test_a_directory_that_exists_is_refused_naming_hpo_resume(here):
    make().close()
    with pytest.raises(hpo.ConfigurationError, match=r"study exists already.*hpo resume study"):
        make()
    Path("other").mkdir()
    with pytest.raises(hpo.ConfigurationError, match="other exists already and holds no study: choose"):
        make("other")


@pytest.mark.parametrize("where", ["file/study", "file/deeper/study", "/proc/study"])
def test_a_directory_that_cannot_be_made_is_refused(here, where):
    Path("file").touch()
    with pytest.raises(hpo.ConfigurationError, match=rf"directory {where} cannot be made: "):
        make(where)


def test_a_single_name_is_no_list_of_observers(here):
    with pytest.raises(hpo.ConfigurationError, match=r"observers='progress' must be a list, such as \['progress'\]"):
        make(observers="progress")


def test_resume_if_exists(here):
    for expected in (0, 1, 2):
        with make(resume_if_exists=True) as study:
            assert len(study.trials) == expected
            study.tell(study.ask(), 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"params": hpo.Params([["-a", 1.0, (-3.0, 2.0)], ["--how", "x", ["x", "y"]]])}, "-a"),
        ({"params": hpo.Params([["-a", 1.0, (-2.0, 2.0)]])}, "--how"),
        ({"strategy": "grid"}, "strategy: recorded 'random', now 'grid'"),
        ({"maximize": True}, "maximize: recorded False, now True"),
        (
            {"evaluator": hpo.Evaluator("true", workload_manager="local", maximize=True)},
            "maximize: recorded False, now True",
        ),
    ],
)
def test_resume_if_exists_refuses_another_search(here, changes, words):
    """Also where changes are allowed: they would not be made."""
    make().close()
    for allow_changes in (False, True):
        with pytest.raises(hpo.StudyChangedError, match=words) as caught:
            make(resume_if_exists=True, allow_changes=allow_changes, **changes)
        assert caught.value.differences
        assert "use another directory" in str(caught.value)
    hpo.Study.load("study").close()


def test_resume_if_exists_refuses_another_command_unless_allowed(here):
    make().close()
    evaluator = hpo.Evaluator("true", workload_manager="local")
    with pytest.raises(hpo.StudyChangedError, match="cmd: recorded None, now 'true'") as caught:
        make(resume_if_exists=True, evaluator=evaluator)
    assert "hpo resume --allow-changes study" in str(caught.value)
    make(resume_if_exists=True, evaluator=evaluator, allow_changes=True).close()


def test_other_options_of_a_strategy_are_named_one_by_one(here):
    make(strategy="grid", strategy_options={"grid_size": 3}).close()
    with pytest.raises(hpo.StudyChangedError, match=r"else: strategy option grid_size: recorded 3, now 4\. A study"):
        make(strategy="grid", strategy_options={"grid_size": 4}, resume_if_exists=True)


def test_an_evaluator_of_the_other_direction_is_refused(here):
    make().close()
    with pytest.raises(hpo.StudyChangedError, match="maximize: recorded False, now True"):
        hpo.Study.load("study", hpo.Evaluator("true", workload_manager="local", maximize=True), allow_changes=True)
    hpo.Study.load("study").close()


def test_without_a_directory_fresh_numbered_ones_are_taken(here):
    Path("hpo-study-2").mkdir()
    names = []
    for _ in range(3):
        with make(None) as study:
            names.append(str(study.directory))
    assert names == ["hpo-study-1", "hpo-study-3", "hpo-study-4"]


def test_a_studys_directory_is_private(here):
    with make() as study:
        study.ask()
    assert stat.S_IMODE(os.stat("study").st_mode) == 0o700


def test_nothing_is_made_when_something_is_wrong(here):
    bad = [
        {"strategy": "randm"},
        {"strategy": 3},
        {"strategy_options": {"no": 1}},
        {"strategy": "grid", "strategy_options": {"grid_siz": 2}},
        {"seed": -1},
        {"seed": 1.5},
        {"n_trials": 0},
        {"n_trials": 2.5},
        {"patience": -1},
        {"max_failures": True},
        {"target": "low"},
        {"target": math.nan},
        {"sync": "always"},
        {"observers": ["progres"]},
        {"maximize": True, "evaluator": hpo.Evaluator("./value", workload_manager="local")},
        {"evaluator": hpo.Evaluator("no-such-program", workload_manager="local")},
        {"evaluator": hpo.Evaluator("./value", workload_manager="local", nodes=2)},
        {"evaluator": "./value"},
        {"params": [["-a", 1, (0, 2)]]},
    ]
    for options in bad:
        with pytest.raises((hpo.ConfigurationError, hpo.PluginNotFoundError)):
            make(**options)
        assert not Path("study").exists(), options


def test_close_matches_of_names_and_options(here):
    with pytest.raises(hpo.PluginNotFoundError, match=r"no strategy is called 'randm' \(did you mean 'random'\?\)"):
        make(strategy="randm")
    with pytest.raises(hpo.ConfigurationError, match=r"no option 'grid_siz' \(did you mean 'grid_size'\?\)"):
        make(strategy="grid", strategy_options={"grid_siz": 2})


# -- results -------------------------------------------------------------------------------------------------


def test_rows_and_csv(here):
    params = hpo.Params([["--w", "a,b", ["a,b", 'say "x"']], ["--n", 3, (1, 9)]])
    params.add_conditions([condition.equals("--n", "--w", "a,b")])
    with make(params=params) as study:
        study.tell(study.ask(), 0.1)
        study.enqueue({"--w": 'say "x"'})
        study.tell(study.ask(), failure="no")
        study.ask()
        rows = study.rows()
        text = study.to_csv()
    assert list(rows[0])[:3] == ["trial", "state", "fom"]
    assert [row["trial"] for row in rows] == [1, 2, 3]
    assert [row["state"] for row in rows] == ["done", "failed", "running"]
    assert [row["--n"] for row in rows][:2] == [3, None]
    assert rows[0]["fom"] == 0.1
    assert rows[1]["fom"] is None
    read = list(csv.DictReader(io.StringIO(text)))
    assert list(read[0]) == list(rows[0])
    assert [row["--w"] for row in read][:2] == ["a,b", 'say "x"']
    assert text.splitlines()[0].startswith("trial,state,fom,")
    assert float(read[0]["fom"]) == 0.1
    assert json.loads(json.dumps(rows)) == rows


def test_several_metrics_have_columns(search, program):
    program("two", "#!/bin/sh\necho loss: 2\necho time: 3\n")
    study = search("./two", metric={"loss": 1.0, "time": 0.5}, study={"n_trials": 1})
    row = study.rows()[0]
    assert (row["fom"], row["metric loss"], row["metric time"]) == (3.5, 2.0, 3.0)


def test_dataframe(here):
    pandas = pytest.importorskip("pandas")
    with make() as study:
        study.tell(study.ask(), 0.5)
        frame = study.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["fom"].tolist() == [0.5]


def test_trials_are_a_sequence(search):
    study = search(study={"n_trials": 4})
    assert len(study.trials) == 4
    assert study.trials[-1].number == 4
    assert [record.number for record in study.trials[1:3]] == [2, 3]
    with pytest.raises(IndexError):
        study.trials[4]


class Noting(hpo.Strategy):
    """Gives each trial what few trials have."""

    name = "noting"
    asked = 0

    def ask(self):
        self.asked += 1
        parent = self.asked - 1 or None
        info = {"steps": [0.5, self.asked], "of": {"ü": None}}
        return hpo.Proposal({"-a": 1.0, "--how": "x"}, parent, 2.0, 3, f"member{self.asked}", info)


def test_what_a_strategy_notes_of_a_trial_comes_back_at_any_time(here):
    with make(strategy=Noting, evaluate_defaults=False) as study:
        asked = [study.ask() for _ in range(5)]
        for trial in asked[:4]:
            study.tell(trial, float(trial.number))
        assert [record.trial for record in study.trials] == asked
        study._ledger.save_snapshot(study._ledger.journal, every=1)
    assert (study.directory / "snapshot").exists()
    assert [record.trial for record in study.trials] == asked
    with hpo.Study.load("study", strategy=Noting) as loaded:
        assert [record.trial for record in loaded.trials] == asked
        assert loaded.best_trial == study.best_trial


def test_a_snapshot_of_other_columns_is_passed_over(here):
    """As an hpo-core between two releases may have written one."""

    class Other(History):
        def arrays(self):
            return {name: column for name, column in super().arrays().items() if name != "_rare"}

    with make(strategy=Noting, evaluate_defaults=False) as study:
        asked = [study.ask() for _ in range(3)]
        study.tell(asked[0], 0.5)
        study._ledger.history.__class__ = Other
        study._ledger.save_snapshot(study._ledger.journal, every=1)
    assert [record.trial for record in StudyView("study").trials] == asked


def test_the_best_is_known_when_the_directory_is_gone(here):
    with make(strategy=Noting, evaluate_defaults=False) as study:
        study.tell(study.ask(), 0.25)
    shutil.rmtree(study.directory)
    assert study.best_params == {"-a": 1.0, "--how": "x"}
    assert study.best_fom == 0.25
    with pytest.raises(hpo.JournalError, match=r"cannot read .*journal\.jsonl: No such file"):
        study.trials[0]


# -- budgets -------------------------------------------------------------------------------------------------


def test_target(search, program):
    program("down", '#!/bin/sh\necho "FoM: $((10 - HPO_TRIAL))"\n')
    study = search("./down", study={"n_trials": 100, "target": 6.0})
    assert (study.stop_reason, len(study.trials), study.best_fom) == (StopReason.TARGET, 4, 6.0)


def test_target_when_maximising(search, program):
    program("up", '#!/bin/sh\necho "FoM: $HPO_TRIAL"\n')
    study = search("./up", maximize=True, study={"n_trials": 100, "target": 3})
    assert (study.stop_reason, len(study.trials)) == (StopReason.TARGET, 3)


def test_patience(search, program):
    """Trial 2 is the best; three more without improvement end the study."""
    program("worse", '#!/bin/sh\ntest "$HPO_TRIAL" = 1 && echo "FoM: 9" || echo "FoM: $HPO_TRIAL"\n')
    study = search("./worse", study={"n_trials": 100, "patience": 3})
    assert (study.stop_reason, len(study.trials), study.best_fom) == (StopReason.NO_IMPROVEMENT, 5, 2.0)


def test_max_failures_counts_failures_in_a_row(search, program):
    program("odd", '#!/bin/sh\ncase $HPO_TRIAL in 1|2|4|5|6) exit 1;; esac\necho "FoM: 1"\n')
    study = search("./odd", study={"n_trials": 100, "max_failures": 3})
    assert (study.stop_reason, len(study.trials)) == (StopReason.FAILURES, 6)


def test_timeout_cancels_what_runs_and_counts_it_as_no_failure(search, program):
    program("slow", '#!/bin/sh\ntest "$HPO_TRIAL" = 1 && echo FoM: 1 && exit\nsleep 30\n')
    study = search("./slow", timeout="500ms", grace=1, study={"n_trials": 100})
    assert study.stop_reason is StopReason.TIMEOUT
    assert [record.state for record in study.trials] == [State.DONE, State.CANCELLED]
    assert study.best_fom == 1


def test_n_trials_counts_trials_and_not_retries(search, program):
    program("second", '#!/bin/sh\ntest "$HPO_ATTEMPT" = 2 || exit 1\necho FoM: 1\n')
    study = search("./second", num_retries=1, study={"n_trials": 3})
    assert [(record.state, record.result.attempts) for record in study.trials] == [(State.DONE, 2)] * 3


def test_num_retries_are_not_more_than_asked(search, program):
    program("never", "#!/bin/sh\necho x >>tries\nexit 1\n")
    study = search("./never", num_retries=2, study={"n_trials": 1})
    assert Path("tries").read_text() == "x\n" * 3
    assert (study.trials[0].state, study.trials[0].result.attempts) == (State.FAILED, 3)


def test_a_finite_space_that_is_exhausted_ends_the_study(search):
    study = search(params=[["--x", [1, 2, 3]]], study={"strategy": "grid", "n_trials": None})
    assert (study.stop_reason, study.best_fom) == (StopReason.EXHAUSTED, 1)
    assert len(study.trials) in (3, 4)


# -- failures ------------------------------------------------------------------------------------------------


def test_failed_runs_are_data(search, program):
    program("some", '#!/bin/sh\ntest "$HPO_TRIAL" = 2 && { echo bad luck >&2; exit 7; }\necho "FoM: $HPO_TRIAL"\n')
    study = search("./some", study={"n_trials": 3})
    result = study.trials[1].result
    assert (result.failure, result.exit_code, result.loss) == (Failure.EXIT_CODE, 7, math.inf)
    assert "bad luck" in result.tail
    assert study.best_fom == 1


def test_a_figure_of_merit_of_a_failed_run_does_not_count(search, program):
    program("liar", '#!/bin/sh\necho "FoM: -100"\ntest "$HPO_TRIAL" != 2\n')
    study = search("./liar", study={"n_trials": 3})
    assert study.trials[1].state is State.FAILED
    assert math.isnan(study.trials[1].fom)


def test_a_baseline_that_fails_does_not_end_the_study(search, program):
    program("first", '#!/bin/sh\ntest "$HPO_TRIAL" = 1 && exit 1\necho "FoM: 3"\n')
    study = search("./first")
    assert (study.default_fom, study.best_fom, study.trials[0].state) == (None, 3, State.FAILED)


def test_without_defaults_first(search):
    study = search(study={"evaluate_defaults": False})
    assert study.default_fom is None
    assert {record.trial.origin for record in study.trials} == {"strategy"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("true && ./nothing-here", "could not be started: exit code 127.*nothing-here"),
        ("true && ./plain", "could not be started: exit code 126.*plain"),
        ("./bad-interpreter", "could not be started: .*not the interpreter that its first line names"),
    ],
)
def test_what_cannot_be_started_stops_the_study_at_once(search, program, command, message):
    program("plain", "").chmod(0o644)
    program("bad-interpreter", "#!/no/such/interpreter\n")
    with pytest.raises(hpo.StudyStopped, match=message):
        search(command, study={"n_trials": 50})
    with hpo.Study.load("study") as study:
        assert len(study.trials) == 1
        assert study.trials[0].state is State.RUNNING


def test_after_a_repair_such_a_study_goes_on(search, program):
    with pytest.raises(hpo.StudyStopped):
        search("true && ./late", study={"n_trials": 2})
    program("late", "#!/bin/sh\necho FoM: 2\n")
    with hpo.Study.load("study", allow_changes=True) as study:
        study.optimize()
        assert [record.state for record in study.trials] == [State.DONE] * 2


# -- observers -----------------------------------------------------------------------------------------------


def test_observers_hear_the_life_of_a_study_in_order(search):
    heard = []

    class Ear(hpo.Observer):
        name = "ear"

        def study_started(self, study):
            heard.append("started")

        def trial_started(self, trial, attempt):
            heard.append(("trial", trial.number, attempt))

        def trial_finished(self, trial, result):
            heard.append(("finished", trial.number, result.fom))

        def study_finished(self, study):
            heard.append(study.stop_reason)

    study = search("echo FoM: 1 #", study={"n_trials": 2, "observers": [Ear()]})
    assert heard == [
        "started", ("trial", 1, 1), ("finished", 1, 1.0), ("trial", 2, 1), ("finished", 2, 1.0), study.stop_reason
    ]  # fmt: skip


def test_an_observer_that_raises_is_switched_off_with_a_warning(search):
    class Broken(hpo.Observer):
        name = "broken"
        calls = 0

        def trial_started(self, trial, attempt):
            type(self).calls += 1
            raise RuntimeError("oh")

    with pytest.warns(UserWarning, match="Broken.*oh"):
        study = search(study={"observers": [Broken()]})
    assert len(study.trials) == 3
    assert Broken.calls == 1


def test_a_strategy_of_ones_own(search):
    class Up(hpo.Strategy):
        name = "up"

        told = 0

        def ask(self):
            return hpo.Proposal({"--x": self.told}) if self.told < 4 else hpo.Pause.DONE

        def tell(self, trial, result):
            self.told += 1

    study = search(study={"strategy": Up, "n_trials": None})
    assert [record.values["--x"] for record in study.trials] == [5, 1, 2, 3]
    assert study.stop_reason is StopReason.EXHAUSTED


def test_a_strategy_that_proposes_nonsense_is_named(search):
    class Wild(hpo.Strategy):
        name = "wild"

        def ask(self):
            return hpo.Proposal({"--x": 99})

    with pytest.raises(hpo.SpaceError, match="strategy 'wild' proposed an invalid point"):
        search(study={"strategy": Wild})


def test_a_strategy_that_waits_for_nothing_is_told_so(search):
    class Stuck(hpo.Strategy):
        name = "stuck"

        def ask(self):
            return hpo.Pause.WAIT

    with pytest.raises(hpo.StudyStopped, match="strategy 'stuck' waits for results, and none is on its way"):
        search(study={"strategy": Stuck})


def test_a_verbose_evaluator_tells_of_each_evaluation(search, capsys):
    search("./value", verbose=True, study={"n_trials": 2})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["trial 1 begins: ./value --x=5", lines[1]]
    assert re.fullmatch(r"trial 1 done: 5 after .* on \S+", lines[1])
    assert len(lines) == 4
    search("./value", study={"n_trials": 2, "directory": "silent"})
    assert capsys.readouterr().out == ""


def test_a_verbose_evaluator_tells_of_failures_and_attempts(search, program, capsys):
    program("broken", "#!/bin/sh\nexit 3\n")
    search("./broken", verbose=True, num_retries=1, study={"n_trials": 1})
    begins, notice, again, failed = capsys.readouterr().out.splitlines()
    assert "exit code 3" in notice
    assert again == begins.replace("begins:", "begins, attempt 2:")
    assert failed.startswith("trial 1 failed: exit code 3")
