"""Programs that the job's script is told to start, and who hears of their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from hpo_core import LaunchError
from hpo_core.clusters import LoopCalls
from hpo_core.events import EventLoop
from hpo_pbs._folder import JobFolder


class Orders:
    """What was ordered for one study, on whose thread its launcher hears of it.

    Args:
        events: the study's loop; this is made, and closed, on its thread.
    """

    def __init__(self, events: EventLoop) -> None:
        self._loop = LoopCalls(events)
        self._open: dict[tuple[JobFolder, int], Callable[[str], None]] = {}

    def give(
        self,
        folder: JobFolder,
        words: Sequence[str],
        places: Mapping[str, int],
        environment: Mapping[str, str],
        ended: Callable[[str], None],
    ) -> None:
        """Have a program started on nodes; see `WorkloadManager.spawn`.

        Raises:
            LaunchError: the folder can't be written.
        """
        try:
            number = folder.order(words, places, environment)
        except OSError as error:
            raise LaunchError(f"{folder.path} can't be written: {error.strerror}") from error
        self._open[folder, number] = ended

    def over(self, folder: JobFolder, number: int) -> None:
        """The script says that all programs of an order have ended; any thread."""
        ended = self._open.pop((folder, number), None)
        if ended is not None:
            self._loop.call(partial(ended, folder.said(number)))

    def end_all(self, reason: str) -> None:
        """The job is over; any thread."""
        for key in list(self._open):
            ended = self._open.pop(key, None)
            if ended is not None:
                self._loop.call(partial(ended, reason))

    def close(self) -> None:
        """Tell nothing more."""
        self._open.clear()
        self._loop.close()
