"""What the nodes of a job have for us: asked on the nodes, since only there device and core numbers count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from hpo_slurm._client import Client
from hpo_slurm._commands import expand_numbers, srun_words

_SCRIPT = (
    'echo "$SLURMD_NODENAME|${CUDA_VISIBLE_DEVICES:-$ROCR_VISIBLE_DEVICES}|'
    "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)\""
)
_TIMEOUT_S = 60.0


@frozen
class Found:
    """What each node has.

    Attributes:
        gpus: name of a node to the device ids that a job step sees there.
        cores: the same with core numbers.
        problem: why nothing is known, for people; empty: no problem.
    """

    gpus: Mapping[str, tuple[str, ...]] = field(factory=dict)
    cores: Mapping[str, tuple[int, ...]] = field(factory=dict)
    problem: str = ""


def inquire(client: Client, job: int, nodes: Sequence[str], *, cores: bool) -> Found:
    """Run one short step on all nodes where there are GPUs, or cores are to be shared out; else ask nobody."""
    detail = client.ask(("scontrol", "show", "--detail", "--oneliner", "job", str(job)))
    if not cores and (detail is None or not re.search(r"gres[:/]gpu|GRES=gpu", detail.out)):
        return Found()
    words = srun_words(job, nodes, "hpo-inquiry", arguments=("--chdir=/",))
    answer = client.ask((*words, "sh", "-c", _SCRIPT), _TIMEOUT_S)
    if answer is None or answer.code:
        why = "no answer" if answer is None else answer.err.strip()
        return Found(problem=f"the nodes could not be asked for their GPUs and cores, which are not shared out: {why}")
    return read_inquiry(answer.out)


def read_inquiry(text: str) -> Found:
    """The lines ``NAME|GPUS|CORES`` of all nodes."""
    gpus, cores = {}, {}
    for line in text.splitlines():
        name, _, rest = line.partition("|")
        devices, _, numbers = rest.partition("|")
        gpus[name] = tuple(one for one in devices.split(",") if re.match(r"\d|GPU-|MIG-", one))
        cores[name] = expand_numbers(numbers)
    return Found(gpus, cores)
