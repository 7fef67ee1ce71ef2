"""Train an autoencoder on the digits that come with scikit-learn, from its checkpoint if there is one.

An ordinary program that knows nothing of hpo-core: it trains for some epochs with one learning rate and momentum,
prints the loss on validation images after each (the figure of merit), and leaves its weights for the next run.

    python examples/pbt/train.py --checkpoint=saved --epochs=3 --lr=0.003 --momentum=0.9
"""

import argparse
import os

# One thread a run: several runs share the machine, and the arithmetic stays the same on any number of cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np

SIZES = (64, 48, 12, 48, 64)
BATCH = 8
NOISE = 0.2


def images():
    """Images for training, validation and test: rows of 64 pixels from 0 to 1."""
    # Read from its file: importing scikit-learn takes longer than an epoch.
    home = Path(find_spec("sklearn").origin).parent
    pixels = np.loadtxt(home / "datasets" / "data" / "digits.csv.gz", delimiter=",")[:, :-1] / 16.0
    return np.split(np.random.default_rng(0).permutation(pixels), [1000, 1400])


def fresh(rng):
    """Weights and offsets of each layer, and the velocities of all."""
    values = []
    for inputs, outputs in pairwise(SIZES):
        values += [rng.normal(0.0, inputs**-0.5, (inputs, outputs)), np.zeros(outputs)]
    return values, [np.zeros_like(value) for value in values]


def layers(values, x):
    """What each layer makes of the images; the last gives them back."""
    found = [x]
    for k in range(0, len(values), 2):
        x = found[-1] @ values[k] + values[k + 1]
        found.append(np.tanh(x) if k < len(values) - 2 else x)
    return found


def loss(values, x):
    """Squared error of an image, summed over its pixels."""
    return float(((layers(values, x)[-1] - x) ** 2).sum(1).mean())


def train(values, speeds, x, lr, momentum, rng):
    """One pass over noisy images, by stochastic gradient descent with momentum; changes the arrays."""
    clean = rng.permutation(x)
    noisy = clean + rng.normal(0.0, NOISE, clean.shape)
    for start in range(0, len(x), BATCH):
        found = layers(values, noisy[start : start + BATCH])
        slope = 2.0 * (found[-1] - clean[start : start + BATCH]) / BATCH
        for k in range(len(values) - 2, -1, -2):
            steps = found[k // 2].T @ slope, slope.sum(0)
            slope = (slope @ values[k].T) * (1.0 - found[k // 2] ** 2)
            for value, speed, step in zip(values[k : k + 2], speeds[k : k + 2], steps, strict=True):
                speed *= momentum
                speed -= lr * step
                value += speed


def load(path):
    """Weights and velocities from a file."""
    with np.load(path) as file:
        arrays = [file[f"arr_{k}"] for k in range(len(file.files))]
    return arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]


def main():
    """Train, printing as we go."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="directory of the weights")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the data (%(default)s)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate (%(default)s)")
    parser.add_argument("--momentum", type=float, default=0.9, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers (%(default)s)")
    flags = parser.parse_args()

    rng = np.random.default_rng([flags.seed, int(os.environ.get("HPO_TRIAL", 0))])
    training, validation, _ = images()
    saved = flags.checkpoint / "weights.npz"
    values, speeds = load(saved) if saved.exists() else fresh(rng)
    best = np.inf
    for _ in range(flags.epochs):
        with np.errstate(all="ignore"):  # a learning rate that is too large ends in nan, which the search understands
            train(values, speeds, training, flags.lr, flags.momentum, rng)
            now = loss(values, validation)
        print(f"FoM: {now:.6f}", flush=True)
        if now < best:
            best = now
            np.savez(flags.checkpoint / "best.npz", *values, *speeds)
    np.savez(saved, *values, *speeds)


if __name__ == "__main__":
    main()
