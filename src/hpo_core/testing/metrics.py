"""The contract of metric parsers: subclass it in your tests, give it two fixtures, run pytest."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from hpo_core.interfaces import MetricParser, MetricReader, Reading
from hpo_core.metrics import Collector, LineSplitter, MetricSpec
from hpo_core.testing._watching import memory_traced

Example = tuple[str, Mapping[str, float]]
"""Output of a program, and what is to be found in it: what the parser was told to look for, to value."""

_LONG = b"x" * 200_000 + b"\n" + b"{" * 200_000 + b"\n"
_HOSTILE = b"\xff\xfe\x00\x80binary\x1b[0m\n\n\r\n{\n}\n{}\n[]\n: \n=\n" + _LONG
_MOST_GROWTH_BYTES = 16 * 1024


class MetricParserContract:
    r"""What every metric parser promises.

    Subclasses define the fixtures `parser` and `example`, and may define `history`, `directory` and `streams`::

        class TestMine(MetricParserContract):
            @pytest.fixture
            def parser(self):
                return MyMetrics(["loss"])

            @pytest.fixture
            def example(self):
                return "hello\nloss is 0.5\n", {"loss": 0.5}
    """

    streams: ClassVar[bool] = True
    """Whether metrics are found in the output; False for parsers that read files at the end."""

    @pytest.fixture
    def parser(self) -> MetricParser:
        """A parser to be tested."""
        raise NotImplementedError("define the fixture 'parser'")

    @pytest.fixture
    def example(self) -> Example:
        """Output, and the last value of each metric in it, by the parser's own keys."""
        raise NotImplementedError("define the fixture 'example'")

    @pytest.fixture
    def history(self) -> tuple[str, Sequence[Mapping[str, float]]] | None:
        """Output with several readings, and their metrics in order; None where there can't be several."""
        return None

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """Where the program ran; a parser that reads files finds them here."""
        return tmp_path

    def test_has_a_name(self, parser: MetricParser) -> None:
        """A parser carries the name by which users choose it."""
        assert isinstance(parser.name, str)
        assert parser.name.strip() == parser.name != ""

    def test_says_what_it_expects(self, parser: MetricParser) -> None:
        """The text for the message on a missing metric is one line."""
        assert parser.expected().strip()
        assert "\n" not in parser.expected()

    def test_finds_the_example(self, parser: MetricParser, example: Example, directory: Path) -> None:
        """The example's metrics are found, and nothing under another key."""
        text, expected = example
        found = _last(_everything(parser.reader(), text, directory))
        assert found == dict(expected)
        assert set(found) <= set(parser.metrics)

    def test_finds_the_example_with_other_line_ends(
        self, parser: MetricParser, example: Example, directory: Path
    ) -> None:
        """CRLF and a missing last line end change nothing."""
        text, expected = example
        crlf = text.rstrip("\n").replace("\n", "\r\n")
        assert _last(_everything(parser.reader(), crlf, directory)) == dict(expected)

    def test_readers_are_independent(self, parser: MetricParser, example: Example, directory: Path) -> None:
        """Each reader is fresh: what one has read, another does not know."""
        text, expected = example
        used, fresh = parser.reader(), parser.reader()
        assert used is not fresh
        _everything(used, text, directory)
        assert fresh.near_miss == ""
        assert _readings(fresh, ["", "nothing here"]) == []
        assert _last(_everything(fresh, text, directory)) == dict(expected)
        assert parser.reader().near_miss == ""

    def test_interleaved_readers_do_not_mix(self, parser: MetricParser, example: Example, directory: Path) -> None:
        """Two evaluations at the same time do not see each other's lines."""
        text, _ = example
        alone = _everything(parser.reader(), text, directory)
        one, two = parser.reader(), parser.reader()
        first, second = [], []
        for line in _lines(text):
            first += list(one.line(line))
            second += list(two.line(line))
        assert first + list(one.finish(directory)) == alone
        assert second + list(two.finish(directory)) == alone

    def test_is_deterministic(self, parser: MetricParser, example: Example, directory: Path) -> None:
        """The same output gives the same readings."""
        text, _ = example
        assert _everything(parser.reader(), text, directory) == _everything(parser.reader(), text, directory)

    def test_takes_every_reading(self, parser: MetricParser, example: Example) -> None:
        """Output that is printed three times gives three times the readings."""
        if not self.streams:
            pytest.skip("reads no output")
        lines = _lines(example[0])
        once = _readings(parser.reader(), lines)
        assert _readings(parser.reader(), lines * 3) == once * 3

    def test_takes_readings_in_order(
        self,
        parser: MetricParser,
        history: tuple[str, Sequence[Mapping[str, float]]] | None,
        directory: Path,
    ) -> None:
        """Several readings come in the order in which they were printed."""
        if history is None:
            pytest.skip("no fixture 'history'")
        text, expected = history
        readings = _everything(parser.reader(), text, directory)
        assert [dict(reading.metrics) for reading in readings] == [dict(metrics) for metrics in expected]

    def test_reads_line_by_line(self, parser: MetricParser, example: Example) -> None:
        """A reading is given at its line, not at the end, so that a strategy can stop a trial early."""
        if not self.streams:
            pytest.skip("reads no output")
        assert _last(_readings(parser.reader(), _lines(example[0]))) == dict(example[1])

    def test_survives_hostile_output(self, parser: MetricParser, example: Example, directory: Path) -> None:
        """Invalid UTF-8, NUL, empty and over-long lines neither raise nor hide the metric after them."""
        reader = parser.reader()
        noise = _readings(reader, _split(_HOSTILE))
        assert noise == []
        assert _last(_everything(reader, example[0], directory)) == dict(example[1])

    def test_empty_output_is_no_error(self, parser: MetricParser, tmp_path: Path) -> None:
        """No output and no file give no reading and no exception."""
        empty = tmp_path / "empty"
        empty.mkdir()
        assert list(parser.reader().finish(empty)) == []

    def test_missing_metric_has_a_message(self, parser: MetricParser, tmp_path: Path) -> None:
        """Without a metric the near miss is text, and the failure's message says what was expected."""
        empty = tmp_path / "empty"
        empty.mkdir()
        metric: object = parser.metrics[0] if parser.literal else dict.fromkeys(parser.metrics, 1.0)
        collector = Collector(MetricSpec.parse(metric), parser)
        for line in ("hello", " ".join(parser.metrics).upper(), ""):
            assert collector.feed(line) == ()
        assert parser.expected() in collector.finish(empty).message

    def test_values_are_floats(self, parser: MetricParser, example: Example, directory: Path) -> None:
        """Metrics are float, the step is float or None."""
        for reading in _everything(parser.reader(), example[0], directory):
            assert all(type(value) is float for value in reading.metrics.values())
            assert reading.step is None or isinstance(reading.step, float)

    def test_memory_is_bounded(self, parser: MetricParser, example: Example) -> None:
        """State does not grow with the number of lines, with or without metrics in them."""
        lines = [*_lines(example[0]), "nothing to see here", ""]
        reader = parser.reader()
        with memory_traced():
            _run(reader, lines, 200)
            before = tracemalloc.get_traced_memory()[0]
            _run(reader, lines, 4000)
            growth = tracemalloc.get_traced_memory()[0] - before
        assert growth < _MOST_GROWTH_BYTES, f"{growth} bytes more after {4000 * len(lines)} lines"


def _split(data: bytes) -> list[str]:
    splitter = LineSplitter()
    return splitter.feed(data) + splitter.flush()


def _lines(text: str) -> list[str]:
    return _split(text.encode())


def _readings(reader: MetricReader, lines: Iterable[str]) -> list[Reading]:
    return [reading for line in lines for reading in reader.line(line)]


def _everything(reader: MetricReader, text: str, directory: Path) -> list[Reading]:
    return _readings(reader, _lines(text)) + list(reader.finish(directory))


def _last(readings: Iterable[Reading]) -> dict[str, float]:
    last: dict[str, float] = {}
    for reading in readings:
        last.update(reading.metrics)
    return last


def _run(reader: MetricReader, lines: Sequence[str], times: int) -> None:
    """Feed lines with numbered fillers, so that a reader that remembers distinct lines is found out."""
    for number in range(times):
        reader.line(f"filler {number}")
        for line in lines:
            reader.line(line)
