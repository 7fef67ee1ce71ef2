"""Bytes to lines, however they arrive."""

import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.metrics import MAX_LINE, LineSplitter

BUDGET_S = 1.0

snippets = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"\n\r", b"FoM: 0.5", b"\0", b"\xff", "é…\u2028".encode(), b"\x0b\x0c\x1c", b""]
)
outputs = st.lists(snippets | st.binary(max_size=20), max_size=30).map(b"".join)


def lines_of(chunks):
    splitter = LineSplitter()
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.flush()


def cut(data, places):
    places = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(outputs, st.lists(st.integers(0, 10**6)))
def test_chunking_never_changes_lines(data, places):
    assert lines_of(cut(data, places)) == lines_of([data])


@given(outputs)
def test_lines_are_what_stands_between_line_ends(data):
    pieces = re.split(rb"\r\n|\n|\r", data)
    if not pieces[-1]:
        pieces.pop()
    assert lines_of([data]) == [piece.decode("utf-8", "replace") for piece in pieces]


@given(st.integers(MAX_LINE - 3, MAX_LINE + 3), st.lists(st.integers(0, MAX_LINE + 20), max_size=5))
def test_chunking_never_changes_cut_lines(length, places):
    data = b"word " * (length // 5) + b"x" * (length % 5) + b"\nFoM: 1\r\n"
    assert lines_of(cut(data, places)) == lines_of([data])


def test_a_progress_bars_carriage_returns_end_lines():
    assert lines_of([b"10%\r20%\r", b"\nFoM: 1\r", b"\n", b"\n"]) == ["10%", "20%", "FoM: 1", ""]


def test_invalid_utf8_becomes_the_replacement_character_and_nul_stays():
    assert lines_of([b"a\xffb\0c\n"]) == ["a\ufffdb\0c"]


def test_a_character_cut_by_a_chunk_is_whole():
    assert lines_of([b"\xc3", b"\xa9\n"]) == ["é"]


def test_the_last_line_needs_no_end_and_is_given_once():
    splitter = LineSplitter()
    assert splitter.feed(b"FoM: 1") == []
    assert splitter.flush() == ["FoM: 1"]
    assert splitter.flush() == []


def test_a_line_of_just_the_limit_is_whole():
    assert lines_of([b"a" * MAX_LINE]) == ["a" * MAX_LINE]


def test_of_an_overlong_line_beginning_and_end_are_kept():
    (line,) = lines_of([b"begin " + b"x " * 10**6 + b"FoM: 0.5"])
    assert line.startswith("begin x")
    assert line.endswith("x FoM: 0.5")
    assert " … " in line
    assert len(line) <= MAX_LINE + 3


def test_an_end_without_blanks_is_kept_too():
    (line,) = lines_of([b"." * 10**6 + b"FoM: 0.5"])
    assert line.endswith("FoM: 0.5")


@pytest.mark.parametrize("shift", range(12))
def test_the_cut_never_leaves_a_part_of_a_word_or_number(shift):
    token = b"FoM=1234567 "
    (line,) = lines_of([b" " * shift + token * 20_000])
    assert set(re.findall(r"\S+", line)) <= {"FoM=1234567", "FoM=", "=1234567", "…"}


def test_the_line_after_an_overlong_one_is_whole():
    assert lines_of([b"x" * 10**6, b"\nFoM: 1\n"])[1:] == ["FoM: 1"]


def test_gigabytes_without_line_end_take_bounded_memory_and_little_time():
    """Time for 100 MB in pieces as pipes give them; memory for a part of it, as tracing is slow."""
    piece = b"x" * 65_536
    splitter, begin = LineSplitter(), time.process_time()
    for _ in range(1600):
        splitter.feed(piece)
    assert time.process_time() - begin < BUDGET_S
    tracemalloc.start()
    try:
        for _ in range(200):
            splitter.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
