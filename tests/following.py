"""A reader who follows a page of the documentation from an empty folder, as it stands there.

Blocks with a caption become files; it is a name in backticks, as ``__init__`` would be bold letters on the site. Of
``console`` blocks, lines after ``$`` are run, and what they print is what follows, where ``...`` stands for anything.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

BLOCK = re.compile(r"^```(\{code-block\} \w+|console)\n(?::caption: ([^\n]+)\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)


class Reader:
    """Follows a page.

    Args:
        folder: an empty one, where it begins.
        variables: of the environment in which it works.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.variables = variables

    def follow(self, page: str) -> None:
        for _, caption, text in BLOCK.findall(page):
            if caption:
                self.write(caption, text)
            else:
                for command, answer in commands(text):
                    self.run(command, answer)

    def write(self, caption: str, text: str) -> None:
        assert caption.startswith("`"), f"the caption {caption} would not be shown as it is: put backticks around names"
        name, _, above = caption.replace("`", "").partition(", above ")
        path = self.folder / name
        if above:
            head, mark, tail = path.read_text().partition(f"\n{above}")
            assert mark, f"{name} has no line {above}"
            text = f"{head.rstrip()}\n\n{text.rstrip()}\n\n\n{above}{tail}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, command: str, answer: str) -> None:
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert is_like(done.stdout, answer), f"$ {command}\n{done.stdout}\n--- the page says\n{answer}"
        fails = "FAILED" in answer or answer.startswith("hpo: ")
        assert done.returncode == 0 or fails, f"$ {command}\n{done.stdout}"


def commands(text: str) -> Iterator[tuple[str, str]]:
    """What is typed, and what is printed then."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, answer = part.partition("\n")
        yield command, answer


def is_like(printed: str, answer: str) -> bool:
    """Whether this is what the page says; a line of dots stands for any lines, dots in a line for any text."""
    pattern = "".join(
        r"(?s:.*)" if line.strip() == "..." else re.escape(line).replace(re.escape("..."), ".*")
        for line in answer.splitlines(keepends=True)
    )
    return re.fullmatch(pattern, printed) is not None
