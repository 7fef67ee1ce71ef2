"""What the strategy ``genetic`` does with its knobs, spaces and results."""

import json
import math
import random

import pytest

import hpo_core as hpo
from hpo_genetic import GeneticOptions, GeneticStrategy
from hpo_genetic._documented import Breeding, Steps

SPACE = [["--x", 0.5, (0.0, 1.0)], ["--n", 8, (1, 64)], ["--kind", "a", ["a", "b", "c"]]]


def loss(values):
    return (values.get("--x", 0.0) - 0.3) ** 2 + abs(values.get("--n", 8) - 20) / 64 + (values["--kind"] != "b")


def ended(trial, value):
    state = hpo.State.DONE if math.isfinite(value) else hpo.State.FAILED
    return hpo.Result(state, value, value)


class Drive:
    """Asks and tells with some trials open, which end in an order of their own."""

    def __init__(self, space, *, seed=1, baseline=True, **options):
        self.space = space if isinstance(space, hpo.Params) else hpo.Params(space)
        self.strategy = GeneticStrategy(self.space, seed=seed, options=GeneticOptions(**options))
        self.trials, self.open, self.last = [], [], None
        if baseline:
            defaults = self.strategy.foreign(hpo.Proposal(self.space.baseline(random.Random(0))), "baseline")
            self.trials.append(hpo.Trial(1, defaults.values, tag=defaults.tag))
            self.open.append(self.trials[0])

    def run(self, count, *, of=loss, workers=1, seed=0):
        rng = random.Random(seed)
        stop = len(self.trials) + count
        while len(self.trials) < stop or self.open:
            while len(self.trials) < stop and len(self.open) < workers:
                self.last = self.strategy.ask()
                if isinstance(self.last, hpo.Pause):
                    break
                info = json.loads(json.dumps(dict(self.last.info)))
                trial = hpo.Trial(len(self.trials) + 1, dict(self.last.values), tag=self.last.tag, info=info)
                self.trials.append(trial)
                self.open.append(trial)
            if not self.open:
                break
            trial = self.open.pop(rng.randrange(len(self.open)))
            self.strategy.tell(trial, ended(trial, of(trial.values)))
        return self

    @property
    def values(self):
        return [trial.values for trial in self.trials]

    @property
    def best(self):
        return min(map(loss, self.values))


# -- options


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("generations", 0, "generations=0 must be a whole number, 1 or more"),
        ("num_demes", 2.5, "num_demes=2.5 must be a whole number"),
        ("pop_size", True, "pop_size=True must be a whole number"),
        ("mutation_rate", 1.5, r"mutation_rate=1.5 must be a probability from 0 to 1 \(0.05 is 5 %\)"),
        ("crossover_rate", math.nan, "crossover_rate=nan must be a probability"),
        ("migration_interval", -1, "migration_interval=-1 must be a number of generations above 0, or 0"),
        ("mul_mutation_bounds", [0.01, 0.1], "must be three shares from 0 to 1"),
        ("add_mutation_bounds", [0.03, 0.2, 0.1], r"add_mutation_bounds=\[0.03, 0.2, 0.1\] must be three shares"),
        ("synchronous", 1, "synchronous=1 must be True or False"),
    ],
)
def test_options_are_checked_with_a_sentence(option, value, message):
    with pytest.raises(ValueError, match=message):
        GeneticOptions(**{option: value})


def test_a_study_names_the_option(tmp_path):
    with pytest.raises(hpo.ConfigurationError, match="strategy 'genetic': pop_size=0 must be a whole number"):
        hpo.Study(hpo.Params(SPACE), strategy="genetic", strategy_options={"pop_size": 0}, directory=tmp_path / "study")


# -- the first generation


def test_the_defaults_are_the_first_individual_and_are_not_proposed_again():
    drive = Drive(SPACE, num_demes=2, pop_size=4).run(30)
    assert drive.trials[0].tag == "deme1_ind0"
    assert drive.values.count(drive.values[0]) == 1


def test_the_first_generation_is_diverse():
    """The defaults and mutants of them alone would leave most of the space unseen."""
    drive = Drive([["--x", 0.5, (0.0, 1.0)], ["--y", 0.5, (0.0, 1.0)]], num_demes=1, pop_size=10)
    drive.run(6, of=lambda values: 1.0)
    for flag in ("--x", "--y"):
        found = [values[flag] for values in drive.values]
        assert min(found) < 0.25
        assert max(found) > 0.75


def test_ranges_over_decades_are_seen_in_all_decades_without_log():
    drive = Drive([["--lr", 1e-3, (1e-6, 1.0)]], num_demes=1, pop_size=40).run(40, of=lambda values: values["--lr"])
    assert min(values["--lr"] for values in drive.values) < 3e-6


# -- bookkeeping


def test_tags_are_demes_in_turn_with_fresh_ids():
    drive = Drive(SPACE, num_demes=3, pop_size=4, migration_interval=0).run(9)
    assert [trial.tag for trial in drive.trials[1:]] == [f"deme{1 + k % 3}_ind{1 + k // 3}" for k in range(9)]


def test_a_migrant_uses_up_an_id_of_the_deme_that_it_comes_to():
    drive = Drive(SPACE, num_demes=1, pop_size=4, migration_interval=2.5).run(30)
    ids = [int(trial.tag.partition("ind")[2]) for trial in drive.trials]
    missing = sorted(set(range(max(ids))) - set(ids))
    assert missing[0] == 4  # after the first generation, as in the original
    assert len(missing) == 3  # and after another 2.5 and 5


def test_the_best_migrates_to_the_next_deme():
    drive = Drive(SPACE, num_demes=2, pop_size=4, migration_interval=1).run(40)
    first, second = drive.strategy._demes
    assert {one.order for one in first.members} & {one.order for one in second.members}


def test_generations_end_the_search():
    drive = Drive(SPACE, generations=3, num_demes=2, pop_size=4).run(100)
    assert len(drive.trials) == 24
    assert drive.last is hpo.Pause.DONE


# -- knobs


def test_without_rates_and_with_documented_operators_alone_nothing_is_recombined_or_mutated():
    """Children would be copies, so that new points are drawn: no value is near another's by more than chance."""
    wide = [["--a", 0.5, (0.0, 1.0)], ["--b", 0.5, (0.0, 1.0)]]
    drive = Drive(
        wide, num_demes=1, pop_size=8, mutation_rate=0.0, crossover_rate=0.0, documented_only=True
    ).run(60, of=lambda values: values["--a"])  # fmt: skip
    assert len({values["--a"] for values in drive.values}) == len(drive.values) == 61


def test_crossover_alone_only_recombines_values():
    wide = [[f"--p{k}", 0.5, (0.0, 1.0)] for k in range(8)]
    drive = Drive(
        wide, num_demes=1, pop_size=10, mutation_rate=0.0, crossover_rate=0.5, documented_only=True
    ).run(60, of=lambda values: sum(values.values()))  # fmt: skip
    known = {flag: set() for flag in drive.space.flags}
    for trial in drive.trials:
        if trial.info.get("by") == "bred":
            assert all(value in known[flag] for flag, value in trial.values.items())
        for flag, value in trial.values.items():
            known[flag].add(value)
    assert sum(trial.info.get("by") == "bred" for trial in drive.trials) > 20


@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_crossover_rate_is_a_probability_for_each_hyperparameter(rate):
    breeding = Breeding(0.0, rate, [0, 0, 0], [0, 0, 0])
    first, second = {f"{k}": 0 for k in range(2000)}, {f"{k}": 1 for k in range(2000)}
    assert sum(breeding.cross(first, second, random.Random(1)).values()) == pytest.approx(2000 * rate, rel=0.15)


def test_mutations_keep_to_the_documented_bounds():
    """Small: up to 1 % of the value or 3 % of the range; large: 10 to 20 % of the value or 3 to 13 % of the range."""
    breeding = Breeding(0.05, 0.33, [0.01, 0.1, 0.2], [0.03, 0.03, 0.13])
    rng, domain = random.Random(1), hpo.Real(0.0, 10.0)
    steps = [abs(breeding.moved(2.0, domain, Steps(), rng) - 2.0) for _ in range(4000)]
    allowed = [(0.0, 0.02), (0.2, 0.4), (0.0, 0.3), (0.3, 1.3)]
    assert all(any(low - 1e-6 <= step <= high + 1e-6 for low, high in allowed) for step in steps)
    for low, high in [(0.0, 0.02), (0.31, 0.4), (0.41, 1.3)]:
        assert sum(low <= step <= high for step in steps) > 200


def test_mutations_stop_at_the_bounds():
    breeding = Breeding(1.0, 0.0, [0.01, 0.1, 0.2], [0.03, 0.03, 0.13])
    moved = {breeding.moved(1.0, hpo.Real(-1.0, 1.0), Steps(), random.Random(seed)) for seed in range(50)}
    assert 1.0 in moved
    assert all(-1.0 <= value <= 1.0 for value in moved)


@pytest.mark.parametrize("domain", [hpo.Integer(1, 8), hpo.Integer(0, 1000), hpo.Integer(1, 4096, log=True)])
def test_whole_numbers_always_move_by_whole_steps(domain):
    breeding = Breeding(1.0, 0.0, [0.01, 0.1, 0.2], [0.03, 0.03, 0.13])
    for value in {domain.low, domain.high, (domain.low + domain.high) // 2}:
        moved = {breeding.moved(value, domain, Steps(), random.Random(seed)) for seed in range(200)}
        assert value not in moved
        assert all(isinstance(one, int) and domain.low <= one <= domain.high for one in moved)


def test_list_values_move_to_near_indices_more_often():
    """An individual at index 20 of 100 is more likely to come to 19 or 21 than farther away."""
    breeding = Breeding(1.0, 0.0, [0.01, 0.1, 0.2], [0.03, 0.03, 0.13])
    domain, rng = hpo.Values(list(range(100))), random.Random(2)
    distances = [abs(breeding.moved(20, domain, Steps(), rng) - 20) for _ in range(3000)]
    assert min(distances) == 1
    assert sum(d <= 3 for d in distances) > 2 * sum(4 <= d <= 6 for d in distances) > 0
    assert sum(d > 20 for d in distances) < 30


def test_values_of_an_unordered_list_are_all_as_near():
    breeding = Breeding(1.0, 0.0, [0.01, 0.1, 0.2], [0.03, 0.03, 0.13])
    domain, rng = hpo.Values(["a", "b", "c", "d", "e"], ordered=False), random.Random(2)
    moved = [breeding.moved("a", domain, Steps(), rng) for _ in range(2000)]
    assert {one: pytest.approx(500, rel=0.2) for one in "bcde"} == {
        one: moved.count(one) for one in "abcde" if one != "a"
    }


# -- results


def test_one_huge_figure_of_merit_does_not_flatten_selection():
    def of(values):
        return 1e30 if values["--x"] > 0.95 else loss(values)

    drive = Drive(SPACE, num_demes=1, pop_size=10).run(80, of=of)
    assert min(map(of, drive.values)) < 0.02


def test_no_point_is_evaluated_twice():
    drive = Drive(SPACE, num_demes=2, pop_size=6).run(100, workers=7)
    keys = [drive.space.key(values) for values in drive.values]
    assert len(set(keys)) == len(keys)


def test_duplicates_where_they_are_allowed():
    small = [["--k", 1, (1, 6)], ["--kind", "a", ["a", "b"]]]
    drive = Drive(small, num_demes=1, pop_size=6, allow_duplicates=True).run(60)
    assert len(drive.trials) == 61
    assert len({drive.space.key(values) for values in drive.values}) <= 12


def test_a_finite_space_that_is_exhausted_is_done():
    small = [["--k", 1, (1, 6)], ["--kind", "a", ["a", "b", "c"]]]
    drive = Drive(small, num_demes=2, pop_size=8).run(100, workers=3)
    assert len({drive.space.key(values) for values in drive.values}) == len(drive.trials) == 18
    assert drive.last is hpo.Pause.DONE


def test_an_exhausted_space_with_conditions_is_done():
    space = hpo.Params([["--a", 0, (0, 3)], ["--b", 0, (0, 3)]])
    space.add_conditions([hpo.condition.equals("--b", "--a", 1)])
    drive = Drive(space, num_demes=1, pop_size=8).run(100, of=lambda values: values["--a"])
    assert len(drive.trials) == 3 + 4
    assert drive.last is hpo.Pause.DONE


def test_failures_do_not_breed():
    def of(values):
        return math.inf if values["--kind"] == "a" else loss(values)

    drive = Drive(SPACE, num_demes=1, pop_size=10).run(100, of=of)
    assert all(one.values["--kind"] != "a" for deme in drive.strategy._demes for one in deme.members)
    assert sum(values["--kind"] == "a" for values in drive.values[50:]) < 15


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_beats_random_search_on_a_small_problem(seed):
    rng = random.Random(seed)
    space = hpo.Params(SPACE)
    at_random = min(loss(space.draw(rng)) for _ in range(60))
    assert Drive(space, seed=seed).run(60).best < at_random


def test_children_are_valid_where_flags_depend_on_others():
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
    drive = Drive(space, num_demes=2, pop_size=6).run(120, of=lambda v: v["--lr"] + v["--low"], workers=5)
    assert all(space.is_valid(values) for values in drive.values)
    assert {trial.info.get("by") for trial in drive.trials} >= {"bred", "differential", "screened", "quadratic"}


# -- order and seeds


def test_equal_seeds_and_orders_give_equal_searches():
    first, second = (Drive(SPACE, num_demes=2, pop_size=5).run(60, workers=6, seed=3).values for _ in range(2))
    assert first == second
    assert Drive(SPACE, num_demes=2, pop_size=5, seed=2).run(60, workers=6, seed=3).values != first


def test_breeding_begins_with_the_first_results():
    """With the default demes of 64 the search does not wait for a generation of 256."""
    drive = Drive(SPACE).run(40)
    assert sum(trial.info.get("by") != "founder" for trial in drive.trials[1:]) > 25


def test_asynchronous_search_never_waits():
    drive = Drive(SPACE, num_demes=2, pop_size=4)
    assert all(isinstance(drive.strategy.ask(), hpo.Proposal) for _ in range(50))


def test_synchronous_search_waits_for_its_generation():
    drive = Drive(SPACE, num_demes=2, pop_size=4, synchronous=True, baseline=False)
    asked = [drive.strategy.ask() for _ in range(9)]
    assert asked[8] is hpo.Pause.WAIT
    for number, proposal in enumerate(asked[:8], 1):
        assert drive.strategy.ask() is hpo.Pause.WAIT
        trial = hpo.Trial(number, proposal.values, tag=proposal.tag, info=proposal.info)
        drive.strategy.tell(trial, ended(trial, loss(trial.values)))
    assert isinstance(drive.strategy.ask(), hpo.Proposal)


# -- resuming


@pytest.mark.parametrize("cut", [1, 17, 45])
def test_a_study_goes_on_after_a_cut_as_if_there_had_been_none(tmp_path, cut):
    def go(study, count):
        for _ in range(count):
            trial = study.ask()
            study.tell(trial, loss(trial.values))

    arguments = {"strategy": "genetic", "strategy_options": {"num_demes": 2, "pop_size": 6}, "seed": 5}
    with hpo.Study(hpo.Params(SPACE), directory=tmp_path / "whole", **arguments) as whole:
        go(whole, 60)
        expected = [dict(record.values) for record in whole.trials]
    with hpo.Study(hpo.Params(SPACE), directory=tmp_path / "cut", **arguments) as study:
        go(study, cut)
        study.ask()
    with hpo.Study.load(tmp_path / "cut") as study:
        open_one = study.trials[-1]
        study.tell(open_one.number, loss(open_one.values))
        go(study, 60 - cut - 1)
        assert [dict(record.values) for record in study.trials] == expected


def test_state_goes_on_exactly_while_a_function_of_the_results_is_used_again():
    space = [[f"--x{k}", 0.5, (0.0, 1.0)] for k in range(10)]

    def bowl(values):
        return sum(2.0**k * (values[f"--x{k}"] - 0.4 + 0.5 * values[f"--x{k - 1}"]) ** 2 for k in range(1, 10))

    drive = Drive(space, num_demes=1, pop_size=10, generations=100).run(80, of=bowl)
    for _ in range(30):
        other = Drive(space, num_demes=1, pop_size=10, generations=100)
        other.strategy.set_state(json.loads(json.dumps(drive.strategy.get_state())))
        other.trials, other.open = list(drive.trials), []
        assert drive.run(4, of=bowl).values == other.run(4, of=bowl).values


def test_state_goes_on_exactly_after_many_results():
    """The archive of results has been thinned out by then."""
    space = [["--x", 0.5, (0.0, 1.0)], ["--y", 0.5, (0.0, 1.0)]]
    drive = Drive(space, num_demes=1, pop_size=10)
    rng = random.Random(1)
    for number in range(2, 800):
        values = drive.space.draw(rng)
        trial = hpo.Trial(number, values, tag=f"point{number}")
        drive.strategy.tell(trial, ended(trial, values["--x"]))
    text = json.dumps(drive.strategy.get_state())
    other = Drive(space, num_demes=1, pop_size=10)
    other.strategy.set_state(json.loads(text))
    drive.open, other.open = [], []
    assert drive.run(20, of=lambda v: v["--x"]).values == other.run(20, of=lambda v: v["--x"]).values
    assert len(drive.strategy._archive) <= 751
