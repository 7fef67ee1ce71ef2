"""Holds an allocation of one node until its time is over, and prints what became of it."""

from hpo_core.allocation import AllocationRequest
from hpo_core.events import AllocationLost, RealEventLoop
from hpo_slurm import SlurmManager, SlurmOptions

manager, events = SlurmManager(SlurmOptions(poll=1.0)), RealEventLoop()
manager.acquire(AllocationRequest(nodes=1, timeout_s=60.0, name="hpo-timed", args="-J hpo-timed"), events)
lost = False
while not lost:
    for event in events.next_events():
        print(event, flush=True)
        lost = lost or isinstance(event, AllocationLost)
manager.release()
