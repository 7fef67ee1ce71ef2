"""What the strategy ``pbt`` does with members, weights and failures."""

import json
import math
import random
import sys

import pytest

import hpo_core as hpo
from hpo_genetic import PBTOptions, PBTStrategy
from hpo_genetic._explore import explored, perturbed

SPACE = [["--lr", 0.5, hpo.Real(0.01, 1.0, log=True)], ["--n", 8, (1, 64)]]


class Population:
    """Trains pretended weights: a loss is a function of the hyperparameters of all epochs so far."""

    def __init__(self, *, space=SPACE, seed=1, baseline=True, **options):
        self.space = hpo.Params(space)
        self.strategy = PBTStrategy(self.space, seed=seed, options=PBTOptions(**options))
        self.trials, self.weights, self.losses, self.open, self.last = [], {}, {}, [], None
        if baseline:
            self.start(hpo.Proposal(self.space.baseline(random.Random(0))), "baseline")

    def start(self, proposal, origin="strategy"):
        number = len(self.trials) + 1
        proposal = proposal if origin == "strategy" else self.strategy.foreign(proposal, origin)
        info = json.loads(json.dumps(dict(proposal.info)))
        trial = hpo.Trial(
            number, dict(proposal.values), tag=proposal.tag or self.strategy.tag(number), origin=origin,
            parent=proposal.parent, fidelity=proposal.fidelity, info=info,
        )  # fmt: skip
        self.trials.append(trial)
        self.open.append(trial)
        return trial

    def ask(self):
        self.last = self.strategy.ask()
        return self.start(self.last) if isinstance(self.last, hpo.Proposal) else None

    def tell(self, trial, loss):
        self.open.remove(trial)
        self.losses[trial.number] = loss
        state = hpo.State.DONE if math.isfinite(loss) else hpo.State.FAILED
        self.strategy.tell(trial, hpo.Result(state, loss, loss))

    def train(self, trial):
        """An epoch brings the weights nearer to 0 by the share that the learning rate says, plus its noise."""
        before = 1.0 if trial.parent is None else self.weights[trial.parent]
        self.weights[trial.number] = before * (1.0 - 0.5 * trial.values["--lr"])
        return self.weights[trial.number] + 0.1 * trial.values["--lr"]

    def run(self, *, workers=1, of=None, most=10_000, order=None):
        order = order or random.Random(0)
        while len(self.trials) < most or self.open:
            while len(self.open) < workers and len(self.trials) < most and self.ask():
                pass
            if not self.open:
                return self
            trial = self.open[order.randrange(len(self.open))]
            self.tell(trial, (of or self.train)(trial))
        return self

    def of(self, member):
        return [trial for trial in self.trials if trial.tag.startswith(f"member{member}_")]


def constant(trial):
    """A loss that follows from the values alone."""
    return trial.values["--lr"]


# -- options


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pop_size", 1, "pop_size=1 must be a whole number, 2 or more"),
        ("epochs", 0, "epochs=0 must be a whole number, 1 or more"),
        ("quantile", 0.6, r"quantile=0.6 must be a share above 0, and 0.5 at most \(0.2 is a fifth"),
        ("ready_interval", 2.5, "ready_interval=2.5 must be a whole number"),
        ("factors", [0.8, -1], r"factors=\[0.8, -1\] must be a list of numbers above 0"),
        ("factors", [], r"factors=\[\] must be a list"),
        ("resample", 2, "resample=2 must be a probability"),
    ],
)
def test_options_are_checked_with_a_sentence(option, value, message):
    with pytest.raises(ValueError, match=message):
        PBTOptions(**{option: value})


# -- members and epochs


def test_the_defaults_are_the_first_epoch_of_member_1():
    population = Population(pop_size=3, epochs=4, quantile=0.01, ready_interval=9).run()
    assert [trial.tag for trial in population.of(1)] == [f"member1_epoch{k}" for k in (1, 2, 3, 4)]
    assert [trial.parent for trial in population.of(1)] == [None, *(trial.number for trial in population.of(1)[:3])]
    assert population.of(1)[0].origin == "baseline"


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_without_the_defaults_another_member_takes_their_place(workers):
    population = Population(baseline=False, pop_size=4, epochs=3).run(workers=workers)
    assert {trial.info["member"] for trial in population.trials} == {2, 3, 4, 5}


def test_each_trial_is_one_epoch_more_of_its_parents_weights():
    population = Population(pop_size=6, epochs=8, ready_interval=1).run(workers=4)
    ages = {}
    for trial in population.trials:
        ages[trial.number] = ages.get(trial.parent, 0) + 1
        assert (trial.fidelity or 1) == ages[trial.number] <= 8
    assert len(population.trials) <= 6 * 8
    assert population.last is hpo.Pause.DONE


def test_no_member_waits_for_another():
    """While one never ends, the others train on to their last epoch."""
    population = Population(pop_size=3, epochs=5, quantile=0.01, ready_interval=9)
    slow = population.ask()
    while trial := population.ask() or next((one for one in population.open if one is not slow), None):
        population.tell(trial, 1.0)
    assert population.last is hpo.Pause.WAIT
    assert [len(population.of(member)) for member in (1, 2, 3)] == [5, 1, 5]


def test_the_least_trained_goes_first():
    population = Population(pop_size=5, epochs=4, ready_interval=9).run()
    assert [trial.fidelity or 1 for trial in population.trials] == sorted(
        trial.fidelity or 1 for trial in population.trials
    )


def test_points_of_others_take_the_places_of_members_that_have_not_begun():
    population = Population(pop_size=3, epochs=2)
    mine = population.start(hpo.Proposal({"--lr": 0.03, "--n": 3}), "enqueued")
    for trial in (population.trials[0], mine):
        population.tell(trial, constant(trial))
    population.run(of=constant)
    assert mine.number in {trial.parent for trial in population.trials}
    assert len(population.trials) == 6


# -- exploit and explore


def test_the_worst_go_on_with_the_weights_and_nearly_the_values_of_the_best():
    population = Population(pop_size=10, epochs=6, ready_interval=2, factors=[0.5, 2.0]).run(of=constant)
    taken = [trial for trial in population.trials if "from" in trial.info]
    assert taken
    for trial in taken:
        parent = population.trials[trial.parent - 1]
        assert parent.tag.startswith(f"member{trial.info['from']}_")
        assert parent.tag.partition("_")[0] != trial.tag.partition("_")[0]
        own = [one for one in population.of(trial.info["member"]) if one.number < trial.number]
        assert population.losses[parent.number] < population.losses[own[-1].number]
        ratio = trial.values["--lr"] / parent.values["--lr"]
        assert any(abs(ratio - one) < 1e-6 for one in (0.5, 2.0)) or trial.values["--lr"] in (0.01, 1.0)


def test_nobody_gives_up_weights_before_they_are_settled():
    population = Population(pop_size=10, epochs=12, ready_interval=5).run(of=constant)
    for member in range(1, 11):
        steps = [trial.info.get("epoch", 1) for trial in population.of(member) if "from" in trial.info]
        assert all(later - earlier >= 5 for earlier, later in zip([1, *steps], steps, strict=False))


def test_a_slow_member_is_compared_at_its_own_age():
    """It is behind all others now, and was before them when they were as old."""
    population = Population(pop_size=4, epochs=9, ready_interval=1, quantile=0.5)
    slow = population.ask()
    while (trial := population.ask()) is not None and population.last is not hpo.Pause.DONE:
        population.tell(trial, 10.0 - (trial.fidelity or 1))
        if population.open[0] is not slow:
            population.tell(population.open[0], 9.0)
        if len(population.trials) > 16:
            break
    population.tell(slow, 8.0)
    again = next(trial for trial in iter(population.ask, None) if trial.info["member"] == slow.info["member"])
    assert again.parent == slow.number
    assert "from" not in again.info


def test_equal_losses_change_nothing():
    population = Population(pop_size=6, epochs=6, ready_interval=1).run(of=lambda trial: 1.0, workers=3)
    assert not any("from" in trial.info for trial in population.trials)


def test_a_schedule_is_learnt():
    """A large learning rate is best at first, a small one later: no fixed one comes to the same loss."""

    def fixed(rate):
        return (1.0 - 0.5 * rate) ** 20 + 0.1 * rate

    population = Population(pop_size=10, epochs=20, seed=3).run(workers=2)
    assert min(population.losses.values()) < 0.8 * min(fixed(k / 100) for k in range(1, 101))


# -- failures


def test_a_member_that_failed_takes_over_anothers_weights():
    def of(trial):
        return math.inf if trial.info.get("member") == 2 and trial.info["epoch"] == 3 else constant(trial)

    population = Population(pop_size=5, epochs=5, ready_interval=9).run(of=of)
    after = population.of(2)[3]
    assert after.tag == "member2_epoch4"
    assert after.info["from"] != 2
    assert after.parent is not None


def test_where_nothing_has_succeeded_members_begin_anew():
    population = Population(pop_size=3, epochs=4).run(of=lambda trial: math.inf)
    assert {trial.parent for trial in population.trials} == {None}
    assert len({trial.values["--lr"] for trial in population.trials}) == len(population.trials) == 12


# -- what stays on disk


def test_checkpoints_that_are_kept_are_those_of_the_members():
    population = Population(pop_size=6, epochs=10, ready_interval=1)
    for _ in range(40):
        while len(population.open) < 3 and population.ask():
            pass
        trial = population.open[0]
        population.tell(trial, population.train(trial))
        kept = population.strategy.continuable()
        assert len(kept) <= 6
        assert kept <= population.losses.keys()


# -- explore


@pytest.mark.parametrize(
    ("domain", "value", "allowed"),
    [
        (hpo.Real(1e-6, 1.0, log=True), 1e-3, {8e-4, 1.2e-3}),
        (hpo.Real(0.5, 1.0), 1.0, {0.8, 1.0}),
        (hpo.Real(0.0, 1.0), 0.0, {0.0, 0.2}),
        (hpo.Real(-1.0, 1.0), 0.0, {-0.4, 0.4}),
        (hpo.Integer(1, 64), 2, {1, 3}),
        (hpo.Values([1, 2, 4, 8]), 2, {1, 4}),
        (hpo.Values(["a", "b", "c"], ordered=False), "b", {"b"}),
    ],
)
def test_perturbation_is_one_step(domain, value, allowed):
    found = {perturbed(value, domain, random.Random(seed), [0.8, 1.2]) for seed in range(40)}
    assert found == allowed


def test_a_child_is_valid_where_flags_depend_on_others():
    space = hpo.Params(
        [
            ["--opt", "sgd", hpo.Values(["sgd", "adam", "lamb"], ordered=False)],
            ["--lr", 1e-3, hpo.Real(1e-6, 1.0, log=True)],
            ["--momentum", 0.9, (0.0, 0.99)],
            ["--low", 1, (0, 9)],
            ["--high", 5, (0, 9)],
        ]
    )
    space.add_conditions([hpo.condition.equals("--momentum", "--opt", "sgd")])
    space.add_constraints(["--low < --high"])
    space.add_forbidden(["--opt == 'lamb' and --lr > 0.1"])
    rng = random.Random(1)
    for _ in range(200):
        child = explored(space.draw(rng), space, rng, factors=[0.5, 2.0], resample=0.3)
        assert space.is_valid(child)


# -- as a study


@pytest.mark.parametrize("cut", [1, 9, 30])
def test_a_study_goes_on_after_a_cut_as_if_there_had_been_none(tmp_path, cut):
    def go(study, count):
        for _ in range(count):
            trial = study.ask()
            study.tell(trial, constant(trial))

    def seen(study):
        return [(dict(record.values), record.trial.parent, record.trial.tag) for record in study.trials]

    options = {"pop_size": 5, "epochs": 8, "ready_interval": 1}
    arguments = {"strategy": "pbt", "strategy_options": options, "seed": 5}
    with hpo.Study(hpo.Params(SPACE), directory=tmp_path / "whole", **arguments) as whole:
        go(whole, 36)
        expected = seen(whole)
    with hpo.Study(hpo.Params(SPACE), directory=tmp_path / "cut", **arguments) as study:
        go(study, cut)
        study.ask()
    with hpo.Study.load(tmp_path / "cut") as study:
        study.tell(study.open_trials[0], constant(study.open_trials[0]))
        go(study, 36 - cut - 1)
        assert seen(study) == expected


TRAIN = """\
import pathlib, sys
saved = pathlib.Path(sys.argv[1], "epochs.txt")
epochs = 1 + (int(saved.read_text()) if saved.exists() else 0)
saved.write_text(str(epochs))
fidelity = [word for word in sys.argv if word.startswith("--epoch=")]
assert fidelity in ([], [f"--epoch={epochs}"]), (fidelity, epochs)
if sys.argv[-1].startswith("--x=0.9"):
    sys.exit("diverged")
print("FoM:", 1.0 / epochs + float([word for word in sys.argv if word.startswith("--x=")][0][4:]))
"""


def test_a_real_study_keeps_checkpoints_that_members_go_on_from(tmp_path):
    """The program counts epochs in its checkpoint, and refuses a wrong fidelity; some runs fail."""
    (tmp_path / "train.py").write_text(TRAIN)
    evaluator = hpo.Evaluator(
        f"{sys.executable} -S {tmp_path}/train.py @checkpoint", checkpoint="ck", flag={"fidelity": "--epoch"},
        num_parallel_evals=2, workload_manager="local",
    )  # fmt: skip
    params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    options = {"pop_size": 4, "epochs": 4, "ready_interval": 1}
    study = hpo.Study(
        params, evaluator, strategy="pbt", strategy_options=options, seed=2, directory=tmp_path / "study"
    )  # fmt: skip
    with study:
        study.optimize()
        assert study.stop_reason is hpo.StopReason.EXHAUSTED
        assert set(study.trials.failures()) <= {hpo.Failure.EXIT_CODE}
        assert any(record.trial.fidelity == 4.0 for record in study.trials)
        kept = list((tmp_path / "study" / "checkpoints").glob("*/ck/epochs.txt"))
        assert 1 <= len(kept) <= 5


def test_it_is_refused_without_checkpoints(tmp_path):
    with pytest.raises(hpo.ConfigurationError, match="strategy 'pbt' continues trials from their checkpoints"):
        hpo.Study(
            hpo.Params(SPACE), hpo.Evaluator("true", workload_manager="local"), strategy="pbt", directory=tmp_path / "s"
        )
