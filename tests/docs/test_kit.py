"""The page on the kit lists every wrong plugin that the tests keep, and the check that finds it out."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hpo_core.testing as kit

TESTS = Path(__file__).parents[1] / "contracts"
PAGE = (Path(__file__).parents[2] / "docs" / "authors" / "kit.md").read_text(encoding="utf-8")

KINDS = {
    "Strategies": ("test_strategy_mutants", "STRATEGIES", "StrategyContract"),
    "Workload managers": ("test_manager_mutants", "MANAGERS", "WorkloadManagerContract"),
    "Launchers": ("test_launcher_mutants", "LAUNCHERS", "LauncherContract"),
    "Metric parsers": ("test_parser_mutants", "MUTANTS", "MetricParserContract"),
    "Observers": ("test_observers", "MUTANTS", "ObserverContract"),
}


@pytest.fixture(scope="module")
def mutants() -> dict[str, ModuleType]:
    """The modules that keep wrong plugins."""
    found = {}
    for name in {module for module, *_ in KINDS.values()}:
        spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        found[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    return found


def section_on(kind: str) -> str:
    return PAGE.split(f"\n### {kind}\n")[1].split("\n### ")[0]


def told(contract: type) -> set[str]:
    """The fixtures and the attributes that authors may give a contract."""
    found = set()
    for name in {name for cls in contract.__mro__[:-1] for name in [*vars(cls), *vars(cls).get("__annotations__", {})]}:
        if not name.startswith(("_", "test_")):
            plain = isinstance(getattr(contract, name, ""), (str, int, float, type(None)))
            found.add(name if plain else f"{name}()")
    return found - {"stage()", "stages()", "released()", "elsewhere()"}


def row(mutant: type, check: str, more: Sequence[Any]) -> str:
    """Such as ``| swallows exit codes | `test_exit_codes_are_told` |``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=A)(?=[A-Z][a-z])", " ", mutant.__name__).lower()
    case = next(iter(more[0].values()), "") if more and isinstance(more[0], dict) else ""
    return f"| {words} | `{check}{f'[{case}]' if case else ''}` |"


@pytest.mark.parametrize("contract", [name for name in kit.__all__ if name.endswith("Contract")])
def test_what_a_contract_may_be_told_is_in_the_first_table(contract: str) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{contract}` |")]
    named = set(re.findall(r"`(\w+(?:\(\))?)`", line)) - {contract}
    assert named == told(getattr(kit, contract))


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_has_each_mutant_with_its_check(kind: str, mutants: dict[str, ModuleType]) -> None:
    module, name, contract = KINDS[kind]
    rows = [row(mutant, check, more) for mutant, check, *more in getattr(mutants[module], name)]
    table = "\n".join(["| wrong | caught by |", "| --- | --- |", *dict.fromkeys(rows)])
    section = section_on(kind)
    assert table in section, f"the table should be\n\n{table}"
    assert f"`{contract}`" in section
    assert all(hasattr(getattr(kit, contract), check) for _, check, *_ in getattr(mutants[module], name))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("Strategies", "out of bounds; ignores conditions; ignores seed; loses state; depends on time; blocks"),
        ("Workload managers", "leaks; forgets a node; never times out"),
        ("Launchers", "swallows exit codes; leaves grandchildren; buffers; mixes outputs"),
        ("Metric parsers", "takes the first; chokes on bad text; reads it all"),
    ],
)
def test_the_mistakes_that_authors_make_are_among_them(kind: str, named: str) -> None:
    section = section_on(kind)
    assert [mistake for mistake in named.split("; ") if f"| {mistake} | `test_" not in section] == []
