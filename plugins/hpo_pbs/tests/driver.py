"""A driver in a process of its own: ``python driver.py SETTINGS`` (JSON)."""

import json
import sys

import hpo_core as hpo


class Loud(hpo.Observer):
    """Prints what happens, a line each."""

    name = "loud"

    def notice(self, text: str) -> None:
        print(f"notice: {text}", flush=True)

    def trial_started(self, trial: hpo.Trial, attempt: int) -> None:
        print(f"started: {trial.number}.{attempt}", flush=True)

    def trial_finished(self, trial: hpo.Trial, result: hpo.Result) -> None:
        print(f"finished: {trial.number} {result.state.value}", flush=True)


settings = json.loads(sys.argv[1])
params = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
evaluator = hpo.Evaluator(**settings["evaluator"])
study = hpo.Study(
    params, evaluator, directory="study", resume_if_exists=True, seed=1, observers=[Loud()], **settings["study"]
)
study.optimize()
print("stopped:", study.stop_detail, flush=True)
study.close()
evaluator.close()
