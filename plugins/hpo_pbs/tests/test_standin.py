"""The stand-in behaves as the real PBS did when it was recorded: each command that it imitates is given to it again.

Names of this machine and this user, times and node numbers are made the same in both before they are compared.
"""

import getpass
import json
import os
import re
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from hpo_core import _processes

TRANSCRIPTS = Path(__file__).with_name("transcripts")
HEARTBEAT = Path(__file__).with_name("heartbeat.py")

NOT_IMITATED = {"license", "pcpus", "last_state_change_time", "last_used_time", "resv_enable", "sharing", "mem"}
"""Keys of qstat and pbsnodes that the stand-in does not have."""

AT_TIMES = {"session_id", "jobdir"}
"""Keys that are there or not, as the server has heard of them or not."""

VOLATILE = {
    *("ctime", "mtime", "qtime", "etime", "stime", "obittime", "session_id", "history_timestamp", "substate"),
    *("timestamp", "cput", "cpupercent", "vmem", "walltime_used", "resources_used", "Variable_List"),
}
"""Keys whose values are never the same twice; they must be there in both."""


def recorded(name: str) -> Any:
    return json.loads((TRANSCRIPTS / f"{name}.json").read_text(encoding="utf-8"))


def plain(text: str, cluster: Any) -> str:
    """Without the names of this machine, times, and numbers of nodes."""
    text = text.replace(str(cluster.home), "/nfs/home/alice").replace(f"{cluster.bin}/", "/opt/pbs/bin/")
    text = re.sub(rf"\b{re.escape(getpass.getuser())}@", "alice@", text)
    text = text.replace(f"{getpass.getuser():<16.16}", f"{'alice':<16}").replace(socket.gethostname(), "node03")
    text = re.sub(r" +(0|00:00:00) (?=[A-Z] )", " TIME ", text)
    text = re.sub(r"\w{3} \w{3} +\d+ at \d\d:\d\d", "TIME", text)
    text = re.sub(r"\bnode\d\d(/\d+)?", lambda match: "node/slot" if match[1] else "node", text)
    text = re.sub(r"cannot connect to server \S+", "cannot connect to server NAME", text)
    text = re.sub(r"connect to cluster: \S+", "connect to cluster: NAME", text)
    return text.partition("usage:")[0]


def told(cluster: Any, command: str | list[str]) -> Any:
    if isinstance(command, list):
        command = shlex.join(command)
    command = command.replace("-u alice", f"-u {getpass.getuser()}").replace("/nfs/home/alice", str(cluster.home))
    return cluster.run(command, cwd=cluster.home)


def same_words(cluster: Any, name: str) -> None:
    """Exit code, stdout and stderr are as recorded."""
    was = recorded(name)
    now = told(cluster, was["command"])
    assert (now.returncode, plain(now.stdout, cluster), plain(now.stderr, cluster)) == (
        was["exit_code"],
        plain(was["stdout"], cluster),
        plain(was["stderr"], cluster),
    )


@pytest.fixture
def quiet(cluster):
    """Jobs wait, unless a test says otherwise."""
    cluster.set(queue_s=3600)
    (cluster.home / "job.sh").write_text("#PBS -N demo\nhostname\n")
    return cluster


@pytest.mark.parametrize(
    "name",
    [
        *("qsub-script", "qsub-argv", "qsub-argv-noslash", "qsub-stdin", "qsub-account", "qsub-nodes-ppn"),
        *(
            "qsub-too-many-nodes",
            "qsub-too-many-cpus",
            "qsub-vscatter",
            "qsub-digit-name",
            "qsub-v-comma",
            "qsub-version",
        ),
        *("qsub-bad-queue", "qsub-bad-walltime", "qsub-bad-select", "qsub-bad-place", "qsub-bad-resource"),
        *("qsub-bad-resource-job", "qsub-select-and-ncpus", "qsub-bad-name", "qsub-bad-option", "qsub-long-name"),
        *("qsub-no-file", "qsub-I-no-tty", "qsub-o-baddir"),
    ],
)
def test_qsub(quiet, name):
    was = recorded(name)
    if was["stdout"][:1].isdigit():
        quiet.control("next", was["stdout"].partition(".")[0])
    same_words(quiet, name)


def test_placement(cluster):
    """Where chunks go, and what stands in the list of nodes."""
    wanted = [one for one in recorded("placement") if not re.search("host=|excl|mem=", one["request"])]
    assert len(wanted) >= 8
    for one in wanted:
        job = cluster.run(
            f"qsub {one['request']} -j oe -k oed -o nodes -- /bin/sh -c 'cat $PBS_NODEFILE'"
        ).stdout.strip()
        cluster.wait_for(lambda job=job: cluster.state(job) == "F")
        shown = json.loads(cluster.run(f"qstat -x -f -F json {job}").stdout)["Jobs"][job]
        assert (shown["exec_host"], shown["exec_vnode"]) == (one["exec_host"], one["exec_vnode"]), one["request"]
        assert (cluster.home / "nodes").read_text().split() == one["nodefile"]
        (cluster.home / "nodes").unlink()
        for key in ("ncpus", "nodect", "place", "select"):
            assert shown["Resource_List"][key] == one["Resource_List"][key]


def bring(cluster: Any, number: str, attributes: dict[str, Any]) -> None:
    """Submit a job with the recorded arguments, and bring it into the recorded state."""
    cluster.control("next", number.partition(".")[0])
    arguments = attributes["Submit_arguments"].replace("-c exit 3", "-c 'exit 3'")  # which lose their quotes
    assert cluster.run(f"qsub {arguments}", cwd=cluster.home).stdout.strip() == number
    state = attributes["job_state"]
    if state == "F" and attributes["substate"] == 91:
        if "Exit_status" in attributes:
            cluster.wait_for(lambda: cluster.state(number) == "R")
        else:
            cluster.wait_for(lambda: "comment" in cluster.ask("qstat", "-f", number)["out"])
        cluster.run(f"qdel {number}")
    if state == "Q":
        cluster.wait_for(lambda: "comment" in cluster.ask("qstat", "-f", number)["out"])
    cluster.wait_for(lambda: cluster.state(number) == state)
    if state == "R" and "terminated" in attributes["comment"]:
        cluster.run(f"qdel {number}")


JSON = [
    *("qstat-f-json-running", "qstat-f-json-held", "qstat-f-json-state-H", "qstat-q-toomany", "qstat-q-toocpus"),
    *("qstat-x-f-json-finished-exit0", "qstat-x-f-json-qdel", "qstat-x-f-json-qdel-queued", "qstat-x-f-json-walltime"),
    *("qstat-f-json-alloc-running", "qstat-short-id", "qstat-f-json-just-after-qdel"),
    *("qstat-x-f-json-three-live", "qstat-Ex-f-json-three-live"),
]


@pytest.mark.parametrize("name", JSON)
def test_qstat_json(cluster, name):
    """The same jobs with the same keys and values; of several, the same one alone."""
    was = recorded(name)
    jobs = json.loads(was["stdout"])["Jobs"]
    asked = re.findall(r"\b(\d+)\.pbs-server", was["command"]) or [next(iter(jobs)).partition(".")[0]]
    like = next(iter(jobs.values()))
    (cluster.home / "k.sh").write_text("trap '' TERM\nsleep 20\n")
    cluster.set(hurry=5)
    for number in asked:
        bring(cluster, f"{number}.pbs-server", jobs.get(f"{number}.pbs-server", like))
    now = told(cluster, was["command"])
    assert now.returncode == was["exit_code"]
    found = json.loads(now.stdout)["Jobs"]
    assert list(found) == list(jobs)
    for job, attributes in jobs.items():
        if name.endswith("just-after-qdel"):
            attributes.pop("resources_used")
        assert set(found[job]) - AT_TIMES == set(attributes) - NOT_IMITATED - AT_TIMES
        for key, value in attributes.items():
            if key not in VOLATILE | NOT_IMITATED | AT_TIMES:
                one, other = (
                    plain(json.dumps(each[key], sort_keys=True), cluster) for each in (found[job], attributes)
                )
                assert one == other, key
            elif isinstance(value, dict):
                assert set(found[job][key]) == set(value)


@pytest.mark.parametrize("name", ["qstat-running", "qstat-x-w-mixed", "qstat-x-text-three-live"])
def test_tables(cluster, name):
    jobs = re.findall(r"^(\d+)\S* +(\S+) .* ([RHQ]) workq", recorded(name)["stdout"], re.MULTILINE)
    assert len(jobs) >= 2
    for number, job, state in jobs:
        cluster.control("next", number)
        more = {"H": "-h", "Q": "-l select=5:ncpus=1 -l place=scatter", "R": ""}[state]
        cluster.run(f"qsub {more} -N {job} -- /bin/sleep 60")
        cluster.wait_for(lambda number=number, state=state: cluster.state(f"{number}.pbs-server") == state)
    same_words(cluster, name)


@pytest.mark.parametrize("name", ["qstat-f-json-two-live", "qstat-x-f-json-two-live"])
def test_of_two_ids_the_first_alone_is_in_json(cluster, name):
    for number in ("124", "125"):
        cluster.control("next", number)
        cluster.run("qsub -- /bin/sleep 60")
        cluster.wait_for(lambda number=number: cluster.state(f"{number}.pbs-server") == "R")
    was, now = recorded(name), told(cluster, recorded(name)["command"])
    assert now.returncode == was["exit_code"]
    assert list(json.loads(now.stdout)["Jobs"]) == list(json.loads(was["stdout"])["Jobs"]) == ["124.pbs-server"]


def test_a_node_that_was_given_back(cluster):
    """As `pbs_release_nodes` does, which is done from outside here."""
    (was,) = json.loads(recorded("qstat-f-json-after-release")["stdout"])["Jobs"].values()
    cluster.control("next", "124")
    cluster.run("qsub -l select=4:ncpus=1 -l place=scatter -- /bin/sleep 60")
    cluster.wait_for(lambda: cluster.state("124.pbs-server") == "R")
    cluster.control("take-out", "124.pbs-server", "node04")
    (now,) = json.loads(cluster.run("qstat -f -F json 124.pbs-server").stdout)["Jobs"].values()
    for key in ("exec_host", "exec_vnode", "job_state"):
        assert now[key] == was[key]


@pytest.mark.parametrize("name", ["qstat-f-running", "qstat-x-f-finished-exit3"])
def test_qstat_text(cluster, name):
    was = recorded(name)
    lines = dict(re.findall(r"^    ([\w.]+) = (.*)$", was["stdout"].replace("\n\t", ""), re.MULTILINE))
    number = was["stdout"].partition("\n")[0].partition(": ")[2]
    bring(cluster, number, {**lines, "substate": int(lines["substate"])})
    now = told(cluster, was["command"])
    found = dict(re.findall(r"^    ([\w.]+) = (.*)$", now.stdout.replace("\n\t", ""), re.MULTILINE))
    assert (now.returncode, now.stdout.partition("\n")[0], set(found) - AT_TIMES) == (
        0,
        was["stdout"].partition("\n")[0],
        set(lines) - AT_TIMES,
    )
    for key in set(lines) - VOLATILE - AT_TIMES:
        if not key.startswith("resources_used"):
            assert plain(found[key], cluster) == plain(lines[key], cluster), key


@pytest.mark.parametrize(
    "name",
    [
        *("qstat-finished-without-x", "qstat-unknown", "qstat-bad-id", "qstat-foreign-server", "qdel-finished"),
        *("qdel-unknown", "version", "qstat-after-qdel-x"),
    ],
)
def test_errors(cluster, name):
    cluster.control("next", "16")
    for _ in range(2):
        cluster.run("qsub -- /bin/true")
    cluster.wait_for(lambda: cluster.state("16.pbs-server") + cluster.state("17.pbs-server") == "FF")
    cluster.run("qdel -x 17.pbs-server")
    same_words(cluster, name)


@pytest.mark.parametrize(
    "name", ["qstat-f-json-mixed", "qstat-x-f-json-mixed", "qstat-x-f-json-unknown", "qstat-f-json-finished-without-x"]
)
def test_some_of_several_ids_are_wrong(cluster, name):
    cluster.control("next", "16")
    cluster.run("qsub -- /bin/true")
    cluster.control("next", "31")
    cluster.run("qsub -- /bin/sleep 60")
    cluster.wait_for(lambda: cluster.state("16.pbs-server") + cluster.state("31.pbs-server") == "FR")
    was = recorded(name)
    now = told(cluster, was["command"])
    assert (now.returncode, now.stderr) == (was["exit_code"], was["stderr"])
    assert list(json.loads(now.stdout).get("Jobs", {})) == list(json.loads(was["stdout"]).get("Jobs", {}))


@pytest.mark.parametrize(
    "name",
    [
        "qdel-queued",
        "qdel-held",
        "qdel-running",
        "qdel-again-immediately",
        "qdel-W-force",
        "qdel-two",
        "qdel-x",
        "qselect-u",
    ],
)
def test_qdel_and_qselect(cluster, name):
    numbers = re.findall(r"\b(\d+)\.pbs-server", recorded(name)["command"]) or ["31"]
    for number in numbers:
        cluster.control("next", number)
        cluster.run(["qsub", *(["-h"] if name.endswith("held") else []), "--", "/bin/sleep", "60"])
        if name not in ("qdel-queued", "qdel-held"):
            cluster.wait_for(lambda number=number: cluster.state(f"{number}.pbs-server") == "R")
    if "again" in name:
        cluster.set(exiting_s=10)
        cluster.run(f"qdel {numbers[0]}")
    same_words(cluster, name)


def test_the_jobs_of_others(cluster):
    cluster.control("next", "151")
    cluster.control("as", "bob", "--", "/bin/sleep", "60")
    same_words(cluster, "qdel-other-user")


@pytest.mark.parametrize(
    "name", ["down-qsub", "down-qdel", "down-qselect", "down-pbsnodes", "qsub-server-down", "qdel-server-down"]
)
def test_the_server_is_down(cluster, name):
    cluster.is_down(True)
    same_words(cluster, name)


@pytest.mark.parametrize("name", ["down-qstat", "qstat-server-down"])
def test_the_server_is_down_for_qstat(cluster, name):
    cluster.is_down(True)
    was, now = recorded(name), told(cluster, recorded(name)["command"])
    assert (now.returncode, plain(now.stderr, cluster)) == (was["exit_code"], plain(was["stderr"], cluster))
    assert set(json.loads(now.stdout or "{}")) == set(json.loads(was["stdout"] or "{}"))


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("pbsnodes-a-json", {"31": ""}),
        ("pbsnodes-a-json-busy", {"124": "-l select=4:ncpus=1 -l place=scatter", "125": ""}),
    ],
)
def test_pbsnodes(cluster, name, jobs):
    was = json.loads(recorded(name)["stdout"])["nodes"]
    for number, more in jobs.items():
        cluster.control("next", number)
        cluster.run(f"qsub {more} -- /bin/sleep 60")
        cluster.wait_for(lambda number=number: cluster.state(f"{number}.pbs-server") == "R")
    now = json.loads(cluster.run("pbsnodes -a -F json").stdout)["nodes"]
    assert list(now) == list(was)
    for name, node in now.items():
        assert {key: was[name][key] for key in ("Mom", "ntype", "state")} == {
            key: node[key] for key in ("Mom", "ntype", "state")
        }
        assert node.get("jobs") == was[name].get("jobs")
        assert set(was[name]) - set(node) <= NOT_IMITATED


INSIDE = [
    *("in-pbsdsh-all", "in-pbsdsh-all-exit", "in-pbsdsh-c2", "in-pbsdsh-c8", "in-pbsdsh-exit3", "in-pbsdsh-n2"),
    *("in-pbsdsh-n9", "in-pbsdsh-o", "in-pbsdsh-s", "in-pbsdsh-signal", "in-pbsdsh-stdin", "in-pbsdsh-stdout"),
    *("in-pbsdsh-noenv", "in-pbsdsh-nocmd", "in-tmrsh", "in-tmrsh-badhost", "in-tmrsh-exit3", "in-tmrsh-nocmd"),
    *("in-tmrsh-signal", "in-tmrsh-stdout", "in-tmrsh-noenv", "in-pbsdsh-relative", "in-tmrsh-relative"),
]


def in_a_job(cluster: Any, command: str, done: str = "done") -> None:
    (cluster.home / "inside.sh").write_text(f"{command}\ntouch {done}\nsleep 0.2\n")
    cluster.run("qsub -j oe -k oed -o output -l select=4:ncpus=1 -l place=scatter inside.sh", cwd=cluster.home)
    cluster.wait_for((cluster.home / done).exists)


@pytest.mark.parametrize("name", INSIDE)
def test_tasks(cluster, name):
    """What hostname says is taken from the number of the node: all nodes are this machine here."""
    was = recorded(name)
    says_name = "/bin/sh -c 'echo node0$((PBS_NODENUM+1))'"
    command = re.sub(r"(/bin/)?\bhostname\b", says_name, was["command"]).replace("/opt/pbs/bin", str(cluster.bin))
    cluster.control("next", "32")
    in_a_job(cluster, f"({command}) > out 2> err; echo $? > code")
    out, err, code = ((cluster.home / each).read_text() for each in ("out", "err", "code"))
    assert (int(code), plain(err, cluster)) == (was["exit_code"], plain(was["stderr"], cluster))
    assert sorted(re.sub(r"task 0x\d+ ", "", line) for line in out.splitlines()) == sorted(
        re.sub(r"task 0x\d+ ", "", line) for line in was["stdout"].splitlines()
    )
    written = (cluster.home / "output").read_text(errors="replace")
    if name.endswith("nocmd"):
        assert "No such file or directory" in written
    else:
        assert sorted(written.splitlines()) == sorted(was.get("job_output", "").splitlines())


@pytest.mark.parametrize("name", ["in-ssh", "in-ssh-attach", "in-tmrsh-redirect", "in-qsub-nested"])
def test_words_of_tasks(cluster, name):
    """What comes back to the caller."""
    was = recorded(name)
    (cluster.home / "hb").mkdir()
    command = was["command"].replace("/opt/pbs/bin", str(cluster.bin)).replace("/nfs/home/alice", str(cluster.home))
    cluster.control("next", "122")
    in_a_job(cluster, f"PATH={cluster.bin}:$PATH; ({command}) > out 2> err; echo $? > code")
    out, err, code = ((cluster.home / each).read_text() for each in ("out", "err", "code"))
    assert (int(code), plain(out, cluster), err) == (was["exit_code"], plain(was["stdout"], cluster), was["stderr"])


@pytest.mark.parametrize(("name", "ssh"), [("in-ssh-denied", True), ("in-ssh-attach-wrongnode", False)])
def test_who_may_not_come_by_ssh(cluster, name, ssh):
    was = recorded(name)
    if ssh:
        cluster.set(ssh=was["stderr"].rstrip())
    command = was["command"].replace("/opt/pbs/bin", str(cluster.bin))
    (cluster.home / "one.sh").write_text(f"PATH={cluster.bin}:$PATH; ({command}) > out 2> err; echo $? > code\n")
    cluster.run("qsub -l select=3:ncpus=1 -l place=scatter one.sh", cwd=cluster.home)
    cluster.wait_for(lambda: cluster.state("1.pbs-server") == "F")
    out, err, code = ((cluster.home / each).read_text() for each in ("out", "err", "code"))
    assert (int(code), out, plain(err, cluster)) == (was["exit_code"], was["stdout"], plain(was["stderr"], cluster))


def test_a_task_starts_another_on_a_third_node(cluster):
    was = recorded("in-tmrsh-from-sister")
    command = was["command"].replace("/opt/pbs/bin", str(cluster.bin)).replace("/nfs/home/alice", str(cluster.home))
    in_a_job(
        cluster, f"{command.replace('hostname', 'echo node0$((PBS_NODENUM+1))')}; echo $? > code".replace('"', "'")
    )
    assert int((cluster.home / "code").read_text()) == was["exit_code"]
    assert (cluster.home / "sister.txt").read_text() == recorded("in-tmrsh-from-sister-out")["stdout"]


def test_a_task_on_a_dead_node_hangs(cluster):
    """It was given up after 25 s when it was recorded."""
    was = recorded("in-tmrsh-mom-dead")
    assert was["exit_code"] is None
    cluster.control("next", "32")
    (cluster.home / "inside.sh").write_text(
        f"while [ ! -e go ]; do sleep 0.1; done\n"
        f"timeout 1 {was['command'].replace('/opt/pbs/bin', str(cluster.bin))} > out 2>&1; echo $? > code\n"
    )
    cluster.run("qsub -l select=2:ncpus=1 -l place=scatter inside.sh", cwd=cluster.home)
    cluster.wait_for(lambda: cluster.state("32.pbs-server") == "R")
    cluster.control("fail", "node02")
    (cluster.home / "go").touch()
    cluster.wait_for(lambda: cluster.state("32.pbs-server") == "F")
    assert ((cluster.home / "out").read_text(), (cluster.home / "code").read_text()) == (was["stdout"], "124\n")


@pytest.mark.parametrize(
    ("name", "tool"),
    [("in-pbsdsh-env-cwd", "job_output"), ("in-tmrsh-env-cwd", "job_output"), ("in-alloc-env-sorted", "stdout")],
)
def test_the_environment_of_tasks(cluster, name, tool):
    """The directory is the home, PATH is short, and all that PBS sets is there."""
    was = recorded(name)
    command = was["command"].replace("/opt/pbs/bin", str(cluster.bin))
    in_a_job(cluster, command)
    now = (cluster.home / "output").read_text().replace(str(cluster.home), "/nfs/home/alice").splitlines()
    wanted = was[tool].splitlines()
    assert {line.partition("=")[0] for line in wanted} - {line.partition("=")[0] for line in now} <= {
        "PWD",
        "SHLVL",
        "_",
    }
    for line in wanted:
        if line.startswith(
            ("PATH=", "PBS_ENVIRONMENT=", "PBS_NODENUM=", "ENVIRONMENT=", "NCPUS=", "OMP_", "HOME=", "/")
        ):
            assert line in now


@pytest.mark.parametrize(("name", "keep"), [("qsub-k-oed-live", "-k oed"), ("qsub-o-not-live", "")])
def test_output_is_seen_early_only_with_k_oed(cluster, name, keep):
    """Else only when the job has ended."""
    was = recorded(name)
    file = Path(was["command"].split()[2].rstrip(";")).name
    cluster.run(
        f"qsub -j oe {keep} -o {file} -- /bin/sh -c 'echo early; pwd; touch on; while [ ! -e go ]; do sleep 0.1; done'",
        cwd=cluster.home,
    )
    cluster.wait_for((cluster.home / "on").exists)
    now = told(cluster, was["command"])
    assert now.returncode == was["exit_code"]
    said = now.stdout.partition("\n")[2].replace(str(cluster.home), "/nfs/home/alice")
    assert said == was["stdout"].partition("\n")[2]
    (cluster.home / "go").touch()
    cluster.wait_for((cluster.home / file).exists)
    assert (cluster.home / file).read_text() == f"early\n{cluster.home}\n"


@pytest.mark.parametrize(
    "end",
    [
        "exit0",
        "exit3",
        "exit300",
        "segv",
        "kill",
        "nocmd",
        "walltime",
        "qdel-running",
        "qdel-W-force",
        "qdel-held",
        "qdel-queued",
    ],
)
def test_exit_statuses(cluster, end):
    was = recorded("exit-statuses")[end]
    words = {
        "exit0": "-- /bin/true",
        "exit3": "-- /bin/sh -c 'exit 3'",
        "exit300": "-- /bin/sh -c 'exit 300'",
        "segv": "-- /bin/sh -c 'kill -SEGV $$'",
        "kill": "-- /bin/sh -c 'kill -KILL $$'",
        "nocmd": "-- /no/such",
        "walltime": "-l walltime=1 -- /bin/sleep 100",
        "qdel-held": "-h -- /bin/true",
        "qdel-queued": "-l select=1:ncpus=99 -- /bin/true",
    }.get(end, "-- /bin/sleep 100")
    job = cluster.run(f"qsub {words}").stdout.strip()
    if end.startswith("qdel"):
        begun = {"qdel-held": "H", "qdel-queued": "Q"}.get(end, "R")
        cluster.wait_for(lambda: cluster.state(job) == begun)
        if begun == "Q":
            cluster.wait_for(lambda: "Can Never Run" in cluster.ask("qstat", "-f", job)["out"])
        cluster.run(f"qdel {'-W force' if 'force' in end else ''} {job}")
    cluster.wait_for(lambda: cluster.state(job) == "F")
    now = json.loads(cluster.run(f"qstat -x -f -F json {job}").stdout)["Jobs"][job]
    assert now.get("Exit_status") == was["Exit_status"]
    assert now["substate"] == was["substate"]
    comment = plain(now.get("comment", ""), cluster)
    if was["comment"] is not None:
        assert comment == plain(was["comment"], cluster).replace("alice@pbs-server", "alice@pbs-server")


KILLS = [
    *("kill-qdel-force", "kill-qdel-remote-setsid", "kill-qdel-term-ignoring-child", "kill-qdel-setsid-and-ignore"),
    *("kill-script-exit-remote-running", "kill-qdel-remote", "kill-tmrsh-client", "kill-remote-by-tmrsh"),
]


@pytest.mark.parametrize("name", KILLS)
def test_ends_of_jobs(cluster, name):
    """Who gets TERM, who is killed, who survives, and the exit status."""
    was = recorded(name)
    (cluster.home / "hb").mkdir()
    run = f"{sys.executable} -S {HEARTBEAT}"
    script = (
        was["script"]
        .replace("/opt/pbs/bin", str(cluster.bin))
        .replace("sleep 3; exit", "while [ ! -e go ]; do sleep 0.1; done; exit")
    )
    script = re.sub(r"\bheartbeat ([\w-]+) setsid", rf"{run} \1 setsid", script)
    script = re.sub(r"\bheartbeat ", f"{run} ", script)
    script = script.replace("pkill -TERM -f [h]b.py", "kill -TERM $(cut -d' ' -f2 $HOME/hb/remote)")
    script = re.sub(r"sleep 2;", "until [ -s hb/remote$n ]; do sleep 0.1; done; n=2;", script).replace(
        "sleep 4", "sleep 1"
    )
    (cluster.home / "k.sh").write_text(script)
    job = cluster.run(
        "qsub -j oe -k oed -o out -l select=2:ncpus=1 -l place=scatter k.sh", cwd=cluster.home
    ).stdout.strip()
    expected = {one: state for one, state in was["processes"].items() if state["events"]}
    notes = {one: cluster.home / "hb" / one for one in expected}
    cluster.wait_for(lambda: all(path.exists() for path in notes.values()))
    (cluster.home / "go").touch()
    if was["action"] != "true":
        cluster.run(was["action"].format(j=job))
    cluster.wait_for(lambda: cluster.state(job) == "F")
    shown = json.loads(cluster.run(f"qstat -x -f -F json {job}").stdout)["Jobs"][job]
    pids = {one: int(path.read_text().split()[1]) for one, path in notes.items()}
    try:
        assert shown["Exit_status"] == was["Exit_status"]
        for one, state in expected.items():
            got_term = any("SIGTERM" in event for event in state["events"])
            assert ("SIGTERM" in notes[one].read_text()) is got_term, one
            assert bool(_processes.started(pids[one])) is state["still_alive"], one
    finally:
        for path in (cluster.home / "hb").iterdir():
            pid = int(path.read_text().split()[1])
            if _processes.started(pid):
                os.kill(pid, signal.SIGKILL)
