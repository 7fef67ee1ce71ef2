"""A launcher whose evaluations outlive their driver, and a driver that uses it; real processes, files for all news."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

from attrs import field, mutable

import hpo_core as hpo
from hpo_core import Capability, Evaluation, Launcher, Report, Result, Trial, _processes
from hpo_core.events import Ended, EventLoop, Key, Output, Started
from hpo_core.registry import added

POLL_S = 0.01


@mutable(eq=False)
class Detached:
    """An evaluation that is watched, and how much of its output was posted."""

    key: Key
    folder: Path
    posted: dict[str, int] = field(factory=lambda: {"stdout": 0, "stderr": 0})


class DetachingLauncher(Launcher):
    """Runs each evaluation in a session of its own, with a folder of its own under the study's directory."""

    name = "detaching"
    capabilities = frozenset({Capability.STREAMS, Capability.ADOPTS, Capability.KILLS_TREES})

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._watched: dict[Key, Detached] = {}
        self._open = True
        events.call_later(POLL_S, self._poll)

    def launch(self, evaluation: Evaluation) -> None:
        folder = _folder(evaluation)
        folder.mkdir(parents=True)
        inner = f"cd {shlex.quote(evaluation.directory or os.getcwd())} && {{ {evaluation.command}\n}}"
        script = (
            f"sh -c {shlex.quote(inner)} >{shlex.quote(str(folder / 'stdout'))} 2>{shlex.quote(str(folder / 'stderr'))}"
            f"; echo $? >{shlex.quote(str(folder / 'new'))}; cd {shlex.quote(str(folder))} && mv new status"
        )
        environment = {**os.environ, **evaluation.environment, "HPO_EVALUATION": evaluation.name}
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        process = subprocess.Popen(["setsid", "--fork", "sh", "-c", script], env=environment, **quiet)
        process.wait()
        self._watch(evaluation)

    def adopt(self, evaluations: Sequence[Evaluation]) -> Collection[Key]:
        found = [
            evaluation
            for evaluation in evaluations
            if (_folder(evaluation) / "status").exists() or _processes.find("HPO_EVALUATION", evaluation.name)
        ]
        for evaluation in found:
            self._watch(evaluation)
            (_folder(evaluation) / "adopted").touch()
        return [evaluation.key for evaluation in found]

    def end(self, key: Key, grace_s: float) -> None:
        detached = self._watched.pop(key, None)
        if detached is not None:
            _processes.sweep("HPO_EVALUATION", detached.folder.name, grace_s)
            self._read(detached)
            self.events.post(Ended(key, signal=signal.SIGTERM))

    def clean(self, study_id: str, grace_s: float) -> Sequence[str]:
        ours = {detached.folder.name for detached in getattr(self, "_watched", {}).values()}
        left = {pid: _name(pid) for pid in _processes.find("HPO_STUDY", study_id)}
        return [f"process {pid}" for pid in _processes.end([p for p in left if left[p] not in ours], grace_s)]

    def close(self) -> None:
        for key in list(self._watched):
            _processes.sweep("HPO_EVALUATION", self._watched.pop(key).folder.name, 0.0)
        self._open = False

    def _watch(self, evaluation: Evaluation) -> None:
        self._watched[evaluation.key] = Detached(evaluation.key, _folder(evaluation))
        self.events.post(Started(evaluation.key))

    def _poll(self) -> None:
        if not self._open:
            return
        for detached in list(self._watched.values()):
            status = detached.folder / "status"
            over = status.exists()
            self._read(detached)
            if over:
                del self._watched[detached.key]
                self.events.post(Ended(detached.key, int(status.read_text())))
        self.events.call_later(POLL_S, self._poll)

    def _read(self, detached: Detached) -> None:
        for stream, posted in detached.posted.items():
            path = detached.folder / stream
            data = path.read_bytes()[posted:] if path.exists() else b""
            if data:
                detached.posted[stream] += len(data)
                self.events.post(Output(detached.key, data, stream))


def _folder(evaluation: Evaluation) -> Path:
    return Path(evaluation.environment["HPO_STUDY_DIRECTORY"]) / "detached" / evaluation.name


def _name(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""  # It has just ended.
    return next((word[15:].decode() for word in words if word.startswith(b"HPO_EVALUATION=")), "")


class Listener(hpo.Strategy):
    """Random points; writes down what it hears, and stops nothing."""

    name = "listener"
    capabilities = frozenset({Capability.REPORTS})
    heard: ClassVar[list[tuple[int, float]]] = []

    def ask(self) -> hpo.Proposal:
        return hpo.Proposal(self.space.draw(self.rng))

    def report(self, trial: Trial, report: Report) -> bool:
        self.heard.append((trial.number, report.step))
        return False

    def tell(self, trial: Trial, result: Result) -> None:
        self.heard.append((trial.number, -1.0))


def main(directory: str, command: str, n_trials: int, strategy: str) -> None:
    """Begin or go on with a study whose evaluations outlive it; prints what the strategy heard."""
    with added(DetachingLauncher, Listener):
        evaluator = hpo.Evaluator(command, launcher="detaching", workload_manager="local", num_parallel_evals=2)
        study = hpo.Study(
            hpo.Params([["--x", 0.5, (0.0, 1.0)]]),
            evaluator,
            strategy=strategy,
            n_trials=n_trials,
            seed=3,
            directory=directory,
            resume_if_exists=True,
        )
        study.optimize()
        print(json.dumps({"stop": study.stop_detail, "heard": Listener.heard}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
