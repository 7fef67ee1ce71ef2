"""Torque: its words, and studies on a stand-in that behaves as its manuals and sources say."""

import json
import os
import re
import signal

import pytest

import hpo_core as hpo
from hpo_core.registry import get
from hpo_pbs import _folder
from hpo_pbs._answers import Job, read_hosts, read_table, read_versions
from hpo_pbs._dialect import Torque, TorqueAnswer

VERSION = "Version: 6.1.2\nCommit: 661e092552de43a785c15d39a3634a541d86898e\n"

# Its answers, as others have printed them

FULL = """\
Job Id: 12.torque
    Job_Name = hpo-12345678
    Job_Owner = alice@login
    resources_used.walltime = 00:10:00
    job_state = R
    Output_Path = login:/nfs/home/alice/.hpo-pbs/.hpo-12345678-w2k8s1xc/1-9a3f/out
\tput
    exec_host = n1/0-3+n2/0-3
    exec_port = 15003+15003
    Resource_List.nodes = 2:ppn=4
    Resource_List.walltime = 00:30:00
    Variable_List = PBS_O_QUEUE=batch,PBS_O_HOST=login,
\tPBS_O_WORKDIR=/nfs/home/alice
    submit_args = -N hpo-12345678 -j oe
    start_time = Mon Nov 23 17:12:57 2026
    Walltime.Remaining = 1196
    start_count = 1

"""


def test_a_job_that_runs():
    found = Torque().read(TorqueAnswer(0, FULL), "12.torque")
    assert found == Job("12.torque", "R", "", None, ("n1", "n2"), 1800.0, 1196.0)


def test_a_job_that_is_over():
    text = FULL.replace("job_state = R", "job_state = C").replace(
        "    start_count", "    exit_status = 271\n    start_count"
    )
    found = Torque().read(TorqueAnswer(0, text), "12")
    assert found == Job("12.torque", "C", "", 271, ("n1", "n2"), 1800.0, None)
    assert found is not None
    assert found.state in Torque().over


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("n1/0-3+n2/0-3", ("n1", "n2")),
        ("n1/0-1,4-5+n2/7", ("n1", "n2")),
        ("n1/1+n1/0+n2/1+n2/0", ("n1", "n2")),
        ("n175.t1.grid/17", ("n175.t1.grid",)),
    ],
)
def test_hosts_with_ranges_and_without(text, hosts):
    assert read_hosts(text) == hosts


def test_the_table():
    table = """\
Job ID                    Name             User            Time Use S Queue
------------------------- ---------------- --------------- -------- - -----
1037416.admin              prime            ykurku2         00:06:33 C edu_shared
1037417.admin              prime            ykurku2                0 R edu_shared
"""
    assert read_table(table) == {"1037416": "C", "1037417": "R"}


@pytest.mark.parametrize(
    ("code", "err", "silent", "gone"),
    [
        (153, "qstat: Unknown Job Id Error 99.torque", False, True),
        (153, "qdel: Unknown Job Id Error MSG=cannot locate job 99.torque", False, True),
        (33, "qstat: cannot connect to server (null) (errno=15137) could not connect to trqauthd", True, False),
        (29, "qsub: cannot connect to server x (errno=15133) Could not connect to batch server", True, False),
        (30, "qsub: submit error (Server busy. Not available threads)", True, False),
        (1, "Communication failure.\nqstat: cannot connect to server torque (errno=15096)", True, False),
        (187, "qsub: submit error (No free connections)", True, False),
        (162, "qsub: submit error (Access from host not allowed, or unknown host)", False, False),
        (190, "qsub: submit error (Job exceeds queue resource limits MSG=cannot locate feasible nodes)", False, False),
        (177, "qsub: submit error (Bad UID for job execution MSG=ruserok failed)", False, False),
        (159, "qsub: Unauthorized Request  MSG=user ACL rejected the submitting user: user x, queue y", False, False),
        (35, "qstat: Login node is currently too busy to run a job", False, False),
        (170, "qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 1.torque", False, False),
    ],
)
def test_its_codes_mean_other_things_than_those_of_openpbs(code, err, silent, gone):
    answer = TorqueAnswer(code, "", f"{err}\n")
    assert (answer.silent, answer.gone) == (silent, gone)


@pytest.mark.parametrize("said", [VERSION, "version: 2.5.12\n", "Version: 4.2.10\n"])
def test_its_version(said):
    assert read_versions(said) == "torque"


def test_the_jobs_script_is_ascii():
    """Its qsub takes no other."""
    assert _folder._SCRIPT.read_bytes().isascii()


# The stand-in does as its manuals say


def test_the_stand_in_refuses_what_belongs_to_openpbs(torque):
    for words, complaint in {
        "qsub -l select=2 job": "Unknown resource type  Resource_List.select",
        "qsub -k oed job": "illegal -k value",
        "qsub -- /bin/sh job": "usage: qsub",
        "qstat -f -F json 1": "invalid option -- 'F'",
        "qdel -W force 1": "illegal -W value",
    }.items():
        (torque.home / "job").write_text("true\n")
        said = torque.run(words)
        assert said.returncode != 0, words
        assert complaint in said.stderr
    assert not torque.run("command -v pbs_tmrsh pbs_attach").stdout
    said = torque.run("qstat --version")
    assert (said.stdout, said.stderr) == ("", VERSION)


def test_the_stand_in_has_a_line_for_each_processor(torque):
    (torque.home / "job").write_text(
        "cat $PBS_NODEFILE > lines; env > variables\n"
        f"PATH={torque.bin}:$PATH\n"
        "pbsdsh -n 2 sh -c 'echo $PBS_NODENUM $PBS_VNODENUM > task'; echo $? > code\n"
        "pbsdsh -n 4 true 2> err; echo $? >> code\n"
        "pbsdsh -n 1 sh -c 'exit 3' 2>> err; echo $? >> code\n"
        "pbsdsh -u sh -c 'touch u.$PBS_NODENUM'; pbsdsh -h node02 touch h\n"
    )
    torque.run("qsub -l nodes=2:ppn=2,walltime=60 job")
    torque.wait_for(lambda: torque.state("1.pbs-server") == "C")
    read = lambda name: (torque.home / name).read_text()  # noqa: E731
    assert read("lines").split() == ["node01", "node01", "node02", "node02"]
    assert {"PBS_NUM_NODES=2", "PBS_NUM_PPN=2", "PBS_NP=4", "PBS_VNODENUM=0"} <= set(read("variables").splitlines())
    assert read("task").split() == ["1", "2"]
    assert read("code").split() == ["0", "1", "0"]
    assert read("err").splitlines() == ["pbsdsh: only 4 nodes available", "pbsdsh: task 1 exit status 3"]
    assert sorted(path.name for path in torque.home.glob("[uh].*")) == ["u.0", "u.1"]
    assert (torque.home / "h").exists()
    shown = torque.run("qstat -f 1").stdout
    assert "\n    exec_host = node01/0-1+node02/0-1\n" in shown
    assert "\n    exit_status = 0\n" in shown
    assert "<job_state>C</job_state>" in torque.run("qstat -x 1").stdout
    assert torque.run("qselect -N job").stdout == "1.pbs-server\n"
    assert torque.run("qselect -N job -s EHQRTW").stdout == ""


# Studies


def test_it_is_found_by_itself(torque):
    assert get(hpo.WorkloadManager, "pbs").detect() == "qstat: " + " ".join(VERSION.split())
    torque.is_down(True)
    assert get(hpo.WorkloadManager, "pbs").detect() is None


@pytest.mark.parametrize("ranges", [True, False])
def test_evaluations_on_four_nodes(torque, ranges):
    """Two at a time on each, as many processors, and one worker for each node."""
    torque.set(ranges=ranges)
    study, _ = torque.study("echo FoM: $HPO_TRIAL; sleep 0.1; :", 24, nodes=4, num_parallel_evals=8)
    assert [record.result.state for record in study.trials] == [hpo.State.DONE] * 24
    assert {name for record in study.trials for name in record.result.nodes} == {f"node{i:02d}" for i in range(1, 5)}
    (asked,) = torque.calls("qsub")
    assert "-l nodes=4:ppn=2 -l walltime=00:05:00 " in asked
    assert len({json.dumps(call) for call in torque.calls("pbsdsh")}) == 4
    assert {int(re.findall(r"-n (\d+)", call)[0]) for call in torque.calls("pbsdsh")} == {0, 2, 4, 6}
    torque.nothing_is_left()


def test_evaluations_of_two_nodes(torque):
    """The node list has each node once, though there is a line for each processor."""
    command = "sort $HPO_HOSTFILE > $HPO_TRIAL.hosts; echo FoM: $(wc -l < $HPO_HOSTFILE); :"
    study, _ = torque.study(command, 4, nodes=4, nodes_per_eval=2, options={"cpus": 4})
    for record in study.trials:
        assert record.fom == 2
        assert (torque.home / f"{record.number}.hosts").read_text().split() == sorted(record.result.nodes)
    torque.nothing_is_left()


def test_a_scheduler_that_takes_nodes_for_processors(torque):
    """Four processors on one host: they are told as fewer nodes, and run four evaluations all the same."""
    torque.set(packs=True)
    command = "touch $HPO_TRIAL.on; while [ ! -e 4.on ]; do sleep 0.05; done; echo FoM: 1; :"
    study, watching = torque.study(command, 4, nodes=4)
    assert len(study.trials) == 4
    assert "nodes=4, and job 1.pbs-server has 1: these are used" in watching.notices
    assert {name for record in study.trials for name in record.result.nodes} == {"node01"}
    torque.nothing_is_left()


def test_the_option_exclusive(torque):
    torque.study(
        "qstat -f > status; echo FoM: 1; :".replace("qstat", f"{torque.bin}/qstat"),
        1,
        nodes=2,
        options={"exclusive": True},
    )
    assert "node_exclusive = True" in (torque.home / "status").read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"nodes": 9}, "cannot locate feasible nodes"),
        ({"nodes": 1, "alloc_args": "-q nosuch"}, "Unknown queue MSG=cannot locate queue"),
        ({"nodes": 1, "alloc_args": "-l select=1"}, "Unknown resource type  Resource_List.select"),
    ],
)
def test_a_refused_request_is_an_error_with_the_servers_words(torque, arguments, complaint):
    with pytest.raises(hpo.AllocationError, match=complaint):
        torque.study("echo FoM: 1", 2, **arguments)
    torque.nothing_is_left()


def test_jobs_that_are_over_are_forgotten_at_once(torque):
    torque.set(keep_completed_s=0)
    study, _ = torque.study("echo FoM: 1; :", 3, nodes=2)
    assert len(study.trials) == 3
    torque.nothing_is_left()


@pytest.mark.parametrize("status", [-11, 271])
def test_the_time_is_over(torque, status):
    """Sooner than we thought: the exit status says so, or what Torque writes to the job's output."""
    torque.set(walltime_status=status, hurry=200, walltime_slack_s=0)
    study, _ = torque.study("sleep 60; echo FoM: 1; :", 4, nodes=2, grace="0.5s")
    assert study.stop_reason is hpo.StopReason.ALLOCATION
    assert "the time of job 1.pbs-server is over" in study.stop_detail
    torque.nothing_is_left()


@pytest.mark.parametrize("keep", [300, 0])
def test_the_job_is_deleted_from_outside(torque, keep):
    """It is not asked for again, where Torque still knows how it ended."""
    torque.set(keep_completed_s=keep)
    driver = torque.driver("sleep 60; echo FoM: 1; :", 4, nodes=2, options={"renewals": int(keep > 0)})
    torque.wait_for(lambda: torque.asleep() >= 2, pause_s=0.1)
    torque.run("qdel 1")
    said = driver.end()
    assert ("job 1.pbs-server was deleted" if keep else "keeps no history") in said
    assert not torque.calls("qsub")[1:]
    torque.nothing_is_left()


STUBBORN = "trap '' TERM; (trap '' TERM; setsid sleep 60) & sleep 60; :"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_driver_is_killed(torque, number):
    driver = torque.driver(STUBBORN, 4, nodes=2, stop_wait="0.5s", grace="0.5s")
    torque.wait_for(lambda: len([line for line in torque.left() if "sleep 60" in line]) >= 4, pause_s=0.1)
    driver.signal(number)
    driver.process.wait(60)
    torque.nothing_is_left()


def test_a_driver_is_killed_while_its_job_waits(torque):
    torque.set(queue_s=3600)
    driver = torque.driver("echo FoM: 1", 4, nodes=2)
    torque.wait_for(torque.jobs)
    driver.kill()
    torque.nothing_is_left()


def test_a_job_whose_qsub_never_answered_is_given_back(torque):
    """By the guard, which knows it by its name and its folder."""
    torque.set(queue_s=3600)
    torque.write("qsub", f"{torque.real('qsub', 'torque')} > /dev/null; touch {torque.home}/done; exec sleep 60")
    driver = torque.driver("echo FoM: 1; :", 3, nodes=2)
    torque.wait_for((torque.home / "done").exists)
    driver.kill()
    for pid in [int(line.partition(":")[0]) for line in torque.left() if line.endswith(": sleep 60 ")]:
        os.kill(pid, signal.SIGKILL)
    torque.wait_for(lambda: torque.state("1.pbs-server") == "C")
    torque.nothing_is_left()


def test_what_an_earlier_driver_left_is_deleted(torque):
    """Found by name among jobs that are not over: Torque lists the others too."""
    command = "echo FoM: 1; [ -e go ] || sleep 60; :"
    driver = torque.driver(command, 4, nodes=2)
    torque.wait_for(lambda: torque.asleep() >= 2, pause_s=0.1)
    torque.kill_guards()
    driver.kill()
    (torque.home / "go").touch()
    again = torque.driver(command, 4, nodes=2)
    assert "ended what an earlier driver left: job 1.pbs-server" in again.end()
    third = torque.driver(command, 5, nodes=2)
    assert third.end().count("ended what an earlier driver left") == 1
    torque.nothing_is_left()


def test_a_server_that_refuses_at_first(torque):
    torque.is_down(True)
    pid = os.spawnvp(os.P_NOWAIT, "sh", ["sh", "-c", f"sleep 1; rm {torque.folder}/down"])
    study, watching = torque.study("echo FoM: 1; :", 3, nodes=2)
    os.waitpid(pid, 0)
    assert len(study.trials) == 3
    assert [text for text in watching.notices if "PBS does not take the job (socket_connect_unix failed" in text]
    torque.nothing_is_left()


def test_a_driver_inside_a_job_uses_its_nodes_and_leaves_it_alone(torque):
    torque.driver_inside("echo $HPO_NODE > $HPO_TRIAL.node; sleep 0.2; echo FoM: 1; :", 6, nodes=3)
    torque.run("qsub -N mine -j oe -l nodes=3:ppn=2 job.sh")
    torque.wait_for((torque.home / "over").exists)
    assert "finished: 6 done" in (torque.folder / "spool" / "1.pbs-server.OU").read_text()
    assert {(torque.home / f"{i}.node").read_text().strip() for i in range(1, 7)} == {"node01", "node02", "node03"}
    assert torque.jobs() == ["1.pbs-server"]
    (torque.home / "stop").touch()
    torque.nothing_is_left()


@pytest.mark.parametrize("owner_purge", [True, False])
def test_a_job_that_does_not_end_is_purged_where_the_site_lets_us(torque, owner_purge, monkeypatch):
    """After the grace time `qdel -p`; where that is refused, the first qdel has its way in the end."""
    monkeypatch.setattr("hpo_pbs._leftovers.FORCE_AFTER_S", 0.2)
    monkeypatch.setattr("hpo_pbs._leftovers._AGAIN_S", 0.3)
    torque.set(owner_purge=owner_purge, kill_delay_s=2.5)
    (torque.home / "job").write_text("trap '' TERM\nwhile sleep 0.1; do :; done\n")
    torque.run("qsub -N stuck -l nodes=1 job")
    torque.wait_for(lambda: torque.state("1.pbs-server") == "R")
    from hpo_pbs._client import Client
    from hpo_pbs._leftovers import delete

    client = Client()
    client.need()
    assert delete(client, ["1.pbs-server"], 20.0)
    calls = torque.calls("qdel")
    assert calls[0] == "qdel 1.pbs-server"
    assert "qdel -p 1.pbs-server" in calls
    assert torque.state("1.pbs-server") == ("" if owner_purge else "C")
    torque.nothing_is_left()
