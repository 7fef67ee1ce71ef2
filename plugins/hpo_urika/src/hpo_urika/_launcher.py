"""Evaluations as children of the driver that ``run_training`` spreads over nodes."""

from __future__ import annotations

import shlex
import shutil
from typing import Any

from attrs import frozen

from hpo_core import Capability, ConfigurationError, Evaluation, LaunchError
from hpo_core.processes import ProcessLauncher
from hpo_urika._commands import PROGRAM, in_directory, shown, training_words


@frozen
class UrikaOptions:
    """Options of the launcher ``urika``.

    Attributes:
        node_list: let ``run_training`` append the names of the nodes to the command; without it,
            ``--no-node-list`` is given, since few programs accept arguments that they do not know.
    """

    node_list: bool = False


class UrikaLauncher(ProcessLauncher):
    """Runs ``run_training -n NODES --no-node-list ARGUMENTS "COMMAND"``.

    ``launch_args`` (or its older name ``urika_args``) is split into words as a shell does and passed on. Which
    nodes of the allocation are used is up to ``run_training``.
    """

    name = "urika"
    interface_version = 1
    capabilities = frozenset({Capability.STREAMS, Capability.KILLS_TREES, Capability.MULTI_NODE})
    Options = UrikaOptions

    def __init__(self, options: Any = None, *, launch_args: str = "") -> None:
        super().__init__(options or UrikaOptions(), launch_args=launch_args)
        try:
            self._arguments = shlex.split(launch_args)
        except ValueError as error:
            raise ConfigurationError(f"launch_args={launch_args!r} cannot be split into words: {error}") from error

    def launch(self, evaluation: Evaluation) -> None:
        if shutil.which(PROGRAM) is None:
            raise LaunchError(
                f"there is no program '{PROGRAM}' on PATH: on a Urika system, load the module 'analytics' first"
            )
        super().launch(evaluation)

    def words(self, evaluation: Evaluation) -> tuple[str, ...]:
        return in_directory(self._training(evaluation), evaluation.directory)

    def preview(self, evaluation: Evaluation) -> str:
        return shown(self._training(evaluation), evaluation.directory)

    def _training(self, evaluation: Evaluation) -> tuple[str, ...]:
        return training_words(
            evaluation.command,
            nodes=max(len(evaluation.slots), 1),
            arguments=self._arguments,
            node_list=self.options.node_list,
        )
