"""Programs to search with, and a place to run the programs of the seed as a user would."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """\
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd()}) + "\\n")
print("Epoch 1 of 1")
total = 0.0
for word in sys.argv[1:]:
    name, _, value = word.rpartition("=")
    try:
        total += float(value) ** 2
    except ValueError:
        pass
print("FoM:", total)
print("All done!")
"""


class Workplace:
    """An empty directory in which drivers run; the training programs are real ones in any case."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        monkeypatch.setenv("CALLS", str(path / "calls.jsonl"))
        monkeypatch.chdir(path)
        self.command = f"{sys.executable} -S train.py"
        self.write("train.py", TRAIN)

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def drive(self, program: str) -> subprocess.CompletedProcess[str]:
        """Run a driver as a program of its own; COMMAND in its text is the training program's command."""
        self.write("driver.py", program.replace("COMMAND", self.command))
        done = subprocess.run([sys.executable, "driver.py"], cwd=self.path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    def execute(self, program: str) -> str:
        """Run a driver in this process, which is quicker, and return what it prints; its warnings are errors."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            exec(compile(program.replace("COMMAND", self.command), "driver.py", "exec"), {"__name__": "__main__"})
        assert err.getvalue() == ""
        return out.getvalue()

    @property
    def calls(self) -> list[dict]:
        """What the training program saw, in order."""
        return [json.loads(line) for line in (self.path / "calls.jsonl").read_text().splitlines()]

    @property
    def argvs(self) -> list[list[str]]:
        return [call["argv"] for call in self.calls]

    def table(self, name: str) -> list[dict[str, str]]:
        r"""A log file as ``pandas.read_csv(name, sep=r"\s+")`` reads it."""
        head, *rows = [line.split() for line in (self.path / name).read_text().splitlines()]
        return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    return Workplace(tmp_path, monkeypatch)
