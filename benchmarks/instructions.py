"""Counts the instructions of small pinned pieces of work and compares them with what is committed.

python benchmarks/instructions.py             # fails where a count has grown by more than a fifth
python benchmarks/instructions.py --write     # makes the committed counts anew
python benchmarks/instructions.py --only NAME

Counts don't depend on what else the machine does. A piece is done some times and twice as often, and the difference
is taken, so that the interpreter's start drops out. They do depend on how Python and numpy were built, and on the
versions of what is imported: `nox -s instructions` takes those of constraints.txt, and all counts are taken relative to
a piece of plain Python (``plain Python``), which outweighs a build with other optimisations.

Needs valgrind. Without it nothing is compared, and that is said; where HPO_REQUIRE_VALGRIND or CI is set, it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BASELINE = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.20

_STRATEGY = """
import hpo_core as hpo
from hpo_core.registry import get
space = hpo.Params([[f"--x{{i}}", 0.5, (0.0, 1.0)] for i in range(10)])
strategy = get(hpo.Strategy, "{name}")(space, seed=1)
def work(number):
    proposal = strategy.ask()
    loss = sum((x - 0.3) ** 2 for x in proposal.values.values())
    trial = hpo.Trial(number, proposal.values, tag=proposal.tag, info=proposal.info)
    strategy.tell(trial, hpo.Result(hpo.State.DONE, loss, loss))
"""
_NO_MODELS = """
strategy = type(strategy)(space, seed=1, options=strategy.Options(documented_only=True))
"""
_STUDY = """
import hpo_core as hpo
space = hpo.Params([[f"--x{i}", 0.5, (0.0, 1.0)] for i in range(10)])
study = hpo.Study(space, seed=1, directory="study")
def work(number):
    study.tell(study.ask(), 0.5)
"""
_RECORD = """
from pathlib import Path
from hpo_core.journal import Journal
journal = Journal(Path("."))
values = {f"--x{i}": 0.12345678 for i in range(10)}
def work(number):
    journal.append({"record": "asked", "trial": number, "tag": f"point{number}", "values": values, "told": number})
    journal.flush()
"""
_METRIC = """
from hpo_core.builtin.text_metrics import TextMetrics
parser = TextMetrics(["FoM"])
def work(number):
    reader = parser.reader()
    reader.line("epoch 17 of 20, loss 0.123")
    reader.line("FoM: 0.25")
"""
_EVALUATIONS = """
import hpo_core as hpo
space = hpo.Params([[f"--x{{i}}", 0.5, (0.0, 1.0)] for i in range(10)])
evaluator = hpo.Evaluator("/bin/echo FoM: 1.0", workload_manager="{manager}", eval_timeout=60)
def work(number):
    if number == TIMES:
        with hpo.Study(space, evaluator, n_trials=TIMES, seed=1, directory="study") as study:
            study.optimize()
"""
_PLAIN = """
import json
def work(number):
    rows = [{"number": i, "text": f"point{i}", "value": i / 7} for i in range(20)]
    return json.dumps(sorted(rows, key=lambda row: -row["value"]))
"""
YARDSTICK = "plain Python"
CASES = {
    YARDSTICK: (_PLAIN, 400),
    "import hpo_core": ("def work(number):\n    import hpo_core", 0),
    "import everything of a study": ("def work(number):\n    from hpo_core import Evaluator, Params, Study", 0),
    "ask and tell, random": (_STRATEGY.format(name="random"), 200),
    "ask and tell, genetic": (_STRATEGY.format(name="genetic"), 60),
    "ask and tell, genetic, no models": (_STRATEGY.format(name="genetic") + _NO_MODELS, 200),
    "study.ask and study.tell, random": (_STUDY, 100),
    "journal record": (_RECORD, 300),
    "metric": (_METRIC, 500),
    "evaluation, simulated": (_EVALUATIONS.format(manager="simulated"), 100),
    "evaluation, local": (_EVALUATIONS.format(manager="local"), 60),
}
"""Name to what is done, and how often; 0: once, against not at all."""


ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Nehalem",  # The same machine code on every processor.
}
VALGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")


def run(code: str, times: int, *under: str) -> str:
    """What an interpreter that does the work so often says on its standard error."""
    program = (
        f"TIMES = {times}\n{code}\nfor number in range(1, {times} + 1):\n    work(number)\nimport os\nos._exit(0)\n"
    )
    command = [*under, sys.executable, "-c", program]
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{command[0]} ended with exit code {ended.returncode}:\n{ended.stderr[-2000:]}")
    return ended.stderr


def counted(code: str, times: int) -> int:
    """Instructions of an interpreter that does the work so often."""
    said = run(code, times, *VALGRIND)
    found = re.search(r"Collected : (\d+)", said)
    if found is None:
        raise SystemExit(f"valgrind has counted nothing:\n{said[-2000:]}")
    return int(found[1])


def instructions(name: str) -> int:
    """Instructions of one piece of work."""
    code, times = CASES[name]
    run(code, 1)  # What is compiled at its first import is not counted.
    if not times:
        return counted(code, 1) - counted(code, 0)
    return (counted(code, 2 * times) - counted(code, times)) // times


def main() -> int:
    """Count, compare, and say what has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="commit to what is counted now")
    parser.add_argument("--only", action="append", choices=CASES, help="one of the pieces; may be given again")
    parser.add_argument("--json", type=Path, help="a file for the counts")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("NOTHING COMPARED: instruction counts need valgrind (apt-get install valgrind)")
        return int(bool(os.environ.get("HPO_REQUIRE_VALGRIND") or os.environ.get("CI")))
    python = "{}.{}".format(*sys.version_info)
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    names = [name for name in CASES if name in arguments.only or name == YARDSTICK] if arguments.only else list(CASES)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(names, pool.map(instructions, names), strict=True))
    before = known.get(python, {})
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.write:
        BASELINE.write_text(json.dumps({**known, python: {**before, **found}}, indent=2) + "\n")
    elif not before:
        print(f"NOT COMPARED: no counts of Python {python} are committed, only of {', '.join(known)}; see --write")
    grown, scale = 0, found[YARDSTICK] / before.get(YARDSTICK, found[YARDSTICK])
    if abs(scale - 1.0) > 0.01:
        print(
            f"this Python needs {scale:.2f} times the instructions for plain Python; the changes below are beyond that"
        )
    for name, count in found.items():
        change = count / before[name] / scale - 1.0 if name in before else 0.0
        grown += change > TOLERANCE and not arguments.write
        verdict = "GROWN" if change > TOLERANCE else f"{change:+.1%}" if name in before else "new"
        print(f"{name:36}{count:14,}  {verdict if change <= TOLERANCE else f'{verdict} by {change:.0%}'}")
    if grown:
        print(f"{grown} grew by more than {TOLERANCE:.0%}. Where that is worth it, commit what --write gives.")
    return int(bool(grown))


if __name__ == "__main__":
    raise SystemExit(main())
