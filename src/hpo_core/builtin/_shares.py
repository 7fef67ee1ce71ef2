"""What a program should know of its part of a node."""

from __future__ import annotations

from collections.abc import Iterable

from hpo_core.allocation import Slot


def shares(slots: Iterable[Slot]) -> dict[str, str]:
    """Variables that say which GPUs and cores are an evaluation's own; ``HPO_CORES`` also ties it to them."""
    variables = {}
    for slot in slots:
        if slot.gpus:
            gpus = ",".join(dict.fromkeys(slot.gpus))
            variables["CUDA_VISIBLE_DEVICES"] = variables["ROCR_VISIBLE_DEVICES"] = gpus
        if slot.cores:
            variables["HPO_CORES"] = ",".join(map(str, slot.cores))
            variables["OMP_NUM_THREADS"] = str(len(slot.cores))
    return variables
