"""What an ask and its tell cost, in CPU time and memory, as the history grows; peers where they are installed.

python benchmarks/ask_tell.py [--most N] [--who NAMES] [--json FILE]

Ten real parameters; the loss is a rotated quadratic function. What the loss and the making of trials and results cost
is measured beside it and taken off. A number is the mean over the last third of its history, at most 20,000 trials; up
to a history of 10,000 it is also the mean over some seeds, the better of two tries each.
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
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import hpo_core as hpo
from hpo_core.registry import get

DIMENSION = 10
HISTORIES = (100, 1000, 10_000, 100_000, 1_000_000)
_SHORT = 10_000
"""Histories up to this length are run with several seeds."""
PAGE = os.sysconf("SC_PAGE_SIZE")

Step = Callable[[], None]
"""One ask, the loss, and the tell."""
Make = Callable[[int], Iterator[Step]]
"""Gives the step that works with a seed, once; goes on to clean up."""


def loss(values: list[float]) -> float:
    """A narrow bowl that turns through all coordinates."""
    total, before = 0.0, 0.3
    for k, x in enumerate(values):
        total += 2.0**k * (x - 0.4 + 0.5 * (before - 0.3)) ** 2
        before = x
    return total


def space(*, conditions: bool = False) -> hpo.Params:
    """Ten ranges of real numbers; with conditions, three of them are used only beside others' values."""
    params = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(DIMENSION)])
    if conditions:
        below = [hpo.condition.less_than(f"--x{i + 1}", f"--x{i}", 0.7) for i in (0, 3, 6)]
        params.add_conditions(below)
    return params


def alone(name: str, seed: int, *, conditions: bool = False) -> Iterator[Step]:
    """The strategy object by itself."""
    cls = get(hpo.Strategy, name)
    options = cls.Options(generations=10_000) if cls.Options else None  # So that it goes on for long enough.
    strategy = cls(space(conditions=conditions), seed=seed, options=options)
    numbers = iter(range(1, 2 * HISTORIES[-1]))

    def step() -> None:
        answer = strategy.ask()
        assert isinstance(answer, hpo.Proposal)
        strategy.tell(*_ended(next(numbers), answer))

    yield step


def _ended(number: int, proposal: hpo.Proposal) -> tuple[hpo.Trial, hpo.Result]:
    """What a study tells of a proposal."""
    trial = hpo.Trial(number, proposal.values, tag=proposal.tag or f"point{number}", info=proposal.info)
    found = loss(list(proposal.values.values()))  # type: ignore[arg-type]
    return trial, hpo.Result(hpo.State.DONE, found, found)


def harness(seed: int) -> Iterator[Step]:
    """What is taken off the rows of `alone`."""
    proposal = hpo.Proposal({f"--x{i}": 0.5 for i in range(DIMENSION)}, tag="deme1_ind17")
    yield lambda: _nothing(*_ended(1, proposal))


def _nothing(trial: hpo.Trial, result: hpo.Result) -> None:
    pass


def study(name: str, seed: int, *, conditions: bool = False) -> Iterator[Step]:
    """`Study.ask` and `Study.tell`: checked, rendered, numbered and recorded on disk."""
    with (
        tempfile.TemporaryDirectory(prefix="hpo-study-", dir=".") as folder,
        hpo.Study(space(conditions=conditions), strategy=name, seed=seed, directory=Path(folder) / "study") as made,
    ):

        def step() -> None:
            trial = made.ask()
            assert trial is not None
            made.tell(trial, loss(list(trial.values.values())))  # type: ignore[arg-type]

        yield step


def losses(seed: int) -> Iterator[Step]:
    """What is taken off all other rows."""
    values = [0.5] * DIMENSION
    yield lambda: _drop(loss(values))


def _drop(found: float) -> None:
    pass


def optuna(kind: str, seed: int) -> Iterator[Step]:
    """Optuna in memory."""
    import optuna as peer

    peer.logging.set_verbosity(peer.logging.ERROR)
    warnings.simplefilter("ignore")
    samplers = {
        "random": peer.samplers.RandomSampler,
        "NSGA-II": peer.samplers.NSGAIISampler,
        "TPE": peer.samplers.TPESampler,
    }
    made = peer.create_study(sampler=samplers[kind](seed=seed))

    def step() -> None:
        trial = made.ask()
        made.tell(trial, loss([trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(DIMENSION)]))

    yield step


def cmaes(seed: int) -> Iterator[Step]:
    """Cmaes asks for a population and is told of it at once."""
    import numpy as np
    from cmaes import CMA

    optimizer = CMA(mean=np.full(DIMENSION, 0.5), sigma=0.3, bounds=np.array([[0.0, 1.0]] * DIMENSION), seed=seed)
    told: list[tuple[Any, float]] = []

    def step() -> None:
        nonlocal optimizer
        x = optimizer.ask()
        told.append((x, loss(x.tolist())))
        if len(told) == optimizer.population_size:
            optimizer.tell(told)
            told.clear()
            if optimizer.should_stop():
                optimizer = CMA(mean=np.full(DIMENSION, 0.5), sigma=0.3, seed=seed)

    yield step


def deap(seed: int) -> Iterator[Step]:
    """DEAP's operators: a tournament, blended crossover, a mutation."""
    import random

    from deap import base, creator, tools

    if not hasattr(creator, "Loss"):
        creator.create("Loss", base.Fitness, weights=(-1.0,))
        creator.create("Genome", list, fitness=creator.Loss)
    random.seed(seed)
    population: list[Any] = []

    def step() -> None:
        if len(population) < 100:
            child = creator.Genome(random.random() for _ in range(DIMENSION))
        else:
            child, other = (creator.Genome(one) for one in tools.selTournament(population, 2, tournsize=3))
            tools.cxSimulatedBinaryBounded(child, other, eta=15.0, low=0.0, up=1.0)
            tools.mutPolynomialBounded(child, eta=20.0, low=0.0, up=1.0, indpb=0.1)
        child.fitness.values = (loss(child),)
        population.append(child)
        if len(population) > 200:
            population[:] = tools.selBest(population, 100)

    yield step


def nevergrad(seed: int) -> Iterator[Step]:
    """Nevergrad's differential evolution."""
    import nevergrad as peer

    made = peer.optimizers.DE(peer.p.Array(init=[0.5] * DIMENSION, lower=0.0, upper=1.0), budget=10**9)
    made.parametrization.random_state.seed(seed)

    def step() -> None:
        candidate = made.ask()
        made.tell(candidate, loss(candidate.value.tolist()))

    yield step


BARE, OFF = "losses", "harness"
ROWS: Mapping[str, tuple[str, Make, str, int]] = {
    "random": ("hpo-core", lambda seed: alone("random", seed), OFF, HISTORIES[-1]),
    "random, conditions": ("hpo-core", lambda seed: alone("random", seed, conditions=True), OFF, HISTORIES[-1]),
    "genetic": ("hpo-genetic", lambda seed: alone("genetic", seed), OFF, HISTORIES[-1]),
    "genetic, conditions": ("hpo-genetic", lambda seed: alone("genetic", seed, conditions=True), OFF, 10_000),
    "study, random": ("hpo-core", lambda seed: study("random", seed), BARE, HISTORIES[-1]),
    "study, random, conditions": ("hpo-core", lambda seed: study("random", seed, conditions=True), BARE, 100_000),
    "study, genetic": ("hpo-genetic", lambda seed: study("genetic", seed), BARE, 100_000),
    "DEAP": ("deap", deap, BARE, 100_000),
    "cmaes": ("cmaes", cmaes, BARE, 100_000),
    "Optuna random": ("optuna", lambda seed: optuna("random", seed), BARE, 10_000),
    "Optuna NSGA-II": ("optuna", lambda seed: optuna("NSGA-II", seed), BARE, 1000),
    "Optuna TPE": ("optuna", lambda seed: optuna("TPE", seed), BARE, 1000),
    "nevergrad DE": ("nevergrad", nevergrad, BARE, 10_000),
}
"""Name to distribution, what is measured, what is taken off, and the longest history."""


def measured(make: Make, most: int, seeds: int) -> dict[int, float]:
    """CPU microseconds of a step at each history up to `most`."""
    short = [
        [once(make, seed, min(most, _SHORT)) for _ in range(2)]  # One of them may have been disturbed.
        for seed in range(1, seeds + 1)
    ]
    found = {history: fmean(min(one[history] for one in tries) for tries in short) for history in short[0][0]}
    return {**once(make, 1, most), **found} if most > _SHORT else found


def once(make: Make, seed: int, most: int) -> dict[int, float]:
    """The same with one seed, once."""
    made, found, done = make(seed), {}, 0
    step = next(made)
    for history in [one for one in HISTORIES if one <= most]:
        window = min(history // 3, 20_000)
        while done < history - window:
            step()
            done += 1
        began = time.process_time()
        for _ in range(window):
            step()
        found[history] = (time.process_time() - began) / window * 1e6
        done = history
    for _ in made:  # let it clean up
        pass
    return found


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def bytes_per_trial(name: str, most: int) -> float:
    """How much each trial of the second half of a history adds to a process; it must be a fresh one."""
    made = ROWS[name][1](1)
    step = next(made)
    for _ in range(most // 2):
        step()
    before = resident()
    for _ in range(most // 2):
        step()
    grown = resident() - before
    for _ in made:
        pass
    return max(grown, 0) / (most // 2)


def apart(call: Callable[..., float], *arguments: Any) -> float:
    """What a call gives in a fresh process, whose memory nobody has used and given back before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def main() -> None:
    """Measure, print a table, and write it as JSON where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=HISTORIES[-1], help="the longest history")
    parser.add_argument("--seeds", type=int, default=5, help="of histories up to 10,000")
    parser.add_argument("--who", help=f"some of: {'; '.join(ROWS)} (joined with ';')")
    parser.add_argument("--memory", type=int, default=200_000, help="trials over which memory is measured, 0: not")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds = arguments.seeds
    off = {OFF: measured(harness, 1000, seeds)[1000], BARE: measured(losses, 1000, seeds)[1000]}
    print(f"Python {platform.python_version()}; taken off: {off[OFF]:.1f} us (alone), {off[BARE]:.1f} us (others)")
    histories = [one for one in HISTORIES if one <= arguments.most]
    print(f"{'CPU us of an ask and its tell':32}" + "".join(f"{one:>10}" for one in histories) + "  bytes a trial")
    rows = {}
    for name in arguments.who.split(";") if arguments.who else ROWS:
        distribution, make, subtract, most = ROWS[name]
        if find_spec(distribution.replace("-", "_")) is None:
            print(f"{name:32}  SKIPPED: {distribution} is not installed")
            continue
        found = {n: us - off[subtract] for n, us in measured(make, min(most, arguments.most), seeds).items()}
        counted = min(arguments.memory, most, 10**9)
        size = apart(bytes_per_trial, name, counted) if counted >= 1000 else None
        cells = "".join(f"{found[one]:10.1f}" if one in found else f"{'-':>10}" for one in histories)
        print(f"{name:32}{cells}{'-' if size is None else f'{size:.0f}':>15}   {distribution} {version(distribution)}")
        rows[name] = {"version": version(distribution), "us": found, "bytes": size}
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "off": off}, indent=1))


if __name__ == "__main__":
    main()
