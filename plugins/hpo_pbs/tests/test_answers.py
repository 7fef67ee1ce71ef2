"""What PBS prints is understood: every recorded answer, and odd ones that others have reported."""

import json
from pathlib import Path
from typing import Any

import pytest

from hpo_core import Failure
from hpo_pbs._answers import (
    Answer,
    Job,
    read_duration,
    read_hosts,
    read_id,
    read_json,
    read_table,
    read_text,
    read_versions,
    write_duration,
)
from hpo_pbs._dialect import Dialect, Torque
from hpo_pbs._verdict import judge, never_runs

TRANSCRIPTS = Path(__file__).with_name("transcripts")


def recorded(name: str) -> Any:
    return json.loads((TRANSCRIPTS / f"{name}.json").read_text(encoding="utf-8"))


def answer(name: str) -> Answer:
    said = recorded(name)
    return Answer(said["exit_code"], said["stdout"], said["stderr"])


def job(name: str, number: str) -> Job | None:
    return Dialect().read(answer(name), number)


def test_each_recording_is_read_by_a_test():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    names = [path.stem for path in TRANSCRIPTS.glob("*.json")]
    assert len(names) == 142
    assert [name for name in names if f'"{name}"' not in tests and f'"{name}.json"' not in tests] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qsub-script", "1.pbs-server"),
        ("qsub-argv", "2.pbs-server"),
        ("qsub-array", "129[].pbs-server"),
        ("qsub-too-many-nodes", "8.pbs-server"),
        ("qsub-bad-queue", None),
        ("qsub-server-down", None),
        ("qsub-version", None),
    ],
)
def test_the_id_of_a_job(name, expected):
    assert read_id(answer(name).out) == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("Your project has 17 hours left.\n\n123.pbs-server\n", "123.pbs-server"),
        ("123\n", "123"),
        ("123.pbs-server\nDone 4.5 times\n", "123.pbs-server"),
        ("123.pbs-server\n42\n", "123.pbs-server"),
        ("Request 12.server submitted to queue: short.\n", None),
        ("", None),
    ],
)
def test_sites_print_other_things_too(printed, expected):
    assert read_id(printed) == expected


@pytest.mark.parametrize(
    ("name", "silent", "gone"),
    [
        ("down-qstat", True, False),
        ("down-qsub", True, False),
        ("down-qdel", True, False),
        ("down-qselect", True, False),
        ("down-pbsnodes", True, False),
        ("qstat-server-down", True, False),
        ("qsub-server-down", True, False),
        ("qsub-no-server", True, False),
        ("qdel-server-down", True, False),
        ("qstat-finished-without-x", False, True),
        ("qstat-f-json-finished-without-x", False, True),
        ("qstat-unknown", False, True),
        ("qstat-x-f-json-unknown", False, True),
        ("qstat-after-qdel-x", False, True),
        ("qdel-finished", False, True),
        ("qdel-unknown", False, True),
        ("qdel-other-user", False, False),
        ("qstat-bad-id", False, False),
        ("qstat-foreign-server", False, False),
        ("qstat-f-json-u", False, False),
        ("qsub-bad-queue", False, False),
        ("qsub-bad-walltime", False, False),
        ("qsub-bad-resource", False, False),
        ("qsub-select-and-ncpus", False, False),
        ("qdel-running", False, False),
        ("qdel-queued", False, False),
        ("qdel-held", False, False),
        ("qdel-again-immediately", False, False),
        ("qdel-W-force", False, False),
    ],
)
def test_no_answer_and_no_job_are_told_apart(name, silent, gone):
    assert (answer(name).silent, answer(name).gone) == (silent, gone)


def test_a_command_that_took_too_long_is_no_answer():
    assert Answer(None).silent
    assert not Answer(None).gone


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qsub-bad-queue", "Unknown queue"),
        ("qsub-bad-select", "Illegal attribute or resource value Resource_List.select"),
        ("qsub-bad-resource-job", "Unknown resource Resource_List.foo"),
        ("qsub-bad-name", "illegal -N value"),
        ("qsub-long-name", "Job name is too long"),
        ("qsub-no-file", "script file:: No such file or directory"),
        ("qsub-server-down", "Connection refused; cannot connect to server node01 (errno=15010)"),
    ],
)
def test_a_complaint_is_one_line(name, text):
    assert answer(name).complaint == text


@pytest.mark.parametrize(
    ("name", "number", "state", "comment"),
    [
        ("qstat-f-json-running", "25", "R", "Job run at Mon Nov 23 at 17:12 on (node03:ncpus=1)"),
        ("qstat-f-json-state-W", "143", "W", ""),
        ("qstat-q-toomany", "8", "Q", "Can Never Run: Not enough total nodes available"),
        ("qstat-short-id", "31.pbs-server", "R", "Job run at Mon Nov 23 at 17:13 on (node01:ncpus=1)"),
        ("qstat-f-json-held", "26.pbs-server", "H", ""),
        ("qstat-x-f-json-finished-exit0", "16", "F", "Job run at Mon Nov 23 at 17:12 on (node01:ncpus=1) and finished"),
        ("qstat-array-x-f-json", "129[]", "F", None),
        ("qstat-array-t-json", "129[]", "B", None),
        ("qstat-x-f-json-alloc-finished", "122", "F", None),
        ("qstat-f-json-weird-env", "130", "H", ""),
        ("qstat-f-json-mixed", "31", "R", None),
        ("qstat-f-json-just-after-qdel", "137", "R", None),
    ],
)
def test_states(name, number, state, comment):
    found = job(name, number)
    if name == "qstat-f-json-state-W":
        found = next(iter(read_json(answer(name).out).values()))
    assert found is not None
    assert found.state == state
    assert comment is None or found.comment == comment


def test_held_jobs_of_both_kinds():
    for name in ("qstat-f-json-state-H", "qstat-f-json-state-H-depend"):
        (found,) = read_json(answer(name).out).values()
        assert found.state == "H"


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("qstat-running", {"25": "R", "26": "H", "27": "Q"}),
        ("qstat-states-E-R", {"2": "E", "3": "R", "4": "E"}),
        ("qstat-array", {"129[]": "B"}),
        ("qstat-array-t", {"129[]": "B", "129[0]": "R", "129[1]": "R", "129[2]": "R", "129[3]": "R"}),
        ("qstat-array-x-t", {"129[]": "F", "129[0]": "F", "129[1]": "F", "129[2]": "F", "129[3]": "F"}),
        ("qstat-x-text-three-live", {"147": "R", "148": "R", "149": "R"}),
        ("qstat-x-w-mixed", {"147": "R", "148": "R"}),
        ("qstat-unknown", {}),
        ("qstat-finished-without-x", {}),
        ("down-qstat", {}),
    ],
)
def test_states_in_a_table(name, states):
    assert read_table(answer(name).out) == states


def test_the_nodes_of_a_job_from_which_one_was_taken():
    assert job("qstat-f-json-after-release", "124").hosts == ("node01", "node02", "node03")


def test_json_and_text_say_the_same():
    from_json = job("qstat-f-json-running", "25")
    from_text = read_text(answer("qstat-f-running").out)["25.pbs-server"]
    assert from_json == from_text
    assert from_text.hosts == ("node03",)
    three = read_text(answer("qstat-x-f-text-three-live").out)
    assert list(three) == ["147.pbs-server", "148.pbs-server", "149.pbs-server"]


def test_json_of_several_ids_may_hold_the_first_alone():
    """Therefore one job is asked for at a time; `-E` gives all."""
    assert list(read_json(answer("qstat-x-f-json-three-live").out)) == ["147.pbs-server"]
    assert len(read_json(answer("qstat-Ex-f-json-three-live").out)) == 3
    assert len(read_json(answer("qstat-f-json-all").out)) == 2
    for name in ("qstat-f-json-two-live", "qstat-x-f-json-two-live"):
        assert list(read_json(answer(name).out)) == ["124.pbs-server"]


def test_an_answer_without_jobs_has_no_job():
    for name in ("qstat-f-json-finished-without-x", "qstat-x-f-json-unknown", "down-qstat", "qstat-f-json-u"):
        assert job(name, "16") is None


def test_json_that_is_none_is_asked_for_again_as_text():
    dialect = Dialect()
    broken = answer("qstat-f-json-running").out.replace("STDIN", r"it\'s")
    assert dialect.status("25.pbs-server") == ("qstat", "-f", "-F", "json", "25.pbs-server")
    with pytest.raises(ValueError, match="timestamp"):
        dialect.read(Answer(0, broken), "25.pbs-server")
    assert dialect.status("25.pbs-server") == ("qstat", "-f", "25.pbs-server")
    found = dialect.read(answer("qstat-f-running"), "25.pbs-server")
    assert found is not None
    assert found.state == "R"


def test_control_characters_in_json_do_no_harm():
    text = answer("qstat-f-json-running").out.replace("STDIN", "a\tb\x01")
    assert read_json(text)["25.pbs-server"].state == "R"


def test_the_end_of_a_job_is_known_from_its_beginning(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    import time

    time.tzset()
    said = json.loads(answer("qstat-x-f-json-walltime").out)
    attributes = said["Jobs"]["24.pbs-server"]
    attributes["job_state"] = "R"
    attributes["Resource_List"]["walltime"] = "00:10:00"
    attributes["stime"] = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(said["timestamp"] - 100))
    (found,) = read_json(json.dumps(said)).values()
    assert found.walltime_s == 600
    assert found.left_s == 500


def test_hosts_of_all_recorded_placements():
    for placement in recorded("placement"):
        assert list(read_hosts(placement["exec_host"])) == list(dict.fromkeys(placement["nodefile"]))


def test_hosts_as_torque_writes_them():
    assert read_hosts("n1/0+n1/1+n2/0-3") == ("n1", "n2")


@pytest.mark.parametrize(("text", "seconds"), [("01:02:03", 3723), ("02:03", 123), ("7", 7), ("", None), ("1h", None)])
def test_durations(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("seconds", [1, 59, 60, 3599, 3600, 86400, 360000])
def test_durations_are_read_as_they_were_written(seconds):
    assert read_duration(write_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("said", "whose"),
    [
        (answer("version").out, "pbs"),
        ("pbs_version = 19.1.3", "pbs"),
        ("Version: 6.1.2\nCommit: 661e092552de43a785c15d39a3634a541d86898e\n", "torque"),
        ("slurm-wlm 22.05.8", ""),
        ("GE 8.1.9", ""),
    ],
)
def test_whose_programs_they_are(said, whose):
    assert read_versions(said) == whose


# Why a job is over


def verdict(found: Job | None, **more: Any) -> Any:
    given = {"begun": True, "output": "", "time_was_up": False, "folder": "/shared/x", **more}
    return judge(found, "7.pbs-server", **given)


@pytest.mark.parametrize("name", list(recorded("exit-statuses")))
def test_every_recorded_end(name):
    end = recorded("exit-statuses")[name]
    found = Job(end["job"], end["job_state"], end["comment"] or "", end["Exit_status"])
    said = verdict(found)
    assert said.failure is Failure.ALLOCATION_ENDED
    assert said.again is not name.startswith("qdel") or end["comment"] is None
    wanted = {
        "walltime": "the time of job",
        "qdel-running": "was deleted by alice@pbs-server",
        "qdel-W-force": "was deleted by alice@pbs-server",
        "qdel-queued": "was deleted (qdel)",
        "qdel-held": "does not say why",
        "kill": "ended by signal 9",
        "segv": "ended by signal 11",
        "qsig-KILL": "ended by signal 9",
        "qsig-TERM": "ended by signal 15",
        "exit3": "exit status 3",
        "exit300": "exit status 44",
        "segv-script": "exit status 139",
        "child-segv-script": "exit status 139",
        "nocmd": "exit status 254",
        "exit0": "exit status 0",
    }
    assert wanted[name] in said.text


def test_ends_that_were_not_recorded():
    assert verdict(Job("7", "F", "Job was preempted and deleted", 271)).failure is Failure.PREEMPTED
    assert verdict(Job("7", "F", "", -14)).failure is Failure.NODE_LOST
    assert verdict(Job("7", "F", "", -27)).text == "PBS ended job 7.pbs-server (exit status -27)"
    assert verdict(Job("7", "C", "", -11)).text == "the time of job 7.pbs-server is over"
    assert "no sign of life" in verdict(Job("7", "F", "", 7)).text


def test_without_history_the_output_or_the_clock_say_why():
    assert "time of job" in verdict(None, output=recorded("walltime-output")["stdout"]).text
    assert "time of job" in verdict(None, time_was_up=True).text
    assert "keeps no history" in verdict(None).text


def test_a_script_that_was_never_heard_of():
    said = verdict(Job("7", "F", "", 127), begun=False, output="/bin/sh: 0: cannot open\n")
    assert "do its nodes see /shared/x?" in said.text
    assert "cannot open" in said.text
    assert not said.again
    said = verdict(None, begun=False)
    assert "it was deleted, or its nodes don't see /shared/x. The option shared_dir" in said.text
    assert not said.again


@pytest.mark.parametrize(
    ("name", "never"), [("qstat-q-toomany", True), ("qstat-q-toocpus", True), ("qstat-f-json-held", False)]
)
def test_what_never_runs(name, never):
    (found,) = read_json(answer(name).out).values()
    assert never_runs(found) is never


# Torque, from its documentation alone

TORQUE = """\
Job Id: 12.torque
    Job_Name = hpo-12345678
    job_state = C
    exec_host = n1/0-3+n2/0-3
    exit_status = 271
    Resource_List.walltime = 00:30:00
    start_time = Mon Nov 23 17:12:57 2026

"""


def test_torque():
    dialect = Torque()
    assert dialect.status("12.torque") == ("qstat", "-f", "12.torque")
    assert dialect.status("12.torque", history=True) is None
    found = dialect.read(Answer(0, TORQUE), "12.torque")
    assert found == Job("12.torque", "C", "", 271, ("n1", "n2"), 1800.0, None)
    assert found is not None
    assert found.state in dialect.over
