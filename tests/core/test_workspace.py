"""Workspaces: each evaluation has a copy of the sources, and notes that say exactly what ran there."""

import os
import subprocess
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core._view import StudyView

SHOW = """\
#!/bin/sh
echo "args: $*"
env | grep ^HPO_ | sort
echo "warning: nothing" >&2
echo "FoM: ${1#*=}"
"""


@pytest.fixture(autouse=True)
def nothing_of_ours(monkeypatch):
    """Our variables that a caller has set, such as those for the tests of plugins, are no part of an evaluation."""
    for name in list(os.environ):
        if name.startswith("HPO_"):
            monkeypatch.delenv(name)


@pytest.fixture
def source(here, program) -> Path:
    program("source/show", SHOW)
    (here / "source/data").mkdir()
    (here / "source/data/numbers").write_text("1 2 3\n")
    return here / "source"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".hpo" not in path.parts
    }


def test_sources_are_copied_not_linked(search, source):
    before = tree(source)
    search("./show", src_path="source")
    for number in (1, 2, 3):
        workspace = Path(f"run/point{number}")
        assert tree(workspace) == before
        for name in before:
            assert not (workspace / name).is_symlink()
            assert (workspace / name).stat().st_ino != (source / name).stat().st_ino
        assert os.access(workspace / "show", os.X_OK)


def test_what_a_program_writes_touches_neither_the_sources_nor_its_neighbours(search, source, program):
    program(
        "source/write", '#!/bin/sh\ntest "$(cat data/numbers)" = "1 2 3" || exit 3\necho 0 >data/numbers\necho FoM: 1\n'
    )
    before = tree(source)
    study = search("./write", src_path="source", num_parallel_evals=3)
    assert [record.state for record in study.trials] == [hpo.State.DONE] * 3
    assert tree(source) == before


def test_symbolic_links_stay_links(search, source):
    """Also those that point nowhere, to a folder, or out of the sources."""
    (source / "to_file").symlink_to("data/numbers")
    (source / "to_folder").symlink_to("data")
    (source / "nowhere").symlink_to("gone")
    (source / "out").symlink_to(source.parent / "value")
    search("./show", src_path="source", study={"n_trials": 1})
    workspace = Path("run/point1")
    for name in ("to_file", "to_folder", "nowhere", "out"):
        assert os.readlink(workspace / name) == os.readlink(source / name)
    assert (workspace / "to_file").read_text() == "1 2 3\n"


@pytest.mark.parametrize("run_path", ["source/run", "source/deep/run"])
def test_a_run_path_inside_the_sources_is_not_copied_into_itself(search, source, run_path):
    search("./show", src_path="source", run_path=run_path)
    for number in (1, 2, 3):
        workspace = Path(run_path) / f"point{number}"
        assert (workspace / "show").exists()
        assert not list(workspace.rglob("point*"))


def test_workspaces_beside_the_sources_own_files_are_refused(search, source):
    with pytest.raises(hpo.ConfigurationError, match=r"run_path='\./source' is src_path itself"):
        search("./show", src_path="source", run_path="./source")
    assert not Path("study").exists()


def test_a_folder_that_is_no_workspace_is_never_removed(search, source):
    """Somebody's results, that happen to be called as our workspaces are."""
    Path("run/point1").mkdir(parents=True)
    Path("run/point1/results").write_text("of ten years")
    with pytest.raises(hpo.StudyStopped, match="run/point1 exists and is no workspace of hpo-core"):
        search("./show", src_path="source")
    assert Path("run/point1/results").read_text() == "of ten years"


def test_a_workspace_can_be_a_source(search, source):
    search("./show", src_path="source", study={"n_trials": 1})
    search("./show", src_path="run/point1", run_path="again", study={"n_trials": 1, "directory": "other"})
    assert "again/point1" in Path("again/point1/.hpo/command.sh").read_text()
    assert tree(Path("again/point1")) == tree(source)


def test_the_sources_may_be_the_current_directory(search, source, monkeypatch):
    monkeypatch.chdir(source)
    study = search("./show", src_path=".")
    assert study.best_fom is not None
    third = Path("run/point3")
    assert (third / "show").exists()
    assert not (third / "run").exists()


def test_what_an_earlier_study_left_in_a_workspace_is_replaced(search, source):
    search("./show", src_path="source", study={"n_trials": 1})
    Path("run/point1/left").write_text("old")
    search("./show", src_path="source", study={"n_trials": 1, "directory": "other"})
    assert not Path("run/point1/left").exists()


def test_notes_keep_output_and_a_script_that_does_it_again(search, source):
    """command.sh is run from elsewhere, without our variables, and prints the same."""
    search("./show --name 'a b'", params=[["--x", 5, (0, 9)], ["--w", "it's", ["it's", "$HOME"]]], src_path="source")
    for number in (1, 2, 3):
        notes = Path(f"run/point{number}/.hpo")
        assert sorted(path.name for path in notes.iterdir()) == ["command.sh", "stderr", "stdout", "study"]
        assert (notes / "stderr").read_text() == "warning: nothing\n"
        clean = {name: text for name, text in os.environ.items() if not name.startswith("HPO_")}
        again = subprocess.run([(notes / "command.sh").absolute()], cwd="/", env=clean, capture_output=True, text=True)
        assert again.returncode == 0
        assert lines(again.stdout) == lines((notes / "stdout").read_text())
        assert again.stderr == "warning: nothing\n"


def lines(text: str) -> list[str]:
    """Without what belongs to the process and not to the evaluation."""
    return [line for line in text.splitlines() if not line.startswith(("HPO_SESSION=", "HPO_EVALUATION="))]


def test_variables_that_describe_the_trial(search, source):
    study = search(
        "./show @tag @trial @attempt @directory",
        src_path="source",
        num_retries=1,
        flag={"nodes_per_evaluation": "--N"},
        study={"n_trials": 2},
    )
    workspace = Path("run/point2").absolute()
    text = (workspace / ".hpo/stdout").read_text()
    found = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("HPO_"))
    host = os.uname().nodename
    expected = {
        "HPO_TRIAL": "2",
        "HPO_ATTEMPT": "1",
        "HPO_TAG": "point2",
        "HPO_DIRECTORY": str(workspace),
        "HPO_NODELIST": host,
        "HPO_NUM_NODES": "1",
        "HPO_STUDY": study.id,
        "HPO_STUDY_DIRECTORY": str(Path("study").absolute()),
    }
    assert {name: found.get(name) for name in expected} == expected
    assert set(found) - set(expected) <= {"HPO_SESSION", "HPO_EVALUATION"}
    first = text.splitlines()[0]
    assert first.startswith(f"args: point2 2 1 {workspace} --x=")
    assert first.endswith(" --N=1")


def test_a_workspace_path_may_hold_anything(search, source, here):
    odd = "a b'c\"d$e;f"
    study = search("./show", src_path="source", run_path=odd, study={"n_trials": 1})
    assert study.best_fom == 5
    assert (here / odd / "point1/.hpo/stdout").exists()


def test_secrets_are_not_written_down(search, source, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "hush-hush")
    search("./show", src_path="source", study={"n_trials": 1})
    for path in [*Path("run").rglob("*"), *Path("study").rglob("*")]:
        if path.is_file():
            assert b"hush-hush" not in path.read_bytes()


def test_sources_that_are_not_there_are_refused_before_anything_runs(search, here):
    with pytest.raises(hpo.ConfigurationError, match="src_path='source' is no directory"):
        search("./show", src_path="source")
    assert not Path("study").exists()


def test_a_workspace_that_cannot_be_made_stops_the_study_with_the_reason(search, source):
    Path("run").write_text("a file")
    with pytest.raises(hpo.StudyStopped, match=r"trial 1 could not be started: cannot make the workspace .*run/point1"):
        search("./show", src_path="source")


def test_the_script_of_a_workspace_can_be_had_from_anywhere(search, source, tmp_path_factory, monkeypatch):
    search("./show", src_path="source", study={"n_trials": 2})
    script = Path("run/point2/.hpo/command.sh").read_text()
    directory = Path("study").absolute()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert StudyView(directory).script(2) == script


def test_a_failure_without_src_path_keeps_its_output(search, program):
    program("fail", "#!/bin/sh\necho some; echo words >&2; exit 3\n")
    search("./fail", study={"n_trials": 1})
    stem = "study/output/1.1"
    assert Path(f"{stem}.out").read_text() == "some\n"
    assert Path(f"{stem}.err").read_text() == "words\n"
    again = subprocess.run([f"{stem}.sh"], capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (3, "some\n")


@pytest.mark.filterwarnings("ignore:no trial has a result")
def test_a_directory_whose_name_is_no_utf8_does(here, monkeypatch):
    os.mkdir(b"caf\xe9")
    monkeypatch.chdir(b"caf\xe9")
    with (
        hpo.Evaluator("echo some; exit 3", workload_manager="local") as evaluator,
        hpo.Study(hpo.Params([["--x", 1.0, (0.0, 9.0)]]), evaluator, n_trials=1, directory="study") as study,
    ):
        study.optimize()
    script = Path("study/output/1.1.sh").absolute()
    with hpo.Study.load("study") as loaded:
        assert os.fsencode(loaded.cwd) == os.getcwdb()
    again = subprocess.run([script], cwd="/", capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (3, "some\n")


@pytest.mark.parametrize(("keep", "kept"), [("failed", False), ("all", True)])
def test_output_of_successes_is_kept_on_demand(search, keep, kept):
    search("./value", keep_output=keep, study={"n_trials": 1})
    output = Path("study/output")
    assert sorted(path.name for path in output.glob("*")) == ["1.1.out"] * kept


def test_checkpoints_without_workspaces_lie_in_the_study(search, program):
    program("save", '#!/bin/sh\ntest -d "$1" && echo "$1" >"$1/model" && echo FoM: 1\n')
    study = search("./save @checkpoint", checkpoint="saved", study={"n_trials": 2})
    assert study.best_fom == 1
    for number in (1, 2):
        path = Path(f"study/checkpoints/point{number}/saved").absolute()
        assert (path / "model").read_text() == f"{path}\n"
