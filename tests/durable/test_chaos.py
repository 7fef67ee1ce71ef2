"""A driver that is killed again and again loses nothing and repeats nothing."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import hpo_core as hpo
from driving import Driver, gone_within

KILLS = 25
TRIALS = 200


def test_killed_at_random_moments_every_trial_is_recorded_exactly_once(
    drive: Callable[..., Driver], program: Callable[[str], str]
) -> None:
    """SIGKILL at least 25 times over 200 real evaluations: none lost, none repeated, no process left, best right."""
    rng = random.Random(4)
    command = program("time.sleep(0.02); print('FoM:', float(sys.argv[1].split('=')[1]))")
    kills, seen = 0, Counter[int]()
    while True:
        budget = min(TRIALS, 6 * (kills + 1)) if kills < KILLS else TRIALS
        driver = drive(cmd=command, num_parallel_evals=3, study={"n_trials": TRIALS})
        if kills < KILLS:
            driver.wait_for_results(budget)
            time.sleep(rng.random() * 0.1)
            driver.signal(signal.SIGKILL)
            kills += 1
        out, err = driver.end()
        finished = Counter(record["trial"] for record in driver.records("finished"))
        assert not seen - finished, "a recorded trial was lost"
        seen = finished
        if "all trials of the budget" in out:
            break
        assert driver.process.returncode == -signal.SIGKILL, err
    assert kills >= KILLS
    assert gone_within(driver.study_id, 5.0)
    assert seen == Counter(range(1, TRIALS + 1))
    values = {record["trial"]: record["values"]["--x"] for record in driver.records("asked")}
    assert len(driver.records("asked")) == TRIALS
    with hpo.Study.load(driver.directory) as study:
        assert study.best_fom == min(values.values())
        assert study.best_params["--x"] == min(values.values())
