"""What it costs to start: CPU time and memory of imports and of the command line, beside ``import numpy``.

python benchmarks/start.py [--repeats N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HPO = str(Path(sys.executable).with_name("hpo"))
RUN = [HPO, "run", "--trials", "1", "--workload-manager", "local", "--param", "--x=0.0:1.0", "--", "echo FoM: 1.0"]


def python(code: str) -> list[str]:
    """A fresh interpreter."""
    return [sys.executable, "-c", code]


ROWS: dict[str, Sequence[str]] = {
    "python -c pass": python("pass"),
    "import numpy": python("import numpy"),
    "import hpo_core": python("import hpo_core"),
    "import a study's names": python("from hpo_core import Evaluator, Params, Study"),
    "hpo --version": [HPO, "--version"],
    "hpo --help": [HPO, "--help"],
    "hpo run, one trivial evaluation": RUN,
}


def used(command: Sequence[str], folder: str) -> tuple[float, float]:
    """CPU milliseconds of a command with all that it waits for, and the most MiB that it held."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{error}")
    return (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss / 1024


def measured(repeats: int) -> dict[str, dict[str, float]]:
    """Of each row the median; rows take turns, so that a busy moment hits them all."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for repeat in range(repeats + 1):
        for name, command in ROWS.items():
            with tempfile.TemporaryDirectory() as folder:
                one = used(command, folder)
            if repeat:  # The first time compiles, and reads from the disk.
                found[name].append(one)
    columns = {name: list(zip(*ones, strict=True)) for name, ones in found.items()}
    return {name: {"ms": statistics.median(ms), "mib": statistics.median(mib)} for name, (ms, mib) in columns.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measured(arguments.repeats)
    numpy, bare = rows["import numpy"], rows["python -c pass"]
    print(f"Python {platform.python_version()}, median of {arguments.repeats}")
    print(f"{'':34}{'CPU ms':>8}{'/ numpy':>9}{'MiB':>7}{'beyond numpy':>14}")
    for name, row in rows.items():
        ratio, beyond = row["ms"] / numpy["ms"], row["mib"] - numpy["mib"]
        print(f"{name:34}{row['ms']:8.0f}{ratio:9.2f}{row['mib']:7.0f}{beyond:14.0f}")
    print(f"(the interpreter itself: {bare['ms']:.0f} ms of each)")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
