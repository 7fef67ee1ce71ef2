"""What a user asked for, in the shape of a study file, whoever said it: the file, or options that win over it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo_core._words import did_you_mean
from hpo_core.cli._grammar import parse_setting
from hpo_core.cli._keys import ALIASES, KEYS, OTHER_NAMES
from hpo_core.cli._lines import Path, find_lines, line_of
from hpo_core.exceptions import ConfigurationError, StudyFileError

_AT_LINE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")


class Description:
    """Keys and values, and for each where it was said.

    Attributes:
        values: as in a study file, `ALIASES` resolved.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._file = ""
        self._lines: dict[Path, int] = {}
        self._written: dict[str, str] = {}
        self._options: dict[Path, str] = {}

    @classmethod
    def from_file(cls, path: str) -> Description:
        """What a study file says.

        Raises:
            StudyFileError: it cannot be read, is no TOML, or names a key twice.
        """
        description = cls()
        description._file = path
        text = _text_of(path)
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _syntax_error(path, text, error) from error
        description._lines = find_lines(text)
        for written, value in values.items():
            name = ALIASES.get(written, written)
            description._written[name] = written
            if name in description.values:
                raise description.mistake((name,), f"'{name}' and '{written}' mean the same: write one of them")
            description.values[name] = value
        return description

    def set(self, path: Sequence[str], value: Any, option: str) -> None:
        """Put a value in place, over what is there.

        Args:
            path: the key, or keys of tables down to it.
            value: what it is now.
            option: what the user wrote, for messages.

        Raises:
            ConfigurationError: what should be a table on the way is none.
        """
        names = (ALIASES.get(path[0], path[0]), *path[1:])
        inside = self.values
        for name in names[:-1]:
            inside = inside.setdefault(name, {})
            if not isinstance(inside, dict):
                raise ConfigurationError(f"{option}: '{name}' is no table")
        inside[names[-1]] = value
        self._options[names] = option

    def append(self, key: str, value: Any, option: str) -> None:
        """Add an item to a list, behind what is there."""
        items = self.values.setdefault(key, [])
        if not isinstance(items, list):
            raise self.mistake((key,), f"must be {KEYS[key].kind.words}, not {items!r}")
        self._options[(key, len(items))] = option
        items.append(value)

    def take(self, options: Mapping[str, Any], settings: Sequence[str]) -> None:
        """Put what options say in place.

        Args:
            options: key to value; None or an empty tuple: not given.
            settings: the texts ``KEY=VALUE`` of ``--set``, which win.

        Raises:
            ConfigurationError: a setting is no such text.
        """
        for name, value in options.items():
            if value is not None and value != ():
                self.set((name,), list(value) if isinstance(value, tuple) else value, f"--{name.replace('_', '-')}")
        for text in settings:
            try:
                path, value = parse_setting(text)
            except ConfigurationError as error:
                raise ConfigurationError(f"--set {text!r}: {error}") from error
            self.set(path, value, f"--set {text!r}")

    def check(self) -> None:
        """Refuse unknown keys, and values of a wrong kind.

        Raises:
            ConfigurationError: there is one; a StudyFileError if it stands in the file.
        """
        for name, value in self.values.items():
            if name not in KEYS:
                meant = OTHER_NAMES.get(name)
                hint = f" (did you mean '{meant}'?)" if meant else did_you_mean(name, [*KEYS, *ALIASES])
                raise self.mistake((name,), f"unknown key{hint}")
            kind = KEYS[name].kind
            if not kind.fits(value):
                raise self.mistake((name,), f"must be {kind.words}, not {value!r}")

    def mistake(self, path: Sequence[str | int], message: str) -> ConfigurationError:
        """An error that says where the user wrote what is wrong.

        Args:
            path: the key at fault; empty: no key in particular.
            message: what is wrong with it.
        """
        for length in range(len(path), 0, -1):
            option = self._options.get(tuple(path[:length]))
            if option is not None:
                return ConfigurationError(f"{option}: {message}")
        if not self._file:
            return ConfigurationError(f"{_dotted(path)}: {message}" if path else message)
        if not path:
            return StudyFileError(message, path=self._file)
        written = (self._written.get(str(path[0]), path[0]), *path[1:])
        return StudyFileError(message, path=self._file, line=line_of(self._lines, written), key=_dotted(written))

    def given(self, owner: str) -> Iterator[tuple[str, Any]]:
        """The keys of one owner that were given, with their values."""
        return ((name, value) for name, value in self.values.items() if KEYS[name].owner == owner)


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise StudyFileError(f"cannot be read: {error.strerror}", path=path) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StudyFileError("is no UTF-8 text", path=path, line=line) from error


def _syntax_error(path: str, text: str, error: tomllib.TOMLDecodeError) -> StudyFileError:
    match = _AT_LINE.search(str(error))
    line = None if match is None else int(match[1]) if match[1] else max(1, len(text.splitlines()))
    return StudyFileError(f"no valid TOML: {_AT_LINE.sub('', str(error))}", path=path, line=line)


def _dotted(path: Sequence[str | int]) -> str:
    """Such as ``params.--lr.range``; items of lists by their number from 1: ``conditions[2].when``."""
    text = ""
    for name in path:
        text += f"[{name + 1}]" if isinstance(name, int) else f".{name}" if text else name
    return text
