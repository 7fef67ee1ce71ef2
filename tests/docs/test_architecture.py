"""The page on the architecture has every module."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_module_stands_in_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| --- | --- | --- |\n")[1].split("\n\n")[0]
    named = re.findall(r"`(\w+)/?`", table)
    there = {path.stem for path in (ROOT / "src" / "hpo_core").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(there - {"__init__", "__main__", "__pycache__"} - set(named)) == []
