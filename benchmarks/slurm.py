"""Evaluations per second on a Slurm cluster: job steps, pilot workers, and bare srun beside them in the same run.

Needs a cluster that answers, such as ``eval "$(tests/clusters/slurm up 8)"``, and hpo-slurm. Utilisation is measured
with log-normal run times (median 2 s, sigma 1): the share of the slots' time in which a program ran, from the first
start to the start of the last evaluation.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

import hpo_core as hpo

SPACE = [["--x", 0.5, (0.0, 1.0)]]


def steps_by_hand(count: int, slots: int, job: int, nodes: list[str]) -> float:
    """Seconds that `count` bare sruns take, `slots` at a time."""
    begin = time.monotonic()
    running: list[subprocess.Popen[bytes]] = []
    for i in range(count):
        if len(running) == slots:
            running.pop(0).wait()
        node = nodes[i % len(nodes)]
        words = f"srun --jobid={job} --overlap -N1 -n1 -w {node} --mem=0 --input=none echo FoM: 1"
        running.append(subprocess.Popen(shlex.split(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    for process in running:
        process.wait()
    return time.monotonic() - begin


def study(command: str, launcher: str, count: int, slots: int, job: int) -> float:
    """Seconds from the first launch to the last result of a study in an allocation that is there."""
    with (
        tempfile.TemporaryDirectory(prefix="hpo-study-", dir=".") as folder,
        hpo.Evaluator(command, workload_manager="slurm", launcher=launcher, nodes=slots, alloc_jobid=job) as evaluator,
        hpo.Study(
            hpo.Params(SPACE), evaluator, n_trials=count, seed=1, evaluate_defaults=False, directory=f"{folder}/study"
        ) as begun,
    ):
        begun.optimize()
        assert len(begun.trials) == count
        return float(begun.elapsed_s)


def utilisation(launcher: str, count: int, slots: int, job: int) -> float:
    """Share of the slots' time in which programs ran, up to the start of the last one."""
    with tempfile.TemporaryDirectory(prefix="hpo-study-", dir=".") as folder:
        rng = random.Random(1)
        times = Path(folder) / "times"
        times.write_text("".join(f"{2.0 * rng.lognormvariate(0.0, 1.0):.3f}\n" for _ in range(count)))
        log = Path(folder).absolute() / "log"
        program = (
            f"echo b $(date +%s.%N) >> {log}; sleep $(sed -n ${{HPO_TRIAL}}p {times.absolute()}); "
            f"echo e $(date +%s.%N) >> {log}; echo FoM: 1; :"
        )
        study(program, launcher, count, slots, job)
        moments = sorted((float(at), what) for what, at in map(str.split, log.read_text().splitlines()))
    starts = [at for at, what in moments if what == "b"]
    busy, running = 0.0, 0
    for (at, what), (following, _) in itertools.pairwise(moments):
        running += 1 if what == "b" else -1
        busy += running * max(0.0, min(following, starts[-1]) - at)
    return busy / (slots * (starts[-1] - starts[0]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--slots", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found: dict[str, object] = {}
    most = max(chosen.slots)
    said = subprocess.run(
        ["salloc", "--no-shell", "--exclusive", f"--nodes={most}", "--time=30"], capture_output=True, text=True
    ).stderr
    job = int(said.rpartition("Granted job allocation ")[2].split()[0])
    try:
        listed = subprocess.run(["squeue", "-h", "-j", str(job), "-o", "%N"], capture_output=True, text=True).stdout
        nodes = subprocess.run(
            ["scontrol", "show", "hostnames", listed.strip()], capture_output=True, text=True
        ).stdout.split()
        print(f"load before: {os.getloadavg()[0]:.1f}")
        print("| slots | bare srun /s | launcher slurm /s | launcher pilot /s |\n| --- | --- | --- | --- |")
        for slots in chosen.slots:
            count = chosen.evaluations
            bare = count / steps_by_hand(count, slots, job, nodes[:slots])
            steps = count / study("echo FoM: 1; :", "slurm", count, slots, job)
            pilot = 5 * count / study("echo FoM: 1; :", "pilot", 5 * count, slots, job)
            print(f"| {slots} | {bare:.0f} | {steps:.0f} | {pilot:.0f} |", flush=True)
            found[f"{slots} slots"] = {"srun": bare, "slurm": steps, "pilot": pilot}
        for launcher in ("slurm", "pilot"):
            busy = found[f"utilisation, {launcher}"] = utilisation(launcher, 96, most, job)
            print(f"utilisation, {launcher}, {most} slots, log-normal: {busy:.3f}")
    finally:
        subprocess.run(["scancel", str(job)], check=False)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
