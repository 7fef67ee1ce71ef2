"""All benchmarks by one command: tables with versions on the screen, everything as JSON in a file.

python benchmarks/run.py                  # all parts, about two hours
python benchmarks/run.py --quick          # the same parts, less of each: about five minutes
python benchmarks/run.py --parts start,ask_tell

Other libraries are installed in an environment of their own (``.venv-peers``), which is made when it is not there. One
that can't be installed is said to be skipped; so is a part for which something is missing. A part that fails is
reported at the end, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).parent
ROOT = HERE.parent
OURS = (ROOT, ROOT / "plugins" / "hpo_genetic")
PEERS = ("optuna", "pymoo", "deap", "cmaes", "scipy", "scikit-learn", "nevergrad")


@frozen
class Part:
    """A script of this folder.

    Attributes:
        what: for people.
        full: its arguments.
        quick: its arguments with ``--quick``.
        peers: whether it runs where other libraries are installed.
        lacks: says what is missing for it; empty where nothing is.
    """

    what: str
    full: str = ""
    quick: str = ""
    peers: bool = False
    lacks: Callable[[], str] = str


def lacks_slurm() -> str:
    """What is missing for Slurm."""
    if find_spec("hpo_slurm") is None:
        return "hpo-slurm is not installed"
    if shutil.which("sinfo") is None:
        return "there is no Slurm"
    answer = subprocess.run(["sinfo", "-h", "-o", "%D"], capture_output=True, text=True, check=False)
    return "" if answer.stdout.strip() else "no Slurm cluster answers (tests/clusters/slurm brings one up)"


def lacks_k8s() -> str:
    """What is missing for the fake Kubernetes."""
    missing = [name for name in ("hpo_k8s", "pytest") if find_spec(name) is None]
    return f"{missing[0].replace('_', '-')} is not installed" if missing else ""


def lacks_programs(*names: str) -> Callable[[], str]:
    """Says which of some programs is missing."""
    return lambda: next((f"there is no {name}" for name in names if shutil.which(name) is None), "")


PARTS = {
    "start": Part("imports and the command line beside numpy", "--repeats 25", "--repeats 5"),
    "ask_tell": Part(
        "an ask and its tell as the history grows", "", "--most 10000 --seeds 2 --memory 50000", peers=True
    ),
    "dispatch": Part(
        "a trivial program beside bare loops", "", "--trials 200 --repeats 3", True, lacks_programs("cc", "xargs")
    ),
    "record": Part("a trial's record beside one append and sync, loading", "", "--records 100 --trials 20000"),
    "utilisation": Part("how busy workers are", "", "--trials 1024 --real 60", lacks=lacks_programs("cc")),
    "scale": Part("a simulated cluster of 10,000 nodes", "", "--trials 50000 --rows 5"),
    "search": Part("how good the searches are", "", "--seeds 1 --parts polynomial --tpe-budget 64", peers=True),
    "slurm": Part("job steps and pilots on a cluster that is there", "", "--evaluations 50", lacks=lacks_slurm),
    "k8s": Part(
        "Jobs on the fake cluster of hpo-k8s's tests", "--evaluations 1000", "--evaluations 100", lacks=lacks_k8s
    ),
    "instructions": Part(
        "instructions of pinned pieces of work", "", "--only 'evaluation, simulated'", lacks=lacks_programs("valgrind")
    ),
}


def peers_python(folder: Path) -> str:
    """The interpreter of the environment with other libraries, made and filled where that is needed.

    Where it can't be made, our own: rows of other libraries are skipped then.
    """
    python = str(folder / "bin" / "python")
    try:
        if not folder.exists():
            print(f"making {folder} ...", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install(python, *(word for path in OURS for word in ("-e", str(path))))
        there = versions(python)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SKIPPED: other libraries, as {folder} can't be made: {error}", flush=True)
        return sys.executable
    for name in PEERS:
        try:
            if name not in there:
                install(python, name)
        except subprocess.CalledProcessError:
            print(f"SKIPPED: {name} can't be installed here", flush=True)
    return python


def install(python: str, *what: str) -> None:
    """Install by pip, in the versions of constraints.txt where it names them."""
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), *what], check=True)


def versions(python: str) -> dict[str, str]:
    """What is installed for an interpreter, by name."""
    command = [python, "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {one["name"].lower(): one["version"] for one in listed}


def measured(name: str, python: str, given: str) -> object:
    """What the script of a part measures; its tables go to the screen. None: it failed."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [python, str(HERE / f"{name}.py"), *shlex.split(given), "--json", str(found)]
        if subprocess.run(command, check=False).returncode or not found.exists():
            return None
        return json.loads(found.read_text())


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="the environment of other libraries")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"))
    arguments = parser.parse_args()
    names = arguments.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    machine = {"python": platform.python_version(), "machine": platform.platform(), "cores": os.cpu_count()}
    mine = {one.name.lower(): one.version for one in distributions()}
    peers = peers_python(arguments.peers) if any(PARTS[name].peers for name in names) else sys.executable
    everything: dict[str, object] = {
        **machine,
        "quick": arguments.quick,
        "hpo-core": version("hpo-core"),
        "versions": {"ours": mine, "peers": versions(peers)},
    }
    failed, skipped = [], []
    for name in names:
        part, began, load = PARTS[name], time.monotonic(), os.getloadavg()[0]
        print(f"\n== {name}: {part.what} (load {load:.1f})", flush=True)
        if missing := part.lacks():
            print(f"SKIPPED: {missing}", flush=True)
            skipped.append(name)
            continue
        found = measured(name, peers if part.peers else sys.executable, part.quick if arguments.quick else part.full)
        took_s = round(time.monotonic() - began)
        print(f"-- {name}: {'FAILED after ' if found is None else ''}{took_s} s", flush=True)
        failed += [name] * (found is None)
        everything[name] = {"load": load, "seconds": took_s, "found": found}
        arguments.json.write_text(json.dumps(everything, indent=1))
    arguments.json.write_text(json.dumps(everything, indent=1))
    for what, those in (("skipped", skipped), ("FAILED", failed)):
        if those:
            print(f"{what}: {', '.join(those)}")
    print(f"all numbers are in {arguments.json}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
