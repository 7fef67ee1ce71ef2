"""Problems for `search.py`: functions of known optimum, and spaces of mixed kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from attrs import field, frozen

import hpo_core as hpo


@frozen
class Problem:
    """A space, a loss over its points, and what is known of it."""

    name: str
    space: hpo.Params
    loss: Callable[[Mapping[str, Any]], float]
    optimum: float | None = 0.0
    kind: str = "continuous"
    dimension: int = 0
    floor: float = field(default=1e-8)


def _rotation(n: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def _powers(n: int) -> np.ndarray:
    return np.arange(n) / max(n - 1, 1)


def _oscillate(x: np.ndarray) -> np.ndarray:
    """T_osz of Hansen, Finck, Ros & Auger 2009."""
    size = np.log(np.maximum(np.abs(x), 1e-300))
    c1, c2 = np.where(x > 0, 10.0, 5.5), np.where(x > 0, 7.9, 3.1)
    return np.where(x == 0, 0.0, np.sign(x) * np.exp(size + 0.049 * (np.sin(c1 * size) + np.sin(c2 * size))))


def _gallagher(n: int, peaks: int, rng: np.random.Generator) -> Callable[[np.ndarray], float]:
    centres = rng.uniform(-4.9, 4.9, (peaks, n))
    heights = np.concatenate([[10.0], 1.1 + 8.0 * np.arange(peaks - 1) / (peaks - 2)])
    r = _rotation(n, rng)
    scales = 1000.0 ** (2.0 * rng.permutation(peaks) / (peaks - 1))
    scales[0] = 1000.0
    axes = np.stack([rng.permutation(s ** (0.5 * _powers(n)) / s**0.25) for s in scales])

    def loss(x: np.ndarray) -> float:
        d = (x - centres) @ r.T
        values = heights * np.exp(-0.5 / n * (axes * d * d).sum(1))
        return float((10.0 - values.max()) ** 2)

    return loss


def _function(name: str, n: int, seed: int) -> Callable[[np.ndarray], float]:
    """A shifted, mostly rotated function on [-5, 5]^n with minimum 0; after BBOB (Hansen et al. 2009)."""
    rng = np.random.default_rng([seed, n, *name.encode()])
    o = rng.uniform(-4.0, 4.0, n)
    r, q = _rotation(n, rng), _rotation(n, rng)
    t = _powers(n)

    def z(x: np.ndarray) -> np.ndarray:
        return r @ (x - o)

    if name == "sphere":
        return lambda x: float(((x - o) ** 2).sum())
    if name == "ellipsoid-separable":
        return lambda x: float((1e6**t * _oscillate(x - o) ** 2).sum())
    if name == "ellipsoid":
        return lambda x: float((1e6**t * _oscillate(z(x)) ** 2).sum())
    if name == "discus":
        return lambda x: float((np.concatenate([[1e6], np.ones(n - 1)]) * _oscillate(z(x)) ** 2).sum())
    if name == "cigar":
        return lambda x: float((np.concatenate([[1.0], np.full(n - 1, 1e6)]) * z(x) ** 2).sum())
    if name == "different-powers":
        return lambda x: float(math.sqrt((np.abs(z(x)) ** (2.0 + 4.0 * t)).sum()))
    if name == "sector":
        scale = 10.0 ** (0.5 * t)

        def sector(x: np.ndarray) -> float:
            y = q @ (scale * z(x))
            s = np.where(y * (r @ o) > 0, 100.0, 1.0)
            return float(((s * y) ** 2).sum() ** 0.9)

        return sector
    if name in ("rosenbrock", "rosenbrock-rotated"):
        c = max(1.0, math.sqrt(n) / 8.0)
        turn = r if name.endswith("rotated") else np.eye(n)

        def rosenbrock(x: np.ndarray) -> float:
            y = c * (turn @ (x - o * 0.75)) + 1.0
            return float((100.0 * (y[:-1] ** 2 - y[1:]) ** 2 + (y[:-1] - 1.0) ** 2).sum())

        return rosenbrock
    if name in ("rastrigin-separable", "rastrigin"):
        rotated = name == "rastrigin"
        scale = 10.0 ** (0.5 * t)

        def rastrigin(x: np.ndarray) -> float:
            y = _oscillate(z(x)) if rotated else _oscillate(x - o)
            y = r @ (scale * (q @ y)) if rotated else scale * y
            return float(10.0 * (n - np.cos(2.0 * math.pi * y).sum()) + (y * y).sum())

        return rastrigin
    if name in ("steps", "floors"):
        scale = 10.0 ** (0.5 * t) if name == "steps" else np.ones(n)

        def steps(x: np.ndarray) -> float:
            first = scale * z(x)
            y = np.where(np.abs(first) > 0.5, np.floor(0.5 + first), np.floor(0.5 + 10.0 * first) / 10.0)
            y = q @ y
            weight = 100.0**t if name == "steps" else np.ones(n)
            return float(0.1 * max(abs(first[0]) / 1e4, (weight * y * y).sum()))

        return steps
    if name == "schaffer":
        scale = 10.0 ** (0.5 * t)

        def schaffer(x: np.ndarray) -> float:
            y = scale * (q @ z(x))
            s = np.sqrt(y[:-1] ** 2 + y[1:] ** 2)
            return float(((np.sqrt(s) + np.sqrt(s) * np.sin(50.0 * s**0.2) ** 2).mean()) ** 2)

        return schaffer
    if name == "griewank":
        return lambda x: float(
            1.0 + (z(x) ** 2).sum() / 40.0 - np.prod(np.cos(2.0 * z(x) / np.sqrt(np.arange(1, n + 1))))
        )
    if name == "ripples":
        return lambda x: float((z(x) ** 2 + 4.0 * (1.0 - np.cos(3.5 * z(x)))).sum())
    if name == "levy":

        def levy(x: np.ndarray) -> float:
            w = 1.0 + z(x) / 2.0
            head, tail = math.sin(math.pi * w[0]) ** 2, (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
            return float(head + ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum() + tail)

        return levy
    if name == "ridge":
        scale = 10.0 ** (0.5 * t)

        def ridge(x: np.ndarray) -> float:
            y = q @ (scale * z(x))
            return float(y[0] ** 2 + 100.0 * math.sqrt((y[1:] ** 2).sum()))

        return ridge
    if name == "weierstrass":
        k = np.arange(12)[:, None]
        lowest = float((0.5**k * np.cos(math.pi * 3.0**k)).sum())

        def weierstrass(x: np.ndarray) -> float:
            y = _oscillate(z(x)) / 5.0
            waves = (0.5**k * np.cos(2.0 * math.pi * 3.0**k * (y + 0.5))).sum(0)
            return float(10.0 * abs(waves.mean() - lowest) ** 3 + (y * y).sum())

        return weierstrass
    if name == "alpine":
        return lambda x: float((np.abs((x - o) * np.sin(1.5 * (x - o))) + 0.2 * np.abs(x - o)).sum())
    if name == "gallagher21":
        return _gallagher(n, 21, rng)
    if name == "gallagher101":
        return _gallagher(n, 101, rng)
    raise KeyError(name)


DEVELOPMENT = (
    "ellipsoid-separable", "floors", "rosenbrock-rotated", "ellipsoid", "cigar", "different-powers", "griewank",
    "gallagher21", "ripples", "levy", "ridge", "weierstrass", "alpine",
)  # fmt: skip
REPORTING = (
    "sphere", "rastrigin-separable", "sector", "steps", "rosenbrock", "discus", "rastrigin", "schaffer",
    "gallagher101",
)  # fmt: skip


def continuous(name: str, n: int, seed: int) -> Problem:
    """One of the functions as a problem; defaults are drawn anew for each seed."""
    rng = np.random.default_rng([7, seed])
    function = _function(name, n, seed)
    flags = [f"-x{k}" for k in range(n)]
    space = hpo.Params([[flag, round(float(rng.uniform(-5, 5)), 3), (-5.0, 5.0)] for flag in flags])
    return Problem(f"{name}-{n}", space, lambda values: function(np.array([values[f] for f in flags])), dimension=n)


def polynomial() -> Problem:
    """A polynomial of degree 6 is fitted to a sine: the tutorial's problem."""
    x = np.linspace(-math.pi, math.pi, 200)
    powers = np.vander(x, 7, increasing=True)
    target = np.sin(x)
    flags = ["-a", "-b", "-c", "-d", "-e", "-f", "-g"]
    defaults = [1, -1, 1, -1, 1, -1, 1]
    space = hpo.Params([[flag, float(d), (-1.0, 1.0)] for flag, d in zip(flags, defaults, strict=True)])

    def loss(values: Mapping[str, Any]) -> float:
        return float(((powers @ np.array([values[f] for f in flags]) - target) ** 2).sum())

    return Problem("polynomial", space, loss, optimum=None, kind="polynomial", dimension=7)


# Spaces of mixed kinds


def _synthetic(seed: int, shape: str) -> Problem:
    """A made-up training: an optimiser with flags of its own, a learning rate over decades, sizes, switches."""
    rng = np.random.default_rng([31, seed, *shape.encode()])
    best = {name: float(rng.uniform(0.1, 0.9)) for name in ("lr", "wd", "mom", "b2", "width", "drop", "layers", "k")}
    order = [str(name) for name in rng.permutation(["sgd", "adam", "rmsprop"])]
    gap = {name: 0.35 * k for k, name in enumerate(order)}
    act_gap = {name: 0.12 * k for k, name in enumerate(rng.permutation(["relu", "tanh", "gelu", "elu"]))}
    space = hpo.Params(
        [
            ["--lr", 1e-3, hpo.Real(1e-6, 1.0, log=True) if shape != "linear" else (1e-6, 1.0)],
            ["--wd", 1e-4, hpo.Real(1e-7, 1e-1, log=True) if shape != "linear" else (1e-7, 1e-1)],
            ["--optimizer", "sgd", ["sgd", "adam", "rmsprop"]],
            ["--momentum", 0.5, (0.0, 0.99)],
            ["--beta2", 0.9, (0.5, 0.9999)],
            ["--activation", "relu", hpo.Values(["relu", "tanh", "gelu", "elu"], ordered=False)],
            ["--layers", 2, (1, 8)],
            ["--width", 64, (8, 512)],
            ["--dropout", "no", ["no", "yes"]],
            ["--rate", 0.5, (0.0, 0.9)],
            ["--kernel", 3, [1, 3, 5, 7, 9, 11]],
        ]
    )
    space.add_conditions(
        [
            hpo.condition.inside("--momentum", "--optimizer", ["sgd", "rmsprop"]),
            hpo.condition.equals("--beta2", "--optimizer", "adam"),
            hpo.condition.equals("--rate", "--dropout", "yes"),
        ]
    )
    with_dropout = bool(rng.random() < 0.5)
    tilt = float(rng.uniform(-0.5, 0.5))

    def loss(values: Mapping[str, Any]) -> float:
        lr = math.log10(values["--lr"]) / 6.0 + 1.0
        wd = (math.log10(values["--wd"]) + 7.0) / 6.0
        width = math.log(values["--width"] / 8.0) / math.log(64.0)
        layers = (values["--layers"] - 1) / 7.0
        layer_best = round(best["layers"] * 7) / 7
        kernel = [1, 3, 5, 7, 9, 11].index(values["--kernel"]) / 5
        kernel_best = round(best["k"] * 5) / 5
        shift = {"sgd": 0.0, "adam": -0.15, "rmsprop": -0.1}[values["--optimizer"]]
        lr_best = min(max(best["lr"] + shift, 0.05), 0.95)
        total = 4.0 * (lr - lr_best + tilt * (width - best["width"])) ** 2 + 1.0 * (wd - best["wd"]) ** 2
        total += gap[values["--optimizer"]] + act_gap[values["--activation"]]
        if values["--optimizer"] == "adam":
            total += 0.8 * ((values["--beta2"] - 0.5) / 0.5 - best["b2"]) ** 2
        else:
            total += 1.2 * (values["--momentum"] / 0.99 - best["mom"]) ** 2
        total += (
            1.5 * (width - best["width"]) ** 2 + 0.8 * (layers - layer_best) ** 2 + 0.5 * (kernel - kernel_best) ** 2
        )
        if values["--dropout"] == "yes":
            total += (0.0 if with_dropout else 0.1) + 1.0 * (values["--rate"] / 0.9 - best["drop"]) ** 2
        else:
            total += 0.1 if with_dropout else 0.0
        if shape == "rough":
            total += 0.05 * (1.0 - math.cos(25.0 * (lr - lr_best))) + 0.03 * (1.0 - math.cos(30.0 * (wd - best["wd"])))
        return total

    ideal: dict[str, Any] = {
        "--wd": 10.0 ** (best["wd"] * 6.0 - 7.0),
        "--optimizer": order[0],
        "--momentum": best["mom"] * 0.99,
        "--beta2": 0.5 + 0.5 * best["b2"],
        "--activation": min(act_gap, key=lambda name: act_gap[name]),
        "--layers": 1 + round(best["layers"] * 7),
        "--dropout": "yes" if with_dropout else "no",
        "--rate": best["drop"] * 0.9,
        "--kernel": [1, 3, 5, 7, 9, 11][round(best["k"] * 5)],
    }
    width = 8.0 * 64.0 ** best["width"]
    lr = min(max(best["lr"] + {"sgd": 0.0, "adam": -0.15, "rmsprop": -0.1}[order[0]], 0.05), 0.95)
    optimum = min(
        loss(
            {
                **ideal,
                "--width": w,
                "--lr": 10.0 ** (6.0 * (lr - tilt * (math.log(w / 8.0) / math.log(64.0) - best["width"]) - 1.0)),
            }
        )
        for w in (int(width), int(width) + 1)
    )
    return Problem(f"synthetic-{shape}", space, loss, optimum=optimum, kind="mixed", floor=1e-4)


@lru_cache(maxsize=4)
def _regression_data(seed: int) -> Any:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))[:160]
    return x[order] * 20.0, (y[order] - y.mean()) / y.std()


def kernel_ridge(seed: int) -> Problem:
    """Kernel ridge regression of scikit-learn on its diabetes data; the kernel's flags depend on the kernel."""
    from sklearn.kernel_ridge import KernelRidge

    space = hpo.Params(
        [
            ["--kernel", "linear", hpo.Values(["linear", "rbf", "laplacian", "polynomial", "sigmoid"], ordered=False)],
            ["--alpha", 1.0, hpo.Real(1e-6, 1e3, log=True)],
            ["--gamma", 0.1, hpo.Real(1e-6, 1e1, log=True)],
            ["--degree", 3, (1, 6)],
            ["--coef0", 1.0, (0.0, 4.0)],
            ["--drop", 0, (0, 9)],
            ["--squash", "no", ["no", "yes"]],
            ["--scale", 1.0, hpo.Real(0.1, 10.0, log=True)],
        ]
    )
    space.add_conditions(
        [
            hpo.condition.not_equals("--gamma", "--kernel", "linear"),
            hpo.condition.equals("--degree", "--kernel", "polynomial"),
            hpo.condition.inside("--coef0", "--kernel", ["polynomial", "sigmoid"]),
            hpo.condition.equals("--scale", "--squash", "yes"),
        ]
    )
    x, y = _regression_data(seed)

    def loss(values: Mapping[str, Any]) -> float:
        keep = [k for k in range(10) if k != values["--drop"]]
        data = x[:, keep]
        if values["--squash"] == "yes":
            data = np.tanh(data * values["--scale"])
        names = {"--gamma": "gamma", "--degree": "degree", "--coef0": "coef0"}
        model = KernelRidge(
            kernel=values["--kernel"],
            alpha=values["--alpha"],
            **{name: values[flag] for flag, name in names.items() if flag in values},
        )
        total = 0.0
        for fold in range(2):
            test = np.arange(len(y)) % 2 == fold
            try:
                model.fit(data[~test], y[~test])
                error = float(((model.predict(data[test]) - y[test]) ** 2).mean())
            except (np.linalg.LinAlgError, ValueError):
                error = 1e3
            total += min(error, 1e3) if math.isfinite(error) else 1e3
        return total / 2

    return Problem("kernel-ridge", space, loss, optimum=None, kind="mixed", floor=1e-4)


@lru_cache(maxsize=4)
def _friedman_data(seed: int) -> Any:
    """Friedman's first function with noise, and two columns that say nothing."""
    rng = np.random.default_rng([53, seed])
    x = rng.random((90, 7))
    y = 10.0 * np.sin(math.pi * x[:, 0] * x[:, 1]) + 20.0 * (x[:, 2] - 0.5) ** 2 + 10.0 * x[:, 3] + 5.0 * x[:, 4]
    y += rng.standard_normal(len(y))
    return (x - 0.5) * 3.0, (y - y.mean()) / y.std()


def support_vectors(seed: int) -> Problem:
    """Support vector regression of scikit-learn; the kernel's flags depend on the kernel."""
    from sklearn.svm import SVR

    space = hpo.Params(
        [
            ["--kernel", "sigmoid", hpo.Values(["linear", "poly", "rbf", "sigmoid"], ordered=False)],
            ["--cost", 1.0, hpo.Real(1e-4, 1e4, log=True)],
            ["--epsilon", 0.1, hpo.Real(1e-4, 1.0, log=True)],
            ["--gamma", 1.0, hpo.Real(1e-5, 1e1, log=True)],
            ["--degree", 3, (1, 5)],
            ["--coef0", 0.0, (-2.0, 2.0)],
            ["--columns", 3, (1, 7)],
            ["--power", "no", ["no", "yes"]],
            ["--exponent", 1.0, (0.3, 3.0)],
        ]
    )
    space.add_conditions(
        [
            hpo.condition.not_equals("--gamma", "--kernel", "linear"),
            hpo.condition.equals("--degree", "--kernel", "poly"),
            hpo.condition.inside("--coef0", "--kernel", ["poly", "sigmoid"]),
            hpo.condition.equals("--exponent", "--power", "yes"),
        ]
    )
    x, y = _friedman_data(seed)
    test = np.arange(len(y)) % 3 == 0

    def loss(values: Mapping[str, Any]) -> float:
        data = x[:, : values["--columns"]]
        if values["--power"] == "yes":
            data = np.sign(data) * np.abs(data) ** values["--exponent"]
        names = {"--gamma": "gamma", "--degree": "degree", "--coef0": "coef0"}
        model = SVR(
            kernel=values["--kernel"],
            C=values["--cost"],
            epsilon=values["--epsilon"],
            max_iter=2000,
            **{name: values[flag] for flag, name in names.items() if flag in values},
        )
        model.fit(data[~test], y[~test])
        error = float(((model.predict(data[test]) - y[test]) ** 2).mean())
        return min(error, 1e3) if math.isfinite(error) else 1e3

    return Problem("support-vectors", space, loss, optimum=None, kind="mixed", floor=1e-4)


def problems(which: str, dimensions: tuple[int, ...] = (5, 10), *, seed: int = 0) -> list[Problem]:
    """The problems of a set, as one seed has them; the two sets share neither functions nor instances."""
    names = DEVELOPMENT if which == "development" else REPORTING
    offset = 1000 if which == "development" else 5000
    return [continuous(name, n, offset + seed) for n in dimensions for name in names]


def mixed(which: str, *, seed: int = 0) -> list[Problem]:
    """The mixed spaces of a set."""
    if which == "development":
        return [_synthetic(1000 + seed, "smooth"), _synthetic(1000 + seed, "linear"), support_vectors(1000 + seed)]
    return [_synthetic(5000 + seed, "rough"), _synthetic(5000 + seed, "conditional"), kernel_ridge(5000 + seed)]
