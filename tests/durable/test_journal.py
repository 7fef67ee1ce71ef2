"""The journal: what is written is read back, and damage is cut, named or refused."""

import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core.exceptions import JournalError
from hpo_core.journal import NAME, Journal, decode, encode, number, read, read_at

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text(min_size=1).filter(lambda key: key != "crc"), JSON, min_size=1, max_size=5)


def written(directory: Path, records: list[dict]) -> bytes:
    journal = Journal(directory)
    for record in records:
        journal.append(record)
    journal.flush()
    journal.close()
    return (directory / NAME).read_bytes()


@given(RECORDS)
def test_decode_undoes_encode(record: dict) -> None:
    line = encode(record)
    assert line.count(b"\n") == 1
    assert decode(line) == record


@given(RECORDS, st.data())
def test_any_changed_byte_is_noticed(record: dict, data: st.DataObject) -> None:
    line = bytearray(encode(record))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(line)) is None


@pytest.mark.parametrize("value", [1.5, -0.0, math.inf, -math.inf, math.nan])
def test_numbers_survive_json(value: float) -> None:
    again = float(decode(encode({"x": number(value)}))["x"])
    assert again == value or (math.isnan(again) and math.isnan(value))


def test_cut_at_every_byte_all_whole_records_are_kept_and_the_rest_is_kept_aside(tmp_path: Path) -> None:
    records = [{"record": "asked", "trial": 1, "text": "é\n"}, {"record": "finished", "fom": 0.25}, {"record": "last"}]
    whole = written(tmp_path, records)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        for file in tmp_path.iterdir():
            file.unlink()
        (tmp_path / NAME).write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        assert [line.record for line in read(tmp_path)] == records[:kept]
        journal = Journal(tmp_path)
        assert bool(journal.repaired) == (cut not in (0, *ends))
        if journal.repaired:
            torn = next(tmp_path.glob("*.torn-*"))
            assert torn.read_bytes() == whole[:cut][([0, *ends])[kept] :]
        journal.append({"record": "new"})
        journal.flush()
        journal.close()
        assert [line.record for line in read(tmp_path)] == [*records[:kept], {"record": "new"}]


def test_damage_in_the_middle_names_the_line_and_what_is_whole(tmp_path: Path) -> None:
    whole = bytearray(written(tmp_path, [{"n": i} for i in range(5)]))
    second = whole.index(b"\n") + 1
    whole[second + 3] ^= 1
    (tmp_path / NAME).write_bytes(whole)
    with pytest.raises(JournalError, match=rf"{NAME}:2: .*the 1 records before it are whole"):
        list(read(tmp_path))


def test_all_that_is_damaged_at_the_end_is_cut_and_kept_aside(tmp_path: Path) -> None:
    whole = bytearray(written(tmp_path, [{"n": i} for i in range(5)]))
    lines = whole.splitlines(keepends=True)
    lines[3][2] ^= 1
    (tmp_path / NAME).write_bytes(b"".join(lines)[:-4])
    journal = Journal(tmp_path)
    journal.close()
    assert [line.record["n"] for line in read(tmp_path)] == [0, 1, 2]
    assert next(tmp_path.glob("*.torn-*")).read_bytes() == b"".join(lines)[:-4][len(b"".join(lines[:3])) :]


def test_records_are_found_by_their_offset(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    offsets = [journal.append({"n": i, "pad": "x" * i}) for i in range(10)]
    journal.flush()
    assert [read_at(tmp_path, offset)["n"] for offset in offsets] == list(range(10))
    assert [line.offset for line in read(tmp_path)] == offsets
    journal.close()


def test_it_is_readable_while_it_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for i in range(20):
        journal.append({"n": i})
        journal.flush()
        assert [line.record["n"] for line in read(tmp_path)] == list(range(i + 1))
    journal.close()


def test_nothing_is_on_disk_before_the_flush(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append({"n": 1})
    assert list(read(tmp_path)) == []
    journal.close()
    assert list(read(tmp_path)) == []


FULL = """
import resource, signal, sys
from pathlib import Path
from hpo_core.exceptions import JournalError
from hpo_core.journal import Journal, read
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
directory = Path(sys.argv[1])
journal = Journal(directory)
journal.append({"n": 0})
journal.flush()
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
journal.append({"n": 1, "pad": "x" * 100})
try:
    journal.flush()
except JournalError as error:
    print(error)
assert journal.path.stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append({"n": 2})
journal.flush()
print([line.record["n"] for line in read(directory)])
"""


def test_a_full_disk_leaves_everything_before_intact_and_writing_goes_on_once_there_is_room(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "everything before is intact" in answer.stdout
    assert answer.stdout.endswith("[0, 1, 2]\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (0, 0)


def test_the_durable_policy_syncs_once_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr("hpo_core.journal._sync", lambda fd: (synced.append(fd), os.fsync(fd)))
    journal = Journal(tmp_path, sync="durable")
    for _ in range(3):
        for i in range(5):
            journal.append({"n": i})
        journal.flush()
    journal.close()
    assert len(synced) == 3


def test_a_second_writer_is_noticed_and_overwrites_nothing(tmp_path: Path) -> None:
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.append({"n": 1})
    first.flush()
    second.append({"n": 2, "pad": "x" * 50})
    with pytest.raises(JournalError, match="another driver has written"):
        second.flush()
    assert [line.record for line in read(tmp_path)] == [{"n": 1}]
    first.append({"n": 3})
    first.flush()
    assert [line.record["n"] for line in read(tmp_path)] == [1, 3]
    first.close()
    second.close()
