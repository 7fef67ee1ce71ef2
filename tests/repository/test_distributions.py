"""All distributions of the repository carry one version, and every plugin says that it is one.

The pyproject files are read, not the installed metadata, which goes stale in a reused environment.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir())


def load(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


CORE = load(ROOT)


def faults(plugin: dict[str, Any], folder_name: str, core_version: str) -> list[str]:
    """What keeps a plugin's pyproject from belonging to the core of that version."""
    project = plugin["project"]
    found = []
    if canonicalize_name(project["name"]) != canonicalize_name(folder_name):
        found.append(f"distribution {project['name']} lies in folder {folder_name}")
    if project.get("version") != core_version:
        found.append(f"version {project.get('version')}, the core has {core_version}")
    major, minor, _ = core_version.split(".")
    pins = [
        str(requirement.specifier)
        for requirement in map(Requirement, project.get("dependencies", []))
        if canonicalize_name(requirement.name) == "hpo-core"
    ]
    if pins != [f"~={major}.{minor}.0"]:
        found.append(f"needs hpo-core {pins}, not ['~={major}.{minor}.0']")
    if not project.get("entry-points", {}).get("hpo_core"):
        found.append("no entry point in group hpo_core")
    if project.get("requires-python") != CORE["project"]["requires-python"]:
        found.append(f"requires Python {project.get('requires-python')}")
    if plugin.get("build-system") != CORE["build-system"]:
        found.append("is not built as the core is")
    return found


def test_the_core_is_hpo_core_with_a_plain_version():
    """The version is written down, X.Y.Z, so that a plugin's pin can be compared with it."""
    assert CORE["project"]["name"] == "hpo-core"
    assert [part.isdecimal() for part in CORE["project"]["version"].split(".")] == [True] * 3


def test_the_core_needs_no_entry_point_for_its_built_ins():
    assert "hpo_core" not in CORE["project"].get("entry-points", {})


def test_there_is_a_plugin():
    """The checks below would say nothing about an empty folder."""
    assert PLUGINS


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_plugin_belongs_to_this_core(folder: Path):
    assert faults(load(folder), folder.name, CORE["project"]["version"]) == []


@pytest.mark.parametrize(
    ("table", "key", "value", "fault"),
    [
        ("project", "name", "hpo-other", "distribution hpo-other lies in folder hpo_thing"),
        ("project", "version", "0.2.0", "version 0.2.0, the core has 0.1.4"),
        ("project", "dependencies", ["hpo-core ~= 0.1"], "needs hpo-core ['~=0.1'], not ['~=0.1.0']"),
        ("project", "dependencies", ["hpo-core"], "needs hpo-core [''], not ['~=0.1.0']"),
        ("project", "dependencies", [], "needs hpo-core [], not ['~=0.1.0']"),
        ("project", "entry-points", {"other": {"thing": "hpo_thing"}}, "no entry point in group hpo_core"),
        ("project", "requires-python", ">=3.12", "requires Python >=3.12"),
        ("build-system", "build-backend", "flit_core.buildapi", "is not built as the core is"),
    ],
)
def test_each_fault_is_found(table: str, key: str, value: object, fault: str):
    """A plugin without faults passes, and each single change to it is named."""
    plugin = {
        "build-system": dict(CORE["build-system"]),
        "project": {
            "name": "hpo-thing",
            "version": "0.1.4",
            "requires-python": CORE["project"]["requires-python"],
            "dependencies": ["HPO_core ~= 0.1.0", "numpy"],
            "entry-points": {"hpo_core": {"thing": "hpo_thing"}},
        },
    }
    assert faults(plugin, "hpo_thing", "0.1.4") == []
    plugin[table][key] = value
    assert faults(plugin, "hpo_thing", "0.1.4") == [fault]
