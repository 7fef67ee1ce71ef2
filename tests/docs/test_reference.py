"""The reference for authors has every hook and every method as they are in the code, and no other."""

import inspect
import re
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core import hookspecs
from hpo_core.interfaces import Plugin

PAGE = (Path(__file__).parents[2] / "docs" / "authors" / "reference.md").read_text(encoding="utf-8")

CLASSES = {
    "What all plugins have": Plugin,
    "Strategy": hpo.Strategy,
    "Workload manager": hpo.WorkloadManager,
    "Launcher": hpo.Launcher,
    "Metric parser": hpo.MetricParser,
    "Metric reader": hpo.MetricReader,
    "Observer": hpo.Observer,
}


def rows(title: str) -> list[tuple[str, str, str, bool]]:
    """What a section's table says: name or signature, when, since, whether it must be implemented."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    found = []
    for line in section.splitlines():
        match = re.fullmatch(r"\| (\*\*)?`(.+?)`(?:\*\*)? \| (.+) \| (\d+) \|", line)
        if match:
            found.append((match[2].replace("\\|", "|"), match[3], match[4], bool(match[1])))
    assert len(found) == section.count("\n| ") - 2, "a row is written in another way"
    return found


def signature(function: object) -> str:
    """As it stands in the source, without ``self`` and without quotes around annotations."""
    text = str(inspect.signature(function)).replace("(self, ", "(").replace("(self)", "()").replace("(cls)", "()")
    return re.sub(r"(: |-> )'([^']+)'", r"\1\2", text)


def members(cls: type) -> dict[str, str]:
    """Name to what the page should say of it: public names of this class itself, and its constructor."""
    own = {**getattr(cls, "__annotations__", {}), **vars(cls)}
    names = [name for name in own if not name.startswith("_") or (name == "__init__" and "__init__" in vars(cls))]
    if cls is not Plugin:
        names = [name for name in names if name not in ("name", "capabilities")]
    found = {}
    for name in names:
        value = inspect.getattr_static(cls, name, None)
        function = value.__func__ if isinstance(value, classmethod) else value
        found[name] = name + signature(function) if inspect.isfunction(function) else name
    return found


@pytest.mark.parametrize("title", CLASSES)
def test_each_method_is_there_with_its_signature_and_nothing_else(title: str) -> None:
    assert sorted(text for text, *_ in rows(title)) == sorted(members(CLASSES[title]).values())


@pytest.mark.parametrize("title", CLASSES)
def test_what_must_be_implemented_is_bold(title: str) -> None:
    bold = {re.split(r"\W", text)[0] for text, _, _, needed in rows(title) if needed}
    assert bold == set(getattr(CLASSES[title], "__abstractmethods__", ()))


def test_each_hook_is_there_with_its_signature_and_nothing_else() -> None:
    hooks = {name: value for name, value in vars(hookspecs).items() if name.startswith("hpo_")}
    assert sorted(text for text, *_ in rows("Hooks")) == sorted(f"{n}{signature(hook)}" for n, hook in hooks.items())


@pytest.mark.parametrize("title", ["Hooks", *CLASSES])
def test_nothing_is_from_a_version_to_come(title: str) -> None:
    assert all(when.strip() and 1 <= int(since) <= hpo.INTERFACE_VERSION for _, when, since, _ in rows(title))


@pytest.mark.parametrize("cls", CLASSES.values())
def test_what_each_is_given_and_returns_is_on_the_page(cls: type) -> None:
    """The text below a table comes from the docstrings, whole classes at a time."""
    assert re.search(rf"^\.\. autoclass:: hpo_core\.(?:interfaces\.)?{cls.__name__}\n   :members:$", PAGE, re.MULTILINE)
    for name in members(cls):
        value = inspect.getattr_static(cls, name, None)
        if callable(value) and name != "__init__":
            assert inspect.getdoc(value), name
