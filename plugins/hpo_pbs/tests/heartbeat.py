"""A process as in the recordings of ways to end jobs: ``python heartbeat.py NAME [ignore|setsid|fork]``.

It notes in the folder hb that it began, each TERM, and from time to time that it lives.
"""

import os
import signal
import sys
import time

name, mode = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else "")


def note(text: str) -> None:
    with open(f"hb/{name}", "a") as file:
        file.write(f"{text}\n")


def term(number: int, frame: object) -> None:
    note("signal SIGTERM")
    if mode != "ignore":
        sys.exit(7)


if mode == "setsid" and os.fork():
    sys.exit(0)
if mode == "setsid":
    os.setsid()
if mode == "fork" and not os.fork():
    name, mode = f"{name}-child", "ignore"
signal.signal(signal.SIGTERM, term)
note(f"start {os.getpid()}")
while True:
    time.sleep(0.05)
