"""Workspaces, sources and checkpoints where only pods see them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import hpo_core as hpo
from hpo_core.interfaces import Capability
from hpo_core.registry import added
from hpo_k8s._prologue import MAKE
from hpo_k8s._sources import LIMIT_BYTES, pack

PYTHON = shlex.quote(sys.executable)
MOUNT = "/nowhere/data"
"""Where pods mount the claim; there is no such folder here."""
COUNT = """
import os
path = os.path.join(os.environ["HPO_CHECKPOINT"], "count")
count = int(open(path).read()) if os.path.exists(path) else 0
with open(path, "w") as file:
    file.write(str(count + 1))
print("FoM:", -(count + 1))
"""


class Chain(hpo.Strategy):
    """Each trial continues the one before."""

    name = "chain"
    capabilities = frozenset({Capability.CONTINUES})

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.last = None
        self.running = False

    def ask(self):
        if self.running:
            return hpo.Pause.WAIT
        self.running = True
        return hpo.Proposal(self.space.draw(self.rng), parent=self.last)

    def tell(self, trial, result):
        self.running, self.last = False, trial.number

    def continuable(self):
        return () if self.last is None else (self.last,)


class Listener(hpo.Observer):
    """Remembers what people were told."""

    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture
def volume(fake, tmp_path, monkeypatch) -> Path:
    """The claim as a node has it; the driver has none."""
    folder = tmp_path / "volume"
    folder.mkdir()
    fake.knobs(claims={"data": str(folder)})
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    (folder / "lib" / "deep").mkdir(parents=True)
    (folder / "lib" / "deep" / "value.txt").write_text("7")
    (folder / "train.py").write_text(COUNT)
    (folder / "tool").write_text("#!/bin/sh\necho FoM: $(cat lib/deep/value.txt)\n")
    (folder / "tool").chmod(0o755)
    return folder


def study(cmd: str, *, strategy: str = "random", n_trials: int = 3, observers=(), directory=None, **arguments):
    options = {"claims": {"data": MOUNT}, **arguments.pop("launcher_options", {})}
    more = {"strategy_options": arguments.pop("strategy_options", {})}
    more |= {"evaluate_defaults": False} if strategy == "chain" else {}
    evaluator = hpo.Evaluator(
        cmd, workload_manager="k8s", workload_image="lab/any:1", grace=1, launcher_options=options, **arguments
    )
    space = hpo.Params([["--x", 0.5, (0.0, 1.0)]])
    return hpo.Study(
        space,
        evaluator,
        strategy=strategy,
        n_trials=n_trials,
        seed=1,
        observers=observers,
        directory=directory,
        resume_if_exists=directory is not None,
        **more,
    )


def run(cmd: str, **arguments) -> hpo.Study:
    with added(Chain):
        found = study(cmd, **arguments)
        with found.evaluator, found:
            found.optimize()
    return found


def foms(found: hpo.Study) -> list[float]:
    return [record.fom for record in found.trials]


# Sources


def test_small_sources_reach_pods_in_a_config_map(fake, volume, source):
    """With folders and programs in them; workspaces that are on no claim go with their pods, output stays here."""
    listener = Listener()
    found = run(
        "./tool", src_path=str(source), launcher_options={"claims": {}}, keep_output="all", observers=[listener]
    )
    assert foms(found) == [7, 7, 7]
    assert (found.directory / "output" / "1.1.out").read_text() == "FoM: 7\n"
    assert any(
        "sent as a ConfigMap: 3 files" in notice and "go with their pods" in notice for notice in listener.notices
    )
    assert len(fake.requests("POST .*/configmaps")) == 2
    assert not (Path.cwd() / "run").exists()
    fake.wait_for(lambda: fake.left() == {}, "nothing left")


def test_sources_on_the_claim_are_copied_there(volume, source):
    listener = Listener()
    shutil.copytree(source, volume / "source")
    found = run("./tool", src_path=f"{MOUNT}/source", run_path=f"{MOUNT}/run", observers=[listener], n_trials=2)
    assert foms(found) == [7, 7]
    assert (volume / "run" / "point2" / ".hpo" / "study").read_text().strip() == found.id
    assert not list(volume.glob("run/*.part"))
    assert any("copied from the claim" in notice for notice in listener.notices)


def test_sources_that_are_in_no_image_stop_the_study(fake, volume):
    """What is neither here nor on a claim is looked for in the image."""
    with pytest.raises(hpo.StudyStopped, match=r"made ready in pod .*there are no sources /app/missing in the pod"):
        run("./tool", src_path="/app/missing", run_path=f"{MOUNT}/run")
    fake.wait_for(lambda: fake.left() == {}, "nothing left")


def test_a_folder_that_is_no_workspace_is_left_alone(volume, source):
    (volume / "run" / "point1").mkdir(parents=True)
    with pytest.raises(hpo.StudyStopped, match="point1 exists and is no workspace of hpo-core"):
        run("./tool", src_path=str(source), run_path=f"{MOUNT}/run", n_trials=1)


def test_another_studys_workspaces_are_moved_aside(volume, source):
    first = run("./tool", src_path=str(source), run_path=f"{MOUNT}/run", n_trials=1)
    second = run("./tool", src_path=str(source), run_path=f"{MOUNT}/run", n_trials=1)
    assert sorted(path.name for path in (volume / "run").iterdir()) == ["point1", f"point1~{first.id}"]
    assert (volume / "run" / "point1" / ".hpo" / "study").read_text().strip() == second.id


def test_several_pods_share_what_the_first_of_them_made(volume, source):
    (source / "train.sh").write_text("echo $HPO_NODE_RANK >> ranks; echo FoM: $(cat lib/deep/value.txt)\n")
    found = run(
        "sh train.sh; true", src_path=str(source), run_path=f"{MOUNT}/run", nodes=2, nodes_per_eval=2, n_trials=1
    )
    assert foms(found) == [7]
    assert sorted((volume / "run" / "point1" / "ranks").read_text().split()) == ["0", "1"]


def test_what_is_sent_is_what_is_there(source, tmp_path):
    """Without workspaces, studies and what compilers left; the same files have the same name, others another."""
    before = pack(str(source), str(source / "run"))
    for name in ("run/point1", "hpo-study", "__pycache__", ".git"):
        (source / name).mkdir(parents=True)
        (source / name / "junk").write_text("junk")
    (source / "hpo-study" / "journal.jsonl").write_text("")
    again = pack(str(source), str(source / "run"))
    assert [path for path, _, _ in again.files] == ["lib/deep/value.txt", "tool", "train.py"]
    assert [is_program for _, _, is_program in again.files] == [False, True, False]
    assert again.digest == before.digest
    (source / "tool").chmod(0o644)
    assert pack(str(source), "run").digest != before.digest


@pytest.mark.parametrize("name", [b"..hidden", b"\xff.txt"])
def test_names_that_kubernetes_forbids_are_refused(source, name):
    with open(os.path.join(os.fsencode(source), name), "wb"):
        pass
    with pytest.raises(hpo.ConfigurationError, match="a name that a ConfigMap can't have: rename or remove it"):
        pack(str(source), "run")


# Checkpoints


@pytest.mark.parametrize("place", ["workspace", "claim"])
def test_a_trial_goes_on_from_its_parents_checkpoint(fake, volume, source, place):
    """What nobody continues is deleted by pods, the last of it by a Job of its own."""
    where = {"run_path": f"{MOUNT}/run", "checkpoint": "ckpt"}
    if place == "claim":
        where = {"checkpoint": f"{MOUNT}/ckpt", "run_path": f"{MOUNT}/run"}
    found = run(f"{PYTHON} train.py", strategy="chain", src_path=str(source), n_trials=5, **where)
    assert foms(found) == [-1, -2, -3, -4, -5]
    left = volume.glob("run/*/ckpt") if place == "workspace" else volume.glob("ckpt/*/*")
    assert ["point5" in str(path) for path in left] == [True]
    fake.wait_for(lambda: fake.left() == {}, "nothing left")


def test_checkpoints_without_workspaces(volume):
    (volume / "train.py").write_text(COUNT)
    found = run(f"{PYTHON} {MOUNT}/train.py", strategy="chain", checkpoint=f"{MOUNT}/ckpt", n_trials=3)
    assert foms(found) == [-1, -2, -3]
    assert [path.name for path in (volume / "ckpt" / found.id).iterdir()] == ["point3"]


POPULATION = {"strategy": "pbt", "strategy_options": {"pop_size": 4, "epochs": 4}, "n_trials": 16, "nodes": 4}


def check_lineages(found: hpo.Study) -> None:
    """Each trial went on exactly where its parent had ended."""
    assert [record.state for record in found.trials] == [hpo.State.DONE] * 16
    depth = {None: 0}
    for record in found.trials:
        depth[record.number] = 1 + depth[record.trial.parent]
        assert record.fom == -depth[record.number]
    assert max(depth.values()) > 1


def test_population_based_training(volume, source):
    pytest.importorskip("hpo_genetic", reason="population-based training is in hpo-genetic")
    options = {"run_path": f"{MOUNT}/run", "checkpoint": "ckpt", "src_path": str(source)}
    with study(f"{PYTHON} train.py", **POPULATION, **options) as found, found.evaluator:
        found.optimize()
    check_lineages(found)


DRIVER = """
import json, sys
import hpo_core as hpo
evaluator, study = map(json.loads, sys.argv[1:])
hpo.Study(hpo.Params([["--x", 0.5, (0.0, 1.0)]]), hpo.Evaluator(**evaluator), seed=1, **study).optimize()
"""


def test_population_based_training_goes_on_after_its_driver_was_killed(fake, volume, source, tmp_path):
    pytest.importorskip("hpo_genetic", reason="population-based training is in hpo-genetic")
    (source / "train.py").write_text(f"import time\ntime.sleep(0.3)\n{COUNT}")
    options = {"run_path": f"{MOUNT}/run", "checkpoint": "ckpt", "src_path": str(source), "nodes": 4, "grace": 1}
    options |= {
        "workload_manager": "k8s",
        "workload_image": "lab/any:1",
        "launcher_options": {"claims": {"data": MOUNT}},
    }
    budget = {key: POPULATION[key] for key in ("strategy", "strategy_options", "n_trials")}
    words = [{"cmd": f"{PYTHON} train.py", **options}, {**budget, "directory": str(tmp_path / "study")}]
    with subprocess.Popen([sys.executable, "-c", DRIVER, *map(json.dumps, words)]) as driver:
        fake.wait_for(lambda: len(fake.requests("POST .*/jobs")) >= 7, "the second epoch")
        driver.kill()
    evaluator = hpo.Evaluator(**words[0])
    with evaluator, hpo.Study.load(tmp_path / "study", evaluator) as found:
        found.optimize()
    check_lineages(found)
    assert fake.left() == {}


def test_a_checkpoint_that_is_gone_is_named(volume, source):
    (source / "train.py").write_text(COUNT + "import shutil; shutil.rmtree(os.environ['HPO_CHECKPOINT'])\n")
    with pytest.raises(hpo.StudyStopped, match=r"the checkpoint .*point1/ckpt, which this trial continues, is gone"):
        run(f"{PYTHON} train.py", strategy="chain", src_path=str(source), run_path=f"{MOUNT}/run", checkpoint="ckpt")


def test_a_study_that_stopped_goes_on_from_its_checkpoints(volume, source, tmp_path):
    options = {"src_path": str(source), "run_path": f"{MOUNT}/run", "checkpoint": "ckpt", "strategy": "chain"}
    run(f"{PYTHON} train.py", n_trials=2, directory=tmp_path / "study", **options)
    found = run(f"{PYTHON} train.py", n_trials=4, directory=tmp_path / "study", **options)
    assert foms(found) == [-1, -2, -3, -4]
    assert [path.parent.name for path in volume.glob("run/*/ckpt")] == ["point4"]


# What the script does, in a shell alone


def make(
    tmp_path: Path, *, source="", workspace="", own="", checkpoint="", moved="", parent="", garbage=(), shell="sh"
):
    words = ["study", "hpo-study-1-1", source, workspace, own, checkpoint, moved, parent, *garbage]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [shell, "-c", MAKE, "hpo-files", *map(str, words)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("shell", [name for name in ("sh", "dash", "bash") if shutil.which(name)])
def test_a_half_copy_is_replaced(tmp_path, shell):
    """A pod that was killed while it copied leaves it beside its place."""
    parent, target = tmp_path / "a" / "ckpt", tmp_path / "b" / "ckpt"
    parent.mkdir(parents=True)
    (parent / "file with blanks").write_text("whole")
    os.symlink("file with blanks", parent / "link")
    os.utime(parent / "file with blanks", (1000, 1000))
    half = tmp_path / "b" / "ckpt.part"
    half.mkdir(parents=True)
    (half / "half").write_text("ha")
    done = make(tmp_path, checkpoint=target, parent=parent, shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in target.iterdir()) == ["file with blanks", "link"]
    assert os.readlink(target / "link") == "file with blanks"
    assert (target / "file with blanks").stat().st_mtime == 1000
    assert not half.exists()


def test_a_parent_in_a_workspace_that_was_moved_is_found(tmp_path):
    moved = tmp_path / "point1~study" / "ckpt"
    moved.mkdir(parents=True)
    (moved / "right").touch()
    (tmp_path / "point1" / "ckpt").mkdir(parents=True)
    target = tmp_path / "point2"
    assert make(tmp_path, checkpoint=target, moved=moved, parent=tmp_path / "point1" / "ckpt").returncode == 0
    assert [path.name for path in target.iterdir()] == ["right"]


def test_garbage_goes_with_its_half_copies_and_folders(tmp_path):
    for name in ("x/ckpt", "x/ckpt.part", "y/ckpt"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "y" / "more").touch()
    assert make(tmp_path, garbage=[tmp_path / "x/ckpt", tmp_path / "none/ckpt", tmp_path / "y/ckpt"]).returncode == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["more", "y"]


# What is refused, and what would be run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": "ckpt"}, "checkpoint with .* needs a persistent volume claim.*checkpoint='ckpt' is not"),
        ({"checkpoint": "ckpt", "src_path": "source"}, "needs a persistent volume claim.*run_path='run' is not"),
        ({"checkpoint": f"{MOUNT}/c", "checkpoint_budget": "1G"}, "checkpoint_budget can't be kept where pods make"),
        ({"src_path": f"{MOUNT}/s", "run_path": f"{MOUNT}/s/run"}, "run_path='.*' lies in src_path"),
        ({"src_path": "missing"}, "src_path='missing' is no directory here"),
        (
            {"src_path": "source", "run_path": f"{MOUNT}/run", "launcher_options": {"files": "driver"}},
            "files='driver', and the claim at /nowhere/data is not mounted here",
        ),
        ({"src_path": "large"}, "src_path='.*large' holds more than the 1 MiB that a ConfigMap takes"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(fake, volume, source, arguments, message):
    Path("large").mkdir()
    with open("large/file", "wb") as file:
        file.truncate(LIMIT_BYTES)
    with pytest.raises(hpo.ConfigurationError, match=message):
        study("./tool", **arguments)
    assert fake.requests() == []


def test_the_driver_makes_files_where_it_sees_the_claim(volume, source):
    """Or pods do, if they are told to."""
    for files, by_pod in (("", False), ("driver", False), ("pod", True)):
        options = {"claims": {"data": str(volume)}, "files": files}
        found = study("./tool", src_path=str(source), run_path=str(volume / "run"), launcher_options=options)
        assert found.evaluator.backend.launcher.makes_files is by_pod
        found.close()


def test_a_dry_run_shows_everything(volume, source):
    """In an order in which it can be applied."""
    with study("./tool", src_path=str(source), run_path=f"{MOUNT}/run", nodes=2, nodes_per_eval=2) as found:
        (text,) = found.plan(1)
    anchor, sources, service, job = yaml.safe_load_all(text)
    assert [one["kind"] for one in (anchor, sources, service, job)] == ["ConfigMap", "ConfigMap", "Service", "Job"]
    pod = job["spec"]["template"]["spec"]
    (maker,) = pod["initContainers"]
    (content,) = [volume["configMap"] for volume in pod["volumes"] if "configMap" in volume]
    assert content["name"] == sources["metadata"]["name"]
    assert {item["key"] for item in content["items"]} == set(sources["binaryData"])
    assert re.fullmatch(r"/nowhere/data/run/point1", pod["containers"][0]["command"][4])
    assert f"{MOUNT}/run/point1" in maker["command"]
