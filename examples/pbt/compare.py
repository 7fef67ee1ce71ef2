"""Population-based training against the best fixed setting that random search finds, with as many epochs.

    python examples/pbt/compare.py

For each seed: a population of 10 that trains for 20 epochs, in trials of one epoch each (200 at most); and random
search over 10 settings of 20 epochs each, the defaults among them. Both may stop at their best epoch: what counts is
the lowest loss on the validation images after any epoch. The loss on the test images, by which nobody has chosen, is
that of the weights of that epoch. The last columns are random search with five times as many epochs.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

import train

import hpo_core as hpo

MEMBERS, EPOCHS, MORE = 10, 20, 5


def space():
    """What is searched: the same for both."""
    return hpo.Params([["--lr", 1e-3, hpo.Real(1e-5, 0.1, log=True)], ["--momentum", 0.9, (0.0, 0.98)]])


def search(folder, seed, parallel, strategy, *, epochs, **arguments):
    """Run a study.

    Returns:
        validation loss, test loss and values of the best trial, and the epochs that were trained in all.
    """
    program = f"@python {Path(train.__file__).resolve()} --checkpoint=@checkpoint --seed={seed} --epochs={epochs}"
    evaluator = hpo.Evaluator(
        program, checkpoint="saved", metric_rule="min", num_parallel_evals=parallel, workload_manager="local"
    )
    with hpo.Study(space(), evaluator, strategy=strategy, seed=seed, directory=folder, **arguments) as study:
        study.optimize()
        best = study.best_trial
        weights, _ = train.load(folder / "checkpoints" / best.trial.tag / "saved" / "best.npz")
        return best.fom, train.loss(weights, train.images()[2]), dict(best.values), len(study.trials) * epochs


def main():
    """Run both for each seed and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--parallel", type=int, default=2, help="evaluations at the same time (%(default)s)")
    flags = parser.parse_args()
    rows = []
    print("seed   pbt: valid    test  epochs   fixed: valid    test  epochs   fixed, 5x: valid    test")
    for seed in range(1, flags.seeds + 1):
        with tempfile.TemporaryDirectory() as name:
            folder, options = Path(name), {"pop_size": MEMBERS, "epochs": EPOCHS}
            pbt = search(folder / "pbt", seed, flags.parallel, "pbt", epochs=1, strategy_options=options)
            fixed = search(folder / "fixed", seed, flags.parallel, "random", epochs=EPOCHS, n_trials=MEMBERS)
            more = search(folder / "more", seed, flags.parallel, "random", epochs=EPOCHS, n_trials=MORE * MEMBERS)
        rows.append((pbt[0], pbt[1], fixed[0], fixed[1], more[0], more[1]))
        print(
            f"{seed:4}       {pbt[0]:.4f}  {pbt[1]:.4f}    {pbt[3]:4}         {fixed[0]:.4f}  {fixed[1]:.4f}"
            f"    {fixed[3]:4}             {more[0]:.4f}  {more[1]:.4f}",
            flush=True,
        )
    print("median     {:.4f}  {:.4f}                 {:.4f}  {:.4f}                     {:.4f}  {:.4f}".format(
        *(median(column) for column in zip(*rows, strict=True))
    ))  # fmt: skip
    won = sum(pbt < fixed for pbt, _, fixed, *_ in rows)
    print(f"pbt has the lower validation loss with {won} of {len(rows)} seeds")


if __name__ == "__main__":
    main()
