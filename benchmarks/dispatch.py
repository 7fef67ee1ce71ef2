"""Evaluations per second of a trivial command through a whole study, beside ``xargs -P`` of the same command.

    python benchmarks/dispatch.py [--trials N] [--json FILE]

The command is a static C program that prints its metric, so nearly all of the time is somebody's overhead. Five
flags are appended; each result is parsed, recorded and told to the strategy ``random``. Needs a C compiler and xargs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hpo_core as hpo

SLOTS = (1, 2, 8)
PROGRAM = '#include <stdio.h>\nint main(void) { puts("FoM: 1.0"); return 0; }\n'


def compile_program(folder: Path) -> str:
    """The path of the trivial program, linked statically where that is possible."""
    (folder / "fom.c").write_text(PROGRAM)
    for options in (["-static"], []):
        command = ["cc", "-O2", *options, "-o", str(folder / "fom"), str(folder / "fom.c")]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return str(folder / "fom")
    raise SystemExit("no C compiler: install cc")


def measured(call: Callable[[], None], count: int) -> dict[str, float]:
    """Rate, and processor time in microseconds an evaluation, of this process and of its children."""
    own, children, start = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
        time.monotonic(),
    )
    call()
    wall = time.monotonic() - start

    def used(who: int, before: resource.struct_rusage) -> float:
        after = resource.getrusage(who)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / count * 1e6

    return {
        "per_second": count / wall,
        "driver_us": used(resource.RUSAGE_SELF, own),
        "children_us": used(resource.RUSAGE_CHILDREN, children),
    }


def study(program: str, slots: int, count: int, folder: Path) -> Callable[[], None]:
    """A study of that many evaluations, ready to run."""
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(5)])
    evaluator = hpo.Evaluator(program, workload_manager="local", num_parallel_evals=slots)
    made = hpo.Study(params, evaluator, n_trials=count, seed=1, directory=folder / f"study-{slots}")

    def run() -> None:
        made.optimize()
        made.close()

    return run


def xargs(program: str, slots: int, count: int) -> Callable[[], None]:
    """The same command with the same number of words, as often, side by side."""
    words = "\n".join(f"--x0={i} --x1=0.5 --x2=0.5 --x3=0.5 --x4=0.5" for i in range(count))

    def run() -> None:
        command = ["xargs", "-P", str(slots), "-L", "1", program]
        subprocess.run(command, input=words, text=True, stdout=subprocess.DEVNULL, check=True)

    return run


def main() -> None:
    """Measure, print a table, and write it as JSON where asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compile_program(folder)
        for slots in SLOTS:
            rows.append(
                {"who": "xargs", "slots": slots, **measured(xargs(program, slots, arguments.trials), arguments.trials)}
            )
            run = study(program, slots, arguments.trials, folder)
            rows.append({"who": "hpo-core", "slots": slots, **measured(run, arguments.trials)})
    versions = f"Python {platform.python_version()}, hpo-core {hpo.__version__}"
    print(f"{versions}, {os.cpu_count()} cores, {arguments.trials} trials")
    print(f"{'':10} {'slots':>5} {'per second':>11} {'driver us':>10} {'children us':>12}")
    for row in rows:
        print("{who:10} {slots:5} {per_second:11.0f} {driver_us:10.0f} {children_us:12.0f}".format(**row))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
