"""Command lines of ``run_training``: pure functions of strings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

PROGRAM = "run_training"
NO_NODE_LIST = "--no-node-list"

_IN_DIRECTORY = 'cd "$1" && shift || exit 126\nexec "$@"'


def training_words(command: str, *, nodes: int, arguments: Sequence[str], node_list: bool) -> tuple[str, ...]:
    """``run_training -n NODES [--no-node-list] ARGUMENTS COMMAND``; the command is one word, as it expects.

    Args:
        command: the evaluation's command line.
        nodes: nodes that it takes.
        arguments: the user's own, word by word.
        node_list: whether the names of the nodes are appended to the command.
    """
    quiet = () if node_list or NO_NODE_LIST in arguments else (NO_NODE_LIST,)
    return (PROGRAM, "-n", str(nodes), *quiet, *arguments, command)


def in_directory(words: Sequence[str], directory: str | None) -> tuple[str, ...]:
    """The same program, started in a directory."""
    if directory is None:
        return tuple(words)
    return ("/bin/sh", "-c", _IN_DIRECTORY, "sh", directory, *words)


def shown(words: Sequence[str], directory: str | None) -> str:
    """The same as a person would type it."""
    line = shlex.join(words)
    return line if directory is None else f"cd {shlex.quote(directory)} && {line}"
