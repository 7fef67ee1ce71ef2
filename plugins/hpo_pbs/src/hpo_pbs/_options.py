"""Options of the workload manager ``pbs``."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen
class PbsOptions:
    """Options of the workload manager ``pbs``.

    Attributes:
        cpus: processors to ask for on each node (``ncpus``); 0: one for each evaluation that runs there at a time.
        gpus: GPUs to ask for on each node (``ngpus``), shared out among its evaluations; they are numbered from 0.
        exclusive: nobody else on the nodes (``place=scatter:excl``).
        renewals: how often another allocation is asked for when the time of one is over, or nearly, and the
            study still runs.
        poll: seconds from one look at the queue to the next, once the job runs; longer while the server does not
            answer, sooner at first.
        patience: seconds without a sign of life from the driver's host after which the job ends itself.
        shared_dir: a folder that all nodes see, for the job's script and messages; empty: ``~/.hpo-pbs``. A hidden
            folder that this user alone may enter is made in it, and removed in the end.
        starter: what gets programs to the nodes: ``pbsdsh``, ``pbs_tmrsh``, ``ssh``, or ``auto``, the first that is
            there.
        command_timeout: seconds that a command of PBS may take before it counts as not answered.
    """

    cpus: int = field(default=0, validator=validators.ge(0))
    gpus: int = field(default=0, validator=validators.ge(0))
    exclusive: bool = False
    renewals: int = field(default=0, validator=validators.ge(0))
    poll: float = field(default=10.0, validator=validators.ge(0.1))
    patience: float = field(default=600.0, validator=validators.ge(2))
    shared_dir: str = ""
    starter: str = field(default="auto", validator=validators.in_(("auto", "pbsdsh", "pbs_tmrsh", "ssh")))
    command_timeout: float = field(default=30.0, validator=validators.ge(1))
