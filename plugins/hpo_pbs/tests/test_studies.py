"""Studies on the stand-in: many evaluations, wide ones, and everything that can go wrong around them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core.cli import main
from hpo_core.registry import get

SPACE = [["--x", 0.5, (0.0, 1.0)]]


def test_a_hundred_evaluations_on_four_nodes(cluster):
    study, _ = cluster.study("echo $HPO_NODE $PBS_NODENUM FoM: $HPO_TRIAL; :", 100, nodes=4, metric="FoM: ")
    assert [record.result.state for record in study.trials] == [hpo.State.DONE] * 100
    assert {name for record in study.trials for name in record.result.nodes} == {f"node{i:02d}" for i in range(1, 5)}
    cluster.nothing_is_left()


STARTERS = {
    "pbsdsh": "pbsdsh -n $(($(grep -n $other $PBS_NODEFILE | head -1 | cut -d: -f1) - 1)) -- /usr/bin/env",
    "pbs_tmrsh": "pbs_tmrsh $other /usr/bin/env",
    "ssh": "ssh -n $other /usr/bin/env",
}
"""How an evaluation starts something on another of its nodes."""


def can_isolate() -> bool:
    words = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return os.getuid() == 0 and bool(shutil.which("nsenter")) and not subprocess.run(words, check=False).returncode


@pytest.mark.parametrize(
    ("starter", "isolated"), [("pbsdsh", False), ("pbsdsh", True), ("pbs_tmrsh", False), ("ssh", False)]
)
def test_evaluations_of_two_nodes(cluster, starter, isolated):
    """Their nodes are in a host file and a placeholder; what they leave on the second ends with them.

    Isolated, it can only be ended from there: the first node does not see it.
    """
    if isolated and not can_isolate():
        pytest.skip("nodes that see their own processes alone need root, unshare and nsenter")
    cluster.set(isolated=isolated)
    (cluster.home / "left.sh").write_text("trap '' TERM\ntouch $1.on\nsleep 60\n")
    (cluster.home / "wide.sh").write_text(
        "other=$(sed -n 2p $HPO_HOSTFILE)\n"
        "echo $1 $HPO_NODELIST $(paste -sd, $HPO_HOSTFILE) $other $HPO_NUM_NODES > $HPO_TRIAL.nodes\n"
        f"{STARTERS[starter]} HPO_EVALUATION=$HPO_EVALUATION /bin/sh $PWD/left.sh $PWD/$HPO_TRIAL > err 2>&1 &\n"
        "until [ -e $HPO_TRIAL.on ]; do sleep 0.05; done\n"
        "[ $HPO_TRIAL -le 2 ] || until [ -e go ]; do sleep 0.05; done\n"
        "echo FoM: 2\n"
    )
    driver = cluster.driver("sh wide.sh @nodelist", 4, nodes=4, nodes_per_eval=2, options={"starter": starter})

    def left(number: int) -> bool:
        return any("left.sh" in line and f"{cluster.home}/{number} " in line for line in cluster.left())

    cluster.wait_for((cluster.home / "4.on").exists)
    assert left(3)
    assert left(4)
    cluster.wait_for(lambda: not left(1) and not left(2), pause_s=0.1)
    (cluster.home / "go").touch()
    assert driver.end().count("finished: ") == 4
    assert cluster.calls(starter)
    for number in range(1, 5):
        placeholder, listed, lines, other, count = (cluster.home / f"{number}.nodes").read_text().split()
        assert placeholder == listed == lines
        assert (other, count) == (placeholder.split(",")[1], "2")
    cluster.nothing_is_left()


def test_several_evaluations_on_a_node_have_gpus_of_their_own(cluster):
    command = "echo $CUDA_VISIBLE_DEVICES > $HPO_TRIAL.gpus; sleep 0.3; echo FoM: 1; :"
    cluster.study(command, 4, nodes=2, num_parallel_evals=4, options={"gpus": 2})
    found = sorted((cluster.home / f"{i}.gpus").read_text().strip() for i in range(1, 5))
    assert found == ["0", "0", "1", "1"]


@pytest.mark.parametrize("attaches", [True, False])
def test_nodes_are_reached_by_ssh(cluster, attaches):
    """With pbs_attach where it is there, so that the job knows of it."""
    if not attaches:
        (cluster.bin / "pbs_attach").unlink()
    study, _ = cluster.study("echo FoM: 1; :", 6, nodes=3, options={"starter": "ssh"})
    assert {name for record in study.trials for name in record.result.nodes} == {"node01", "node02", "node03"}
    assert len(cluster.calls("ssh")) == 3
    assert bool(cluster.calls("pbs_attach")) is attaches
    assert not cluster.calls("pbsdsh")
    cluster.nothing_is_left()


def test_a_folder_of_an_odd_name_is_reached_by_ssh(cluster):
    options = {"starter": "ssh", "shared_dir": f"{cluster.home}/a b'c $x"}
    assert len(cluster.study("echo FoM: 1; :", 2, options=options)[0].trials) == 2


def test_a_site_that_refuses_ssh(cluster):
    """What ssh said is in the reason."""
    cluster.set(ssh="alice@node01: Permission denied (publickey,password).")
    with pytest.raises(hpo.StudyStopped, match=r"could not be started: alice@node01: Permission denied"):
        cluster.study("echo FoM: 1; :", 2, nodes=2, options={"starter": "ssh"})
    cluster.nothing_is_left()


def test_the_first_starter_that_is_there(cluster):
    (cluster.bin / "pbsdsh").unlink()
    study, _ = cluster.study("echo FoM: 1; :", 4, nodes=2)
    assert len(study.trials) == 4
    assert len(cluster.calls("pbs_tmrsh")) == 2
    cluster.nothing_is_left()


def test_two_studies_share_an_allocation(cluster):
    with hpo.Evaluator(**cluster.settings("echo FoM: $HPO_TRIAL; :", nodes=2)) as evaluator:
        for name in ("one", "two"):
            study = hpo.Study(hpo.Params(SPACE), evaluator, n_trials=5, seed=1, directory=name)
            study.optimize()
            study.close()
            assert len(study.trials) == 5
    assert cluster.state("1.pbs-server") == "F"
    assert cluster.state("2.pbs-server") == ""
    cluster.nothing_is_left()


def test_the_wait_is_explained_once(cluster):
    """The scheduler's words are told when they change, not at each look."""
    cluster.run(["qsub", "-l", "select=4:ncpus=4", "-l", "place=scatter", "--", "/bin/sleep", "2"])
    cluster.wait_for(lambda: cluster.state("1.pbs-server") == "R")
    study, watching = cluster.study("echo FoM: 1; :", 2, nodes=2, options={"poll": 0.2})
    waits = [text for text in watching.notices if "waits" in text]
    assert len(waits) == len(set(waits))
    assert "job 2.pbs-server waits in the queue: Not Running: Insufficient amount of resource" in " ".join(waits)
    assert len(study.trials) == 2


def test_what_can_never_run_is_found_at_once(cluster):
    study, _ = cluster.study("echo FoM: 1", 2, nodes=9)
    assert study.stop_reason is hpo.StopReason.ALLOCATION
    assert "Can Never Run: Not enough total nodes available" in study.stop_detail
    assert "select=9:ncpus=1:mpiprocs=1" in study.stop_detail
    cluster.nothing_is_left()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("-q nosuch", "Unknown queue"),
        ("-l select=1:ncpus=1:foo=3", "Unknown resource: foo"),
        ("-l select=1 -l ncpus=2", "resource is: ncpus"),
        ("-N 'has space'", "illegal -N value"),
        ("-I", "needs a terminal"),
        ("'", "cannot be split into words"),
    ],
)
def test_a_refused_request_is_an_error_with_the_servers_words(cluster, arguments, complaint):
    with pytest.raises(hpo.AllocationError, match=complaint.replace(".", r"\.")):
        cluster.study("echo FoM: 1", 2, alloc_args=arguments)
    cluster.nothing_is_left()


def test_a_dry_run_shows_qsub_and_runs_nothing(cluster):
    given = ["--workload-manager", "pbs", "--nodes", "4", "--alloc-args", "-q long", "--set", "manager_options.cpus=2"]
    run = [str(Path(sys.executable).with_name("hpo")), "run", "--param", "--x=0.5:1", "--trials", "1", "--dry-run"]
    said = cluster.run([*run, *given, "--", "/bin/true"])
    assert said.stdout.startswith("/bin/true --x=")
    assert "# asks for nodes: qsub -N hpo-STUDY " in said.stderr
    assert " -l select=4:ncpus=2:mpiprocs=1 -l place=scatter -l walltime=00:30:00 -q long -- /bin/sh " in said.stderr
    refused = cluster.run([*run, "--workload-manager", "pbs", "--alloc-args=-J 0-3", "--", "/bin/true"])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "-J can't be used" in refused.stderr
    assert not cluster.calls("qsub")
    assert not (cluster.home / ".hpo-pbs").exists()


def test_a_dry_run_inside_a_job_asks_for_nothing_unless_that_is_over(cluster, monkeypatch):
    request = hpo.AllocationRequest(nodes=2, name="hpo-x")
    monkeypatch.setenv("PBS_NODEFILE", "/dev/null")
    monkeypatch.setenv("PBS_JOBID", cluster.run("qsub -h -- /bin/true").stdout.strip())
    manager = get(hpo.WorkloadManager, "pbs")()
    assert manager.preview(request) == ""
    cluster.run("qdel 1")
    assert manager.preview(request).startswith("qsub -N hpo-x ")


def test_the_users_arguments_win(cluster):
    _, watching = cluster.study(
        "echo FoM: 1; sleep 0.2; :", 4, nodes=4, alloc_args="-l select=2:ncpus=2 -l walltime=1:00:00 -N mine -A x"
    )
    shown = json.loads(cluster.run("qstat -x -f -F json 1.pbs-server").stdout)["Jobs"]["1.pbs-server"]
    assert shown["Resource_List"]["select"] == "2:ncpus=2"
    assert shown["Resource_List"]["place"] == "scatter"
    assert shown["Resource_List"]["walltime"] == "01:00:00"
    assert (shown["Job_Name"], shown["Rerunable"], shown["Join_Path"], shown["Keep_Files"]) == (
        "mine",
        "False",
        "oe",
        "oed",
    )
    assert "nodes=4, and job 1.pbs-server has 2: these are used" in watching.notices


@pytest.mark.parametrize(
    "settings", [{"json": "broken"}, {"refuse_keep": True, "banner": "Welcome to job 17!\n", "history": False}]
)
def test_sites_differ(cluster, settings):
    cluster.set(**settings)
    study, _ = cluster.study("echo FoM: 1; :", 3, nodes=2)
    assert len(study.trials) == 3
    cluster.nothing_is_left()


def test_nothing_secret_is_shown(cluster):
    """Neither by qstat nor by ps: the secret of the workers, and the study's environment."""
    look = "qstat -f > status; cat /proc/[0-9]*/cmdline > commands 2> /dev/null; cat study/pilot-*/config.json > config"
    cluster.study(f"PATH={cluster.bin}:$PATH; {look}; echo FoM: 1; :", 1, nodes=2)
    secret = json.loads((cluster.home / "config").read_text())["secret"]
    assert len(secret) > 20
    assert "1.pbs-server" in (cluster.home / "status").read_text()
    for name in ("status", "commands"):
        assert secret.encode() not in (cluster.home / name).read_bytes()


# The server is away


def test_a_server_that_refuses_at_first(cluster):
    cluster.is_down(True)
    waker = subprocess.Popen(["sh", "-c", f"sleep 1; rm {cluster.folder}/down"])
    study, watching = cluster.study("echo FoM: 1; :", 3, nodes=2)
    waker.wait()
    assert len(study.trials) == 3
    assert [text for text in watching.notices if "PBS does not take the job (Connection refused" in text]


def test_a_server_that_is_away_while_all_runs(cluster):
    """A refused connection is no dead job; in the end the guard gives it back, when the server is there again."""
    command = "[ -e go ] || sleep 0.3; echo FoM: 1; :"
    driver = cluster.driver(command, 12, nodes=2)
    cluster.wait_for(lambda: driver.said("finished") >= 2)
    cluster.is_down(True)
    cluster.wait_for(lambda: driver.said("finished") >= 12)
    driver.signal(signal.SIGKILL)
    driver.process.wait()
    cluster.is_down(False)
    cluster.nothing_is_left()


def test_a_server_that_is_away_when_all_is_given_back(cluster, monkeypatch):
    """It is not waited for long: the guard goes on, which is told."""
    monkeypatch.setattr("hpo_pbs._manager._SILENCE_S", 0.5)
    with pytest.warns(UserWarning, match=r"does not say that job 1\.pbs-server is over: a process in the background"):
        cluster.study(f"touch {cluster.folder}/down; echo FoM: 1; :", 1)
    assert cluster.jobs() == ["1.pbs-server"]
    cluster.is_down(False)
    cluster.nothing_is_left()


@pytest.mark.filterwarnings("always::UserWarning")
def test_the_command_line_says_so_in_one_line(cluster, monkeypatch, capsys):
    monkeypatch.setattr("hpo_pbs._manager._SILENCE_S", 0.5)
    words = ["run", "--param", "--x=0.5:1.0", "--trials", "1", "--workload-manager", "pbs"]
    words += ["--set", "launcher_options.address=127.0.0.1", "--", f"touch {cluster.folder}/down; echo FoM: 1; :"]
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr()
    assert end.value.code == 0
    assert "Trials: 1 done" in said.out
    (line,) = [line for line in said.err.splitlines() if "does not say that job" in line]
    assert line.startswith("hpo: warning: PBS does not say that job 1.pbs-server is over: a process in the background")
    cluster.is_down(False)
    cluster.nothing_is_left()


def test_commands_that_hang_are_given_up(cluster):
    driver = cluster.driver("sleep 0.5; echo FoM: 1; :", 8, nodes=2, options={"command_timeout": 1})
    cluster.wait_for(lambda: driver.said("finished") >= 1)
    (cluster.folder / "hangs").touch()
    cluster.wait_for(lambda: driver.said("finished") >= 8)
    (cluster.folder / "hangs").unlink()
    driver.end()
    cluster.nothing_is_left()


@pytest.mark.parametrize("arguments", ["", "-N mine"])
def test_a_qsub_that_hangs_after_it_got_through(cluster, arguments):
    """Its job is found by name, and taken: there is no second one, and another of that name is left alone."""
    cluster.control("as", cluster.user, "-N", "mine", "-h", "--", "/bin/true")
    cluster.write("qsub", f"{cluster.real('qsub')} > /dev/null; sleep 60")
    study, _ = cluster.study("echo FoM: 1; :", 3, nodes=2, alloc_args=arguments, options={"command_timeout": 1})
    assert len(study.trials) == 3
    assert cluster.state("3.pbs-server") == ""
    assert cluster.state("1.pbs-server") == "H"
    cluster.run("qdel 1")
    cluster.nothing_is_left()


def test_a_job_whose_qsub_never_answered_is_given_back(cluster):
    """The driver is interrupted before it can ask again."""
    cluster.set(queue_s=3600)
    cluster.write("qsub", f"{cluster.real('qsub')} > /dev/null; touch {cluster.home}/done; sleep 60")
    driver = cluster.driver("echo FoM: 1; :", 3, nodes=2, options={"command_timeout": 1})
    cluster.wait_for((cluster.home / "done").exists)
    driver.signal(signal.SIGINT)
    driver.end()
    assert cluster.state("1.pbs-server") == "F"
    cluster.nothing_is_left()


@pytest.mark.parametrize("name", ["", "mine"])
def test_a_job_whose_qsub_never_answered_is_given_back_by_the_guard(cluster, name):
    """Driver and qsub are killed: the job is known by its name and its folder, and another of that name is left."""
    cluster.set(queue_s=3600)
    cluster.write("qsub", f"{cluster.real('qsub')} > /dev/null; touch {cluster.home}/done; exec sleep 60")
    driver = cluster.driver("echo FoM: 1; :", 3, nodes=2, alloc_args=name and f"-N {name}")
    cluster.wait_for((cluster.home / "done").exists)
    cluster.control("as", cluster.user, "-N", name or f"hpo-{driver.study_id()}", "-h", "--", "/bin/true")
    driver.kill()
    for pid in [int(line.partition(":")[0]) for line in cluster.left() if line.endswith(": sleep 60 ")]:
        os.kill(pid, signal.SIGKILL)
    cluster.wait_for(lambda: cluster.state("1.pbs-server") == "F")
    assert cluster.state("2.pbs-server") == "H"
    cluster.run("qdel 2")
    cluster.nothing_is_left()


@pytest.mark.parametrize("comes", [True, False])
def test_a_qsub_that_says_no_id(cluster, comes):
    """Its job is found by name; where there is none, that is the end."""
    cluster.write("qsub", f"{cluster.real('qsub') if comes else 'true'} > /dev/null; echo Thanks")
    if comes:
        study, _ = cluster.study("echo FoM: 1; :", 2, nodes=2)
        assert len(study.trials) == 2
        assert cluster.state("2.pbs-server") == ""
    else:
        with pytest.raises(hpo.AllocationError, match="qsub printed no id of a job: 'Thanks'"):
            cluster.study("echo FoM: 1; :", 2, nodes=2)
    cluster.nothing_is_left()


def test_a_command_that_is_missing_is_named(cluster):
    (cluster.bin / "qselect").unlink()
    with pytest.raises(hpo.AllocationError, match=r"a 'qstat' of PBS in .*, but no qselect"):
        cluster.study("echo FoM: 1", 1)


def test_qstat_is_called_seldom(cluster):
    """While all is well: soon after the submission, when the job begins, then every `poll` seconds, and at the end."""
    study, _ = cluster.study("sleep 0.5; echo FoM: 1; :", 8, nodes=2, options={"poll": 60})
    assert len(study.trials) == 8
    assert len(cluster.calls("qsub")) == len(cluster.calls("qdel")) == 1
    assert not cluster.calls("qselect")
    full = [call for call in cluster.calls("qstat") if "-f" in call]
    assert full == ["qstat -f -F json 1.pbs-server"] * len(full)
    assert len(full) <= 4


# Ways to die

STUBBORN = "trap '' TERM; (trap '' TERM; setsid sleep 60) & sleep 60; :"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_is_killed(cluster, number):
    """Nothing of it is left: no job, no process that ignores TERM or left its session, no file."""
    driver = cluster.driver(STUBBORN, 4, nodes=2, stop_wait="0.5s", grace="0.5s")
    cluster.wait_for(lambda: len([line for line in cluster.left() if "sleep 60" in line]) >= 4, pause_s=0.1)
    driver.signal(number)
    driver.process.wait(60)
    cluster.nothing_is_left()


def test_a_driver_is_killed_while_its_job_waits(cluster):
    cluster.set(queue_s=3600)
    driver = cluster.driver("echo FoM: 1", 4, nodes=2)
    cluster.wait_for(cluster.jobs)
    driver.kill()
    cluster.nothing_is_left()


def test_a_driver_is_killed_while_qsub_runs(cluster):
    """The job that comes all the same is deleted, and no other whose number a site prints behind its id."""
    cluster.control("as", cluster.user, "-N", "other", "-h", "--", "/bin/true")
    cluster.write("qsub", f"touch {cluster.home}/began; sleep 1.5; {cluster.real('qsub')}; echo Jobs left: 1")
    driver = cluster.driver("echo FoM: 1", 4, nodes=2)
    cluster.wait_for((cluster.home / "began").exists)
    driver.kill()
    cluster.wait_for(lambda: cluster.state("2.pbs-server") == "F")
    assert cluster.state("1.pbs-server") == "H"
    cluster.run("qdel 1")
    cluster.nothing_is_left()


def test_the_drivers_host_dies(cluster):
    """Driver and guard are gone at once: the job misses its heartbeat and ends; the next driver cleans up."""
    driver = cluster.driver("sleep 0.2; [ -e go ] || sleep 60; echo FoM: 1; :", 4, nodes=2, options={"patience": 2})
    cluster.wait_for(lambda: cluster.asleep() >= 2, pause_s=0.1)
    cluster.kill_guards()
    driver.kill()
    cluster.wait_for(lambda: cluster.jobs() == [])
    assert "Exit_status = 7" in cluster.run("qstat -x -f 1.pbs-server").stdout
    cluster.wait_for(lambda: not cluster.left(), pause_s=0.1)
    assert list((cluster.home / ".hpo-pbs").glob(".*"))
    (cluster.home / "go").touch()
    again = cluster.driver("sleep 0.2; [ -e go ] || sleep 60; echo FoM: 1; :", 4, nodes=2, options={"patience": 2})
    assert "stopped: " in again.end()
    cluster.nothing_is_left()


def test_what_an_earlier_driver_left_in_the_queue_is_deleted(cluster):
    command = "echo FoM: 1; [ -e go ] || sleep 60; :"
    driver = cluster.driver(command, 4, nodes=2)
    cluster.wait_for(lambda: cluster.asleep() >= 2, pause_s=0.1)
    cluster.kill_guards()
    driver.kill()
    cluster.control("as", "bob", "-N", f"hpo-{driver.study_id()}", "-h", "--", "/bin/true")
    (cluster.home / "go").touch()
    again = cluster.driver(command, 4, nodes=2)
    said = again.end()
    assert f"ended what an earlier driver left: job 1.pbs-server (hpo-{again.study_id()})" in said
    assert cluster.jobs() == ["2.pbs-server"], "another user's job is left alone"


def test_a_server_that_is_away_when_a_study_goes_on(cluster):
    """It is waited for before anybody says what is left."""
    command = "echo FoM: 1; [ -e go ] || sleep 60; :"
    driver = cluster.driver(command, 4, nodes=2)
    cluster.wait_for(lambda: cluster.asleep() >= 2, pause_s=0.1)
    cluster.is_down(True)
    cluster.kill_guards()
    driver.kill()
    (cluster.home / "go").touch()
    waker = subprocess.Popen(["sh", "-c", f"sleep 2; rm {cluster.folder}/down"])
    said = cluster.driver(command, 4, nodes=2).end()
    waker.wait()
    assert "ended what an earlier driver left: job 1.pbs-server" in said
    assert said.count("finished: ") == 4
    cluster.nothing_is_left()


def test_a_guard_that_is_killed_comes_again(cluster):
    command = "sleep 0.3; echo FoM: 1; [ $HPO_TRIAL != 3 ] || [ -e go ] || sleep 60; :"
    driver = cluster.driver(command, 4, nodes=1)
    cluster.wait_for(lambda: driver.said("started") >= 3)
    (first,) = cluster.guards()
    os.kill(first, signal.SIGKILL)
    cluster.wait_for(lambda: cluster.guards() not in ([], [first]))
    driver.kill()
    cluster.nothing_is_left()


def test_a_node_dies(cluster):
    """Its evaluation runs again, elsewhere; the node is given up, and the others go on."""
    command = "echo $HPO_NODE >> $HPO_TRIAL.ran; sleep 0.3; echo FoM: 1; :"
    launcher = {"address": "127.0.0.1", "connect_timeout": 2.5, "max_losses": 1}
    driver = cluster.driver(command, 20, nodes=3, launcher_options=launcher)
    cluster.wait_for(lambda: driver.said("finished") >= 4)
    cluster.control("fail", "node02")
    said = driver.end()
    assert said.count("finished") == 20
    assert len(re.findall(r"^finished: \d+ done$", said, re.MULTILINE)) == 20
    cluster.nothing_is_left()


def test_a_node_is_taken_out_of_the_job(cluster):
    driver = cluster.driver("[ -e go ] || sleep 60; echo FoM: 1; :", 6, nodes=3)
    cluster.wait_for(lambda: cluster.asleep() >= 3, pause_s=0.1)
    (cluster.home / "go").touch()
    cluster.control("take-out", "1.pbs-server", "node02")
    cluster.wait_for(lambda: driver.said("notice: lost node02: PBS has taken it out of the job"))
    for pid in [int(line.partition(":")[0]) for line in cluster.left() if line.endswith(": sleep 60 ")]:
        os.kill(pid, signal.SIGKILL)
    driver.end()
    cluster.nothing_is_left()


def test_a_job_that_does_not_get_rid_of_its_output(cluster, monkeypatch):
    """It stays in state E, as it did when that was recorded; after a while that counts as over."""
    was = json.loads((Path(__file__).with_name("transcripts") / "job-with-bad-output-path.json").read_text())
    monkeypatch.setattr("hpo_pbs._manager._ENDING_S", 1.0)
    command = f"sleep 0.5; {cluster.bin}/qdel $PBS_JOBID; sleep 60"
    study, _ = cluster.study(command, 4, nodes=2, alloc_args=f"-k n -o {was['Output_Path'].partition(':')[2]}")
    assert cluster.state("1.pbs-server") == was["job_state"]
    assert study.stop_reason is hpo.StopReason.ALLOCATION
    assert "was deleted by" in study.stop_detail


@pytest.mark.parametrize("history", [True, False])
def test_the_job_is_deleted_from_outside(cluster, history):
    cluster.set(history=history)
    driver = cluster.driver("sleep 60; echo FoM: 1; :", 4, nodes=2)
    cluster.wait_for(lambda: cluster.asleep() >= 2, pause_s=0.1)
    cluster.run("qdel 1")
    said = driver.end()
    assert ("was deleted by" if history else "keeps no history") in said
    cluster.nothing_is_left()


@pytest.mark.parametrize("poll", [0.5, 60])
def test_the_job_goes_back_into_the_queue(cluster, poll):
    """As `-r y` allows it: the nodes are lost as preempted, and come again; the same where nobody was looking."""
    command = "[ -e go ] || sleep 60; echo FoM: 1; :"
    driver = cluster.driver(command, 4, nodes=2, alloc_args="-r y", options={"poll": poll})
    cluster.wait_for(lambda: cluster.asleep() >= 2, pause_s=0.1)
    (cluster.home / "go").touch()
    cluster.control("requeue", "1.pbs-server")
    said = driver.end()
    assert said.count("finished") == 4
    cluster.nothing_is_left()


def test_a_study_goes_on_in_a_second_allocation(cluster):
    """Evaluations are ended before the walltime is over, and tried again in another job."""
    command = "[ $HPO_TRIAL != 6 ] || [ -e again ] || { touch again; sleep 60; }; sleep 0.2; echo FoM: 1; :"
    study, watching = cluster.study(command, 10, nodes=2, alloc_timeout=0.06, options={"renewals": 1}, grace="0.5s")
    assert [record.state for record in study.trials] == [hpo.State.DONE] * 10
    assert [text for text in watching.notices if "asking for another allocation (1 of 1)" in text]
    assert cluster.state("2.pbs-server") == "F"
    cluster.nothing_is_left()


@pytest.mark.parametrize("history", [True, False])
def test_pbs_ends_the_job_as_its_time_is_over(cluster, history):
    """Sooner than we thought: its exit status says so, or what PBS writes to the job's output."""
    cluster.set(history=history, hurry=200, walltime_slack_s=0)
    study, _ = cluster.study("sleep 60; echo FoM: 1; :", 4, nodes=2, grace="0.5s")
    assert study.stop_reason is hpo.StopReason.ALLOCATION
    assert "the time of job 1.pbs-server is over" in study.stop_detail
    cluster.nothing_is_left()


def test_the_time_is_over(cluster):
    study, _ = cluster.study("sleep 60; echo FoM: 1; :", 4, nodes=2, alloc_timeout=0.05, grace="0.5s")
    assert study.stop_reason is hpo.StopReason.ALLOCATION
    cluster.nothing_is_left()


# Inside an allocation


def test_a_driver_inside_a_job_uses_its_nodes_and_leaves_it_alone(cluster):
    cluster.driver_inside("echo $HPO_NODE > $HPO_TRIAL.node; sleep 0.2; echo FoM: 1; :", 6, nodes=3)
    cluster.run("qsub -N mine -j oe -k oed -o out -l select=3:ncpus=2:mpiprocs=2 -l place=scatter job.sh")
    cluster.wait_for((cluster.home / "over").exists)
    assert "finished: 6 done" in (cluster.home / "out").read_text()
    assert {(cluster.home / f"{i}.node").read_text().strip() for i in range(1, 7)} == {"node01", "node02", "node03"}
    assert cluster.jobs() == ["1.pbs-server"]
    (cluster.home / "stop").touch()
    cluster.nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_driver_inside_a_job_is_killed(cluster, number):
    """The job stays, and nothing of the study runs in it."""
    cluster.driver_inside(STUBBORN, 6, nodes=3, stop_wait="0.5s", grace="0.5s")
    cluster.run("qsub -N mine -j oe -k oed -o out -l select=3:ncpus=2 -l place=scatter job.sh")
    cluster.wait_for(lambda: cluster.asleep() >= 6, pause_s=0.1)  # all workers have met the driver
    os.kill(int((cluster.home / "pid").read_text()), number)
    cluster.wait_for((cluster.home / "over").exists)
    cluster.wait_for(lambda: not list((cluster.home / ".hpo-pbs").glob(".*")))
    ours = ("sleep 60", "hpo", "worker")
    cluster.wait_for(lambda: not [line for line in cluster.left() if any(word in line for word in ours)], pause_s=0.1)
    assert cluster.jobs() == ["1.pbs-server"]
    assert not cluster.calls("qdel")
    (cluster.home / "stop").touch()
    cluster.nothing_is_left()


@pytest.mark.parametrize("history", [True, False])
def test_a_folder_that_the_nodes_do_not_see(cluster, history):
    """It is named, and no other allocation is tried."""
    cluster.set(history=history)
    cluster.write("qsub", f'for word; do :; done; rm "$word"; {cluster.real("qsub")}')
    study, _ = cluster.study("echo FoM: 1; :", 2, options={"renewals": 2})
    assert f"see {cluster.home}/.hpo-pbs/.hpo-" in study.stop_detail
    assert "The option shared_dir names a folder that they see" in study.stop_detail
    assert cluster.state("2.pbs-server") == ""
    cluster.nothing_is_left()


def test_it_is_found_by_itself(cluster):
    found = get(hpo.WorkloadManager, "pbs").detect()
    assert found == "qstat: pbs_version = 23.06.06"
    cluster.is_down(True)
    assert get(hpo.WorkloadManager, "pbs").detect() is None


def test_a_qstat_that_takes_its_time_is_waited_for(cluster):
    """On a busy login host; what does not answer at all is told."""
    cluster.write("qstat", f"[ $1 != --version ] || sleep $(cat {cluster.home}/late); exec {cluster.real('qstat')}")
    (cluster.home / "late").write_text("1.5")
    assert len(cluster.study("echo FoM: 1; :", 1)[0].trials) == 1
    (cluster.home / "late").write_text("60")
    with pytest.raises(hpo.AllocationError, match="'qstat --version' did not answer within 1 s"):
        cluster.study("echo FoM: 1; :", 2, options={"command_timeout": 1}, directory="other")


def test_a_qstat_of_somebody_else_is_refused(cluster):
    cluster.write("qstat", "echo GE 8.1.9")
    with pytest.raises(hpo.AllocationError, match="does not say that it is of PBS or Torque"):
        cluster.study("echo FoM: 1", 1)
