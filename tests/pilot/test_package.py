"""The worker is one file that needs nothing but an old Python's standard library."""

import ast
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hpo_core
from hpo_core._pilot import package

SOURCES = Path(hpo_core.__file__).parent


@pytest.fixture
def archive(tmp_path: Path) -> zipfile.ZipFile:
    path = tmp_path / "worker.pyz"
    package.write(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as opened:
        yield opened


def imports(source: bytes) -> set[str]:
    """Modules that a program imports when it runs; not those for type checkers alone."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_it_is_written_in_the_language_of_python_3_8(archive: zipfile.ZipFile) -> None:
    for name in archive.namelist():
        ast.parse(archive.read(name), name, feature_version=(3, 8))


def test_it_imports_the_standard_library_and_itself(archive: zipfile.ZipFile) -> None:
    own = {name.removesuffix(".py").replace("/", ".") for name in archive.namelist()}
    for name in archive.namelist():
        for module in imports(archive.read(name)):
            if module.startswith("hpo_core"):
                assert {module, module.rpartition(".")[0]} & (own - {"hpo_core._pilot.__init__"}), (name, module)
            else:
                assert module.partition(".")[0] in sys.stdlib_module_names, (name, module)


def test_it_starts_without_site_packages_and_says_what_is_wrong(tmp_path: Path) -> None:
    package.write(str(tmp_path / "worker.pyz"))
    words = [sys.executable, "-I", "-S", str(tmp_path / "worker.pyz"), str(tmp_path / "missing.json")]
    environment = {**os.environ, "HPO_NODE": "n7"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 1
    assert done.stderr == "worker on n7: the driver has ended\n"


def test_nobody_elses_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "worker.pyz").touch()
    with pytest.raises(FileExistsError):
        package.write(str(tmp_path / "worker.pyz"))
