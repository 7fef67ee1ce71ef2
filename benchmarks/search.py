"""How good the searches are: ours against those of other libraries; see README.md beside this file.

python benchmarks/search.py                       # everything, on the reporting set
python benchmarks/search.py --parts polynomial    # a part
python benchmarks/search.py --set development --seeds 3 --algorithms hpo-genetic,random
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import heapq
import json
import math
import platform
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from _peers import ALGORITHMS, best_so_far, installed, polynomial_search, search
from _problems import Problem, mixed, polynomial, problems

import hpo_core as hpo
from hpo_core.registry import get

BUDGETS = (64, 256, 1024)
PARTS = ("polynomial", "continuous", "mixed", "workers", "cost")
OURS = "hpo-genetic"


def problems_of(part: str, which: str, seed: int) -> list[Problem]:
    """The problems of a part as one seed has them."""
    return problems(which, seed=seed) if part == "continuous" else mixed(which, seed=seed)


def one_run(job: tuple[str, str, str, int, int, int]) -> dict[str, Any]:
    """One algorithm on one problem with one seed: best losses at the budgets (in a process of its own)."""
    part, which, algorithm, index, seed, most = job
    began = time.perf_counter()
    if part == "polynomial":
        losses = polynomial_search(algorithm, polynomial(), seed)
        return {"job": job, "problem": "polynomial", "factor": losses[0] / best_so_far(losses, 130)}
    problem = problems_of(part, which, seed)[index]
    losses = search(algorithm, problem, most, seed)
    rng = random.Random(f"reference {seed}")
    reference = statistics.median(problem.loss(problem.space.draw(rng)) for _ in range(100))
    return {
        "job": job,
        "problem": problem.name,
        "best": {str(budget): best_so_far(losses, budget) for budget in BUDGETS if budget <= most},
        "reference": reference,
        "optimum": problem.optimum,
        "floor": problem.floor,
        "seconds": time.perf_counter() - began,
    }


def run_all(jobs: Sequence[Any], processes: int, earlier: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """All runs, the slow ones spread over the processes; those that were made earlier are taken as they are."""
    known = {tuple(run["job"]): run for run in earlier}
    done, began, total = [known[job] for job in jobs if job in known], time.perf_counter(), len(jobs)
    jobs = [job for job in jobs if job not in known]
    with ProcessPoolExecutor(processes, initializer=os.nice, initargs=(5,)) as pool:
        for found in pool.map(one_run, jobs, chunksize=1):
            done.append(found)
            if len(done) % 200 == 0:
                print(f"  {len(done)}/{total} runs, {time.perf_counter() - began:.0f} s", flush=True)
    return done


def regrets(runs: Iterable[dict[str, Any]]) -> None:
    """Add log10 regret to each run; where the optimum is not known it is the best that any algorithm found."""
    runs = list(runs)
    known: dict[tuple[str, int], float] = {}
    for run in runs:
        key = run["problem"], run["job"][4]
        found = min(run["best"].values())
        known[key] = min(known.get(key, math.inf), found, *([] if run["optimum"] is None else [run["optimum"]]))
    for run in runs:
        low = known[run["problem"], run["job"][4]]
        width = max(run["reference"] - low, 1e-300)
        run["regret"] = {
            budget: math.log10(max((best - low) / width, run["floor"])) for budget, best in run["best"].items()
        }


def ranks(runs: Sequence[dict[str, Any]], budget: int) -> dict[str, float]:
    """Mean relative rank of each algorithm, 0 best and 1 worst, over problems and seeds; ties share."""
    groups: dict[tuple[str, int], dict[str, float]] = {}
    for run in runs:
        if str(budget) in run["regret"]:
            groups.setdefault((run["problem"], run["job"][4]), {})[run["job"][2]] = run["regret"][str(budget)]
    total: dict[str, list[float]] = {}
    for group in groups.values():
        for name, mine in group.items():
            below = sum(other < mine - 1e-12 for other in group.values())
            ties = sum(abs(other - mine) <= 1e-12 for other in group.values()) - 1
            total.setdefault(name, []).append((below + ties / 2) / max(len(group) - 1, 1))
    return {name: statistics.fmean(one) for name, one in total.items()}


def medians(runs: Sequence[dict[str, Any]], budget: int, dimension: int | None = None) -> dict[str, float]:
    """log10 regret: median over seeds, mean over problems."""
    groups: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if str(budget) in run["regret"] and (dimension is None or run["problem"].endswith(f"-{dimension}")):
            groups.setdefault(run["job"][2], {}).setdefault(run["problem"], []).append(run["regret"][str(budget)])
    return {
        name: statistics.fmean(statistics.median(values) for values in by_problem.values())
        for name, by_problem in groups.items()
    }


def worse_than_random(runs: Sequence[dict[str, Any]], budget: int) -> list[str]:
    """Problems where ours is significantly worse than random search (Mann-Whitney, one-sided, 5 %)."""
    try:
        from scipy.stats import mannwhitneyu
    except ImportError:
        return ["(not tested: scipy is absent)"]
    by: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if str(budget) in run["regret"]:
            by.setdefault(run["problem"], {}).setdefault(run["job"][2], []).append(run["regret"][str(budget)])
    return [
        name
        for name, found in by.items()
        if OURS in found
        and "random" in found
        and mannwhitneyu(found[OURS], found["random"], alternative="greater").pvalue < 0.05
    ]


def table(title: str, columns: Sequence[str], rows: dict[str, Sequence[float | None]]) -> None:
    """Print a table, the best first by its last column that has all values."""
    print(f"\n{title}\n{'':18s}" + "".join(f"{one:>16s}" for one in columns))
    for name, cells in sorted(rows.items(), key=lambda item: [math.inf if c is None else c for c in item[1]][::-1]):
        print(f"{name:18s}" + "".join(f"{'-' if c is None else f'{c:.3f}':>16s}" for c in cells))


def compare(part: str, arguments: argparse.Namespace, names: Sequence[str]) -> list[dict[str, Any]]:
    """A part with tables of ranks and regrets."""
    count = len(problems_of(part, arguments.set, 0))
    budget = max(arguments.budgets)
    jobs = [
        (part, arguments.set, name, index, seed, min(budget, arguments.tpe_budget) if name == "Optuna TPE" else budget)
        for seed in range(arguments.seeds)
        for index in range(count)
        for name in names
    ]
    runs = run_all(jobs, arguments.processes, arguments.earlier.get(part, ()))
    regrets(runs)
    budgets = [one for one in BUDGETS if one <= budget]
    heads = [str(one) for one in budgets]
    found = [ranks(runs, one) for one in budgets]
    table(f"{part}: mean relative rank (0 best, 1 worst) after", heads, {n: [f.get(n) for f in found] for n in names})
    for dimension in (5, 10) if part == "continuous" else (None,):
        found = [medians(runs, one, dimension) for one in budgets]
        what = f" in {dimension} dimensions" if dimension else ""
        rows = {n: [f.get(n) for f in found] for n in names}
        table(f"{part}: log10 regret{what} (median over seeds, mean over problems) after", heads, rows)
    print(f"\n{part}: {OURS}, log10 regret at {budget} by problem (lower quartile, median, upper quartile; best peer)")
    for problem in dict.fromkeys(run["problem"] for run in runs):
        by = {n: [r["regret"][str(budget)] for r in runs if r["problem"] == problem and r["job"][2] == n and
                  str(budget) in r["regret"]] for n in names}  # fmt: skip
        if not by.get(OURS):
            continue
        quartiles = statistics.quantiles(by[OURS], n=4) if len(by[OURS]) > 1 else by[OURS] * 3
        peers = {n: statistics.median(v) for n, v in by.items() if v and ALGORITHMS[n][0] != OURS}
        best = min(peers, key=lambda n: peers[n], default="")
        shown = f"{best} {peers[best]:.2f}" if best else "-"
        print(f"  {problem:24s}" + "".join(f"{q:8.2f}" for q in quartiles) + f"   {shown}")
    for one in budgets:
        bad = worse_than_random(runs, one)
        print(f"{part}: significantly worse than random at {one}: {', '.join(bad) or 'nowhere'}")
    return runs


def polynomials(arguments: argparse.Namespace, names: Sequence[str]) -> list[dict[str, Any]]:
    """The tutorial's problem."""
    jobs = [("polynomial", arguments.set, name, 0, seed, 130) for seed in range(arguments.seeds) for name in names]
    runs = run_all(jobs, arguments.processes, arguments.earlier.get("polynomial", ()))
    print("\npolynomial: improvement over the defaults after 130 evaluations\n" + " " * 18 +
          "".join(f"{head:>16s}" for head in ("lower quartile", "median", "upper quartile")))  # fmt: skip
    rows = {n: sorted(r["factor"] for r in runs if r["job"][2] == n) for n in names}
    for name, factors in sorted(rows.items(), key=lambda item: -statistics.median(item[1])):
        quartiles = statistics.quantiles(factors, n=4) if len(factors) > 1 else factors * 3
        print(f"{name:18s}" + "".join(f"{q:16.0f}" for q in quartiles))
    return runs


# Workers


def with_workers(problem: Problem, seed: int, workers: int, budget: int, **options: Any) -> dict[str, Any]:
    """A search on simulated workers with log-normal run times; asks cost nothing."""
    cls = get(hpo.Strategy, "genetic")
    assert cls.Options is not None
    ours = cls(problem.space, seed=seed + 1, options=cls.Options(**options))
    clock = random.Random(f"clock {seed}")
    baseline = problem.space.baseline(random.Random(seed))
    running: list[tuple[float, float, int, hpo.Trial]] = []
    spans: list[tuple[float, float]] = []
    now, asked, best = 0.0, 0, math.inf
    while len(spans) < budget:
        while asked < budget and len(running) < workers:
            if asked == 0:
                trial = hpo.Trial(1, baseline, tag="defaults", origin="baseline")
            else:
                answer = ours.ask()
                if isinstance(answer, hpo.Pause):
                    break
                trial = hpo.Trial(asked + 1, answer.values, tag=answer.tag, info=answer.info)
            asked += 1
            heapq.heappush(running, (now + clock.lognormvariate(0.0, 1.0), now, trial.number, trial))
        now, began, _, trial = heapq.heappop(running)
        spans.append((began, now))
        loss = problem.loss(trial.values)
        best = min(best, loss)
        ours.tell(trial, hpo.Result(hpo.State.DONE, loss, loss))
    last = max(began for began, _ in spans)
    busy = sum(min(ended, last) - began for began, ended in spans)
    return {"best": best, "utilisation": busy / (workers * last), "makespan": now}


def _worker_run(job: tuple[str, int, int, int, bool, tuple[int, ...]]) -> dict[str, Any]:
    which, index, seed, workers, synchronous, dimensions = job
    problem = problems(which, dimensions, seed=seed)[index]
    found = with_workers(problem, seed, workers, 1024, synchronous=synchronous)
    rng = random.Random(f"reference {seed}")
    reference = statistics.median(problem.loss(problem.space.draw(rng)) for _ in range(100))
    assert problem.optimum is not None
    low = problem.optimum
    regret = math.log10(max((found["best"] - low) / max(reference - low, 1e-300), problem.floor))
    return {"job": job, "problem": problem.name, **found, "regret": regret}


def workers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """How busy 64 and 256 workers are, and what the search loses by them."""
    dimensions = tuple(arguments.worker_dimensions)
    count = len(problems(arguments.set, dimensions))
    seeds = min(arguments.seeds, arguments.worker_seeds)
    kinds = [(1, False), (64, False), (64, True), (256, False), (256, True)]
    jobs = [(arguments.set, i, s, w, sync, dimensions) for s in range(seeds) for i in range(count) for w, sync in kinds
            if not (sync and i)]  # fmt: skip
    with ProcessPoolExecutor(arguments.processes, initializer=os.nice, initargs=(5,)) as pool:
        runs = list(pool.map(_worker_run, jobs))
    print(f"\nworkers: 1024 evaluations, log-normal run times (sigma 1), {seeds} seeds")
    print(f"{'':18s}{'busy until last start':>24s}{'log10 regret':>16s}")
    for number, sync in kinds:
        chosen = [run for run in runs if run["job"][3] == number and run["job"][4] == sync]
        name = f"{number} {'synchronous' if sync else 'asynchronous'}"
        by: dict[str, list[float]] = {}
        for run in chosen:
            by.setdefault(run["problem"], []).append(run["regret"])
        regret = "-" if sync else f"{statistics.fmean(statistics.median(v) for v in by.values()):.3f}"
        print(f"{name:18s}{statistics.fmean(run['utilisation'] for run in chosen):24.3f}{regret:>16s}")
    return runs


def cost(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of one ask and tell as the history grows."""
    found = []
    problem = problems("development")[0]
    print("\ncost: milliseconds of an ask and its tell, 5 dimensions")
    cls = get(hpo.Strategy, "genetic")
    ours = cls(problem.space, seed=1)
    began, rng = time.perf_counter(), random.Random(1)
    for number in range(1, 4001):
        proposal = ours.ask()
        assert isinstance(proposal, hpo.Proposal)
        loss = problem.loss(proposal.values) + rng.random()
        trial = hpo.Trial(number, proposal.values, tag=proposal.tag, info=proposal.info)
        ours.tell(trial, hpo.Result(hpo.State.DONE, loss, loss))
        if number % 500 == 0:
            each = (time.perf_counter() - began) * 1e3 / 500
            print(f"  trials {number - 499:5d} to {number:5d}: {each:.2f}")
            found.append({"until": number, "milliseconds": each})
            began = time.perf_counter()
    return found


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("reporting", "development"), default="reporting")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--worker-seeds", type=int, default=15, help="seeds of the part 'workers'")
    parser.add_argument("--worker-dimensions", type=lambda text: [int(one) for one in text.split(",")], default=[5, 10])
    parser.add_argument("--budgets", type=lambda text: [int(one) for one in text.split(",")], default=list(BUDGETS))
    parser.add_argument("--tpe-budget", type=int, default=1024, help="TPE takes longest: 5 to 10 s a run (Optuna 5.0)")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS), help="some of the names in the tables")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, default=Path("search-results.json"))
    parser.add_argument("--reuse", type=Path, help="an earlier --json: the runs of other libraries are taken from it")
    arguments = parser.parse_args()
    arguments.earlier = {}
    if arguments.reuse:
        found = json.loads(arguments.reuse.read_text())
        for part in {"polynomial", "continuous", "mixed"} & set(found):
            arguments.earlier[part] = [run for run in found[part] if ALGORITHMS[run["job"][2]][0] != OURS]
    names = []
    print(f"Python {platform.python_version()}, {arguments.set} set, {arguments.seeds} seeds")
    for name in arguments.algorithms.split(","):
        found = installed(name)
        print(
            f"  {name}: {ALGORITHMS[name][0]} {found}"
            if found
            else f"  {name}: SKIPPED, {ALGORITHMS[name][0]} is absent"
        )
        if found:
            names.append(name)
    everything: dict[str, Any] = {"versions": {name: installed(name) for name in names}}
    began = time.perf_counter()
    for part in arguments.parts.split(","):
        if part == "polynomial":
            everything[part] = polynomials(arguments, names)
        elif part in ("continuous", "mixed"):
            everything[part] = compare(part, arguments, names)
        elif part == "workers":
            everything[part] = workers(arguments)
        elif part == "cost":
            everything[part] = cost(arguments)
        else:
            parser.error(f"there is no part '{part}'; there are {', '.join(PARTS)}")
        arguments.json.write_text(json.dumps(everything))
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
