"""From what is asked for to the words of qsub: pure functions."""

from __future__ import annotations

import getopt
from collections.abc import Sequence

from attrs import field, frozen

from hpo_core import AllocationError
from hpo_pbs._answers import read_duration, write_duration
from hpo_pbs._dialect import Dialect

_WHOLE_JOB = frozenset({"nodes", "ncpus", "mpiprocs", "ppn", "procs"})
"""Resources of the older kind of request, which does not go together with ``select`` and ``place``."""

_NO_ARRAY = "the nodes come from one job, not from an array of them"
_REFUSED = {
    "-I": "an interactive job needs a terminal",
    "-z": "the job's id would not be printed",
}


@frozen
class Arguments:
    """The user's text for qsub, verbatim, and what is in it.

    Attributes:
        words: all of them.
        options: those that are given, such as ``-q``, with their last values.
        resources: names that are given with ``-l``, with their values.
    """

    words: tuple[str, ...] = ()
    options: dict[str, str] = field(factory=dict)
    resources: dict[str, str] = field(factory=dict)

    @property
    def walltime_s(self) -> float | None:
        """The time that they ask for, in seconds."""
        return read_duration(self.resources.get("walltime", ""))

    @property
    def name(self) -> str:
        """The name that they give to the job; empty: none."""
        return self.options.get("-N", "")

    @property
    def says_nodes(self) -> bool:
        """Whether they say which nodes are asked for."""
        return bool(self.resources.keys() & {*_WHOLE_JOB, "select"})


def read_arguments(words: Sequence[str], dialect: Dialect) -> Arguments:
    """Look into the user's words; what qsub will not understand either, it may say by itself.

    Args:
        words: the user's.
        dialect: whose qsub will read them.

    Raises:
        AllocationError: they ask for something from which no nodes come.
    """
    try:
        found, rest = getopt.getopt(list(words), dialect.qsub_options)
    except getopt.GetoptError:
        return Arguments(tuple(words))
    if rest or "--" in words:
        raise AllocationError(f"alloc_args: {(rest or ['--'])[0]!r} is no option of qsub; what the job runs is ours")
    for option, value in found:
        why = _REFUSED.get(option) or (_NO_ARRAY if option == dialect.array_option else "")
        if why:
            raise AllocationError(f"alloc_args: {option} can't be used, since {why}")
        if option == "-W" and "block=true" in value.replace(" ", ""):
            raise AllocationError("alloc_args: -W block=true can't be used, since qsub would wait for the job's end")
    parts = [part for option, value in found if option == "-l" for part in value.split(",")]
    resources = {name.strip(): value for name, _, value in (part.partition("=") for part in parts)}
    return Arguments(tuple(words), dict(found), resources)


def qsub_words(
    dialect: Dialect,
    name: str,
    nodes: int,
    timeout_s: float,
    arguments: Arguments,
    *,
    cpus: int,
    gpus: int,
    exclusive: bool,
    output: str,
    script: str,
    keep: bool = True,
) -> tuple[str, ...]:
    """One job for all nodes. What the user's arguments say is left out of ours.

    Args:
        dialect: whose qsub it is.
        name: of the job.
        nodes: how many.
        timeout_s: its walltime.
        arguments: the user's own.
        cpus: processors on each node.
        gpus: GPUs on each node.
        exclusive: nobody else on the nodes.
        output: the file for what the job prints.
        script: what runs on its first node.
        keep: whether output may be asked for while the job runs.
    """
    resources = arguments.resources
    asked = []
    if not arguments.says_nodes:
        asked.append(dialect.nodes(nodes, cpus, gpus))
    place = dialect.place(exclusive=exclusive)
    if place and not resources.keys() & (_WHOLE_JOB | {place.partition("=")[0]}):
        asked.append(place)
    if "walltime" not in resources:
        asked.append(f"walltime={write_duration(timeout_s)}")
    ours = {"-N": name, "-j": "oe", **dialect.settings(exclusive=exclusive), "-o": output, "-r": "n"}
    if not keep:
        ours.pop("-k", None)
    settings = [
        word
        for option, value in ours.items()
        if option not in arguments.options
        for word in (option, *([value] if value else []))
    ]
    limits = [word for resource in asked for word in ("-l", resource)]
    return ("qsub", *settings, *limits, *arguments.words, *dialect.script(script))
