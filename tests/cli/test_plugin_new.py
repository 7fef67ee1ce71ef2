"""``hpo plugin new`` writes packages that install, are found, and keep the contracts, in few lines."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from environments import new_environment

KINDS = {
    "strategy": "strategy",
    "manager": "workload manager",
    "launcher": "launcher",
    "parser": "metric parser",
    "observer": "observer",
}


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank, nor comments, nor docstrings."""
    tree = ast.parse(path.read_text())
    texts = [
        node.body[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
    ]
    inside = {line for text in texts for line in range(text.lineno, (text.end_lineno or 0) + 1)}
    lines = enumerate(path.read_text().splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and at not in inside for at, line in lines)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind, written by the command as users type it."""
    folder = tmp_path_factory.mktemp("generated")
    for kind in KINDS:
        subprocess.run(
            [sys.executable, "-m", "hpo_core", "plugin", "new", f"my-{kind}", "--kind", kind],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return folder


@pytest.fixture(scope="module")
def installed(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Variables of an environment with all of them installed."""
    for name in ("editables", "hatchling"):
        pytest.importorskip(name, reason=f"{name} builds the packages: pip install -e .[samples]")
    variables = new_environment(tmp_path_factory.mktemp("environment") / "fresh")
    folders = [f"./hpo-my-{kind}" for kind in KINDS]
    subprocess.run(["pip", "install", *folders], cwd=generated, env=variables, check=True)
    return variables


@pytest.fixture(scope="module")
def own_tests(generated: Path, installed: Mapping[str, str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The own tests of each package, all at the same time: much of it is waiting."""
    begun = {}
    with ExitStack() as stack:
        for kind in KINDS:
            process = subprocess.Popen(
                ["pytest", "-q", "-x"],
                cwd=generated / f"hpo-my-{kind}",
                env=installed,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            begun[kind] = stack.enter_context(process)
            stack.callback(process.kill)
        yield begun


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_installs_and_passes_its_own_tests(own_tests: dict, kind: str) -> None:
    out, _ = own_tests[kind].communicate(timeout=300)
    assert own_tests[kind].returncode == 0, out
    assert "passed" in out


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_found_and_sound(installed: Mapping[str, str], kind: str) -> None:
    checked = subprocess.run(
        ["hpo", "plugin", "check", f"my-{kind}"], env=installed, capture_output=True, text=True, check=True
    )
    heading = f"ok      {KINDS[kind]} my-{kind} (hpo-my-{kind} 0.1.0, interface 1)"
    assert checked.stdout == f"{heading}\n1 checked, none broken\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_author_writes_fewer_than_40_lines(generated: Path, kind: str) -> None:
    assert 5 < lines_of_code(generated / f"hpo-my-{kind}" / "src" / f"hpo_my_{kind}" / "__init__.py") < 40


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_to_fill_in(generated: Path, kind: str) -> None:
    for path in (generated / f"hpo-my-{kind}").rglob("*.*"):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text()
            assert "%{" not in text
            assert "TODO" not in text
            if path.suffix == ".py":
                compile(text, str(path), "exec")


@pytest.mark.parametrize("kind", KINDS)
def test_its_pyproject_asks_for_this_core(generated: Path, kind: str) -> None:
    project = tomllib.loads((generated / f"hpo-my-{kind}" / "pyproject.toml").read_text())["project"]
    major, minor, *_ = importlib.metadata.version("hpo-core").split(".")
    assert project["dependencies"] == [f"hpo-core ~= {major}.{minor}.0"]
    assert project["entry-points"] == {"hpo_core": {f"my-{kind}": f"hpo_my_{kind}"}}


@pytest.mark.parametrize("name", ["", "Coin", "2fast", "a--b", "a-", "a_b", "a b", "ä", "../x", "a" * 51])
def test_impossible_names_are_refused(hpo, folder: Path, name: str) -> None:
    outcome = hpo("plugin", "new", "--kind", "strategy", "--", name)
    assert outcome.status == 2
    assert f"'{name}' can't name a plugin: lower-case letters" in outcome.err
    assert [path.name for path in folder.iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("random", "strategy", "there is a strategy 'random' already"),
        ("local", "manager", "there is a workload manager 'local' already"),
        ("core", "observer", "'core' is reserved: hpo-core itself has it"),
        ("auto", "launcher", "'auto' is reserved: it means that hpo-core chooses"),
        ("slurm", "strategy", "'slurm' is reserved: hpo-slurm of this project has it"),
        ("hpo-asha", "strategy", "'asha' is reserved: hpo-asha is a sample of hpo-core"),
    ],
)
def test_names_that_are_taken_are_refused(hpo, name: str, kind: str, message: str) -> None:
    outcome = hpo("plugin", "new", name, "--kind", kind)
    assert outcome.status == 2
    assert message in outcome.err


def test_a_module_of_that_name_is_not_hidden(hpo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hpo_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    assert "there is a module 'hpo_mine' already" in hpo("plugin", "new", "mine", "--kind", "parser").err


def test_names_are_taken_by_kind(hpo, folder: Path) -> None:
    """A strategy may be called as a launcher is; the prefix of the distribution may be written or not."""
    assert hpo("plugin", "new", "hpo-local", "--kind", "strategy", "--directory", "a/b").status == 0
    assert (folder / "a" / "b" / "src" / "hpo_local" / "__init__.py").exists()


def test_nothing_is_overwritten(hpo, folder: Path) -> None:
    (folder / "hpo-mine").mkdir()
    (folder / "hpo-mine" / "notes").write_text("dear")
    outcome = hpo("plugin", "new", "mine", "--kind", "strategy")
    assert outcome.status == 2
    assert "hpo-mine is there already" in outcome.err
    assert [path.name for path in (folder / "hpo-mine").iterdir()] == ["notes"]


def test_a_place_that_cannot_be_written_is_refused(hpo, folder: Path) -> None:
    outcome = hpo("plugin", "new", "mine", "--kind", "strategy", "--directory", "train.py/here")
    assert outcome.status == 2
    assert "train.py/here can't be written: Not a directory" in outcome.err
