"""The users' guide does what it says: its examples are run from the page itself, in order."""

import re
from pathlib import Path

import pytest

import hpo_core as hpo

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guide.md").read_text(encoding="utf-8")
FILE = (DOCS / "study-file.md").read_text(encoding="utf-8")

TRAIN = """
import sys
flags = dict(word.split("=") for word in sys.argv[1:])
assert ("--momentum" in flags) == (flags["--optimizer"] == "sgd")
print("FoM:", (float(flags["--lr"]) - 0.03) ** 2 + int(flags["--layers"]))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_examples_run_in_order(folder: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "guide.md", "exec"), names)
    with hpo.Study.load("my-study") as study:
        assert len(study.trials) == 12
        assert study.best_fom is not None
        assert study.trials.failures() == {}
    with hpo.Study.load("by-hand") as study:
        assert [record.trial.origin for record in study.trials][:3] == ["inserted", "baseline", "enqueued"]


def test_the_page_on_the_study_file_has_every_key_with_its_options() -> None:
    from hpo_core.cli._keys import KEYS, SECTIONS

    for section in SECTIONS:
        wanted = ["| key | option | |", "| --- | --- | --- |"]
        for key in KEYS.values():
            if key.section == section:
                own = "--" + key.name.replace("_", "-")
                options = [*key.options, own] if key.name != "cmd" else ["--cmd", *key.options]
                text = key.help.replace(" --.", " `--`.")  # two hyphens alone would be a dash
                wanted.append(f"| `{key.name}` | {', '.join(f'`{option}`' for option in options)} | {text} |")
        table = "\n".join(wanted)
        assert table in FILE.split(f"\n### {section}\n")[1].split("\n### ")[0], f"the table should be\n\n{table}"
    without = FILE.split("\n### Without an option of their own\n")[1]
    assert re.findall(r"`(\w+)`", without) == [key.name for key in KEYS.values() if not key.help]


@pytest.mark.parametrize(
    "row", re.findall(r"^\| (?:real|integer|values)[^|]*\| (.*?) \| (.*?) \|$", FILE, re.MULTILINE)
)
def test_short_and_long_forms_say_the_same(row: tuple[str, str]) -> None:
    import tomllib

    from hpo_core.cli._grammar import parse_param

    long, short = (re.findall(r"`([^`]+)`", cell) for cell in row)
    tables = tomllib.loads(long[0])
    for text in short:
        flag, table = parse_param(text)
        wanted = tables[flag]
        if "range" in wanted and table.get("type") == "real":
            table = {**table, "range": [float(bound) for bound in table["range"]]}
            table.pop("type")
        assert table == wanted
