"""Where the keys of a TOML text stand. `tomllib` says only what they hold.

A small scanner for text that `tomllib` has accepted: it skips what it need not understand and never guesses. Where
it loses its way it stops, and what stands behind that place has no line.
"""

from __future__ import annotations

from collections.abc import Sequence

Path = tuple[str | int, ...]
"""Keys from the top; items of lists (and tables of an array of tables) by their index from 0."""


def find_lines(text: str) -> dict[Path, int]:
    """The 1-based line of every key, table and list item of a valid TOML text."""
    scanner = _Scanner(text)
    try:
        scanner.document()
    except (IndexError, _Lost):
        pass
    return scanner.lines


def line_of(lines: dict[Path, int], path: Sequence[str | int]) -> int | None:
    """The line of a path, or of the nearest table around it; None where nothing of it was found."""
    for length in range(len(path), 0, -1):
        line = lines.get(tuple(path[:length]))
        if line is not None:
            return line
    return None


class _Lost(Exception):
    pass


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._arrays: dict[Path, int] = {}
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip_blanks(newlines=True):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._text[self._at] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    # Keys

    def _header(self, brackets: int) -> Path:
        self._at += brackets
        names = self._dotted_key()
        self._at += brackets
        inside: Path = ()
        for name in names[:-1]:
            self._note((*inside, name))
            inside = self._inside((*inside, name))
        path = (*inside, names[-1])
        if brackets == 2:
            self._arrays[path] = self._arrays.get(path, -1) + 1
            self._note(path)
            path = self._inside(path)
            self._note(path)
        else:
            self._note(path)
        return path

    def _inside(self, path: Path) -> Path:
        """The table that a path means: of an array of tables the last."""
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _pair(self, table: Path) -> None:
        path = table
        start = self._line_here()
        for name in self._dotted_key():
            path = (*path, name)
            self.lines.setdefault(path, start)
        self._expect("=")
        self._value(path)

    def _dotted_key(self) -> list[str]:
        names = []
        while True:
            self._skip_blanks()
            names.append(self._key())
            self._skip_blanks()
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _key(self) -> str:
        if self._text[self._at] in "\"'":
            start = self._at
            self._string()
            quoted = self._text[start : self._at]
            if quoted.startswith('"') and "\\" in quoted:
                import tomllib

                return next(iter(tomllib.loads(f"{quoted} = 0")))
            return quoted[1:-1]
        start = self._at
        while self._text[self._at].isalnum() or self._text[self._at] in "_-":
            self._at += 1
        if start == self._at:
            raise _Lost
        return self._text[start : self._at]

    # Values

    def _value(self, path: Path) -> None:
        self._skip_blanks()
        opening = self._text[self._at]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._list(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\r\n":
                self._at += 1

    def _list(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._next_is_not("]"):
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._skip_comma()

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._next_is_not("}"):
            self._pair(path)
            self._skip_comma()

    def _next_is_not(self, closing: str) -> bool:
        if not self._skip_blanks(newlines=True):
            raise _Lost
        if self._text[self._at] != closing:
            return True
        self._at += 1
        return False

    def _skip_comma(self) -> None:
        self._skip_blanks(newlines=True)
        if self._text[self._at] == ",":
            self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        long = self._text.startswith(quote * 3, self._at)
        end = quote * 3 if long else quote
        self._at += len(end)
        while not self._text.startswith(end, self._at):
            if self._at >= len(self._text):
                raise _Lost
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(end)
        while long and self._text.startswith(quote, self._at):  # Up to two quotes may stand before the closing three.
            self._at += 1

    # Places

    def _skip_blanks(self, *, newlines: bool = False) -> bool:
        """Pass blanks and comments; False at the end of the text."""
        blanks = " \t\r\n" if newlines else " \t"
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in blanks:
                self._at += 1
            elif character == "#" and newlines:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return True
        return False

    def _expect(self, character: str) -> None:
        self._skip_blanks()
        if self._text[self._at] != character:
            raise _Lost
        self._at += 1

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self._line_here())

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
