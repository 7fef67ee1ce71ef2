"""OpenPBS and PBS Professional, and Torque: everything in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from hpo_pbs._answers import Answer, Job, read_json, read_text, sequence


class Dialect:
    """OpenPBS and PBS Professional."""

    answer: type[Answer] = Answer
    """How the ends of its commands are understood."""
    qsub_options = "a:A:c:C:e:fGhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
    """Letters of qsub's options; a colon stands behind those that have a value."""
    array_option = "-J"
    over = frozenset("FX")
    """States of jobs that are over."""
    force: tuple[str, ...] = ("-W", "force")
    """Makes qdel end what does not end by itself."""
    deleted: frozenset[int] = frozenset()
    """Exit statuses of jobs that somebody deleted, where no comment says so."""

    def __init__(self) -> None:
        self._prefers_text = False

    def nodes(self, nodes: int, cpus: int, gpus: int) -> str:
        """The resource that asks for nodes: one process of ours on each."""
        return f"select={nodes}:ncpus={cpus}:mpiprocs=1" + (f":ngpus={gpus}" if gpus else "")

    def place(self, *, exclusive: bool) -> str:
        """The resource that keeps them apart; empty: there is no such thing."""
        return "place=scatter:excl" if exclusive else "place=scatter"

    def settings(self, *, exclusive: bool) -> Mapping[str, str]:
        """Options of qsub beyond those of both, with their values; empty ones have none."""
        return {"-k": "oed"}  # the output is seen while the job runs

    def script(self, path: str) -> tuple[str, ...]:
        """The end of the words of qsub: no login shell comes between."""
        return ("--", "/bin/sh", path)

    def delete(self, jobs: Sequence[str], *, force: bool = False) -> tuple[str, ...]:
        """Delete jobs."""
        return ("qdel", *(self.force if force else ()), *jobs)

    def select(self, user: str, name: str) -> tuple[str, ...]:
        """Ask for a user's jobs of a name that are not over; the name is the last word."""
        return ("qselect", "-u", user, "-N", name)

    def status(self, job: str, *, history: bool = False) -> tuple[str, ...] | None:
        """Ask how a job stands; None: of its history, nothing can be asked."""
        form = () if self._prefers_text else ("-F", "json")
        return ("qstat", *(("-x",) if history else ()), "-f", *form, job)

    def read(self, answer: Answer, job: str) -> Job | None:
        """The job in the answer to `status`, whatever its exit code; None where it is not there.

        Raises:
            ValueError: the answer can't be read; ask again, in another form.
        """
        if self._prefers_text:
            return _of(read_text(answer.out), job)
        try:
            return _of(read_json(answer.out), job)
        except (ValueError, AttributeError):
            self._prefers_text = True
            raise ValueError(answer.out[:200]) from None


class TorqueAnswer(Answer):
    """What a command of Torque said: its codes are numbered otherwise, so only the words count."""

    silent_codes: ClassVar[frozenset[int]] = frozenset()
    silent_words: ClassVar[str] = (
        r"cannot connect to|could not connect|can ?not establish connection|connection (refused|timed out)|"
        r"communication failure|trqauthd|pbs_iff|server (busy|shutting down)|no free connections|\btime out\b|"
        r"batch protocol error|end of file|socket"
    )
    gone_codes: ClassVar[frozenset[int]] = frozenset({153})


class Torque(Dialect):
    """Torque 4 to 6, from its documentation and its sources; never tried on a real one."""

    answer = TorqueAnswer
    qsub_options = "a:A:b:c:C:d:D:e:EfF:hIj:J:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:xXz"
    array_option = "-t"
    over = frozenset("C")
    force = ("-p",)
    """Only where the site lets owners purge jobs (`owner_purge`); else it is refused, and does no harm."""
    deleted = frozenset({256 + 15, 256 + 9})

    def __init__(self) -> None:
        super().__init__()
        self._prefers_text = True

    def nodes(self, nodes: int, cpus: int, gpus: int) -> str:
        return f"nodes={nodes}:ppn={cpus}" + (f":gpus={gpus}" if gpus else "")

    def place(self, *, exclusive: bool) -> str:
        return ""

    def settings(self, *, exclusive: bool) -> Mapping[str, str]:
        return {"-S": "/bin/sh", **({"-n": ""} if exclusive else {})}

    def script(self, path: str) -> tuple[str, ...]:
        return (path,)

    def select(self, user: str, name: str) -> tuple[str, ...]:
        return ("qselect", "-u", user, "-s", "EHQRTW", "-N", name)

    def status(self, job: str, *, history: bool = False) -> tuple[str, ...] | None:
        return None if history else ("qstat", "-f", job)


DIALECTS: Mapping[str, type[Dialect]] = {"pbs": Dialect, "torque": Torque}


def _of(jobs: Mapping[str, Job], wanted: str) -> Job | None:
    return next((job for name, job in jobs.items() if sequence(name) == sequence(wanted)), None)
