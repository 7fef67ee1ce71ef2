"""Samples are what anybody could have written: distributions of their own, made of public names.

Their own tests lie beside them in ``examples/plugins``.
"""

import ast
import tomllib
from pathlib import Path

import pytest

import hpo_core as hpo

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path.parent for path in ROOT.glob("examples/plugins/*/pyproject.toml"))


def imports(path: Path) -> set[str]:
    """Every name of hpo_core that a module imports, with its module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hpo_core":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "hpo_core"}
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_uses_public_names_only(sample: Path) -> None:
    used = {name for path in sample.rglob("*.py") for name in imports(path)}
    assert used
    assert [name for name in used if any(part.startswith("_") for part in name.split("."))] == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_a_distribution_of_its_own(sample: Path) -> None:
    project = tomllib.loads((sample / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"].replace("-", "_") == sample.name
    assert project["version"] == core["version"]
    assert project["dependencies"][0] == f"hpo-core ~= {core['version'].rpartition('.')[0]}.0"
    (module,) = project["entry-points"]["hpo_core"].values()
    assert (sample / "src" / module / "__init__.py").exists()
    assert (sample / "tests" / "test_contract.py").exists()


def test_each_sample_says_for_which_interface_it_was_written() -> None:
    for sample in SAMPLES:
        text = "".join(path.read_text(encoding="utf-8") for path in (sample / "src").rglob("*.py"))
        assert f"interface_version = {hpo.INTERFACE_VERSION}\n" in text
