"""What an evaluation of a trivial command costs through a whole study, beside bare loops of the same command.

    python benchmarks/dispatch.py [--trials N] [--repeats N] [--json FILE]

The command is a static C program that prints its metric, so nearly all of the time is somebody's overhead. Five flags
are appended; we parse each result, record it and tell it to the strategy ``random``, with time limit, death guard and
``HPO_*`` variables, and with a memory limit where the row says so. The others do nothing with what is printed. CPU
time is that of the driver and of all that it started; a number is the median of runs that take turns. Needs a C
compiler and xargs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count as counter
from pathlib import Path
from typing import Any

import hpo_core as hpo

SLOTS = (1, 2, 8)
PROGRAM = '#include <stdio.h>\nint main(void) { puts("FoM: 1.0"); return 0; }\n'
BARE = "posix_spawn in C"
PYTHON = """
import os, sys
slots, count, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
running = 0
for i in range(count):
    words = [program, *[f"--x{k}={(i + k) / (count + 5):.8g}" for k in range(5)]]
    os.posix_spawn(program, words, os.environ)
    running += 1
    if running == slots:
        os.wait()
        running -= 1
for _ in range(running):
    os.wait()
"""

_NUMBERS = counter()

Run = Callable[[int], None]
"""Runs the command so often."""


def compiled(source: str | Path, program: Path) -> str:
    """The path of a C program, linked statically where that is possible."""
    if isinstance(source, str):
        source, text = program.with_suffix(".c"), source
        source.write_text(text)
    for options in (["-static"], []):
        command = ["cc", "-O2", *options, "-o", str(program), str(source)]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return str(program)
    raise SystemExit("no C compiler: install cc")


def measured(run: Run, count: int) -> dict[str, float]:
    """Rate, and processor time in microseconds an evaluation, of this process and of all that it started."""
    before, start = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)], time.time()
    run(count)
    wall = time.time() - start
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, started = (
        (b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime) / count * 1e6 for a, b in zip(before, after, strict=True)
    )
    return {"per_second": count / wall, "driver_us": own, "cpu_us": own + started}


def study(program: str, folder: Path, slots: int, **settings: Any) -> Run:
    """A study of so many evaluations; what it is made of is not counted among them."""
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(5)])

    def run(count: int) -> None:
        evaluator = hpo.Evaluator(
            program, workload_manager="local", num_parallel_evals=slots, eval_timeout=60, **settings
        )
        directory = (
            folder / f"study-{slots}-{next(_NUMBERS)}"
        )  # Never removed: ext4 shuns inodes that just became free.
        with evaluator, hpo.Study(params, evaluator, n_trials=count, seed=1, directory=directory) as made:
            made.optimize()

    return run


def program_of(*words: str) -> Run:
    """A program that runs the command as often as its last but one word says."""

    def run(count: int) -> None:
        filled = [word.replace("COUNT", str(count)) for word in words]
        subprocess.run(filled, stdout=subprocess.DEVNULL, check=True)

    return run


def xargs(program: str, slots: int) -> Run:
    """The same command with the same number of words, side by side."""

    def run(count: int) -> None:
        words = "\n".join(f"--x0={i} --x1=0.5 --x2=0.5 --x3=0.5 --x4=0.5" for i in range(count))
        command = ["xargs", "-P", str(slots), "-L", "1", program]
        subprocess.run(command, input=words, text=True, stdout=subprocess.DEVNULL, check=True)

    return run


def rows(program: str, bare: str, folder: Path, slots: int) -> dict[str, Run]:
    """Who runs the command how."""
    ours = partial(study, program, folder, slots)
    return {
        BARE: program_of(bare, str(slots), "COUNT", program),
        "os.posix_spawn in Python": program_of(sys.executable, "-c", PYTHON, str(slots), "COUNT", program),
        "xargs -P": xargs(program, slots),
        "hpo-core": ours(),
        "hpo-core, memory limit": ours(memory_limit="1G"),
        "hpo-core, all output kept": ours(keep_output="all"),
    }


def main() -> None:
    """Measure, print a table, and write it as JSON where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, hpo-core {hpo.__version__}, {os.cpu_count()} cores")
    print(f"median of {arguments.repeats} runs of {arguments.trials} evaluations")
    print(f"{'':26} {'slots':>5} {'per second':>11} {'CPU us':>8} {'/ C':>6} {'of it in the driver':>20}")
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(PROGRAM, folder / "fom")
        bare = compiled(Path(__file__).with_name("_spawn_loop.c"), folder / "spawn_loop")
        for slots in SLOTS:
            made = rows(program, bare, folder, slots)
            found: dict[str, list[dict[str, float]]] = {who: [] for who in made}
            for repeat in range(arguments.repeats + 1):
                for who, run in made.items():
                    one = measured(run, arguments.trials if repeat else min(arguments.trials, 100))
                    found[who] += [one] * bool(repeat)  # The first time warms up.
            for who, ones in found.items():
                row = {key: statistics.median(one[key] for one in ones) for key in ones[0]}
                row["ratio"] = statistics.median(
                    one["cpu_us"] / beside["cpu_us"] for one, beside in zip(ones, found[BARE], strict=True)
                )
                in_driver = f"{row['driver_us']:20.0f}" if who.startswith("hpo-core") else ""
                print(
                    f"{who:26} {slots:5} {row['per_second']:11.0f} {row['cpu_us']:8.0f} {row['ratio']:6.2f} {in_driver}"
                )
                table.append({"who": who, "slots": slots, **row})
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
