"""What people ran into, one test each."""

import os
from pathlib import Path

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
