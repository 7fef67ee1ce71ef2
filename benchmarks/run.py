"""All benchmarks by one command: tables with versions on the screen, everything as JSON in a file.

python benchmarks/run.py                  # all parts, some hours
python benchmarks/run.py --quick          # the same parts, less of each: some minutes
python benchmarks/run.py --parts start,ask_tell

Other libraries are installed in an environment of their own (``.venv-peers``), which is made when it is not there. One
that can't be installed is said to be skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ("optuna", "pymoo", "deap", "cmaes", "scipy", "scikit-learn")


@frozen
class Part:
    """A script of this folder.

    Attributes:
        what: for people.
        full: its arguments.
        quick: its arguments with ``--quick``.
        peers: whether it runs where other libraries are installed.
    """

    what: str
    full: str = ""
    quick: str = ""
    peers: bool = False


PARTS = {
    "start": Part("imports and the command line beside numpy", "--repeats 25", "--repeats 5"),
    "ask_tell": Part("an ask and its tell as the history grows", "", "--most 10000 --memory 10000", peers=True),
    "dispatch": Part("a trivial program beside bare loops", "", "--trials 300 --repeats 3"),
    "record": Part("a trial's record beside one append and sync, loading", "", "--records 100 --trials 20000"),
    "utilisation": Part("how busy workers are", "", "--trials 1024 --real 60"),
    "scale": Part("a simulated cluster of 10,000 nodes", "", "--trials 50000"),
    "search": Part("how good the searches are", "", "--seeds 1 --parts polynomial --tpe-budget 64", peers=True),
    "slurm": Part("job steps and pilots on a cluster that is there"),
    "k8s": Part("Jobs on the fake cluster of hpo-k8s's tests", "--evaluations 1000", "--evaluations 100"),
}


def peers_python(folder: Path) -> str:
    """The interpreter of the environment with other libraries, made and filled where that is needed."""
    python = str(folder / "bin" / "python")
    if not folder.exists():
        print(f"making {folder} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        ours = ["-e", str(ROOT), "-e", str(ROOT / "plugins" / "hpo_genetic")]
        install = [python, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*install, *ours], check=True)
        for name in PEERS:
            if subprocess.run([*install, name]).returncode:
                print(f"SKIPPED: {name} can't be installed here")
    return python


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
    everything: dict[str, object] = {**machine, "hpo-core": version("hpo-core")}
    failed = []
    for name in names:
        part = PARTS[name]
        print(f"\n== {name}: {part.what}", flush=True)
        if name == "slurm" and shutil.which("sinfo") is None:
            print("SKIPPED: there is no Slurm")
            continue
        python = peers_python(arguments.peers) if part.peers else sys.executable
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder) / "found.json"
            given = (part.quick if arguments.quick else part.full).split()
            command = [python, str(HERE / f"{name}.py"), *given, "--json", str(found)]
            if subprocess.run(command).returncode:
                failed.append(name)
            elif found.exists():
                everything[name] = json.loads(found.read_text())
        arguments.json.write_text(json.dumps(everything, indent=1))
    print(f"\nall numbers are in {arguments.json}" + (f"; FAILED: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
