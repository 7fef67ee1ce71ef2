"""Evaluations per minute and requests per evaluation on the fake cluster of hpo-k8s's tests; drivers that are ended.

The fake runs containers as processes at once: what is measured is the driver with the fake, no cluster, where a pod
takes a second or more to start. Needs hpo-k8s and pytest.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hpo_core as hpo

ROOT = Path(__file__).parent.parent
SPACE = [["--x", 0.5, (0.0, 1.0)]]
DRIVER = """
import sys
import hpo_core as hpo
evaluator = hpo.Evaluator("sleep 600; true", workload_manager="k8s", workload_image="any:1", nodes=3)
study = hpo.Study(hpo.Params([["--x", 0.5, (0.0, 1.0)]]), evaluator, n_trials=9, seed=1, directory=sys.argv[1])
study.optimize()
evaluator.close()
"""


def fake_cluster(folder: Path) -> Any:
    """The fake cluster of the tests."""
    place = ROOT / "plugins" / "hpo_k8s" / "tests" / "conftest.py"
    spec = importlib.util.spec_from_file_location("hpo_k8s_conftest", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Fake(folder)


def speed(fake: Any, pods: int, count: int) -> tuple[float, float]:
    """Evaluations per minute of a program that ends at once, and requests per evaluation."""
    fake.tell("reset")
    with (
        tempfile.TemporaryDirectory() as folder,
        hpo.Evaluator("echo FoM: 1; :", workload_manager="k8s", workload_image="any:1", nodes=pods) as evaluator,
        hpo.Study(hpo.Params(SPACE), evaluator, n_trials=count, seed=1, directory=f"{folder}/study") as study,
    ):
        study.optimize()
        assert len(study.trials) == count
        taken_s = study.elapsed_s
    return 60.0 * count / taken_s, len(fake.requests()) / count


def ended(fake: Any, sent: signal.Signals) -> dict[str, object]:
    """What a driver with three running pods leaves, and how long it takes to end."""
    fake.tell("reset")
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", DRIVER, f"{folder}/study"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        fake.wait_for(lambda: [phase for _, phase in fake.pods()] == ["Running"] * 3, "three running pods")
        time.sleep(0.5)
        begin = time.monotonic()
        process.send_signal(sent)
        if sent is signal.SIGINT:
            time.sleep(0.2)
            process.send_signal(sent)
        process.wait()
        taken_s = time.monotonic() - begin
        left = {kind: len(names) for kind, names in fake.left().items()}
        cleaned_s = 0.0
        if left:
            begin = time.monotonic()
            clean = [sys.executable, "-m", "hpo_core", "clean", f"{folder}/study"]
            subprocess.run(clean, check=True, stdout=subprocess.DEVNULL)
            cleaned_s = time.monotonic() - begin
        return {"ended_s": taken_s, "left": left, "cleaned_s": cleaned_s, "left after hpo clean": fake.left()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--pods", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        fake = fake_cluster(Path(folder))
        os.environ["KUBECONFIG"] = str(fake.kubeconfig)
        try:
            print(f"load before: {os.getloadavg()[0]:.1f}")
            print("| pods | evaluations a minute | requests an evaluation |\n| --- | --- | --- |")
            for pods in chosen.pods:
                per_minute, requests = speed(fake, pods, chosen.evaluations)
                found[f"{pods} pods"] = {"evaluations a minute": per_minute, "requests an evaluation": requests}
                print(f"| {pods} | {per_minute:.0f} | {requests:.2f} |", flush=True)
            for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                found[sent.name] = ended(fake, sent)
                print(f"{sent.name}: {found[sent.name]}", flush=True)
        finally:
            fake.close()
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
