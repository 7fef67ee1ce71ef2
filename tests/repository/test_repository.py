"""What the repository promises: nothing of one machine in its files, a README whose commands exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HOME = re.compile(r"(?<![\w.~-])/(?:home|root|Users)/\w|\b[A-Z]:\\Users\\", re.ASCII)
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|pypi\.python\.org|anaconda\.org|registry\.npmjs|deb\.debian|crates\.io|"
    r"--(?:extra-)?index-url|--find[-]links|--trusted[-]host"
)
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "package-lock.json"}


def repository_files() -> list[Path]:
    """Files that git tracks, and new ones that it would track."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("git is not installed, so nobody can say which files belong to the repository")
    if listing.returncode != 0:
        pytest.skip(f"not a git checkout: {listing.stderr.decode(errors='replace').strip()}")
    files = [ROOT / name.decode() for name in listing.stdout.split(b"\0") if name]
    return [path for path in files if path.is_file()]


def offences(text: str) -> list[str]:
    """The lines that belong to one machine or one package registry."""
    return [line.strip() for line in text.splitlines() if HOME.search(line) or REGISTRY.search(line)]


def command(name: str) -> str:
    """The code block of the README that is marked with this name."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"README.md marks {len(blocks)} code blocks as command {name}"
    return str(blocks[0])


def test_no_file_names_a_machine_or_a_registry():
    files = repository_files()
    assert ROOT / "pyproject.toml" in files
    found = {}
    for path in files:
        try:
            lines = offences(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue  # not a text file
        if lines:
            found[str(path.relative_to(ROOT))] = lines
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "cd /" + "home/me/project",
        "PATH=/" + "root/bin",
        "url = 'https://" + "pypi" + ".org/simple'",
        "pip install --" + "index-url x",
    ],
)
def test_such_a_line_would_be_found(line: str):
    assert offences(f"first\n{line}\n") == [line]


def test_no_lock_file_is_kept():
    """Lock files record download addresses."""
    assert [path for path in repository_files() if path.name in LOCK_FILES] == []


def test_constraints_hold_names_and_versions_alone():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.]*", line)] == []
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))


@pytest.mark.parametrize("name", ["search", "tests"])
def test_readme_command_is_one_line(name: str):
    """A person pastes it, and .ci/run takes the second one from there."""
    text = command(name)
    assert text.count("\n") == 1
    assert text.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_readme_command_for_tests_installs_every_plugin():
    installed = re.findall(r"-e (plugins/\S+)", command("tests"))
    present = [f"plugins/{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")]
    assert sorted(installed) == sorted(present)
