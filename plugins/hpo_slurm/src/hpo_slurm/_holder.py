"""A small job step that ends the allocation when the driver's host is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hpo_core.clusters import Clerk
from hpo_core.events import Timer
from hpo_slurm._client import environment
from hpo_slurm._commands import srun_words

SCRIPT = """\
exec >/dev/null 2>&1
file=$1 patience=$2 pause=$3 last= idle=0
[ -r "$file" ] || sleep 10
[ -r "$file" ] || exit 3
while [ "$idle" -lt "$patience" ]; do
    sleep "$pause"
    idle=$((idle + pause))
    now=
    read -r now <"$file"
    if [ -n "$now" ] && [ "$now" != "$last" ]; then last=$now idle=0; fi
done
until scancel "$SLURM_JOB_ID"; do sleep 30; done
"""
"""What runs in the step: it watches a file whose content changes as long as the driver lives."""

_UNSEEN = 3
_AGAIN_S = 30.0
_MOST_PAUSE_S = 30.0


class Holder:
    """The file, and the step that watches it. Made and used in the clerk's thread; closed after that has ended.

    Args:
        clerk: whose thread it is.
        job: the allocation.
        nodes: its nodes; the step runs on the first one that works.
        place: where the folder with the file is made; it must be seen by the nodes.
        patience_s: how long the file may stand still.
        notice: told what people should know.
    """

    def __init__(
        self,
        clerk: Clerk,
        job: int,
        nodes: Sequence[str],
        place: Path,
        patience_s: float,
        *,
        notice: Callable[[str], None],
    ) -> None:
        self._clerk, self._job, self._nodes, self._notice = clerk, job, list(nodes), notice
        self._patience_s = patience_s
        self._pause_s = min(_MOST_PAUSE_S, max(1.0, patience_s / 10))
        self._process: subprocess.Popen[bytes] | None = None
        self._timers: list[Timer] = []
        self._beats = 0
        self.folder = ""
        try:
            self.folder = tempfile.mkdtemp(prefix=".hpo-slurm-", dir=place.absolute())
            self._beat()
            self._start()
        except OSError as error:
            self._notice(
                f"no file can be written in {place.absolute()} ({error.strerror}): if this host dies, the allocation "
                "stays until its time is over; set the option shared_dir"
            )

    def _beat(self) -> None:
        self._beats += 1
        try:
            with open(os.path.join(self.folder, "heartbeat"), "w", encoding="ascii") as file:
                file.write(f"{self._beats}\n")
        except OSError:
            if self._beats == 1:
                raise
        self._timers = [self._clerk.call_later(self._pause_s, self._beat)]

    def _start(self) -> None:
        file = os.path.join(self.folder, "heartbeat")
        words = srun_words(self._job, self._nodes[:1], "hpo-holder", arguments=("--chdir=/",))
        numbers = (str(max(1, round(self._patience_s))), str(max(1, round(self._pause_s))))
        self._process = subprocess.Popen(
            (*words, "sh", "-c", SCRIPT, "sh", file, *numbers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        if self._process.stdout is not None:
            self._clerk.watch(self._process.stdout.fileno(), self._ended)

    def _ended(self) -> None:
        """The step is over, though the job is not known to be: try another node, unless nodes don't see the file."""
        process, self._process = self._process, None
        if process is None or process.stdout is None:
            return
        self._clerk.unwatch(process.stdout.fileno())
        process.stdout.close()
        if process.wait() == _UNSEEN:
            self._notice(
                f"the nodes don't see {self.folder}: if this host dies, the allocation stays until its time is over; "
                "set the option shared_dir to a folder that they see"
            )
            return
        self._nodes.append(self._nodes.pop(0))
        self._clerk.call_later(_AGAIN_S, self._start_again)

    def _start_again(self) -> None:
        if self.folder:
            self._start()

    def close(self) -> None:
        """End it and remove the file."""
        for timer in self._timers:
            timer.cancel()
        process, self._process = self._process, None
        if process is not None and process.stdout is not None:
            self._clerk.unwatch(process.stdout.fileno())
            process.terminate()
            process.stdout.close()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = ""
