"""How busy workers are as long as there is something to do: up to the start of the last evaluation.

python benchmarks/utilisation.py [--trials N] [--json FILE]

With 64 and 256 simulated workers and log-normal run times (sigma 1), through the real loop on a virtual clock; asks and
records cost no time there. With 8 slots and real processes that sleep for 0.2 to 2 s and write down when they began
and ended: what the kernel and we take in between counts as idle. Needs a C compiler.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import platform
import tempfile
from importlib.util import find_spec
from pathlib import Path

from dispatch import compiled

import hpo_core as hpo

SLEEPS = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }
int main(int argc, char **argv) {  /* sleep LOG --x=U ...: for 0.2 to 2 s */
    double began = now(), u = atof(argv[2] + 4), seconds = 0.2 + 1.8 * u;
    struct timespec wanted = {(time_t)seconds, (long)(1e9 * (seconds - (time_t)seconds))};
    nanosleep(&wanted, NULL);
    char line[99];
    int length = snprintf(line, sizeof line, "%.6f %.6f\n", began, now());
    int log = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0600);
    printf("FoM: %g\n", u);
    return write(log, line, length) != length || argc < 3;
}
"""


class Times(hpo.Observer):
    """Notes when evaluations begin and end, on the study's own clock."""

    name = "times"

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}
        self.spans: list[tuple[float, float]] = []

    def study_started(self, study: hpo.Study) -> None:
        """Keep it for its clock."""
        self._study = study

    def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
        """Note the time."""
        self._begun[trial.number] = self._study.elapsed_s

    def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
        """Note the time."""
        self.spans.append((self._begun[trial.number], self._study.elapsed_s))


def busy(spans: list[tuple[float, float]], workers: int) -> float:
    """The share of the workers' time that evaluations ran, up to the start of the last one."""
    first, last = min(spans)[0], max(spans)[0]
    return sum(min(end, last) - begin for begin, end in spans) / (workers * (last - first))


def space() -> hpo.Params:
    """Two ranges."""
    return hpo.Params([["--x", 0.5, (0.0, 1.0)], ["--y", 0.5, (0.0, 1.0)]])


def simulated(strategy: str, workers: int, trials: int, folder: Path) -> float:
    """Through the loop, on a virtual clock."""
    evaluator = hpo.Evaluator("program", workload_manager="simulated", nodes=workers)
    times = Times()
    directory = folder / f"{strategy}-{workers}"
    options = {"grid_size": 100} if strategy == "grid" else {}
    with hpo.Study(
        space(), evaluator, strategy=strategy, strategy_options=options, n_trials=trials, seed=1, directory=directory,
        observers=[times],
    ) as study:  # fmt: skip
        study.optimize()
    return busy(times.spans, workers)


def real(strategy: str, slots: int, trials: int, folder: Path) -> float:
    """Through the loop, with processes."""
    program, log = compiled(SLEEPS, folder / "sleeps"), folder / f"{strategy}.log"
    evaluator = hpo.Evaluator(f"{program} {log}", workload_manager="local", num_parallel_evals=slots)
    with hpo.Study(
        space(), evaluator, strategy=strategy, n_trials=trials, seed=1, directory=folder / f"real-{strategy}"
    ) as study:
        study.optimize()
    lines = [line.split() for line in log.read_text().splitlines()]
    return busy([(float(began), float(ended)) for began, ended in lines], slots)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4096, help="simulated evaluations")
    parser.add_argument("--real", type=int, default=200, help="real evaluations")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, hpo-core {hpo.__version__}, {os.cpu_count()} cores")
    rows = []
    strategies = ["random", "grid", *(["genetic"] if find_spec("hpo_genetic") else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for strategy in strategies:
            for workers in (64, 256):
                share = simulated(strategy, workers, arguments.trials, folder)
                rows.append({"strategy": strategy, "workers": workers, "clock": "virtual", "busy": share})
        for strategy in strategies[::2]:
            share = real(strategy, 8, arguments.real, folder)
            rows.append({"strategy": strategy, "workers": 8, "clock": "real", "busy": share})
    print(f"{'':12}{'workers':>8}{'clock':>9}{'busy':>8}")
    for row in rows:
        print("{strategy:12}{workers:8}{clock:>9}{busy:8.2%}".format(**row))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
