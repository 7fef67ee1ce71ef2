"""Options of the workload manager ``slurm``."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen
class SlurmOptions:
    """Options of the workload manager ``slurm``.

    Attributes:
        exclusive: ask for whole nodes (``--exclusive``).
        pin_cores: share out each node's cores evenly; every evaluation runs on its own (``taskset``), with
            ``OMP_NUM_THREADS`` set.
        renewals: how often another allocation is asked for when the time of one is over, or nearly, and the study
            still runs.
        poll: seconds from one look at the queue to the next; longer while the controller does not answer.
        holder_patience: seconds after which the allocation ends itself when the driver's host is gone. A small job
            step watches a file that the driver changes; 0: no such step.
        shared_dir: a folder that all nodes see, for that file; empty: the directory where the driver runs. A hidden
            folder is made in it and removed in the end.
        command_timeout: seconds that a command of Slurm may take before it counts as not answered.
    """

    exclusive: bool = True
    pin_cores: bool = False
    renewals: int = field(default=0, validator=validators.ge(0))
    poll: float = field(default=5.0, validator=validators.ge(0.1))
    holder_patience: float = field(default=600.0, validator=validators.ge(0))
    shared_dir: str = ""
    command_timeout: float = field(default=30.0, validator=validators.ge(1))
