"""What people ran into, one test each."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpo_core as hpo
from hpo_core.exceptions import NoResultWarning

PARAMS = [["--x", 0.5, (0.0, 1.0)]]


def test_a_study_without_any_result_says_so(tmp_path: Path) -> None:
    evaluator = hpo.Evaluator("sh -c 'echo out of luck >&2; exit 3'", workload_manager="local")
    study = hpo.Study(hpo.Params(PARAMS), evaluator, n_trials=2, directory=tmp_path / "s")
    with study, pytest.warns(NoResultWarning, match=r"trial 1 failed: exit code 3: out of luck .*hpo show .* 1"):
        study.optimize()


def test_open_trials_of_an_earlier_session_can_be_told(tmp_path: Path) -> None:
    with hpo.Study(hpo.Params(PARAMS), n_trials=3, seed=1, directory=tmp_path / "s") as study:
        asked = [study.ask() for _ in range(3)]
        assert not study.done
        assert study.ask() is None
        assert study.done
    with hpo.Study.load(tmp_path / "s") as study:
        assert study.open_trials == asked
        for trial in study.open_trials:
            study.tell(trial, trial.values["--x"])
        assert study.open_trials == []
        assert study.ask() is None
        assert study.done


@pytest.mark.parametrize("fom", ["0.3", True])
def test_a_figure_of_merit_that_is_no_number_is_refused(tmp_path: Path, fom: object) -> None:
    with hpo.Study(hpo.Params(PARAMS), directory=tmp_path / "s") as study:
        trial = study.ask()
        with pytest.raises(hpo.ConfigurationError, match="must be a number"):
            study.tell(trial, fom)  # type: ignore[arg-type]
        study.tell(trial, 1.0)


def test_only_a_known_result_can_be_inserted(tmp_path: Path) -> None:
    with hpo.Study(hpo.Params(PARAMS), directory=tmp_path / "s") as study:
        with pytest.raises(hpo.ConfigurationError, match="finite"):
            study.insert({"--x": 0.1}, float("nan"))
        assert len(study.trials) == 0


def test_drawn_values_are_no_defaults_to_compare_with(tmp_path: Path) -> None:
    params = hpo.Params([*PARAMS, ["--y", (0.0, 1.0)]])
    with hpo.Study(params, directory=tmp_path / "s") as study:
        study.tell(study.ask(), 1.0)
        assert study.default_fom is None


def test_two_studies_in_one_run_path_keep_their_workspaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpo_core._workspace import find

    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.sh").write_text('echo "$@"; echo FoM: 1')
    ids = []
    for name in ("A", "B", "C"):
        evaluator = hpo.Evaluator("sh train.sh", workload_manager="local", src_path="src")
        params = hpo.Params([[f"--{name}", 0.5, (0.0, 1.0)]])
        with hpo.Study(params, evaluator, n_trials=1, directory=name) as study:
            study.optimize()
            ids.append(study.id)
    for name, study_id in zip("ABC", ids, strict=True):
        workspace = find(str(tmp_path / "run" / "point1"), study_id)
        assert f"--{name}=0.5" in (workspace / ".hpo" / "stdout").read_text()
    assert len(os.listdir("run")) == 3


@pytest.mark.parametrize(
    ("proposal", "words"),
    [
        ({"info": {"worth": float("nan")}}, "info that JSON can't hold"),
        ({"info": {"worth": object()}}, "info that JSON can't hold"),
        ({"tag": "../elsewhere"}, "tags name files"),
        ({"tag": "a b"}, "tags name files"),
        ({"tag": "x" * 101}, "tags name files"),
        ({"parent": 7}, "wants to continue trial 7, and there is none"),
    ],
)
def test_a_proposal_that_cannot_be_recorded_is_refused_by_name(
    tmp_path: Path, proposal: dict[str, Any], words: str
) -> None:
    class Odd(hpo.Strategy):
        name = "odd"

        def ask(self) -> hpo.Proposal:
            return hpo.Proposal({"--x": 0.5}, **proposal)

    params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    with hpo.Study(params, strategy=Odd, evaluate_defaults=False, directory=tmp_path / "s") as study:
        with pytest.raises(hpo.SpaceError, match=words) as caught:
            study.ask()
        assert "strategy 'odd'" in str(caught.value)
        assert len(study.trials) == 0


def test_a_program_that_has_run_before_may_exit_with_a_shells_codes(tmp_path: Path) -> None:
    """127 from the first evaluation means that there is no such program; later on it is the program's own code."""
    command = "test $HPO_TRIAL -lt 3 || exit 127; echo FoM: 1; :"
    evaluator = hpo.Evaluator(command, workload_manager="local")
    params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    with hpo.Study(params, evaluator, n_trials=4, directory=tmp_path / "s") as study:
        study.optimize()
        assert [record.state.value for record in study.trials] == ["done", "done", "failed", "failed"]
        result = study.trials[3].result
        assert result is not None
        assert (result.failure, result.exit_code) == (hpo.Failure.EXIT_CODE, 127)


def test_a_budget_below_what_is_done_is_not_doubled_to_less(tmp_path: Path) -> None:
    """The end of a search proposes a number of trials that gives some."""
    directory = str(tmp_path / "s")

    def run(*words: str) -> str:
        return subprocess.run([sys.executable, "-m", "hpo_core", *words], capture_output=True, text=True).stdout

    run("run", "-q", "-d", directory, "--trials", "7", "--param", "--x=0.0:1.0", "--", "echo FoM: 1; :")
    assert f"More trials: hpo resume {directory} --trials 14" in run("resume", "-q", directory, "--trials", "3")


@pytest.mark.parametrize("options", [["num_demes"], "grid_size=3"])
def test_options_that_are_no_dict_are_told_by_name(tmp_path: Path, options: object) -> None:
    params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    with pytest.raises(hpo.ConfigurationError, match=r"strategy_options=.* must be a dict, such as"):
        hpo.Study(params, strategy="grid", strategy_options=options, directory=tmp_path / "s")  # type: ignore[arg-type]


def test_status_says_how_to_go_on_after_the_time_is_over(tmp_path: Path) -> None:
    directory = str(tmp_path / "s")

    def run(*words: str) -> str:
        return subprocess.run([sys.executable, "-m", "hpo_core", *words], capture_output=True, text=True).stdout

    run(
        *["run", "-d", directory, "--trials", "50", "--timeout", "0.5s", "--param", "--x=0.0:1.0"],
        "--",
        "sleep 0.2; echo FoM: 1; :",
    )
    told = run("status", directory)
    assert told.rstrip().endswith(f"go on with: hpo resume {directory} --timeout 1s")
