"""A job is asked for: one qsub, again where the server was away, until there is an id or a refusal."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Container
from pathlib import Path

from hpo_core.allocation import AllocationRequest
from hpo_core.clusters import slots_on_each
from hpo_pbs._answers import read_id
from hpo_pbs._client import Client
from hpo_pbs._dialect import Dialect
from hpo_pbs._folder import SCRIPT, JobFolder
from hpo_pbs._options import PbsOptions
from hpo_pbs._request import Arguments, qsub_words

_SOONEST_S, _LATEST_S = 2.0, 60.0


def words_for(
    dialect: Dialect,
    request: AllocationRequest,
    arguments: Arguments,
    options: PbsOptions,
    folder: Path,
    *,
    keep: bool = True,
) -> tuple[str, ...]:
    """The words of qsub for what is asked for; see `qsub_words`."""
    return qsub_words(
        dialect,
        request.name,
        request.nodes,
        request.timeout_s,
        arguments,
        cpus=options.cpus or slots_on_each(request, request.nodes),
        gpus=options.gpus,
        exclusive=options.exclusive,
        output=str(folder / "output"),
        script=str(folder / SCRIPT),
        keep=keep,
    )


class Submission:
    """One job of ours. Everything here is called in the clerk's thread.

    Args:
        client: of PBS.
        request: what is asked for.
        arguments: the user's own.
        options: of the manager.
        folder: of the job.
        mine: ids of jobs that we have already.
        tell_guard: see `hpo_pbs._guard`.

    Attributes:
        refusal: what PBS has against it; empty: nothing.
        settled: False where a qsub never said what came of it: there may be a job.
        words: qsub's, once it was run.
    """

    def __init__(
        self,
        client: Client,
        request: AllocationRequest,
        arguments: Arguments,
        options: PbsOptions,
        folder: JobFolder,
        mine: Container[str],
        tell_guard: Callable[[str], None],
    ) -> None:
        self._client, self._request, self._arguments = client, request, arguments
        self._options, self._folder, self._mine, self._tell_guard = options, folder, mine, tell_guard
        self._keep, self._wait_s = True, 0.0
        self.refusal, self.problem, self.settled = "", "", True
        self.words: tuple[str, ...] = ()

    def submit(self) -> str | None:
        """Ask for the job; one that came of a qsub which never answered is taken, if it can be found.

        Returns:
            the job's id; None: see `refusal`, or try again after `wait_s`.
        """
        found = [] if self.settled else self.find()
        if found is None:
            return None
        if not found:
            return self._run_qsub()
        self._settle(found[0])
        return found[0]

    def _run_qsub(self) -> str | None:
        submitted = self._folder.path / "submitted"
        self.words = words_for(
            self._client.dialect, self._request, self._arguments, self._options, self._folder.path, keep=self._keep
        )
        answer = self._client.call(
            self.words, out=submitted, started=lambda pid: self._tell_guard(f"qsub {pid} {submitted}")
        )
        job = read_id(answer.out)
        self.settled = job is not None or answer.code not in (None, 0)
        if job is None and answer.code == 0:
            job = next(iter(self.find() or []), None)
        if job is not None or self.settled:
            self._settle(job)
        if job is not None:
            return job
        if answer.code == 0:
            self.refusal = f"qsub printed no id of a job: {answer.out.strip()!r} (asked: {shlex.join(self.words)})"
        elif answer.silent:
            self.problem = answer.complaint
        elif self._keep and "-k" in answer.err and "llegal" in answer.err:
            self._keep = False  # older versions don't know how to show output early
            return self._run_qsub()
        else:
            self.refusal = f"PBS refuses the job: {answer.complaint} (asked: {shlex.join(self.words)})"
        return None

    def find(self) -> list[str] | None:
        """The job that came of it all the same, by its name; None: PBS does not answer.

        A name that the user chose may be that of other jobs: ours has our folder in its words.
        """
        answer = self._client.named(self._arguments.name or self._request.name)
        if answer.code != 0:
            return None
        found = [job for job in answer.out.split() if job not in self._mine]
        if not self._arguments.name:
            return found
        shown = {job: self._client.shows(job, str(self._folder.path)) for job in found}
        return None if None in shown.values() else [job for job, ours in shown.items() if ours]

    def wait_s(self) -> float:
        """Seconds until it is worth another try; ever more."""
        self._wait_s = min(max(_SOONEST_S, self._wait_s * 2), _LATEST_S)
        return self._wait_s

    def _settle(self, job: str | None) -> None:
        """It is known what came of a qsub: a job, or nothing."""
        self.settled = True
        if job is not None:
            self._tell_guard(f"job {job}")
        self._tell_guard("qsub 0 ")
