"""A stand-in for server, scheduler and MoMs of OpenPBS, as recorded.

Its nodes are names; what runs on them are processes of this machine, told apart by their sessions, as PBS does it.
FOLDER/settings.json, read whenever something is asked, sets what differs from site to site (see SETTINGS).
"""

import getopt
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any, ClassVar

SETTINGS = {
    "queue_s": 0.05,  # from qsub to the first process
    "history": True,  # whether jobs that are over are still known with -x
    "json": "good",  # or "broken": what some versions print for strange environments
    "kill_delay_s": 1.0,  # from TERM to KILL; 10 s in the recordings
    "exiting_s": 0.05,  # how long state E lasts; about 1.3 s in the recordings
    "walltime_slack_s": 0.5,  # 8 s in the recordings
    "hurry": 1.0,  # by how much walltime runs faster than time
    "banner": "",  # what a site prints before the job's id
    "isolated": False,  # whether nodes see their own processes alone
    "ssh": "",  # why nobody may go to nodes by ssh
    "refuse_keep": False,  # an older qsub, which does not know -k oed
}
USAGE = "usage: qsub [-a date_time] ...\n"
SERVER = "pbs-server"
USER = pwd.getpwuid(os.getuid()).pw_name
NODE = "STANDIN_NODE"
"""Tells who came by ssh where they are."""
OPTIONS = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"


class Job:
    def __init__(self, number: int, owner: str) -> None:
        self.id = f"{number}.{SERVER}"
        self.owner = owner
        self.state, self.substate = "Q", 10
        self.name, self.comment, self.arguments = "STDIN", "", ""
        self.words: list[str] = []
        self.script = ""
        self.hold = self.join = self.keep = self.place = self.select = ""
        self.walltime: int | None = None
        self.chunks: list[tuple[int, int]] = []
        self.environment: dict[str, str] = {}
        self.output = ""
        self.submitted = time.time()
        self.started = self.ended = 0.0
        self.where: list[tuple[str, int, int, int]] = []
        self.status: int | None = None
        self.top: subprocess.Popen[bytes] | None = None
        self.sessions: dict[int, str] = {}
        self.tasks = 0
        self.cause = ""
        self.kill_at: float | None = None
        self.exiting_at: float | None = None
        self.rerunable, self.exclusive = True, False

    @property
    def nodefile(self) -> list[str]:
        return [name for name, _, _, processes in self.where for _ in range(processes)]

    @property
    def first(self) -> str:
        return self.where[0][0] if self.where else ""


class Pbs:
    over = "F"
    defaults: ClassVar[dict[str, Any]] = SETTINGS

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.jobs: dict[str, Job] = {}
        self.next = 1
        self.nodes = {f"node{i:02d}": 4 for i in range(1, 5)}
        self.down: set[str] = set()
        self.logins: dict[int, str] = {}
        self.holders: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        try:
            with open(f"{self.folder}/settings.json") as file:
                return {**self.defaults, **json.load(file)}
        except (OSError, ValueError):
            return self.defaults

    # qsub

    def qsub(self, arguments: list[str], cwd: str, env: dict[str, str], stdin: str = "", owner: str = USER) -> Any:
        if arguments == ["--version"]:
            return 0, "pbs_version = 23.06.06\n", ""
        words: list[str] = []
        if "--" in arguments:
            words = arguments[arguments.index("--") + 1 :]
            arguments = arguments[: arguments.index("--")]
        try:
            found, rest = getopt.getopt(arguments, OPTIONS)
        except getopt.GetoptError as error:
            return 2, "", f"qsub: invalid option -- '{error.opt}'\n{USAGE}"
        options = dict(found)
        resources = dict(part.partition("=")[::2] for name, text in found if name == "-l" for part in text.split(","))
        if "-I" in options:
            text = "qsub:\tstandard input and output must be a terminal for\n\tinteractive job submission\n"
            return 1, "", text
        if re.search(r"\s", options.get("-N", "")):
            return 2, "", f"qsub: illegal -N value\n{USAGE}"
        if len(options.get("-N", "")) > 230:
            return 2, "", "qsub: Job name is too long \n"
        if self.settings["refuse_keep"] and "d" in options.get("-k", ""):
            return 2, "", f"qsub: illegal -k value\n{USAGE}"
        job = Job(self.next, owner)
        if rest:
            try:
                with open(os.path.join(cwd, rest[0])) as file:
                    job.script = file.read()
            except OSError:
                return 1, "", "qsub: script file:: No such file or directory\n"
            job.name = os.path.basename(rest[0])
        elif not words:
            job.script = stdin
        wrong = self._place(job, resources)
        if wrong:
            return wrong
        if options.get("-q", "workq") != "workq":
            return 170, "", "qsub: Unknown queue\n"
        self.next += 1
        job.arguments = " ".join([*arguments, *(["--", *words] if words else [])])
        job.name = options.get("-N", job.name)
        job.words = words
        job.hold = "u" if "-h" in options else "n"
        job.state, job.substate = ("H", 20) if "-h" in options else ("Q", 10)
        job.join, job.keep = options.get("-j", "n"), options.get("-k", "n")
        job.rerunable = options.get("-r") != "n"
        name = options.get("-o", f"{job.name}.o{job.id.partition('.')[0]}")
        job.output = os.path.join(cwd, name)
        home = env.get("HOME", "/")
        job.environment = {
            "PBS_O_HOME": home,
            "PBS_O_LANG": env.get("LANG", "C.UTF-8"),
            "PBS_O_LOGNAME": USER,
            "PBS_O_PATH": env.get("PATH", ""),
            "PBS_O_SHELL": "/bin/bash",
            "PBS_O_INTERACTIVE_AUTH_METHOD": "resvport",
            "PBS_O_INTERACTIVE_ENCRYPT_METHOD": "",
            "PBS_O_WORKDIR": cwd,
            "PBS_O_SYSTEM": "Linux",
            "PBS_O_QUEUE": "workq",
            "PBS_O_HOST": SERVER,
        }
        self.jobs[job.id] = job
        return 0, self.settings["banner"] + f"{job.id}\n", ""

    def _place(self, job: Job, resources: dict[str, str]) -> Any:
        """Chunks, place and walltime; or what is wrong."""
        known = {"select", "place", "walltime", "ncpus", "nodes", "mem"}
        for name in resources:
            if name not in known:
                return 187, "", f"qsub: Unknown resource Resource_List.{name}\n"
        if "select" in resources and "ncpus" in resources:
            text = 'qsub: "-lresource=" cannot be used with "select" or "place", resource is: ncpus\n'
            return 5, "", text
        if "walltime" in resources:
            if not re.fullmatch(r"\d+(:\d+)*", resources["walltime"]):
                return 166, "", "qsub: Illegal attribute or resource value Resource_List.walltime\n"
            seconds = 0
            for part in resources["walltime"].split(":"):
                seconds = seconds * 60 + int(part)
            job.walltime = seconds
        place = resources.get("place", "")
        if place.partition(":")[0] not in ("", "free", "pack", "scatter", "vscatter"):
            return 166, "", "qsub: Illegal attribute or resource value Resource_List.place\n"
        if "nodes" in resources:
            count, _, ppn = resources["nodes"].partition(":ppn=")
            job.select, place = f"{count}:ncpus={ppn or 1}" + (f":mpiprocs={ppn}" if ppn else ""), "scatter"
        elif "select" in resources:
            job.select = resources["select"]
        else:
            job.select = f"1:ncpus={resources.get('ncpus', 1)}"
        job.place = place or ("free" if "select" in resources else "pack")
        for chunk in job.select.split("+"):
            head, *parts = chunk.split(":")
            given = dict(part.partition("=")[::2] for part in parts)
            if not head.isdigit():
                return 166, "", "qsub: Illegal attribute or resource value Resource_List.select\n"
            for name in given:
                if name not in ("ncpus", "mpiprocs", "mem", "host", "ngpus"):
                    return 187, "", f"qsub: Unknown resource: {name}\n"
            cpus = int(given.get("ncpus", 1))
            job.chunks += [(cpus, int(given.get("mpiprocs", 1)))] * int(head)
        return None

    # The scheduler and the MoMs

    def turn(self) -> None:
        for job in list(self.jobs.values()):
            if job.state == "Q" and time.time() > job.submitted + self.settings["queue_s"]:
                self._schedule(job)
            elif job.state == "R":
                self._watch(job)
            elif job.state == "E" and job.exiting_at and time.time() > job.exiting_at:
                job.state = self.over

    def _schedule(self, job: Job) -> None:
        scatter = "scatter" in job.place
        if scatter and len(job.chunks) > len(self.nodes):
            job.comment = "Can Never Run: Not enough total nodes available"
            return
        wanted, all_ = sum(cpus for cpus, _ in job.chunks), sum(self.nodes.values())
        if wanted > all_ or max(cpus for cpus, _ in job.chunks) > 4:
            most = max(wanted, 1)
            job.comment = f"Can Never Run: Insufficient amount of resource: ncpus (R: {most} A: {all_} T: {all_})"
            return
        used = self._used()
        free = {name: count - len(used.get(name, ())) for name, count in self.nodes.items() if name not in self.down}
        where: list[tuple[str, int, int, int]] = []
        for cpus, processes in job.chunks:
            taken = {name for name, *_ in where}
            fits = [name for name, count in free.items() if count >= cpus and not (scatter and name in taken)]
            if not fits:
                left = sum(free.values())
                job.comment = f"Not Running: Insufficient amount of resource: ncpus (R: {wanted} A: {left} T: {all_})"
                return
            slots = used.setdefault(fits[0], [])
            slot = next(i for i in range(99) if i not in slots)
            slots += range(slot, slot + cpus)
            free[fits[0]] -= cpus
            where.append((fits[0], slot, cpus, processes))
        job.where = where
        self._run(job)

    def _used(self) -> dict[str, list[int]]:
        used: dict[str, list[int]] = {}
        for job in self.jobs.values():
            if job.state in "RE":
                for name, slot, cpus, _ in job.where:
                    used.setdefault(name, []).extend(range(slot, slot + cpus))
        return used

    def _run(self, job: Job) -> None:
        job.state, job.substate, job.started = "R", 42, time.time()
        on = "+".join(f"({name}:ncpus={cpus})" for name, _, cpus, _ in job.where)
        job.comment = f"Job run at {time.strftime('%a %b %d at %H:%M')} on {on}"
        aux = f"{self.folder}/aux"
        os.makedirs(aux, exist_ok=True)
        with open(f"{aux}/{job.id}", "w") as file:
            file.write("".join(f"{name}\n" for name in job.nodefile))
        spool = f"{self.folder}/spool"
        os.makedirs(spool, exist_ok=True)
        words = job.words
        if not words:
            words = ["/bin/sh", f"{spool}/{job.id}.SC"]
            with open(words[1], "w") as file:
                file.write(job.script)
        job.top = self._spawn(job, 0, words)

    def _writes_to(self, job: Job) -> str:
        return job.output if "d" in job.keep else f"{self.folder}/spool/{job.id}.OU"

    def _environment(self, job: Job, line: int) -> dict[str, str]:
        """Variables of a task, on the node in this line of the list of nodes."""
        home = job.environment["PBS_O_HOME"]
        return {
            **job.environment,
            "ENVIRONMENT": "BATCH",
            "HOME": home,
            "LOGNAME": USER,
            "NCPUS": str(job.where[0][2]),
            "OMP_NUM_THREADS": str(job.where[0][2]),
            "PATH": "/bin:/usr/bin",
            "PBS_ENVIRONMENT": "PBS_BATCH",
            "PBS_JOBCOOKIE": "366E540E6D8C93BE00D2F1B759FAE521",
            "PBS_JOBDIR": home,
            "PBS_JOBID": job.id,
            "PBS_JOBNAME": job.name,
            "PBS_MOMPORT": "15003",
            "PBS_NODEFILE": f"{self.folder}/aux/{job.id}",
            "PBS_NODENUM": str(list(dict.fromkeys(job.nodefile)).index(job.nodefile[line])),
            "PBS_QUEUE": "workq",
            "PBS_TASKNUM": f"{job.tasks:X}",
            "SHELL": "/bin/bash",
            "TMPDIR": self.folder,
            "USER": USER,
        }

    def _spawn(self, job: Job, line: int, words: list[str]) -> "subprocess.Popen[bytes] | None":
        job.tasks += 1
        if self.settings["isolated"]:
            words = self._on(job.nodefile[line], job.environment["PBS_O_HOME"], words)
        with open(self._writes_to(job), "ab") as out:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=self._environment(job, line),
                    cwd=job.environment["PBS_O_HOME"],
                    start_new_session=True,
                )
            except OSError:
                out.write(b"@\xefy\x19\xf0: No such file or directory\n")
                return None
        job.sessions[process.pid] = job.nodefile[line]
        if self.settings["isolated"]:
            job.sessions[_only_child(process)] = job.nodefile[line]  # there, it leads a session of its own
        return process

    def _on(self, node: str, folder: str, words: list[str]) -> list[str]:
        """Words that run others where only the processes of a node are seen; for root alone."""
        if node not in self.holders:
            words_of_holder = ["unshare", "--pid", "--fork", "--mount-proc", "sleep", "3600"]
            self.holders[node] = subprocess.Popen(words_of_holder, start_new_session=True)
        first = str(_only_child(self.holders[node]))
        go = ["setsid", "/bin/sh", "-c", 'cd "$0" && exec "$@"', folder]
        return ["nsenter", "--target", first, "--pid", "--mount", "--", *go, *words]

    def _watch(self, job: Job) -> None:
        now = time.time()
        limit = job.walltime
        if (
            limit is not None
            and now > job.started + limit / self.settings["hurry"] + self.settings["walltime_slack_s"]
            and not job.cause
        ):
            job.cause = "walltime"
            with open(self._writes_to(job), "a") as out:
                out.write(f"=>> PBS: job killed: walltime {int(now - job.started)} exceeded limit {limit}\n")
            self._kill(job, signal.SIGTERM, here=True)
            job.kill_at = now + self.settings["kill_delay_s"]
        if job.kill_at is not None and now > job.kill_at:
            self._kill(job, signal.SIGKILL, here=True)
        top = job.top
        if top is not None and top.poll() is None:
            return
        here = [session for session, node in job.sessions.items() if node == job.first]
        if job.cause and _members(here):
            return  # it stays R until the last process of the first node is gone
        self._finish(job)

    def _kill(self, job: Job, number: int, *, here: bool) -> None:
        """Signal what runs on the first node, or on all nodes."""
        for pid in _members([s for s, node in job.sessions.items() if not here or node == job.first]):
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def _finish(self, job: Job, code: int | None = None) -> None:
        self._kill(job, signal.SIGKILL, here=False)
        if code is None:
            code = 254 if job.top is None else job.top.wait()
        self._tell_end(job, code)
        job.ended, job.state = time.time(), "E"
        job.exiting_at = time.time() + self.settings["exiting_s"]
        spooled = f"{self.folder}/spool/{job.id}.OU"
        if os.path.exists(spooled):
            try:
                with open(spooled, "rb") as source, open(job.output, "wb") as target:
                    target.write(source.read())
            except OSError:
                job.exiting_at = time.time() + 20

    def _tell_end(self, job: Job, code: int) -> None:
        """What the server will say of its end."""
        status = code if code >= 0 else 256 - code
        comment = {"qdel": f"terminated by {USER}@{SERVER}", "walltime": "exceeded resource walltime"}.get(job.cause)
        if job.cause == "walltime":
            status = -29
        elif job.cause == "qdel" and code >= 0:
            status = 256 + signal.SIGTERM
        job.status, job.substate = status, 91 if job.cause == "qdel" else 92 if status == 0 else 93
        if "terminated by" not in job.comment:
            job.comment += f" and {comment or ('finished' if status == 0 else 'failed')}"

    # Other commands

    def _find(self, text: str) -> Job | None:
        return self.jobs.get(text if "." in text else f"{text}.{SERVER}")

    def _known(self, job: Job | None, history: bool) -> bool:
        return job is not None and (job.state != self.over or (history and bool(self.settings["history"])))

    def qstat(self, arguments: list[str]) -> Any:
        if arguments == ["--version"]:
            return 0, "pbs_version = 23.06.06\n", ""
        found, ids = getopt.getopt(arguments, "fxF:wEatn1u:")
        options = dict(found)
        if "-f" in options and "-u" in options:
            return 2, "", "qstat: conflicting options.\nusage: \n"
        history, as_json = "-x" in options, options.get("-F") == "json"
        jobs, code, err = [], 0, ""
        for text in ids:
            if not re.match(r"\d+(\[\d*\])?(\.|$)", text):
                return 170, "", f"qstat: Unknown queue destination {text}\n"
            if text.partition(".")[2] not in ("", SERVER):
                return 1, "", f"qstat: illegally formed job identifier: {text}\n"
            job = self._find(text)
            name = text if "." in text else f"{text}.{SERVER}"
            if job is not None and self._known(job, history):
                jobs.append(job)
            elif job is not None and self.settings["history"]:
                code = 35
                err += f"qstat: {name} Job has finished, use -x or -H to obtain historical job information\n"
            else:
                code = 153
                err += f"qstat: Unknown Job Id {name}\n"
                if as_json:
                    break
        if not ids:
            jobs = [job for job in self.jobs.values() if self._known(job, history)]
        if as_json and len(ids) > 1 and code == 0 and "-E" not in options:
            jobs = jobs[:1]
        if "-f" not in options:
            return code, _table(jobs, "-w" in options), err
        if as_json:
            return code, self._json(jobs), err
        return code, "".join(self._text(job) for job in jobs), err

    def _json(self, jobs: list[Job]) -> str:
        answer: dict[str, Any] = {"timestamp": int(time.time()), "pbs_version": "23.06.06", "pbs_server": SERVER}
        if jobs:
            answer["Jobs"] = {job.id: attributes(job) for job in jobs}
        text = json.dumps(answer, indent="\t", separators=(",", ":\t"), ensure_ascii=False) + "\n"
        return (
            text.replace('"Variable_List":', '"Broken": "it\\\'s", "Variable_List":')
            if self.settings["json"] == "broken"
            else text
        )

    def _text(self, job: Job) -> str:
        lines = [f"Job Id: {job.id}"]
        for name, value in attributes(job).items():
            if name == "Variable_List":
                lines.append("    Variable_List = " + ",\n\t".join(f"{key}={text}" for key, text in value.items()))
            elif isinstance(value, dict):
                lines += [f"    {name}.{key} = {text}" for key, text in value.items()]
            else:
                lines.append(f"    {name} = {value}")
        return "\n".join(lines) + "\n\n"

    def qdel(self, arguments: list[str], owner: str = USER) -> Any:
        found, ids = getopt.getopt(arguments, "W:x")
        force, code, err = ("-W", "force") in found, 0, ""
        for text in ids:
            job, name = self._find(text), text if "." in text else f"{text}.{SERVER}"
            if not self._known(job, True) or job is None:
                code, err = 153, err + f"qdel: Unknown Job Id {name}\n"
            elif job.owner != owner:
                code, err = 159, err + f"qdel: Unauthorized Request  {name}\n"
            elif ("-x", "") in found:
                del self.jobs[job.id]
            elif job.state == "F":
                code, err = 35, err + f"qdel: Job has finished {name}\n"
            elif job.state in "QH":
                job.comment = f"{job.comment} and terminated".removeprefix(" and terminated")
                job.state, job.substate = "F", 91
            elif force:
                job.cause = "qdel"
                self._finish(job, -signal.SIGKILL)
            elif job.state == "R" and not job.cause:
                job.cause = "qdel"
                job.comment += f" and terminated by {USER}@{SERVER}"
                self._kill(job, signal.SIGTERM, here=True)
                job.kill_at = time.time() + self.settings["kill_delay_s"]
        return code, "", err

    def qselect(self, arguments: list[str]) -> Any:
        options = dict(getopt.getopt(arguments, "xu:N:s:")[0])
        states = options.get("-s")
        jobs = [
            job.id
            for job in self.jobs.values()
            if self._known(job, "-x" in options)
            and options.get("-N") in (None, job.name)
            and options.get("-u") in (None, job.owner)
            and (states is None or job.state in states)
        ]
        return 0, "".join(f"{job}\n" for job in jobs), ""

    def pbsnodes(self, arguments: list[str]) -> Any:
        nodes = {}
        for name, count in self.nodes.items():
            jobs = [job.id for job in self.jobs.values() if job.state == "R" and name in job.nodefile]
            node: dict[str, Any] = {"Mom": name, "ntype": "PBS", "state": "down" if name in self.down else "free"}
            if jobs:
                node["jobs"] = jobs
            node["resources_available"] = {"arch": "linux", "host": name, "ncpus": count, "vnode": name}
            node["resources_assigned"] = {"ncpus": len(self._used().get(name, ()))}
            nodes[name] = node
        answer = {"timestamp": int(time.time()), "pbs_version": "23.06.06", "pbs_server": SERVER, "nodes": nodes}
        return 0, json.dumps(answer, indent="\t") + "\n", ""

    def pbsdsh(self, arguments: list[str], env: dict[str, str]) -> Any:
        found, words = getopt.getopt(arguments, "n:c:osv")
        options, job = dict(found), self.jobs[env["PBS_JOBID"]]
        lines = job.nodefile
        if "-n" in options:
            places = [int(options["-n"]) % len(lines)]
        elif "-c" in options:
            places = [i % len(lines) for i in range(int(options["-c"]))]
        else:
            places = list(range(len(lines)))
        with self.lock:
            tasks = [(i, self._task(job, place, words)) for i, place in enumerate(places)]
        if "-o" in options:
            return 0, "", ""
        said = ""
        for i, task in tasks:
            status = _status(task)
            if status or "-v" in options:
                said += f"/opt/pbs/bin/pbsdsh: task 0x{i:08x} exit status {status}\n"
        return 0, said, ""

    def pbs_tmrsh(self, arguments: list[str], env: dict[str, str]) -> Any:
        node, *words = arguments
        job = self.jobs[env["PBS_JOBID"]]
        if node not in job.nodefile:
            return 255, "", f'/opt/pbs/bin/pbs_tmrsh: host "{node}" is not a node in job <{job.id}>\n'
        with self.lock:
            task = self._task(job, job.nodefile.index(node), words)
        return _status(task) % 256, "", ""

    def ssh(self, arguments: list[str], env: dict[str, str]) -> Any:
        """To a node: a login of its own, which no job knows, and which outlives its client."""
        _, (node, *words) = getopt.getopt(arguments, "no:")
        refusal = self.settings["ssh"]
        if refusal or node in self.down:
            return 255, "", f"{refusal or f'ssh: connect to host {node} port 22: No route to host'}\n"
        home = pwd.getpwuid(os.getuid()).pw_dir if "HOME" not in env else env["HOME"]
        login = {"HOME": home, "USER": USER, "PATH": "/bin:/usr/bin", "SHELL": "/bin/bash", NODE: node}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                ["/bin/sh", "-c", " ".join(words)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=login,
                cwd=home,
                start_new_session=True,
            )
            self.logins[process.pid] = node
            code = process.wait()
            out.seek(0)
            err.seek(0)
            return code if code >= 0 else 255, out.read().decode(errors="replace"), err.read().decode(errors="replace")

    def pbs_attach(self, arguments: list[str], env: dict[str, str]) -> Any:
        """Make who asks a task of a job on this node."""
        found, _ = getopt.getopt(arguments, "j:")
        job = self.jobs.get(dict(found).get("-j", ""))
        if job is None or job.state != "R" or env.get(NODE) not in job.nodefile:
            return 1, "", "/opt/pbs/bin/pbs_attach: tm_attach: no matching job found (17006)\n"
        with self.lock:
            job.sessions[os.getsid(int(env["ASKS"]))] = env[NODE]
        return 0, "", ""

    def _task(self, job: Job, line: int, words: list[str]) -> "subprocess.Popen[bytes] | None":
        while job.nodefile[line] in self.down:
            self.lock.release()
            time.sleep(0.1)  # it hangs
            self.lock.acquire()
        return self._spawn(job, line, words) if job.state == "R" else None

    def close(self) -> None:
        """End everything."""
        for job in self.jobs.values():
            self._kill(job, signal.SIGKILL, here=False)
            job.state = self.over
        for pid in _members([*self.logins, *(holder.pid for holder in self.holders.values())]):
            os.kill(pid, signal.SIGKILL)
        for holder in self.holders.values():
            holder.wait()
        self.jobs.clear()
        for name in ("aux", "spool"):
            shutil.rmtree(f"{self.folder}/{name}", ignore_errors=True)

    # What tests want of it

    def control(self, arguments: list[str], cwd: str, env: dict[str, str]) -> Any:
        match arguments:
            case ["next", number]:
                self.next = int(number)
            case ["as", owner, *words]:
                return self.qsub(words, cwd, env, owner=owner)
            case ["delete-as", owner, *words]:
                return self.qdel(words, owner=owner)
            case ["fail", node]:
                self.down.add(node)
                for sessions in (self.logins, *(job.sessions for job in self.jobs.values())):
                    for pid in _members([s for s, name in sessions.items() if name == node]):
                        os.kill(pid, signal.SIGKILL)
            case ["repair", node]:
                self.down.discard(node)
            case ["take-out", name, node]:  # as pbs_release_nodes does
                job = self.jobs[name]
                job.where = [place for place in job.where if place[0] != node]
                for pid in _members([s for s, name in job.sessions.items() if name == node]):
                    os.kill(pid, signal.SIGKILL)
            case ["requeue", name]:
                job = self.jobs[name]
                self._kill(job, signal.SIGKILL, here=False)
                job.where, job.top, job.state, job.submitted = [], None, "Q", time.time() + 1.0
        return 0, "", ""


def attributes(job: Job) -> dict[str, Any]:
    """What qstat -f shows, in its order."""
    at = {
        name: time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(value))
        for name, value in (("c", job.submitted), ("s", job.started), ("o", job.ended))
    }
    seconds = int(max(0, (job.ended or time.time()) - job.started))
    cpus = sum(cpus for cpus, _ in job.chunks)
    used = {
        "cpupercent": 0,
        "cput": "00:00:00",
        "mem": "0kb",
        "ncpus": cpus,
        "vmem": "0kb",
        "walltime": _clock(seconds),
    }
    ran = bool(job.started)
    first = os.path.join(job.environment["PBS_O_WORKDIR"], f"{job.name}.e{job.id.partition('.')[0]}")
    listed = {"ncpus": cpus, "nodect": len(job.chunks), "place": job.place, "select": job.select}
    if job.walltime is not None:
        listed["walltime"] = _clock(job.walltime)
    words = "".join(f"<jsdl-hpcpa:Argument>{word}</jsdl-hpcpa:Argument>" for word in job.words[1:])
    shown: list[tuple[str, Any]] = [
        ("Job_Name", job.name),
        ("Job_Owner", f"{job.owner}@{SERVER}"),
        ("resources_used", used if job.ended else None),
        ("job_state", job.state),
        ("queue", "workq"),
        ("server", SERVER),
        ("Checkpoint", "u"),
        ("ctime", at["c"]),
        ("Error_Path", f"{SERVER}:{first}"),
        ("exec_host", "+".join(f"{n}/{slot}" + (f"*{c}" if c > 1 else "") for n, slot, c, _ in job.where)),
        ("exec_vnode", "+".join(f"({n}:ncpus={c})" for n, _, c, _ in job.where)),
        ("Hold_Types", job.hold),
        ("Join_Path", job.join),
        ("Keep_Files", job.keep),
        ("Mail_Points", "a"),
        ("mtime", at["c"]),
        ("Output_Path", f"{SERVER}:{job.output}"),
        ("Priority", 0),
        ("qtime", at["c"]),
        ("Rerunable", str(job.rerunable)),
        ("Resource_List", listed),
        ("stime", at["s"] if ran else None),
        ("obittime", at["o"] if job.ended else None),
        ("session_id", job.top.pid if job.ended and job.top else None),
        ("jobdir", job.environment["PBS_O_HOME"] if job.ended else None),
        ("substate", job.substate),
        ("Variable_List", job.environment),
        ("comment", job.comment),
        ("etime", at["c"] if job.hold == "n" else None),
        ("run_count", 1 if ran else None),
        ("Stageout_status", 1 if job.ended else None),
        ("Exit_status", job.status),
        ("Submit_arguments", job.arguments),
        ("executable", f"<jsdl-hpcpa:Executable>{job.words[0]}</jsdl-hpcpa:Executable>" if job.words else None),
        ("argument_list", words),
        ("history_timestamp", int(job.ended or time.time()) if job.state == "F" else None),
        ("project", "_pbs_project_default"),
        ("Submit_Host", SERVER),
    ]
    return {name: value for name, value in shown if value not in (None, "")}


def _table(jobs: list[Job], wide: bool) -> str:
    if not jobs:
        return ""
    if wide:
        form = "{:<30.30} {:<15.15} {:<15.15} {:>9} {} {:<15}\n"
        head = "Job id                         Name            User             Time Use S Queue\n"
        head += "-----------------------------  --------------- ---------------  -------- - ---------------\n"
    else:
        form = "{:<17.17} {:<16.16} {:<16.16}  {:>8} {} {:<16}\n"
        head = "Job id            Name             User              Time Use S Queue\n"
        head += "----------------  ---------------- ----------------  -------- - -----\n"
    rows = (
        form.format(job.id, job.name, job.owner, "00:00:00" if job.ended else "0", job.state, "workq") for job in jobs
    )
    return head + "".join(rows)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _members(sessions: list[int]) -> list[int]:
    """Living processes of these sessions."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[3]) in sessions and fields[0] not in (b"Z", b"X"):
                found.append(int(name))
    return found


def _only_child(process: "subprocess.Popen[bytes]") -> int:
    """The process that another one starts at once; 0 where it is over already."""
    while process.poll() is None:
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            child = file.read().strip()
        if child:
            return int(child)
        time.sleep(0.002)
    return 0


def _status(task: "subprocess.Popen[bytes] | None") -> int:
    if task is None:
        return 254
    code = task.wait()
    return code if code >= 0 else 256 - code
