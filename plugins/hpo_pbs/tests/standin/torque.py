"""A stand-in for Torque 6 (server, a scheduler, MoMs), where it differs from OpenPBS.

It was written from Torque's sources and manuals, and from what others have printed of its answers: nobody recorded it.
"""

import getopt
import os
import re
import time
from typing import Any, ClassVar

from openpbs import SERVER, SETTINGS, USER, Job, Pbs, _clock

VERSION = "Version: 6.1.2\nCommit: 661e092552de43a785c15d39a3634a541d86898e\n"
QSUB = "a:A:b:c:C:d:D:e:EfF:hIj:J:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:xXz"
WIDTH = 77


class Torque(Pbs):
    over = "C"
    defaults: ClassVar[dict[str, Any]] = {
        **SETTINGS,
        "keep_completed_s": 300,  # how long jobs that are over are known; 0 on many sites
        "owner_purge": False,  # whether `qdel -p` is for everybody
        "packs": False,  # a scheduler that takes nodes=N for N processors, as Maui does unless told otherwise
        "ranges": True,  # exec_host of Torque 4 to 6; before, each processor by itself
        "walltime_status": -11,  # or 271, where the scheduler deletes jobs that take too long
    }

    def turn(self) -> None:
        super().turn()
        for job in [job for job in self.jobs.values() if job.state == self.over]:
            if time.time() > (job.ended or job.submitted) + self.settings["keep_completed_s"]:
                del self.jobs[job.id]

    # qsub

    def qsub(self, arguments: list[str], cwd: str, env: dict[str, str], stdin: str = "", owner: str = USER) -> Any:
        if arguments == ["--version"]:
            return 0, "", VERSION
        try:
            found, scripts = getopt.getopt(arguments, QSUB)
        except getopt.GetoptError as error:
            return 2, "", f"qsub: invalid option -- '{error.opt}'\nusage: qsub [-a date_time] [-A account_string] ...\n"
        options = dict(found)
        if len(scripts) > 1:
            return 2, "", "usage: qsub [-a date_time] [-A account_string] ...\n"
        if not set(options.get("-k", "")) <= set("oen"):
            return 2, "", "qsub: illegal -k value\nusage: qsub [-a date_time] ...\n"
        if re.search(r"\s", options.get("-N", "")):
            return 2, "", "qsub: illegal -N value\nusage: qsub [-a date_time] ...\n"
        job = Job(self.next, owner)
        if scripts:
            try:
                with open(os.path.join(cwd, scripts[0]), "rb") as file:
                    data = file.read()
            except OSError as error:
                return 1, "", f"qsub: script file '{scripts[0]}' cannot be loaded - {error.strerror}\n"
            if not data.isascii():
                return 1, "", "qsub:  file must be an ascii script\n"
            job.script, job.name = data.decode(), os.path.basename(scripts[0])
        else:
            job.script = stdin
        resources = dict(part.partition("=")[::2] for name, text in found if name == "-l" for part in text.split(","))
        wrong = self._place(job, resources)
        if wrong:
            return wrong
        if options.get("-q", "batch") != "batch":
            return 172, "", "qsub: submit error (Unknown queue MSG=cannot locate queue)\n"
        self.next += 1
        job.name = options.get("-N", job.name)
        job.arguments = " ".join(arguments)
        job.hold = "u" if "-h" in options else "n"
        job.state, job.substate = ("H", 20) if "-h" in options else ("Q", 10)
        job.join, job.keep = options.get("-j", "n"), ""
        job.rerunable = options.get("-r") != "n"
        job.exclusive = "-n" in options
        job.output = os.path.join(cwd, options.get("-o", f"{job.name}.o{job.id.partition('.')[0]}"))
        job.environment = {
            "PBS_O_HOME": env.get("HOME", "/"),
            "PBS_O_HOST": SERVER,
            "PBS_O_LANG": env.get("LANG", "C.UTF-8"),
            "PBS_O_LOGNAME": USER,
            "PBS_O_PATH": env.get("PATH", ""),
            "PBS_O_QUEUE": "batch",
            "PBS_O_SERVER": SERVER,
            "PBS_O_SHELL": "/bin/bash",
            "PBS_O_WORKDIR": cwd,
        }
        self.jobs[job.id] = job
        return 0, self.settings["banner"] + f"{job.id}\n", ""

    def _place(self, job: Job, resources: dict[str, str]) -> Any:
        for name in resources:
            if name not in ("nodes", "walltime", "mem", "pmem", "naccesspolicy"):
                return 189, "", f"qsub: submit error (Unknown resource type  Resource_List.{name})\n"
        if "walltime" in resources:
            if not re.fullmatch(r"\d+(:\d+)*", resources["walltime"]):
                return 168, "", "qsub: submit error (Illegal attribute or resource value for  Resource_List.walltime)\n"
            seconds = 0
            for part in resources["walltime"].split(":"):
                seconds = seconds * 60 + int(part)
            job.walltime = seconds
        job.select = resources.get("nodes", "1")
        head, *parts = job.select.split(":")
        each = dict(part.partition("=")[::2] for part in parts)
        ppn = int(each.get("ppn", 1))
        packs = self.settings["packs"]
        job.place = "free" if packs else "scatter"
        job.chunks = [(ppn, ppn)] * int(head)
        most = sum(self.nodes.values()) if packs else 4 * len(self.nodes)
        if ppn > 4 or int(head) * ppn > most or (not packs and int(head) > len(self.nodes)):
            said = "cannot locate feasible nodes (nodes file is empty, all systems are busy, or no nodes have the "
            said += "requested feature)"
            return 190, "", f"qsub: submit error (Job exceeds queue resource limits MSG={said})\n"
        return None

    # The MoMs

    def _environment(self, job: Job, line: int) -> dict[str, str]:
        environment = super()._environment(job, line)
        for name in ("NCPUS", "OMP_NUM_THREADS", "PBS_JOBDIR"):
            del environment[name]
        count, ppn = len(job.chunks), job.chunks[0][0]
        aux = f"{self.folder}/aux/{job.id}"
        return {
            **environment,
            "PBS_GPUFILE": f"{aux}gpu",
            "PBS_MICFILE": f"{aux}mic",
            "PBS_NP": str(count * ppn),
            "PBS_NUM_NODES": str(count),
            "PBS_NUM_PPN": str(ppn),
            "PBS_QUEUE": "batch",
            "PBS_VERSION": "TORQUE-6.1.2",
            "PBS_VNODENUM": str(line),
            "PBS_WALLTIME": str(job.walltime or 0),
        }

    def _tell_end(self, job: Job, code: int) -> None:
        """No comment, and the script's own code where it ended by itself when it got TERM."""
        job.comment = ""
        job.status = code if code >= 0 else 256 - code
        if job.cause == "walltime":
            job.status = self.settings["walltime_status"]

    # Other commands

    def qstat(self, arguments: list[str]) -> Any:
        if arguments == ["--version"]:
            return 0, "", VERSION
        try:
            found, ids = getopt.getopt(arguments, "aefixrn1stuGMQBE")
        except getopt.GetoptError as error:
            return 2, "", f"qstat: invalid option -- '{error.opt}'\nusage: \nqstat [-f [-1]] ...\n"
        options = dict(found)
        jobs, code, err = [], 0, ""
        for text in ids:
            if not re.match(r"\d", text):
                return 172, "", f"qstat: Unknown queue MSG=cannot locate queue {text}\n"
            job = self._find(text)
            if job is None:
                code, err = 153, err + f"qstat: Unknown Job Id Error {text if '.' in text else f'{text}.{SERVER}'}\n"
            else:
                jobs.append(job)
        jobs = jobs if ids else list(self.jobs.values())
        if "-x" in options:
            body = "".join(f"<Job><Job_Id>{job.id}</Job_Id><job_state>{job.state}</job_state></Job>" for job in jobs)
            return code, f"<Data>{body}</Data>" if jobs else "", err
        if "-f" in options:
            return code, "".join(self._text(job) for job in jobs), err
        return code, _table(jobs), err

    def _text(self, job: Job) -> str:
        return f"Job Id: {job.id}\n" + "".join(_line(*each) for each in self._attributes(job)) + "\n"

    def _attributes(self, job: Job) -> list[tuple[str, str]]:
        c, s, e = (
            time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(at)) for at in (job.submitted, job.started, job.ended)
        )
        spent = int((job.ended or time.time()) - job.started) if job.started else 0
        hosts = "+".join(
            f"{name}/{slot}" + (f"-{slot + cpus - 1}" if cpus > 1 else "")
            if self.settings["ranges"]
            else "+".join(f"{name}/{i}" for i in reversed(range(slot, slot + cpus)))
            for name, slot, cpus, _ in job.where
        )
        left = str((job.walltime or 0) - spent) if job.state == "R" and job.walltime else ""
        shown = [
            ("Job_Name", job.name),
            ("Job_Owner", f"{job.owner}@{SERVER}"),
            ("resources_used.cput", "00:00:00" if job.started else ""),
            ("resources_used.walltime", _clock(spent) if job.started else ""),
            ("job_state", job.state),
            ("queue", "batch"),
            ("server", SERVER),
            ("Checkpoint", "u"),
            ("ctime", c),
            ("Error_Path", f"{SERVER}:{job.output}"),
            ("exec_host", hosts),
            ("exec_port", "+".join("15003" for _ in job.where)),
            ("Hold_Types", job.hold),
            ("Join_Path", job.join),
            ("Keep_Files", "n"),
            ("Mail_Points", "a"),
            ("mtime", c),
            ("Output_Path", f"{SERVER}:{job.output}"),
            ("Priority", "0"),
            ("qtime", c),
            ("Rerunable", str(job.rerunable)),
            ("Resource_List.nodect", str(len(job.chunks))),
            ("Resource_List.nodes", job.select),
            ("Resource_List.walltime", _clock(job.walltime) if job.walltime is not None else ""),
            ("session_id", str(job.top.pid) if job.top else ""),
            ("Variable_List", ",".join(f"{name}={text}" for name, text in job.environment.items())),
            ("euser", job.owner),
            ("egroup", "users"),
            ("queue_type", "E"),
            ("comment", job.comment),
            ("etime", c),
            ("exit_status", "" if job.status is None else str(job.status)),
            ("submit_args", job.arguments),
            ("start_time", s if job.started else ""),
            ("Walltime.Remaining", left),
            ("start_count", "1" if job.started else ""),
            ("comp_time", e if job.state == self.over and job.ended else ""),
            ("node_exclusive", "True" if job.exclusive else ""),
            ("fault_tolerant", "False"),
            ("submit_host", SERVER),
            ("init_work_dir", job.environment["PBS_O_WORKDIR"]),
        ]
        return [(name, text) for name, text in shown if text]

    def qdel(self, arguments: list[str], owner: str = USER) -> Any:
        try:
            found, ids = getopt.getopt(arguments, "m:pW:")
        except getopt.GetoptError:
            return 2, "", "usage: qdel [{ -p | -W delay | -m message}] ...\n"
        if any(name == "-W" and not text.isdigit() for name, text in found):
            return 2, "", "qdel: illegal -W value\nusage: qdel [{ -p | -W delay | -m message}] ...\n"
        code, err = 0, ""
        for text in ids:
            job, name = self._find(text), text if "." in text else f"{text}.{SERVER}"
            if job is None:
                code, err = 153, err + f"qdel: Unknown Job Id Error MSG=cannot locate job {name}\n"
            elif job.owner != owner or (("-p", "") in found and not self.settings["owner_purge"]):
                code, err = 159, err + f"qdel: Unauthorized Request  {name}\n"
            elif ("-p", "") in found:
                self._purge(job)
            elif job.state in "EC":
                what = "EXITING" if job.state == "E" else "COMPLETE"
                said = f"Request invalid for state of job MSG=invalid state for job - {what}"
                code, err = 170, err + f"qdel: {said} {name}\n"
            elif job.state in "QH":
                job.state = self.over
            else:
                super().qdel([job.id], owner)
        return code, "", err

    def _purge(self, job: Job) -> None:
        """The server forgets it; its MoM kills it later."""
        self._finish(job, -9)
        del self.jobs[job.id]

    def qselect(self, arguments: list[str]) -> Any:
        options = dict(getopt.getopt(arguments, "a:A:ec:h:l:N:p:q:r:s:u:")[0])
        if not set(options.get("-s", "")) <= set("CEHQRTW"):
            return 2, "", "qselect: illegal -s value\nusage: qselect [-a [op]date_time] ...\n"
        jobs = [
            job.id
            for job in self.jobs.values()
            if options.get("-N") in (None, job.name)
            and options.get("-u") in (None, job.owner)
            and ("-s" not in options or job.state in options["-s"])
        ]
        return 0, "".join(f"{job}\n" for job in jobs), ""

    def pbsdsh(self, arguments: list[str], env: dict[str, str]) -> Any:
        try:
            found, words = getopt.getopt(arguments, "c:n:h:osuv")
        except getopt.GetoptError:
            return 1, "", "Usage: pbsdsh [-c copies][-o][-s][-u][-v] program [args]...]\n"
        options, job = dict(found), self.jobs[env["PBS_JOBID"]]
        lines = job.nodefile
        places = list(range(len(lines)))
        if "-h" in options:
            if options["-h"] not in lines:
                return 1, "", f"pbsdsh: {options['-h']} not found\n"
            places = [lines.index(options["-h"])]
        elif "-u" in options:
            places = [lines.index(name) for name in dict.fromkeys(lines)]
        elif "-n" in options or "-c" in options:
            wanted = int(options.get("-n", options.get("-c", "0")))
            if wanted >= len(lines) + ("-c" in options):
                return 1, "", f"pbsdsh: only {len(lines)} nodes available\n"
            places = [wanted] if "-n" in options else list(range(wanted))
        with self.lock:
            tasks = [(place, self._task(job, place, words)) for place in places]
        said = ""
        for place, task in tasks:
            status = 254 if task is None else task.wait()
            status = status if status >= 0 else 256 - status
            if status or "-v" in options:
                said += f"pbsdsh: task {place} exit status {status}\n"
        return 0, "", said


def _line(name: str, text: str) -> str:
    """An attribute; long ones go on in lines that begin with a tab."""
    line, rest = f"    {name} = {text}", ""
    while len(line) > WIDTH:
        line, more = line[:WIDTH], line[WIDTH:]
        rest, line = rest + line + "\n\t", more
    return f"{rest}{line}\n"


def _table(jobs: list[Job]) -> str:
    if not jobs:
        return ""
    form = "{:<25.25} {:<16.16} {:<15.15} {:>8} {} {}\n"
    head = form.format("Job ID", "Name", "User", "Time Use", "S", "Queue")
    head += "------------------------- ---------------- --------------- -------- - -----\n"
    rows = (
        form.format(job.id, job.name, job.owner, "00:00:00" if job.ended else "0", job.state, "batch") for job in jobs
    )
    return head + "".join(rows)
