"""The front page: what is listed is what is there, and looking at it costs nothing."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hpo_core as hpo

SOURCE = Path(hpo.__file__)


def imports_for_type_checkers() -> dict[str, str]:
    """Name to home, as the block under TYPE_CHECKING says."""
    found = {}
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for line in node.body:
                assert isinstance(line, ast.ImportFrom)
                for alias in line.names:
                    home = f"{line.module}.{alias.name}" if line.module == "hpo_core" else line.module
                    found[alias.asname or alias.name] = home
    return found


def test_type_checkers_see_the_same_names():
    assert sorted(imports_for_type_checkers()) == sorted(hpo.__all__)


@pytest.mark.parametrize("name", hpo.__all__)
def test_every_name_is_there_and_comes_from_where_type_checkers_look(name):
    if name == "GeneticOptimizer":
        pytest.skip("comes with hpo-genetic")
    found = getattr(hpo, name)
    home = imports_for_type_checkers()[name]
    if inspect.ismodule(found):
        assert found.__name__ == home
    else:
        assert found is getattr(sys.modules[home], name)


def test_all_is_what_can_be_looked_up_and_what_dir_shows():
    """The list is written out, since type checkers read it."""
    assert sorted(hpo.__all__) == sorted([*hpo._HOME, *hpo._MODULES])
    assert sorted(dir(hpo)) == sorted([*hpo.__all__, "__version__"])


def test_nothing_else_is_visible():
    """In a fresh process, since other tests import submodules, which then are attributes."""
    text = "import hpo_core; print([n for n in vars(hpo_core) if not n.startswith('_') and n not in hpo_core.__all__])"
    extra = ast.literal_eval(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout)
    assert set(extra) <= {"annotations", "import_module", "TYPE_CHECKING", "Any"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hpo_core' has no attribute 'Evaluatr'"):
        hpo.Evaluatr  # noqa: B018


def test_public_classes_are_documented():
    for name in hpo.__all__:
        if name == "GeneticOptimizer":
            continue
        found = getattr(hpo, name)
        if inspect.isclass(found):
            assert (found.__doc__ or "").strip(), name


def modules_after(statement: str) -> set[str]:
    text = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy():
    loaded = modules_after("import hpo_core as hpo")
    heavy = {
        "numpy",
        "networkx",
        "pluggy",
        "attr",
        "attrs",
        "click",
        "rich",
        "subprocess",
        "selectors",
        "importlib.metadata",
    }
    assert loaded & heavy == set()
    assert {name for name in loaded if name.startswith("hpo_core.")} == set()


def test_a_space_and_an_evaluator_load_neither_numpy_nor_networkx_nor_plugins():
    loaded = modules_after(
        "import hpo_core as hpo\n"
        "hpo.Params([['--x', 1, (0, 2)], ['--w', ['a', 'b']]]).get_params()\n"
        "hpo.Evaluator('true', workload_manager='local')\n"
    )
    assert loaded & {"numpy", "networkx", "click", "rich", "pandas"} == set()
    assert {
        name for name in loaded if name.startswith(("hpo_core.builtin", "hpo_core.cli", "hpo_core.testing"))
    } == set()


def test_a_local_study_loads_neither_numpy_nor_networkx(tmp_path):
    loaded = modules_after(
        "import os, hpo_core as hpo\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "evaluator = hpo.Evaluator('echo FoM: 1 #', workload_manager='local')\n"
        "hpo.Study(hpo.Params([['--x', 1, (0, 2)]]), evaluator, n_trials=2).optimize()\n"
    )
    assert loaded & {"numpy", "networkx", "click", "rich", "pandas"} == set()
