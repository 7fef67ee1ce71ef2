"""The stand-in PBS: ``python server.py FOLDER``. It answers on FOLDER/socket, until that is removed."""

import json
import os
import shlex
import shutil
import socketserver
import sys
import threading
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from openpbs import Pbs
from torque import Torque

INSIDE = ("pbsdsh", "pbs_tmrsh", "pbs_attach", "ssh")
KINDS = {"openpbs": Pbs, "torque": Torque}


class Cluster:
    """What answers now."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.pbs: Pbs = Pbs(folder)

    def begin(self, kind: str) -> None:
        """All is as new."""
        with self.pbs.lock:
            self.pbs.close()
            self.calls.clear()
            self.pbs = KINDS[kind](self.folder)

    def answer(self, asked: dict[str, Any]) -> tuple[int, str, str]:
        command, arguments, pbs = asked["command"], asked["arguments"], self.pbs
        if asked.get("program"):
            self.calls.append(shlex.join([command, *arguments]))
        if command in INSIDE:
            return getattr(pbs, command)(arguments, asked["env"])
        if command == "calls":
            return 0, "\n".join(self.calls), ""
        if command == "begin":
            self.begin(*arguments)
            return 0, "", ""
        with pbs.lock:
            pbs.turn()
            if command == "state":
                return 0, "".join(job.state for job in pbs.jobs.values() if job.id in arguments), ""
            if command == "jobs":
                return 0, " ".join(job.id for job in pbs.jobs.values() if job.state != pbs.over), ""
            if command == "qsub":
                return pbs.qsub(arguments, asked["cwd"], asked["env"], asked.get("stdin", ""))
            if command == "control":
                return pbs.control(arguments, asked["cwd"], asked["env"])
            return getattr(pbs, command)(arguments)


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        code, out, err = CLUSTER.answer(json.loads(self.rfile.readline()))
        try:
            self.wfile.write(json.dumps({"code": code, "out": out, "err": err}).encode() + b"\n")
        except BrokenPipeError:
            pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    CLUSTER, parent = Cluster(sys.argv[1]), os.getppid()
    socket = f"{CLUSTER.folder}/socket"
    with Server(socket, Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print("ready", flush=True)
        while os.path.exists(socket) and os.getppid() == parent:
            with CLUSTER.pbs.lock:
                CLUSTER.pbs.turn()
            time.sleep(0.02)
        with CLUSTER.pbs.lock:
            CLUSTER.pbs.close()
    if os.getppid() != parent:
        shutil.rmtree(CLUSTER.folder, ignore_errors=True)
