"""Ways to search a problem: ours, and those of other libraries where they are installed.

Each takes a problem, a number of evaluations and a seed, and gives the losses in order of evaluation. All but ours and
Optuna's see a mixed space as a box of numbers in [0, 1], which the space's own algebra decodes.
"""

from __future__ import annotations

import logging
import math
import random
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from _problems import Problem

import hpo_core as hpo
from hpo_core.registry import get

POPULATION = 20
"""Individuals of the peers' populations: their own defaults (50 to 150) would be random search at 64 evaluations."""


class Spent(Exception):
    """The budget of evaluations is used up."""


class Meter:
    """Counts evaluations and keeps their losses; the defaults are the first evaluation of every algorithm."""

    def __init__(self, problem: Problem, budget: int, seed: int) -> None:
        self.problem, self.budget, self.losses = problem, budget, list[float]()
        self.rng = random.Random(f"decode {seed}")
        self.baseline = problem.space.baseline(random.Random(seed))
        self(self.baseline)

    def __call__(self, values: Mapping[str, Any]) -> float:
        if len(self.losses) >= self.budget:
            raise Spent
        self.losses.append(self.problem.loss(values))
        return self.losses[-1]

    def units(self, vector: Any) -> float:
        """The loss at a place of the unit cube."""
        return self(self.problem.space.decode([float(u) for u in vector], self.rng))

    def start(self) -> list[float]:
        """The defaults as a place of the unit cube."""
        return [0.5 if u != u else u for u in self.problem.space.encode(self.baseline)]

    @property
    def dimension(self) -> int:
        return len(self.problem.space)


def strategy(name: str, options: Mapping[str, Any] | None = None) -> Callable[[Meter, int], None]:
    """One of our strategies, driven without a study."""

    def run(meter: Meter, seed: int) -> None:
        cls = get(hpo.Strategy, name)
        given = cls.Options(**(options or {})) if cls.Options else None
        ours = cls(meter.problem.space, seed=seed + 1, options=given)
        first = hpo.Trial(1, meter.baseline, tag="defaults", origin="baseline")
        ours.tell(first, hpo.Result(hpo.State.DONE, meter.losses[0], meter.losses[0]))
        while True:
            proposal = ours.ask()
            if isinstance(proposal, hpo.Pause):
                return
            loss = meter(proposal.values)
            trial = hpo.Trial(len(meter.losses), proposal.values, tag=proposal.tag, info=proposal.info)
            ours.tell(trial, hpo.Result(hpo.State.DONE, loss, loss))

    return run


def optuna_sampler(kind: str) -> Callable[[Meter, int], None]:
    """Optuna's NSGA-II with one objective, or its TPE."""

    def run(meter: Meter, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        if kind == "tpe":
            sampler: Any = optuna.samplers.TPESampler(seed=seed)
        else:
            sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        study = optuna.create_study(sampler=sampler)
        study.enqueue_trial(meter.baseline)
        known = meter.losses[0]

        def objective(trial: Any) -> float:
            values = _suggest(meter.problem.space, trial)
            return known if trial.number == 0 else meter(values)

        while True:
            study.optimize(objective, n_trials=16, catch=())

    return run


def _suggest(space: hpo.Params, trial: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for flag in space.get_ordered_param_when_valid():
        domain = space.domain(flag, values)
        if domain is None:
            continue
        if isinstance(domain, hpo.Values):
            values[flag] = trial.suggest_categorical(flag, list(domain.values))
        elif isinstance(domain, hpo.Integer):
            values[flag] = trial.suggest_int(flag, domain.low, domain.high, log=domain.log)
        else:
            assert isinstance(domain, hpo.Real)
            values[flag] = domain.canonical(trial.suggest_float(flag, domain.low, domain.high, log=domain.log))
    return space.canonical(values)


def pymoo_ga(meter: Meter, seed: int) -> None:
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize

    class Cube(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=meter.dimension, n_obj=1, xl=0.0, xu=1.0)

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            out["F"] = meter.units(x)

    first = np.random.default_rng(seed).random((POPULATION, meter.dimension))
    first[0] = meter.start()
    minimize(Cube(), GA(pop_size=POPULATION, sampling=first), ("n_gen", 10_000), seed=seed, verbose=False)


def deap_ga(meter: Meter, seed: int) -> None:
    from deap import algorithms, base, creator, tools

    if not hasattr(creator, "Loss"):
        creator.create("Loss", base.Fitness, weights=(-1.0,))
        creator.create("Genome", list, fitness=creator.Loss)
    random.seed(seed)
    n, box = meter.dimension, base.Toolbox()
    box.register("evaluate", lambda genome: (meter.units(genome),))
    box.register("mate", tools.cxSimulatedBinaryBounded, eta=15.0, low=0.0, up=1.0)
    box.register("mutate", tools.mutPolynomialBounded, eta=20.0, low=0.0, up=1.0, indpb=1.0 / n)
    box.register("select", tools.selTournament, tournsize=3)
    population = [creator.Genome(random.random() for _ in range(n)) for _ in range(POPULATION)]
    population[0][:] = meter.start()
    algorithms.eaMuPlusLambda(population, box, POPULATION, POPULATION, 0.7, 0.3, 10_000, verbose=False)


def cma_es(meter: Meter, seed: int) -> None:
    import cmaes

    n = meter.dimension
    rng = np.random.default_rng(seed)
    warnings.simplefilter("ignore")
    size: int | None = None
    while True:  # with restarts and growing populations, as its authors advise
        optimizer = cmaes.CMA(
            mean=rng.uniform(0.2, 0.8, n), sigma=0.3, bounds=np.array([[0.0, 1.0]] * n),
            seed=int(rng.integers(2**31)), population_size=size,
        )  # fmt: skip
        while not optimizer.should_stop():
            told = [(x := optimizer.ask(), meter.units(x)) for _ in range(optimizer.population_size)]
            optimizer.tell(told)
        size = 2 * optimizer.population_size


def scipy_de(meter: Meter, seed: int) -> None:
    from scipy.optimize import differential_evolution

    n = meter.dimension
    start = np.random.default_rng(seed).random((POPULATION, n))
    start[0] = meter.start()
    while True:
        differential_evolution(meter.units, [(0.0, 1.0)] * n, init=start, maxiter=100_000, seed=seed, polish=False)
        seed += 7919
        start = np.random.default_rng(seed).random((POPULATION, n))


ALGORITHMS: dict[str, tuple[str, Callable[[Meter, int], None]]] = {
    "hpo-genetic": ("hpo-genetic", strategy("genetic")),
    "documented only": ("hpo-genetic", strategy("genetic", {"documented_only": True})),
    "random": ("hpo-core", strategy("random")),
    "Optuna NSGA-II": ("optuna", optuna_sampler("nsga2")),
    "Optuna TPE": ("optuna", optuna_sampler("tpe")),
    "pymoo GA": ("pymoo", pymoo_ga),
    "DEAP GA": ("deap", deap_ga),
    "cmaes": ("cmaes", cma_es),
    "scipy DE": ("scipy", scipy_de),
}
"""Name to distribution and search."""


def installed(name: str) -> str | None:
    """The version of the distribution that an algorithm needs, or None."""
    distribution = ALGORITHMS[name][0]
    if find_spec(distribution.replace("-", "_")) is None:
        return None
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def search(name: str, problem: Problem, budget: int, seed: int) -> list[float]:
    """The losses of one run, in order; shorter than the budget only where the algorithm gave up."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    meter = Meter(problem, budget, seed)
    try:
        ALGORITHMS[name][1](meter, seed)
    except Spent:
        pass
    return meter.losses


def polynomial_search(name: str, problem: Problem, seed: int) -> list[float]:
    """130 evaluations: ours as 13 generations of one deme of 10."""
    if ALGORITHMS[name][0] != "hpo-genetic":
        return search(name, problem, 130, seed)
    options = {"generations": 13, "num_demes": 1, "pop_size": 10, "documented_only": name == "documented only"}
    meter = Meter(problem, 130, seed)
    try:
        strategy("genetic", options)(meter, seed)
    except Spent:
        pass
    return meter.losses


def best_so_far(losses: list[float], budget: int) -> float:
    """The best of the first `budget` losses."""
    found = min((one for one in losses[:budget] if math.isfinite(one)), default=math.inf)
    return float(found)
