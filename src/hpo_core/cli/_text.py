"""Words that several commands say."""

from __future__ import annotations

from collections.abc import Mapping

from hpo_core._summary import by_class
from hpo_core.trial import Failure, State


def counts_sentence(counts: Mapping[State, int], failures: Mapping[Failure, int]) -> str:
    """Such as ``38 done, 2 failed (1 exit code, 1 no metric)``; what there is none of is left out."""
    told = {failure: count for failure, count in failures.items() if failure is not Failure.CANCELLED}
    parts = [f"{counts[State.DONE]} done"]
    if counts[State.FAILED]:
        parts.append(f"{counts[State.FAILED]} failed{by_class(told)}")
    for state, words in ((State.STOPPED, "stopped early"), (State.CANCELLED, "cancelled"), (State.RUNNING, "open")):
        if counts[state]:
            parts.append(f"{counts[state]} {words}")
    return ", ".join(parts)
