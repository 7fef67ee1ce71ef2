"""A training program and the command `hpo`, in this process or as one of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from hpo_core.cli import main

TRAIN = """\
import sys, time
flags = dict(word.lstrip('-').split('=', 1) for word in sys.argv[1:])
if flags.get('mode') == 'crash':
    sys.exit('out of luck')
time.sleep(float(flags.get('wait', 0)))
print('FoM:', abs(float(flags.get('lr', 1)) - 0.01))
"""


@frozen
class Outcome:
    """What a command line came to."""

    status: int
    out: str
    err: str


Hpo = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds ``train.py``."""
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def train() -> str:
    """The command that trains."""
    return f"{sys.executable} -S train.py"


@pytest.fixture
def hpo(folder: Path, capsys: pytest.CaptureFixture[str]) -> Hpo:
    """Run a command line in this process."""

    def run(*words: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(words)
        shown = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Outcome(caught.value.code, shown.out, shown.err)

    return run


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command line as a process of its own; Ctrl-C reaches it even where the tests run in the background."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "hpo_core", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TERM": "dumb"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with process:
            process.kill()


@pytest.fixture
def study(hpo: Hpo, train: str) -> str:
    """The directory of a finished study of 20 trials."""
    outcome = hpo(
        *("run", "-q", "-d", "my-study", "--strategy", "random", "--trials", "20", "--seed", "7"),
        *("--param", "--lr=1e-5:1e-1:log:default=0.05", "--parallel", "2", "--", *train.split()),
    )
    assert outcome.status == 0, outcome
    return "my-study"
