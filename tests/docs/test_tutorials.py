"""The tutorials for plugin authors do what they say, when they are followed from an empty folder."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from environments import new_environment
from following import BLOCK, Reader, is_like

AUTHORS = Path(__file__).parents[2] / "docs" / "authors"
KINDS = ["launcher", "strategy", "manager", "cluster", "parser", "observer"]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[None]]]:
    """All pages, two at a time and each in an environment of its own: much of it is waiting."""
    for name in ("editables", "hatchling"):
        pytest.importorskip(name, reason=f"{name} builds the packages: pip install -e .[samples]")

    def follow(kind: str, folder: Path) -> None:
        variables = new_environment(folder / "environment")
        (folder / "empty").mkdir()
        Reader(folder / "empty", variables).follow((AUTHORS / f"{kind}.md").read_text(encoding="utf-8"))

    pool = ThreadPoolExecutor(2)
    try:
        yield {kind: pool.submit(follow, kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tutorial_works_from_an_empty_folder(followed: dict[str, Future[None]], kind: str) -> None:
    followed[kind].result()


@pytest.mark.parametrize("kind", KINDS)
def test_each_block_of_a_tutorial_is_followed(kind: str) -> None:
    """No block is passed over because it is written in another way."""
    text = (AUTHORS / f"{kind}.md").read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) == text.count("\n```\n") + text.endswith("\n```")


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert is_like("a\nb\nfree 3 of 4\n", "...\nfree ... of 4\n")
    assert is_like("exactly\n", "exactly\n")
    assert not is_like("a\nfree 3 of 5\n", "...\nfree ... of 4\n")
    assert not is_like("one\ntwo\n", "one\n")
    assert not is_like("anything", "")
