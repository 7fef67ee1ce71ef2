"""What a contributor and CI run: ``nox`` for the usual checks, ``nox --list`` for all of them.

uv creates the environments when it is installed; plain virtualenv and pip work as well.
"""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.sessions = ["lint", "types", "tests", "build", "docs"]

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
SAMPLES = sorted(path.parent for path in ROOT.glob("examples/plugins/*/pyproject.toml"))
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CONSTRAINTS = str(ROOT / "constraints.txt")
PYTHONS = ["3.11", "3.12", "3.13"]
CLIENTS = {"oldest": "kubernetes==29.*", "35": "kubernetes==35.*"}

# pip compiles what it installs, uv only when told to. Where PYTHONDONTWRITEBYTECODE is set, each start of a
# program would compile all its imports.
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")


def install_group(session: nox.Session, group: str) -> None:
    """Install a dependency group of the root pyproject at the constrained versions."""
    session.install("-c", CONSTRAINTS, *nox.project.dependency_groups(PYPROJECT, group))


def install_all(session: nox.Session, *arguments: str) -> None:
    """Install the core with what its tests need, and every plugin, all editable."""
    plugins = [argument for plugin in PLUGINS for argument in ("-e", str(plugin))]
    session.install(*arguments, "pytest-xdist", "-e", ".[testing,examples,pandas,samples]", *plugins)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and measure what they cover."""
    install_all(session, "-c", CONSTRAINTS, "coverage[toml]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, the import contracts and the changelog fragments."""
    install_group(session, "lint")
    session.install("-c", CONSTRAINTS, "-e", ".")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("towncrier", "build", "--draft", "--version", "draft", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the core, of every plugin and sample, and of this file."""
    install_group(session, "types")
    install_all(session, "-c", CONSTRAINTS)
    session.run("mypy")
    for folder in (*PLUGINS, *SAMPLES):
        if any((folder / "src").rglob("*.py")):
            session.run("mypy", str(folder / "src"))
    if (ROOT / "tests" / "typing").is_dir():
        session.run("mypy", "tests/typing")


@nox.session
def build(session: nox.Session) -> None:
    """Build every distribution, install the wheels into an empty environment and use them there."""
    install_group(session, "build")
    folder = Path(session.create_tmp()).resolve()
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for source in (ROOT, *PLUGINS, *SAMPLES):
        session.run("python", "-m", "build", "--outdir", str(wheels), str(source), silent=True)

    session.run("python", "-m", "venv", "--clear", str(folder / "empty"))
    scripts = folder / "empty" / ("Scripts" if os.name == "nt" else "bin")

    def in_empty(program: str, *arguments: str) -> None:
        session.run(str(scripts / program), *arguments, external=True)

    built = [str(wheel) for wheel in sorted(wheels.glob("*.whl"))]
    in_empty("pip", "install", "-q", "-c", CONSTRAINTS, *built)
    with session.chdir(folder):
        in_empty("hpo", "--version")
        in_empty("hpo", "plugins")
    in_empty("pip", "install", "-q", "-c", CONSTRAINTS, "editables", "hatchling", "hypothesis", "pytest")
    in_empty("hpo", "plugin", "check")
    contracts = [str(path) for plugin in PLUGINS for path in sorted(plugin.glob("tests/test_contract*.py"))]
    if contracts:
        in_empty("python", "-m", "pytest", *contracts)
    for sample in SAMPLES:
        with session.chdir(sample):  # Its own settings: the wheels are tested, not the sources.
            in_empty("python", "-m", "pytest")
    in_empty("python", "-m", "pytest", "tests/cli/test_plugin_new.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site; a warning is an error."""
    install_group(session, "docs")
    session.install("-c", CONSTRAINTS, "-e", ".")
    site = Path(session.create_tmp()).resolve() / "site"
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", str(site))
    session.log(f"the site is in {site}")


@nox.session
def instructions(session: nox.Session) -> None:
    """Count the instructions of pinned pieces of work; fails where one has grown by a fifth. Needs valgrind."""
    session.install("-c", CONSTRAINTS, "-e", ".", "-e", "plugins/hpo_genetic")
    session.run("python", "benchmarks/instructions.py", *session.posargs)


@nox.session(python=PYTHONS[0], venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the pyproject files allow; needs uv."""
    install_all(session, "--resolution", "lowest-direct")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
@nox.parametrize("client", list(CLIENTS))
def kubernetes(session: nox.Session, client: str) -> None:
    """Run the tests of hpo-k8s that talk to an API server with the oldest client that it allows, and one in between.

    The newest is the one in constraints.txt, with which `tests` runs all of them. What runs here is what depends on
    the client: its configuration, credentials, TLS and connections, by the contracts and by each fault on the way.
    """
    others = Path(session.create_tmp()) / "constraints.txt"
    pinned = Path(CONSTRAINTS).read_text(encoding="utf-8").splitlines()
    others.write_text("\n".join(line for line in pinned if not line.startswith("kubernetes==")), encoding="utf-8")
    session.install("-c", str(others), "pytest-xdist", "-e", ".[testing]", "-e", "plugins/hpo_k8s", CLIENTS[client])
    session.run("python", "-c", "import kubernetes; print('kubernetes', kubernetes.__version__)")
    names = ("contracts", "connection", "surroundings", "away")
    files = [f"plugins/hpo_k8s/tests/test_{name}.py" for name in names]
    session.run("python", "-m", "pytest", "-n", "4", *(session.posargs or files))


@nox.session
def constraints(session: nox.Session) -> None:
    """Write constraints.txt anew: names and versions of everything that the sessions above install."""
    session.install("uv")
    folders = (ROOT, *PLUGINS, *SAMPLES)
    own = [nox.project.load_toml(folder / "pyproject.toml")["project"] for folder in folders]
    extras = [",".join(project.get("optional-dependencies", ())) for project in own]
    wanted = Path(session.create_tmp()) / "wanted.txt"
    lines = [
        f"-e {folder}[{extra}]" if extra else f"-e {folder}" for folder, extra in zip(folders, extras, strict=True)
    ]
    wanted.write_text("\n".join(lines), encoding="utf-8")
    session.run(
        *("uv", "pip", "compile", "-q", "--upgrade", "--python-version", PYTHONS[0]),
        *("--group", "pyproject.toml:dev"),
        *(argument for project in own for argument in ("--no-emit-package", project["name"])),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        *(str(wanted), "-o", "constraints.txt"),
    )
