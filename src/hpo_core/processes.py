"""A launcher that runs each evaluation as one child process of the driver: the base of ``local`` and others."""

from __future__ import annotations

import shlex
import signal
import sys

from hpo_core import _engine, _processes
from hpo_core.events import Ended, EventLoop, Key, Output, Started
from hpo_core.exceptions import ConfigurationError, LaunchError
from hpo_core.interfaces import Capability, Launcher
from hpo_core.trial import Evaluation, Failure


class ProcessLauncher(Launcher):
    """Starts each evaluation as a child process in a session of its own and listens to its pipes.

    No thread per process and no polling on Linux; elsewhere one waiting thread per process. When an evaluation's
    own process ends, what it left running in its process group is killed. When the driver is killed, a guard
    process ends everything that it had started.

    Subclasses override `words` to put another program before the command.
    """

    capabilities = frozenset({Capability.STREAMS, Capability.KILLS_TREES, Capability.LIMITS_MEMORY})

    def words(self, evaluation: Evaluation) -> tuple[str, ...] | None:
        """The program and its arguments that run an evaluation; None: the command itself.

        Called before each launch, and for ``--dry-run``.
        """
        return None

    def environment(self, evaluation: Evaluation) -> dict[str, str]:
        """Variables for the child process, beyond the driver's own."""
        return dict(evaluation.environment)

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            raise ConfigurationError(
                "SIGCHLD is ignored in this process, so that no exit status can be had; "
                "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
            )
        self._engine = _engine.Engine(
            events,
            environment=_engine.inherited(),
            guard=(sys.executable, "-I", "-S", _processes.__file__),
            output=lambda key, data, stream: events.post(Output(key, data, stream)),
            ended=lambda key, how: events.post(ended(key, how)),
        )

    def launch(self, evaluation: Evaluation) -> None:
        job = _engine.Job(
            evaluation.key,
            evaluation.name,
            evaluation.command,
            evaluation.argv,
            self.words(evaluation),
            evaluation.directory,
            self.environment(evaluation),
            evaluation.memory_limit_bytes,
        )
        try:
            pid = self._engine.start(job)
        except OSError as error:
            raise LaunchError(f"cannot start '{evaluation.command}': {_engine.reason(error)}") from error
        self.events.post(Started(evaluation.key, f"process {pid}"))

    def end(self, key: Key, grace_s: float) -> None:
        self._engine.end(key, grace_s)

    def clean(self, study_id: str, grace_s: float) -> tuple[str, ...]:
        return tuple(f"process {pid}" for pid in _processes.sweep("HPO_STUDY", study_id, grace_s))

    def preview(self, evaluation: Evaluation) -> str:
        words = self.words(evaluation)
        return evaluation.command if words is None else shlex.join(words)

    def close(self) -> None:
        self._engine.close()


def ended(key: Key, how: _engine.Exit) -> Ended:
    """How an engine's job ended, as the loop hears it."""
    failure = Failure(how.failure) if how.failure else None
    return Ended(key, how.exit_code, how.signal, failure, how.message, how.cpu_s, how.memory_bytes)
