"""``hpo plugin new``: a package that installs, is found, and passes the conformance kit."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

KINDS = {
    "strategy": "strategy",
    "manager": "workload_manager",
    "launcher": "launcher",
    "parser": "metric_parser",
    "observer": "observer",
}
"""What users write, and what the registry calls it."""

_USES = {
    "strategy": "`hpo.Study(params, evaluator, strategy={quoted})`, or `hpo run --strategy {name} ...`.",
    "manager": "`hpo.Evaluator(command, workload_manager={quoted})`, or `hpo run --workload-manager {name} ...`.",
    "launcher": "`hpo.Evaluator(command, launcher={quoted})`, or `hpo run --launcher {name} ...`.",
    "parser": "`hpo.Evaluator(command, metric_parser={quoted})`, or `hpo run --metric-parser {name} ...`.",
    "observer": "`hpo.Study(params, evaluator, observers=[{quoted}])`, or `hpo run --observer {name} ...`.",
}

_RESERVED = {
    "auto": "it means that hpo-core chooses",
    "wlm": "it is an older word for auto",
    "core": "hpo-core itself has it",
    "testing": "hpo-core may need it itself",
    "asha": "hpo-asha is a sample of hpo-core",
    "optuna": "hpo-optuna is a sample of hpo-core",
    "sqlite": "hpo-sqlite is a sample of hpo-core",
}
"""Names that no plugin of others should have, and why."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 50


class _Template(Template):
    """Text with places such as ``%{name}``; shell variables are left alone."""

    delimiter = "%"


@click.command
@click.argument("name")
@click.option("--kind", type=click.Choice(list(KINDS)), required=True, help="What the plugin is.")
@click.option(
    "--directory", type=click.Path(path_type=Path), help="The folder to make; hpo-NAME where you are by default."
)
def command(name: str, kind: str, directory: Path | None) -> int:
    """Write a package for a plugin that users choose by NAME: lower-case letters, digits and hyphens."""
    name = name.removeprefix("hpo-")
    check_name(name, kind)
    folder = directory or Path(f"hpo-{name}")
    write(name, kind, folder)
    click.echo(f"wrote the {_spoken(kind)} '{name}' to {folder}; what it does is in src/{_module(name)}/__init__.py")
    click.echo(f"  cd {folder}\n  pip install -e '.[test]'\n  pytest\n  hpo plugin check hpo-{name}")
    return 0


def check_name(name: str, kind: str) -> None:
    """Refuse a name that no plugin, module or distribution can have, or that something has already.

    Raises:
        ConfigurationError: with what would be right.
    """
    from hpo_core import registry
    from hpo_core.exceptions import ConfigurationError

    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigurationError(
            f"'{name}' can't name a plugin: lower-case letters, digits and single hyphens between them, a letter "
            f"first, at most {_LONGEST} characters, such as 'my-search'"
        )
    ours = registry.distribution_of(name)
    reason = _RESERVED.get(name) or (f"{ours} of this project has it" if ours else "")
    if reason:
        raise ConfigurationError(f"'{name}' is reserved: {reason}; choose another name")
    if name in registry.names(registry.KINDS[KINDS[kind]]):
        raise ConfigurationError(f"there is a {_spoken(kind)} '{name}' already (see: hpo plugins); choose another name")
    try:
        there = version(f"hpo-{name}")
    except PackageNotFoundError:
        there = ""
    if there:
        raise ConfigurationError(f"hpo-{name} {there} is installed already; choose another name")
    if find_spec(_module(name)) is not None:
        raise ConfigurationError(f"there is a module '{_module(name)}' already; choose another name")


def write(name: str, kind: str, folder: Path) -> None:
    """Write the package into a new folder.

    Raises:
        ConfigurationError: there is something at that place, or it can't be written.
    """
    from hpo_core import __version__
    from hpo_core.exceptions import ConfigurationError
    from hpo_core.interfaces import INTERFACE_VERSION

    module = _module(name)
    places = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        "noxfile.py": "noxfile.py.in",
        f"src/{module}/__init__.py": f"{kind}/module.py.in",
        "tests/test_contract.py": f"{kind}/test_contract.py.in",
    }
    words = {
        "name": name,
        "distribution": f"hpo-{name}",
        "module": module,
        "stem": "".join(part.capitalize() for part in name.split("-")),
        "spoken": _spoken(kind),
        "use": "Use it: " + _USES[kind].format(name=name, quoted=f'"{name}"'),
        "core": ".".join([*__version__.split(".")[:2], "0"]),
        "interface": INTERFACE_VERSION,
    }
    templates = files("hpo_core.cli") / "plugin_templates"
    texts = {
        place: _Template((templates / template).read_text("utf-8")).substitute(words)
        for place, template in places.items()
    }
    texts[f"src/{module}/py.typed"] = ""
    try:
        folder.mkdir(parents=True)
        for place, text in texts.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise ConfigurationError(f"{folder} is there already; name a folder that isn't, with --directory") from None
    except OSError as error:
        raise ConfigurationError(f"{folder} can't be written: {error.strerror}") from error


def _module(name: str) -> str:
    return f"hpo_{name.replace('-', '_')}"


def _spoken(kind: str) -> str:
    return KINDS[kind].replace("_", " ")
