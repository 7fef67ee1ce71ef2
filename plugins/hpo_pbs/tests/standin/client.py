"""Every command of the stand-in PBS: ``python client.py FOLDER KIND COMMAND ARGUMENTS``; it asks the server there.

Where FOLDER/down is, the server refuses connections; where FOLDER/hangs is, it takes them and says nothing.
"""

import json
import os
import socket
import sys
import time

folder, kind, command, *arguments = sys.argv[1:]
INSIDE = ("pbsdsh", "pbs_tmrsh")
ANYWHERE = (*INSIDE, "pbs_attach", "ssh")
REFUSED = {
    "qsub": (162, "qsub: cannot connect to server {} (errno=15010)"),
    "qstat": (255, "qstat: cannot connect to server {} (errno=15010)"),
    "qdel": (162, "Couldn't connect to cluster: {}"),
    "qselect": (162, "qselect: cannot connect to server {:.7} (errno=15010)"),
    "pbsnodes": (1, "pbsnodes: cannot connect to server {}, error=15010"),
}


def main() -> int:
    if "--version" not in arguments and command not in ANYWHERE:
        if os.path.exists(f"{folder}/hangs"):
            time.sleep(3600)
        if os.path.exists(f"{folder}/down"):
            if command == "qstat" and "json" in arguments:
                print(json.dumps({"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "pbs-server"}))
            if kind == "torque":
                said = f"{command}: cannot connect to server pbs-server (errno=15137) could not connect to trqauthd"
                print(f"socket_connect_unix failed: 15137\n{said}", file=sys.stderr)
                return 33
            code, text = REFUSED[command]
            print("Connection refused\n" + text.format("pbs-server"), file=sys.stderr)
            return code
    if command in INSIDE and "PBS_JOBCOOKIE" not in os.environ:
        place = "" if kind == "torque" else "/opt/pbs/bin/"
        print(f"{place}{command}: not executing under PBS", file=sys.stderr)
        return 1 if command == "pbsdsh" else 255
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(f"{folder}/socket")
        asked: dict[str, object] = {"command": command, "arguments": arguments, "cwd": os.getcwd(), "program": True}
        asked["env"] = {**os.environ, "ASKS": str(os.getpid())}
        if command == "qsub" and "--" not in arguments and not sys.stdin.isatty():
            asked["stdin"] = sys.stdin.read()
        server.sendall(json.dumps(asked).encode() + b"\n")
        with server.makefile() as file:
            answer = json.loads(file.readline())
    sys.stdout.write(answer["out"])
    sys.stderr.write(answer["err"])
    if command == "pbs_attach" and answer["code"] == 0:  # -j JOB PROGRAM ARGUMENTS
        os.execvp(arguments[2], arguments[2:])
    return int(answer["code"])


sys.exit(main())
