"""A fake Kubernetes cluster: ``python cluster PORT_FILE [CERTIFICATE]``; ends when its standard input does."""

import os
import signal
import sys
import threading

import server


def main(port_file, certificate=None):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cluster = server.Cluster(certificate=certificate)
    with open(f"{port_file}.new", "w") as file:
        file.write(str(cluster.port))
    os.rename(f"{port_file}.new", port_file)

    def end_with_parent():
        sys.stdin.buffer.read()
        cluster.server.shutdown()

    threading.Thread(target=end_with_parent, daemon=True).start()
    cluster.serve()
    cluster.controllers.close()


main(*sys.argv[1:])
