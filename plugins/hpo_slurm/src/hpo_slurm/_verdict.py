"""How a job step ended, from srun's exit code and from what srun and slurmstepd say: pure functions of strings."""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

from hpo_core.trial import Failure
from hpo_slurm._commands import complaint


class Doubt(Enum):
    """What has to be found out before the end of an evaluation can be told."""

    NONE = "nothing: the program ended by itself"
    JOB = "whether the allocation is over, or this step alone"
    NODE = "whether the node died, or the program was killed"
    REFUSED = "why Slurm did not start it"
    SILENT = "when the controller answers again: it did not start"


@frozen
class Verdict:
    """How a step ended, as far as srun tells.

    Attributes:
        exit_code: of the program, or None.
        signal: that ended it, or None.
        failure: a class that is no fault of the program, or None.
        message: one sentence for people where there is a failure.
        doubt: what is to be asked first.
        node: the node that is to blame, where one is named.
    """

    exit_code: int | None = None
    signal: int | None = None
    failure: Failure | None = None
    message: str = ""
    doubt: Doubt = Doubt.NONE
    node: str = ""


_UNREACHABLE = re.compile(r"Unable to contact slurm controller|Socket timed out on send/recv", re.IGNORECASE)
_LAUNCH = re.compile(r"Task launch for StepId=\S+ failed on node (\S+?):")
_NEVER_BEGAN = re.compile(
    r"Unable to (?:create step|confirm allocation)|Application launch failed|Slurm job \d+ has expired|"
    r"Job/step already complet|Invalid job id specified|unrecognized option|invalid option|Invalid .* specification"
)
_MEMORY = re.compile(r"oom-kill|Out Of Memory|exceeded memory limit", re.IGNORECASE)
_NODE_FAILURE = re.compile(r"DUE TO NODE FAILURE|Node failure on (\S+)")
_PREEMPTED = re.compile(r"DUE TO PREEMPTION")
_TIME_LIMIT = re.compile(r"DUE TO TIME LIMIT")
_CANCELLED = re.compile(r"\*\*\* (?:STEP|JOB) .*CANCELLED AT|has been cancelled|allocation has been revoked")
_EXITED = re.compile(r"Exited with exit code (\d+)")
_SAID_BY_SLURM = re.compile(r"^(?:srun|slurmstepd)(?:-\S+)?: .*$", re.MULTILINE)


def judge(code: int, messages: str, errors: str) -> Verdict:
    """What became of a step.

    Args:
        code: srun's exit code; negative: the signal that ended srun itself.
        messages: what srun wrote.
        errors: the end of what its tasks wrote to stderr, in which slurmstepd's words stand too.
    """
    if code == 0:
        return Verdict(exit_code=0)
    said = "\n".join([messages, *_SAID_BY_SLURM.findall(errors)])
    words = complaint(messages)
    if _NEVER_BEGAN.search(messages):
        if _UNREACHABLE.search(messages):
            return Verdict(exit_code=code, message=words, doubt=Doubt.SILENT)
        launch = _LAUNCH.search(messages)
        return Verdict(exit_code=code, message=words, doubt=Doubt.REFUSED, node=launch.group(1) if launch else "")
    if code < 0:
        return Verdict(signal=-code, message="srun itself was killed", doubt=Doubt.JOB)
    own = _own_end(code, messages)
    exit_code, number = own.exit_code, own.signal
    if _MEMORY.search(said):
        text = "it held more memory than Slurm allows it"
        return Verdict(exit_code, number, Failure.MEMORY_LIMIT, text)
    failure = _NODE_FAILURE.search(said)
    if failure:
        name = failure.group(1) or ""
        return Verdict(exit_code, number, Failure.NODE_LOST, f"node failure {name}".strip(), Doubt.JOB)
    if _PREEMPTED.search(said):
        return Verdict(exit_code, number, Failure.PREEMPTED, "Slurm gave its place to another job", Doubt.JOB)
    if _TIME_LIMIT.search(said):
        text = "it reached the time limit of its job step"
        return Verdict(exit_code, number, Failure.TIME_LIMIT, text, Doubt.JOB)
    if _CANCELLED.search(said):
        if exit_code is not None:
            return Verdict(exit_code, number, None, "", Doubt.JOB)
        text = "its job step was cancelled from outside (scancel)"
        return Verdict(exit_code, number, Failure.CANCELLED, text, Doubt.JOB)
    return own


def _own_end(code: int, messages: str) -> Verdict:
    """The program's own end. The shell around it exits with 128 + signal; if that was killed itself, so does srun."""
    codes = [int(text) for text in _EXITED.findall(messages)]
    exited = max(codes, default=code)
    if 128 < exited < 193:
        return Verdict(signal=exited - 128, doubt=Doubt.NODE if exited == 137 and not codes else Doubt.NONE)
    return Verdict(exit_code=exited)
