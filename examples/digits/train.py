"""Train a small neural network on the digits that come with scikit-learn.

An ordinary program that knows nothing of hpo-core. It prints the validation loss after each epoch and, at
the end, the figure of merit:

    python examples/digits/train.py --lr=0.01 --optimizer=adam
"""

import argparse
import os

# One thread a run: several runs share the machine, and the arithmetic stays the same on any number of cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 20


def parse_flags() -> argparse.Namespace:
    """Read the flags, refusing those that do not go together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate (%(default)s)")
    parser.add_argument("--alpha", type=float, default=1e-4, help="weight of the L2 penalty (%(default)s)")
    parser.add_argument("--hidden", type=int, default=32, help="width of the hidden layer (%(default)s)")
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd", help="(%(default)s)")
    parser.add_argument("--momentum", type=float, help="of sgd, and of sgd alone (0.9)")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the data (%(default)s)")
    flags = parser.parse_args()
    if flags.momentum is not None and flags.optimizer != "sgd":
        parser.error("--momentum goes with --optimizer=sgd only")
    return flags


def main() -> None:
    """Train, printing as we go."""
    flags = parse_flags()
    images, labels = load_digits(return_X_y=True)
    train_x, valid_x, train_y, valid_y = train_test_split(
        images / 8.0 - 1.0, labels, test_size=0.3, random_state=SEED, stratify=labels
    )
    model = MLPClassifier(
        hidden_layer_sizes=(flags.hidden,),
        solver=flags.optimizer,
        learning_rate_init=flags.lr,
        alpha=flags.alpha,
        momentum=0.9 if flags.momentum is None else flags.momentum,
        batch_size=64,
        random_state=SEED,
    )
    classes = sorted(set(labels))
    loss = float("inf")
    for epoch in range(1, flags.epochs + 1):
        model.partial_fit(train_x, train_y, classes=classes)
        loss = log_loss(valid_y, model.predict_proba(valid_x), labels=classes)
        print(f"epoch: {epoch} loss: {loss:.4f}", flush=True)
    print(f"FoM: {loss:.6f}")


if __name__ == "__main__":
    main()
