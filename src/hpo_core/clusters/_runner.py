"""A scheduler's commands, each run to its end or given up."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

_LAST_WORDS_S = 1.0


@frozen
class Answer:
    """What a command said.

    Attributes:
        code: its exit code; None where it did not end in time, was aborted, or could not be started.
        out, err: what it printed.
    """

    code: int | None
    out: str = ""
    err: str = ""


class Runner:
    """Runs commands and waits for them, from any thread; each in a session of its own, so that no Ctrl-C reaches it.

    Args:
        environment: gives their variables.
        timeout_s: the longest that any of them may take, in seconds.
    """

    def __init__(self, environment: Callable[[], Mapping[str, str]], timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        self._environment = environment
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._aborted = False

    def run(
        self,
        words: Sequence[str],
        timeout_s: float | None = None,
        *,
        out: Path | None = None,
        started: Callable[[int], None] | None = None,
    ) -> Answer:
        """Run a command to its end.

        Args:
            words: the program and its arguments.
            timeout_s: the longest that it may take, in seconds.
            out: a file for what it prints; what then stands there stands in the answer too.
            started: is told its process id; a command for which that is given is not aborted.
        """
        if self._aborted:
            return Answer(None, "", "it was not run any more")
        try:
            with open(os.devnull if out is None else out, "wb") as file:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if out is None else file,
                    stderr=subprocess.PIPE,
                    env=self._environment(),
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
        except OSError as error:
            return Answer(None, "", f"{words[0]} cannot be started: {error.strerror}")
        with process:
            if started is not None:
                started(process.pid)
            else:
                self._note(process)
            try:
                said, err = process.communicate(timeout=self.timeout_s if timeout_s is None else timeout_s)
            except subprocess.TimeoutExpired:
                _kill(process)
                said, err = _last_words(process)
            finally:
                with self._lock:
                    self._running.discard(process)
        if out is not None:
            said = out.read_text(errors="replace")
        return Answer(None if process.returncode < 0 else process.returncode, said, err)

    def abort(self) -> None:
        """Kill what runs in other threads, and whatever is begun from now on: it is as if nobody had answered."""
        with self._lock:
            self._aborted = True
            for process in self._running:
                _kill(process)

    @property
    def aborted(self) -> bool:
        """Whether nothing is run now."""
        return self._aborted

    def resume(self) -> None:
        """Run commands again."""
        self._aborted = False

    def _note(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._running.add(process)
            if self._aborted:
                _kill(process)


def _last_words(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a killed command printed; nothing where something that it left behind holds its output open."""
    try:
        return process.communicate(timeout=_LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        return "", ""


def _kill(process: subprocess.Popen[str]) -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended
