"""The pages of the site: their examples run, their links lead somewhere, each is in a table of contents."""

import re
from pathlib import Path

import pytest

from environments import new_environment
from following import Reader

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def text_of(page: Path) -> str:
    """A page as it is read: a README that it includes stands there."""
    text = page.read_text(encoding="utf-8")
    include = re.fullmatch(r"```\{include\} (.+)\n```\n", text)
    return (page.parent / include[1]).read_text(encoding="utf-8") if include else text


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page: Path) -> None:
    text = text_of(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(text_of(place)), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_each_page_is_in_the_table_of_contents(page: Path) -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)).splitlines()
    listed = [re.sub(r".*<(.*)>", r"\1", line) for line in lines]
    name = str(page.relative_to(DOCS).with_suffix(""))
    assert name == "index" or name in listed


@pytest.fixture
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where ``hpo`` is on PATH, whatever environment the tests run in."""
    return dict(new_environment(tmp_path_factory.mktemp("environment") / "fresh"))


@pytest.mark.parametrize("name", ["first-search", "study-file", "failures", "resume", "simulation", "authors/index"])
def test_what_is_typed_on_a_page_works(name: str, tmp_path: Path, variables: dict[str, str]) -> None:
    Reader(tmp_path, variables).follow((DOCS / f"{name}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["conditions", "crayai", "optuna", "simulation", "stability"])
def test_the_python_on_a_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import sys\nprint('FoM:', len(sys.argv[1]))\n")
    (tmp_path / "surrogate.py").write_text("def loss(flags):\n    return float(flags['--lr'])\n")
    names: dict[str, object] = {"__name__": name}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, f"{name}.md", "exec"), names)
