"""What a driver costs as its history grows: one study of a million evaluations on a simulated cluster.

python benchmarks/scale.py [--nodes N] [--trials N] [--strategy NAME] [--json FILE]

All is real but the nodes and their clock: the loop, the strategy, the records on disk. Ten real parameters.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import hpo_core as hpo

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib() -> float:
    """Memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


class Meter(hpo.Observer):
    """Notes CPU time and memory whenever so many trials have finished."""

    name = "meter"

    def __init__(self, every: int) -> None:
        self._every, self._done = every, 0
        self._before = time.process_time()
        self.rows: list[dict[str, float]] = []

    def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
        """Count."""
        self._done += 1
        if self._done % self._every == 0:
            now = time.process_time()
            row = {"trials": self._done, "us": (now - self._before) / self._every * 1e6, "mib": resident_mib()}
            self.rows.append(row)
            print("{trials:10.0f} {us:12.0f} {mib:8.0f}".format(**row), flush=True)
            self._before = now


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--strategy", default="random")
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(10)])
    every = arguments.trials // arguments.rows
    print(
        f"Python {platform.python_version()}, hpo-core {hpo.__version__}, {arguments.strategy}, {arguments.nodes} nodes"
    )
    print(f"{'trials':>10} {'us of CPU':>12} {'MiB':>8}    (each row: the {every} trials before it)")
    with tempfile.TemporaryDirectory(prefix="hpo-study-", dir=".") as folder:
        evaluator = hpo.Evaluator("program", workload_manager="simulated", nodes=arguments.nodes)
        meter, began, before = Meter(every), time.process_time(), resident_mib()
        with hpo.Study(
            params, evaluator, strategy=arguments.strategy, n_trials=arguments.trials, seed=1,
            directory=Path(folder) / "study", observers=[meter],
        ) as study:  # fmt: skip
            study.optimize()
            grown = resident_mib() - before
            size = (Path(folder) / "study" / "journal.jsonl").stat().st_size
            closing = time.process_time()
        print(f"closed in {time.process_time() - closing:.1f} s of CPU, {time.process_time() - began:.0f} s in all")
        half = meter.rows[len(meter.rows) // 2 - 1], meter.rows[-1]
        slope = (half[1]["mib"] - half[0]["mib"]) * 2**20 / (half[1]["trials"] - half[0]["trials"])
        print(f"{slope:.0f} bytes of memory for each trial of the second half, {size / arguments.trials:.0f} on disk")
        print(f"{grown:.0f} MiB in all, most of it for the nodes and what runs on them")
    if arguments.json:
        arguments.json.write_text(json.dumps({"nodes": arguments.nodes, "rows": meter.rows, "bytes": slope}, indent=1))


if __name__ == "__main__":
    main()
