"""What workload managers of clusters share: an allocation, asked for by commands and given back for sure.

A manager that is made of these parts runs all commands in the thread of a `Clerk`, by a `Runner` that gives up what
hangs; `Looks` says when to ask again; `Standing` tells the study's loop what is there; a `Guard` gives everything back
when the driver is killed. hpo-slurm and hpo-pbs are made of them, and ``docs/authors/cluster.md`` shows how they go
together. All of it belongs to the plugin interface.
"""

from __future__ import annotations

from hpo_core.clusters._clerk import Clerk, LoopCalls
from hpo_core.clusters._guarding import Guard
from hpo_core.clusters._layout import Layout, lay_out, share_out, slots_on_each, split_arguments
from hpo_core.clusters._looks import Looks
from hpo_core.clusters._runner import Answer, Runner
from hpo_core.clusters._standing import Standing
from hpo_core.clusters.guard import Leftovers, repeat

__all__ = [
    "Answer",
    "Clerk",
    "Guard",
    "Layout",
    "Leftovers",
    "Looks",
    "LoopCalls",
    "Runner",
    "Standing",
    "lay_out",
    "repeat",
    "share_out",
    "slots_on_each",
    "split_arguments",
]
