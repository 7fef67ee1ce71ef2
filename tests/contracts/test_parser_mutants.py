"""Wrong metric parsers are caught, each by a named check."""

import re
from pathlib import Path

import pytest

from hpo_core import MetricParser
from hpo_core.interfaces import MetricReader, Reading
from hpo_core.testing import MetricParserContract

NUMBER = re.compile(r"loss is (\S+)")
HISTORY = ("loss is 2\nloss is 1\n", [{"loss": 2.0}, {"loss": 1.0}])
EXAMPLE = ("hello\nloss is 0.5\nloss is 0.25\n", {"loss": 0.25})


class Right(MetricParser):
    """Finds ``loss is NUMBER``."""

    name = "right"

    class Reader(MetricReader):
        def line(self, text):
            match = NUMBER.search(text)
            return [Reading({"loss": float(match[1])})] if match else []

    def reader(self):
        return self.Reader()


class TakesTheFirst(Right):
    class Reader(Right.Reader):
        def __init__(self):
            self.found = False

        def line(self, text):
            readings = [] if self.found else super().line(text)
            self.found |= bool(readings)
            return readings


class ChokesOnBadText(Right):
    class Reader(Right.Reader):
        def line(self, text):
            text.encode("ascii")
            return super().line(text)


class ReadsItAll(Right):
    class Reader(Right.Reader):
        def __init__(self):
            self.text = ""

        def line(self, text):
            self.text += text
            return super().line(text)


class WaitsForTheEnd(Right):
    class Reader(Right.Reader):
        def __init__(self):
            self.last = []

        def line(self, text):
            self.last = super().line(text) or self.last
            return []

        def finish(self, directory):
            return self.last


class SharesItsReader(Right):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.only = TakesTheFirst.Reader()

    def reader(self):
        return self.only


class GivesText(Right):
    class Reader(Right.Reader):
        def line(self, text):
            match = NUMBER.search(text)
            return [Reading({"loss": match[1]})] if match else []


class NeedsOneLine(Right):
    class Reader(Right.Reader):
        def __init__(self):
            self.found = 0

        def line(self, text):
            readings = super().line(text)
            self.found += len(readings)
            return readings

        def finish(self, directory):
            if not self.found:
                raise ValueError("no loss")
            return ()


class ExpectsNothing(Right):
    def expected(self):
        return ""


MUTANTS = [
    (TakesTheFirst, "test_finds_the_example"),
    (TakesTheFirst, "test_takes_readings_in_order"),
    (ChokesOnBadText, "test_survives_hostile_output"),
    (ReadsItAll, "test_memory_is_bounded"),
    (WaitsForTheEnd, "test_reads_line_by_line"),
    (SharesItsReader, "test_readers_are_independent"),
    (GivesText, "test_values_are_floats"),
    (NeedsOneLine, "test_empty_output_is_no_error"),
    (ExpectsNothing, "test_says_what_it_expects"),
]


def play(parser: MetricParser, check: str, directory: Path) -> None:
    """Run one check of the contract on a parser."""
    given = {"example": EXAMPLE, "history": HISTORY, "directory": directory, "tmp_path": directory}
    method = getattr(MetricParserContract(), check)
    wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    method(**{name: parser if name == "parser" else given[name] for name in wanted})


@pytest.mark.parametrize(("mutant", "check"), MUTANTS, ids=[f"{mutant.__name__}-{check}" for mutant, check in MUTANTS])
def test_wrong_parsers_are_caught(mutant, check, tmp_path):
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    play(Right(["loss"]), check, tmp_path / "right")
    with pytest.raises((AssertionError, UnicodeError, ValueError, TypeError)):
        play(mutant(["loss"]), check, tmp_path / "wrong")
