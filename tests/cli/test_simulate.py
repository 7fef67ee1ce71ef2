"""``hpo run --simulate``: what a person is told before a real run is paid for."""

import os

import pytest

STUDY = """
command = "no-such-program"
n_trials = 20
seed = 3
nodes = 4
strategy = "random"
directory = "real"
[params]
"--x" = { range = [0.0, 1.0], default = 0.9 }
"""


@pytest.fixture
def study(folder):
    (folder / "study.toml").write_text(STUDY)
    (folder / "surrogate.py").write_text("def loss(values):\n    return (float(values['--x']) - 0.3) ** 2\n")
    return "study.toml"


def test_one_strategy_is_shown_over_time(hpo, study, folder):
    before = sorted(os.listdir(folder))
    told = hpo("run", study, "--simulate", "surrogate.py:loss", "--run-times", "1m", "--alloc-timeout", "1h")
    assert told.status == 0
    lines = told.out.splitlines()
    assert lines[:4] == [
        "Simulated, nothing was run: 4 evaluations at a time on 4 nodes; seed 3.",
        "In the program's place: surrogate.py:loss. Run times: 1m.",
        "",
        "Strategy random: 20 trials in 5 min 00 s, slots busy 100.0% of the time; all trials of the budget are done.",
    ]
    assert [line.split() for line in lines[5:7]] == [["after", "trials", "best"], ["30", "s", "0", "-"]]
    assert lines[7].startswith("1 min 00 s  4       ")
    assert sorted(set(os.listdir(folder)) - {"__pycache__"}) == before


def test_the_same_words_tell_the_same(hpo, study):
    words = ("run", study, "--simulate", "surrogate.py:loss", "--run-times", "5m:20m", "--strategies", "random,grid")
    assert hpo(*words).out == hpo(*words).out


def test_strategies_are_compared_over_the_same_seeds(hpo, study):
    told = hpo("run", study, "--simulate", "surrogate.py:loss", "--strategies", "random, grid", "--run-times", "10s")
    lines = told.out.splitlines()
    assert "seeds 3 to 7, medians shown" in lines[0]
    assert lines[3].split("  ")[:2] == ["strategy", "trials"]
    assert [line.split()[0] for line in lines[4:6]] == ["random", "grid"]
    assert lines[-1] == "Each ended since: all trials of the budget are done; the strategy has nothing more to propose."


def test_an_earlier_study_can_stand_in(hpo, study, folder, train):
    assert hpo("run", "-q", "--trials", "5", "-d", "earlier", "--param=--lr=0.0:1.0", "--", train).status == 0
    told = hpo("run", "--trials", "9", "--param=--lr=0.0:1.0", "--seed", "1", "--simulate", "earlier", "--", train)
    assert "In the program's place: the nearest trial of earlier. Run times: its run time." in told.out
    assert "Strategy random: 9 trials in " in told.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--simulate", "nowhere"), "'nowhere' is neither the directory of a study nor a function such as"),
        (("--simulate", "surrogate.py:loss", "--repeats", "0"), "--repeats 0: must be 1 or more"),
        (("--simulate", "surrogate.py:loss", "--strategies", "random,gird"), "did you mean 'grid'?"),
        (("--strategies", "random"), "belong to --simulate SOURCE"),
        (("--simulate", "surrogate.py:loss", "--dry-run"), "--dry-run and --simulate exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(hpo, study, words, message):
    told = hpo("run", study, *words)
    assert told.status == 2
    assert message in told.err
