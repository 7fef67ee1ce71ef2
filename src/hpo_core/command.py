"""From a command and a trial's arguments to the command line that runs."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hpo_core.space import Domain
    from hpo_core.trial import Value

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./^ \t-]*")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./^-]+")
_SHELL_WORDS = frozenset(
    """
    . : [ alias bg break case cd command continue do done elif else esac eval exec exit export false fg fi for getopts
    hash if in jobs kill local printf pwd read readonly return set shift source test then time times trap true type
    ulimit umask unalias unset until wait while { } ! echo function select [[ ]] declare typeset let
    """.split()  # noqa: SIM905 - one list literal a word would be a page
)
"""First words that a shell understands by itself."""

PLACEHOLDERS: Mapping[str, str] = {
    "checkpoint": "directory of this trial's checkpoint",
    "trial": "number of the trial",
    "attempt": "number of the attempt, from 1",
    "tag": "tag of the trial, such as point17",
    "directory": "directory in which the evaluation runs",
    "nodelist": "names of the evaluation's nodes, joined with commas",
    "fidelity": "how much of the full work to do, where the strategy says so",
    "python": "the Python interpreter that runs hpo-core",
}
"""What can stand in a command behind an ``@``."""

_VARIABLES = {name: f"HPO_{name.upper()}" for name in PLACEHOLDERS}

_PLACEHOLDER = re.compile("@(" + "|".join(PLACEHOLDERS) + r")(?![A-Za-z0-9_])")

_LIKE_PLACEHOLDER = re.compile(r"(?<![A-Za-z0-9_.@-])@([a-z]{3,20})(?![A-Za-z0-9_.@-])")


def uses(command: str, placeholder: str) -> bool:
    """Whether a command holds this one of the `PLACEHOLDERS`."""
    return any(match[1] == placeholder for match in _PLACEHOLDER.finditer(command))


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Fill in placeholders where no shell will read the text, such as in the name of a file.

    Args:
        text: what holds them.
        environment: the evaluation's variables. A placeholder whose variable is not there stays as it was written.
    """
    return _PLACEHOLDER.sub(lambda match: environment.get(_VARIABLES[match[1]], match[0]), text)


def misspelt(command: str) -> dict[str, str]:
    """Words of a command that are nearly placeholders, and which ones."""
    found = {}
    for word in _LIKE_PLACEHOLDER.findall(command):
        near = difflib.get_close_matches(word, PLACEHOLDERS, n=1, cutoff=0.75)
        if near and word not in PLACEHOLDERS:
            found[word] = near[0]
    return found


class CommandLine(NamedTuple):
    """A command line that is ready to run.

    Attributes:
        text: for a POSIX shell.
        argv: the same as words, or None where only a shell understands it.
    """

    text: str
    argv: tuple[str, ...] | None


class Template:
    """A command that is made into many command lines.

    Args:
        command: the user's shell command, with placeholders.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._words = None if _PLACEHOLDER.search(command) else _words(command)
        """What the command is as words, where neither a placeholder nor a shell has a say in it."""

    def render(self, arguments: str, environment: Mapping[str, str]) -> CommandLine:
        """Fill in the placeholders and append the arguments.

        Args:
            arguments: what is appended, ready for a shell, as `Arguments` writes it.
            environment: the evaluation's variables; ``@tag`` becomes ``HPO_TAG``, and so on. A placeholder whose
                variable is not there stays as it was written.
        """
        if self._words is not None:
            text = f"{self._command} {arguments}" if arguments else self._command
            return CommandLine(text, (*self._words, *arguments.split()) if _PLAIN.fullmatch(arguments) else None)
        placeholders = {name: environment.get(variable) for name, variable in _VARIABLES.items()}
        filled = _fill(self._command, {**placeholders, "python": sys.executable})
        text = f"{filled} {arguments}" if arguments else filled
        return CommandLine(text, _words(text))


def argument(flag: str, value: str) -> str:
    """``FLAG=VALUE`` for a shell: the flag as it is, the value quoted where it needs to be.

    An opaque flag may hold blanks, which split words: ``--optimizer lr`` with ``0.1`` gives ``--optimizer lr=0.1``.
    """
    return f"{flag}={value if _PLAIN_WORD.fullmatch(value) else shlex.quote(value)}"


class Arguments:
    """Writes values as they stand behind the command: one ``FLAG=VALUE`` each, in order, quoted for a shell.

    Args:
        domains: flag to domain; values are taken to be canonical in them.
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._formats: dict[str, str] = {}
        self._texts: dict[str, dict[tuple[type, Value], str]] = {}
        for flag, domain in domains.items():
            values = getattr(domain, "values", None)
            if values is None:
                self._formats[flag] = flag.replace("%", "%%") + "=" + domain.template
            else:
                self._texts[flag] = {(type(value), value): argument(flag, domain.text(value)) for value in values}

    def __call__(self, values: Mapping[str, Value]) -> str:
        """The text that is appended to the command."""
        formats, texts = self._formats, self._texts
        return " ".join(
            [
                formats[flag] % value if flag in formats else texts[flag][type(value), value]
                for flag, value in values.items()
            ]
        )


def _words(text: str) -> tuple[str, ...] | None:
    if not _PLAIN.fullmatch(text):
        return None
    words = tuple(text.split())
    if not words or "=" in words[0] or words[0] in _SHELL_WORDS:
        return None
    return words


def _fill(command: str, placeholders: Mapping[str, str | None]) -> str:
    """Replace placeholders, each quoted as its place in the shell text demands."""
    parts, end = [], 0
    for match in _PLACEHOLDER.finditer(command):
        text = placeholders.get(match[1])
        if text is None:
            continue
        parts += [command[end : match.start()], _quoted(text, _quote_at(command, match.start()))]
        end = match.end()
    return "".join(parts) + command[end:]


def _quote_at(command: str, position: int) -> str:
    """The quotation mark that is open at a position of a shell text, or nothing."""
    quote, escaped = "", False
    for character in command[:position]:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return quote


def _quoted(text: str, quote: str) -> str:
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", text)
    return text if _PLAIN_WORD.fullmatch(text) else shlex.quote(text)


def missing_program(command: str, path: str | None, directory: str) -> str | None:
    """Why the first word of a plain command is no program that can run; None where it is, or that can't be told.

    Args:
        command: the user's shell command.
        path: where programs are looked for, as in the variable PATH; None: the driver's own.
        directory: where the command will run.
    """
    words = _words(_fill(command, {"python": sys.executable}))
    if words is None:
        return None
    name, has_place = words[0], "/" in words[0]
    program = os.path.join(directory, name) if has_place else name
    if shutil.which(program, path=path):
        return None
    if has_place and os.path.isdir(program):
        return f"'{name}' is a directory"
    if has_place and os.path.exists(program):
        return f"'{name}' is not executable: chmod +x {shlex.quote(name)}, or name its interpreter in front of it"
    return f"there is no program '{name}' {f'in {directory}' if has_place else 'on PATH'}"
