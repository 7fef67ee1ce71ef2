"""What recording a trial costs, beside one bare append and sync, and how long a long study takes to load.

python benchmarks/record.py [--records N] [--trials N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hpo_core as hpo

LOAD = """
import sys, time
import hpo_core as hpo
hpo.Params, hpo.Study
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
before, start = resident(), time.monotonic()
study = hpo.Study.load(sys.argv[1])
print(time.monotonic() - start, resident() - before, len(study.trials))
study._ledger.journal = None  # leave the directory as it is
"""


def bare(folder: Path, count: int, size: int) -> float:
    """Seconds for each append of a line of that size, synced."""
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = b"x" * (size - 1) + b"\n"
    start = time.monotonic()
    for _ in range(count):
        os.write(fd, line)
        os.fdatasync(fd)
    os.close(fd)
    return (time.monotonic() - start) / count


def recorded(folder: Path, count: int, sync: str) -> tuple[float, float]:
    """Seconds for each trial from ask to told, and bytes of its records."""
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(10)])
    with hpo.Study(params, seed=1, directory=folder / sync, sync=sync) as study:
        trials = [study.ask() for _ in range(count)]
        start = time.monotonic()
        for trial in trials:
            study.tell(trial, 0.5)
        seconds = (time.monotonic() - start) / count
    return seconds, (folder / sync / "journal.jsonl").stat().st_size / count


def long_study(folder: Path, count: int) -> Path:
    """A study of that many trials of ten parameters."""
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(10)])
    with hpo.Study(params, seed=1, directory=folder / "long") as study:
        for _ in range(count):
            study.tell(study.ask(), 0.5)
    return folder / "long"


def loaded(directory: Path) -> tuple[float, float]:
    """Seconds and MiB to load a study in a fresh process."""
    answer = subprocess.run([sys.executable, "-c", LOAD, str(directory)], capture_output=True, text=True, check=True)
    seconds, mebibytes, _ = map(float, answer.stdout.split())
    (directory / "lock").unlink(missing_ok=True)
    return seconds, mebibytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=500, help="trials recorded under each policy")
    parser.add_argument("--trials", type=int, default=1_000_000, help="trials of the long study")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-study-", dir=".") as name:
        folder = Path(name)
        durable, size = recorded(folder, arguments.records, "durable")
        driver, _ = recorded(folder, arguments.records, "driver")
        append = bare(folder, arguments.records, int(size / 2))
        long = long_study(folder, arguments.trials)
        by_snapshot = loaded(long)
        (long / "snapshot").unlink()
        by_text = loaded(long)
    row = {
        "bare_append_sync_us": append * 1e6,
        "durable_tell_us": durable * 1e6,
        "driver_tell_us": driver * 1e6,
        "trials": arguments.trials,
        "load_snapshot_s": by_snapshot[0],
        "load_snapshot_mib": by_snapshot[1],
        "load_text_s": by_text[0],
        "load_text_mib": by_text[1],
    }
    print(f"Python {platform.python_version()}, hpo-core {hpo.__version__}")
    for key, value in row.items():
        print(f"{key:22} {value:12.1f}")
    print(f"{'durable / bare':22} {durable / append:12.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
