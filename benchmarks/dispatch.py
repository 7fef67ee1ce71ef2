"""What an evaluation of a trivial command costs through a whole study, beside bare loops of the same command.

    python benchmarks/dispatch.py [--trials N] [--repeats N] [--json FILE]

The command is a static C program that prints its metric, so nearly all of the time is somebody's overhead. Five flags
are appended; we parse each result, record it and tell it to the strategy ``random``, with time limit, death guard and
``HPO_*`` variables, and with a memory limit where the row says so. The bare loops do nothing with what is printed;
threads and Optuna, where it is installed, read the metric. CPU time is that of the driver and of all that it started; a
number is the median of runs that take turns, each row in a process of its own, so that none pays for what another has
imported. Needs a C compiler and xargs.

What a file costs depends on the file system, and on what was done there just before (ext4 avoids inodes that became
free in the last minutes): compare rows that keep output with the loop in C that has its output in files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import count as counter
from multiprocessing import get_context
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
    if shutil.which("cc") is None:
        raise SystemExit("no C compiler: install cc")
    for options in (["-static"], []):
        command = ["cc", "-O2", *options, "-o", str(program), str(source)]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return str(program)
    raise SystemExit(f"cc can't compile {source}")


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


def fresh(folder: Path, name: str) -> Path:
    """A path that nobody has used."""
    return folder / f"{name}-{os.getpid()}-{next(_NUMBERS)}"


def study(program: str, folder: Path, slots: int, **settings: Any) -> Run:
    """A study of so many evaluations; what it is made of is not counted among them."""
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(5)])

    def run(count: int) -> None:
        evaluator = hpo.Evaluator(
            program, workload_manager="local", num_parallel_evals=slots, eval_timeout=60, **settings
        )
        directory = fresh(folder, "study")  # Never removed: ext4 shuns inodes that just became free.
        with evaluator, hpo.Study(params, evaluator, n_trials=count, seed=1, directory=directory) as made:
            made.optimize()

    return run


def program_of(*words: str) -> Run:
    """A program that runs the command as often as its last but one word says."""

    def run(count: int) -> None:
        filled = [word.replace("COUNT", str(count)) for word in words]
        subprocess.run(filled, stdout=subprocess.DEVNULL, check=True)

    return run


def in_files(bare: str, program: str, folder: Path, slots: int) -> Run:
    """The loop in C, with the output of each in a file of its own."""

    def run(count: int) -> None:
        directory = fresh(folder, "files")
        directory.mkdir()
        subprocess.run([bare, str(slots), str(count), program, str(directory)], check=True)

    return run


def evaluated(program: str, values: list[float]) -> float:
    """What people write who run a program from Python: its metric."""
    words = [program, *(f"--x{k}={value:.8g}" for k, value in enumerate(values))]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(printed.partition("FoM:")[2])


def threads(program: str, slots: int) -> Run:
    """A pool of threads that call `subprocess.run`."""

    def run(count: int) -> None:
        with ThreadPoolExecutor(slots) as pool:
            points = ([(i + k) / (count + 5) for k in range(5)] for i in range(count))
            assert sum(pool.map(partial(evaluated, program), points)) == count

    return run


def optuna(program: str, folder: Path, slots: int, *, recorded: bool) -> Run:
    """Optuna's random search with as many threads, in memory or recorded in its journal file."""

    def run(count: int) -> None:
        import optuna as peer
        from optuna.storages.journal import JournalFileBackend

        peer.logging.set_verbosity(peer.logging.ERROR)
        file = fresh(folder, "optuna")
        storage = peer.storages.JournalStorage(JournalFileBackend(str(file))) if recorded else None
        made = peer.create_study(sampler=peer.samplers.RandomSampler(seed=1), storage=storage)
        made.optimize(
            lambda trial: evaluated(program, [trial.suggest_float(f"x{k}", 0.0, 1.0) for k in range(5)]),
            n_trials=count,
            n_jobs=slots,
        )

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
    peers: dict[str, Run] = {"threads, subprocess.run": threads(program, slots)}
    if find_spec("optuna") is not None:
        peers["Optuna in memory"] = optuna(program, folder, slots, recorded=False)
        peers["Optuna, journal file"] = optuna(program, folder, slots, recorded=True)
    return {
        BARE: program_of(bare, str(slots), "COUNT", program),
        "C, output in files": in_files(bare, program, folder, slots),
        "os.posix_spawn in Python": program_of(sys.executable, "-c", PYTHON, str(slots), "COUNT", program),
        "xargs -P": xargs(program, slots),
        "hpo-core": ours(),
        "hpo-core, memory limit": ours(memory_limit="1G"),
        "hpo-core, all output kept": ours(keep_output="all"),
        **peers,
    }


def turn(who: str, program: str, bare: str, folder: Path, slots: int, count: int) -> dict[str, float]:
    """One run of a row, measured in this process."""
    return measured(rows(program, bare, folder, slots)[who], count)


def main() -> None:
    """Measure, print a table, and write it as JSON where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    peer = version("optuna") if find_spec("optuna") is not None else None
    said = f", Optuna {peer}" if peer else "; SKIPPED: Optuna is not installed"
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, hpo-core {hpo.__version__}{said}")
    print(f"median of {arguments.repeats} runs of {arguments.trials} evaluations")
    print(f"{'':26} {'slots':>5} {'per second':>11} {'CPU us':>8} {'/ C':>6} {'in this process':>16}")
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(PROGRAM, folder / "fom")
        bare = compiled(Path(__file__).with_name("_spawn_loop.c"), folder / "spawn_loop")
        for slots in SLOTS:
            found: dict[str, list[dict[str, float]]] = {who: [] for who in rows(program, bare, folder, slots)}
            with ExitStack() as stack:
                context = get_context("spawn")
                of = {who: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for who in found}
                for repeat in range(arguments.repeats + 1):
                    for who, process in of.items():
                        count = arguments.trials if repeat else min(arguments.trials, 100)
                        one = process.submit(turn, who, program, bare, folder, slots, count).result()
                        found[who] += [one] * bool(repeat)  # The first time warms up.
            for who, ones in found.items():
                row = {key: statistics.median(one[key] for one in ones) for key in ones[0]}
                row["ratio"] = statistics.median(
                    one["cpu_us"] / beside["cpu_us"] for one, beside in zip(ones, found[BARE], strict=True)
                )
                cells = f"{row['per_second']:11.0f} {row['cpu_us']:8.0f} {row['ratio']:6.2f} {row['driver_us']:16.0f}"
                print(f"{who:26} {slots:5} {cells}", flush=True)
                table.append({"who": who, "slots": slots, **row})
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"versions": {"hpo-core": hpo.__version__, "optuna": peer}, "rows": table}, indent=1)
        )


if __name__ == "__main__":
    main()
