"""OpenPBS and PBS Professional, and Torque: everything in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo_pbs._answers import Answer, Job, read_json, read_text, sequence


class Dialect:
    """OpenPBS and PBS Professional."""

    name = "PBS"
    forces = True
    """Whether ``qdel -W force`` ends jobs that don't end by themselves."""
    over = frozenset("FX")
    """States of jobs that are over."""

    def __init__(self) -> None:
        self._prefers_text = False

    def nodes(self, nodes: int, cpus: int, gpus: int) -> str:
        """The resource that asks for nodes: one process of ours on each."""
        return f"select={nodes}:ncpus={cpus}:mpiprocs=1" + (f":ngpus={gpus}" if gpus else "")

    def place(self, *, exclusive: bool) -> str:
        """The resource that keeps them apart; empty: it needs none."""
        return "place=scatter:excl" if exclusive else "place=scatter"

    keep: str = "oed"
    """What makes output visible while the job runs."""

    def script(self, path: str) -> tuple[str, ...]:
        """The end of the words of qsub: no login shell comes between."""
        return ("--", "/bin/sh", path)

    def delete(self, jobs: Sequence[str], *, force: bool = False) -> tuple[str, ...]:
        """Delete jobs; `force` only where it `forces`."""
        return ("qdel", *(("-W", "force") if force else ()), *jobs)

    def select(self, user: str, name: str) -> tuple[str, ...]:
        """Ask for a user's jobs of a name that are not over."""
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


class Torque(Dialect):
    """Torque: reported by others, and never tried by us."""

    name = "Torque"
    forces = False
    over = frozenset("C")
    keep = ""

    def __init__(self) -> None:
        super().__init__()
        self._prefers_text = True

    def nodes(self, nodes: int, cpus: int, gpus: int) -> str:
        return f"nodes={nodes}:ppn={cpus}" + (f":gpus={gpus}" if gpus else "")

    def place(self, *, exclusive: bool) -> str:
        return ""  # it has no such thing; sites and their schedulers do, for alloc_args

    def script(self, path: str) -> tuple[str, ...]:
        return ("-S", "/bin/sh", path)

    def status(self, job: str, *, history: bool = False) -> tuple[str, ...] | None:
        return None if history else ("qstat", "-f", job)


DIALECTS: Mapping[str, type[Dialect]] = {"pbs": Dialect, "torque": Torque}


def _of(jobs: Mapping[str, Job], wanted: str) -> Job | None:
    return next((job for name, job in jobs.items() if sequence(name) == sequence(wanted)), None)
