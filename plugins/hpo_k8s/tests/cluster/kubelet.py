"""A node's agent that really runs a pod's container, as a process of this machine in a session of its own."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import volumes
from store import now

MARK = "FAKE_POD_UID"
"""In the environment of everything that runs in a pod."""
IMAGE_NAME = re.compile(r"[a-z0-9._/:@-]*[a-z0-9]")
_SIZE = re.compile(r"([0-9.]+)([KMGT]i?|k)?")
_UNITS = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Log:
    """What a container wrote; readers may follow it. With a limit, later readers find the newest part only."""

    def __init__(self, limit):
        self._data, self._limit, self._start = bytearray(), limit, 0
        self._changed = threading.Condition()
        self._closed = False
        self.followers = 0
        """How many have begun to follow it."""

    def write(self, data):
        with self._changed:
            self._data += data
            while self._limit and len(self._data) - self._start > self._limit:
                self._start += self._limit
            self._changed.notify_all()

    def close(self):
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def read(self):
        with self._changed:
            return bytes(self._data[self._start :])

    def follow(self, gone, *, hangs=False):
        with self._changed:
            place = self._start
            self.followers += 1
        while True:
            with self._changed:
                while place == len(self._data) and (hangs or not self._closed) and not gone():
                    self._changed.wait(0.2)
                data, closed = bytes(self._data[place:]), self._closed
            if not data and (closed or gone()):
                return
            place += len(data)
            yield data


def condition(kind, true, reason="", message=""):
    return {
        "type": kind,
        "status": "True" if true else "False",
        "lastProbeTime": None,
        "lastTransitionTime": now(),
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }


class Kubelet:
    """Runs one pod, in a thread of its own."""

    def __init__(self, store, knobs, pod):
        self.store, self.knobs, self.pod = store, knobs, pod
        self.uid = pod["metadata"]["uid"]
        self.log = Log(knobs["rotate"])
        self.image_error = ""
        self.waiting = "ContainerCreating"
        self._process = None
        self._kill_at = None
        self._killed = threading.Event()
        self._out_of_memory = False
        self._own = {}
        """Reason and message of the pod as a whole."""
        self._force = threading.Event()
        self.container = pod["spec"]["containers"][0]
        self._before = {}
        """Status of each container that ran, or runs, before that one."""
        self._volumes = volumes.Volumes(store, knobs, pod)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # From outside

    def terminate(self, grace_s):
        """TERM if the process has a handler for it, as process 1 of a container ignores it otherwise; then KILL."""
        self._kill_at = time.monotonic() + grace_s
        process, first = self._process, not self._killed.is_set()
        if process is not None and first and grace_s > 0 and _handles_term(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        self._killed.set()

    def disrupt(self, reason, message, own):
        """Somebody wants the node for something else."""
        with self.store.lock:
            if reason:
                found = condition("DisruptionTarget", True, reason, message)
                self.pod["status"].setdefault("conditions", []).append(found)
            if own:
                self._own = {"reason": own, "message": message}
            self.store.touch("pods", self.pod)
        self.terminate(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def vanish(self):
        """The node dies: its processes end, and nobody hears of it."""
        self._silent = True
        self.kill()

    def kill(self):
        self._force.set()
        self._end()
        process = self._process
        if process is not None:
            process.wait()

    def _end(self):
        """Kill everything that runs in the pod; its group at once, as what begins just now has no mark yet."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        _sweep(self.uid)

    # One pod

    _silent = False

    def _status(self, phase, state, *, conditions, started=False, **more):
        with self.store.lock:
            if self._silent:
                return
            status = self.pod["status"]
            kept = [one for one in status.get("conditions", ()) if one["type"] in ("PodScheduled", "DisruptionTarget")]
            status["phase"] = phase
            status["conditions"] = [*conditions, *kept]
            status.update(self._own)
            status.update(hostIP="192.0.2.10", hostIPs=[{"ip": "192.0.2.10"}])
            if phase != "Pending" or "terminated" in state or self.waiting != "ContainerCreating":
                status.update(podIP="10.244.7.1", podIPs=[{"ip": "10.244.7.1"}])
            status.setdefault("startTime", now())
            run = "terminated" in state or "running" in state
            image = self.container["image"]
            identity = {"containerID": f"containerd://{self.uid.replace('-', '')}"} if run else {}
            if "terminated" in state:
                state = {"terminated": {**state["terminated"], **identity}}
            limits = self.container["resources"].get("limits")
            resources = self.container["resources"]
            allocated = {"allocatedResources": resources["requests"]} if run and limits else {}
            status["containerStatuses"] = [
                {
                    "name": self.container["name"],
                    "state": state,
                    "lastState": {},
                    "ready": "running" in state,
                    "restartCount": 0,
                    "image": f"registry.example/{image}" if run else image,
                    "imageID": "sha256:" + "0" * 64 if run else "",
                    **identity,
                    "started": started,
                    **allocated,
                    **({"resources": resources} if run else {}),
                }
            ]
            if self._before:
                status["initContainerStatuses"] = list(self._before.values())
            self.store.touch("pods", self.pod)

    def _wait(self, reason, message="", *, ready=True):
        self.waiting = reason
        unready = ("ContainersNotReady", "containers with unready status: [main]")
        self._status(
            "Pending",
            {"waiting": {"reason": reason, **({"message": message} if message else {})}},
            conditions=[
                condition("PodReadyToStartContainers", ready),
                condition("Initialized", True),
                condition("Ready", False, *unready),
                condition("ContainersReady", False, *unready),
            ],
        )

    def _run(self):
        self._wait("ContainerCreating", ready=False)
        try:
            before = self.pod["spec"].get("initContainers", ())
            if self._mount() and all(map(self._run_before, before)) and self._prepare():
                self._execute()
        finally:
            self.log.close()
            self._volumes.remove()

    def _mount(self):
        """Wait until all volumes are there."""
        while not self._volumes.make():
            if self._killed.wait(0.1) or self._force.is_set():
                self._over(137, "Error")
                return False
        return True

    def _run_before(self, container):
        """Run a container that has to end well before the next one begins; gives whether it did."""
        name, environment, output = container["name"], self._environment(container), tempfile.TemporaryFile()
        words = [self._volumes.placed(_expanded(word, environment)) for word in container["command"]]
        trouble = self._trouble(container["image"])
        while trouble is not None:
            self._before[name] = {"name": name, "state": {"waiting": {"reason": trouble[0], "message": trouble[1]}}}
            self._wait("PodInitializing")
            if self._killed.wait(0.1) or self._force.is_set():
                self._over(137, "Error")
                return False
            trouble = self._trouble(container["image"])
        started = now()
        self._before[name] = {"name": name, "state": {"running": {"startedAt": started}}}
        self._wait("PodInitializing")
        with output:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
            self._process = process
            code = self._await()
            self._process = None
            self._end()
            output.seek(0)
            said = output.read()[-2048:].decode(errors="replace")
        code = 128 - code if code < 0 else code
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": started}
        if code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["message"] = said
        self._before[name] = {"name": name, "state": {"terminated": {**ended, "finishedAt": now()}}}
        if code:
            self.log.close()
            self._status("Failed", {"waiting": {"reason": "PodInitializing"}}, conditions=[])
            return False
        return True

    def _prepare(self):
        """Pull the image and look for what the container needs; gives whether it can be started."""
        image = self.container["image"]
        while not self._killed.is_set() and not self._force.is_set():
            trouble = self._trouble(image)
            if trouble is None:
                return True
            self.image_error, message = trouble
            alternating = {"ErrImagePull": ("ErrImagePull", "ImagePullBackOff")}
            for reason in alternating.get(self.image_error, (self.image_error,)):
                said = message if reason != "ImagePullBackOff" else f'Back-off pulling image "{image}": {message}'
                self._wait(reason, said)
                self._killed.wait(0.1)
            self._killed.wait(0.1)
        self._over(137, "Error")
        return False

    def _trouble(self, image):
        if not IMAGE_NAME.fullmatch(image):
            words = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}"'
            return "InvalidImageName", f"{words}: invalid reference format: repository name (Bad) must be lowercase"
        if image in self.knobs["missing_images"]:
            full = f"registry.example/{image}"
            return "ErrImagePull", f'failed to pull and unpack image "{full}": failed to resolve reference "{full}"'
        for variable in self.container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference and reference["key"] not in self.knobs["secrets"].get(reference["name"], {}):
                return "CreateContainerConfigError", f'secret "{reference["name"]}" not found'
        if self.knobs["stuck"]:
            return "ContainerCreating", ""
        return None

    def _execute(self):
        environment = self._environment(self.container)
        words = self.container["command"] + self.container.get("args", [])
        words = [self._volumes.placed(_expanded(word, environment)) for word in words]
        home = tempfile.mkdtemp(prefix="fake-pod-")
        limit = (self.container["resources"].get("limits") or {}).get("memory")
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.container.get("workingDir", home),
                start_new_session=True,
            )
        except OSError as error:
            self.log.close()
            create = "failed to create containerd task: failed to create shim task: OCI runtime create failed"
            why = f'{create}: unable to start container process: exec: "{words[0]}": {error.strerror.lower()}: unknown'
            self._over(128, "StartError", why, started="1970-01-01T00:00:00Z")
            return
        finally:
            if self._process is None:
                shutil.rmtree(home, ignore_errors=True)
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        if limit:
            threading.Thread(target=self._mind_memory, args=(_bytes(limit),), daemon=True).start()
        self._started = now()
        if not self.knobs["quick"]:
            self._status(
                "Running",
                {"running": {"startedAt": self._started}},
                started=True,
                conditions=[
                    condition(kind, True)
                    for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
                ],
            )
        if self._force.is_set():
            self._end()
        if self._killed.is_set():
            self.terminate(max(0.0, (self._kill_at or 0.0) - time.monotonic()))
        code = self._await()
        self._end()
        reader.join()
        self.log.close()
        shutil.rmtree(home, ignore_errors=True)
        code = 128 - code if code < 0 else code
        if self._out_of_memory:
            self._over(code, "OOMKilled")
        else:
            self._over(code, "Completed" if code == 0 else "Error")

    def _await(self):
        """Until the process ends: its own way, by its deadline, or as it was told to."""
        late_s = self.pod["spec"].get("activeDeadlineSeconds")
        deadline = None if late_s is None else time.monotonic() + late_s
        while True:
            limits = [limit for limit in (deadline, self._kill_at) if limit is not None]
            pause = min([0.2, *(max(0.0, limit - time.monotonic()) for limit in limits)])
            try:
                return self._process.wait(max(pause, 0.002))
            except subprocess.TimeoutExpired:
                pass
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._end()
            elif deadline is not None and time.monotonic() >= deadline:
                deadline = None
                message = "Pod was active on the node longer than the specified deadline"
                self._own = {"message": message, "reason": "DeadlineExceeded"}
                self.terminate(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _read(self):
        with self._process.stdout as pipe:
            while data := os.read(pipe.fileno(), 65536):
                self.log.write(data)

    def _over(self, code, reason, message="", *, started=""):
        started = started or getattr(self, "_started", now())
        state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}}
        if message:
            state["terminated"]["message"] = message
        good = code == 0 and not self._own
        why = "PodCompleted" if good else "PodFailed"
        done = "PodCompleted" if good else ""
        conditions = [
            condition("Initialized", True, done),
            condition("Ready", False, why),
            condition("ContainersReady", False, why),
        ]
        if self.knobs["sidecar"]:
            unready = [condition("PodReadyToStartContainers", True), *conditions]
            self._status("Running", state, conditions=unready)
            while not self._killed.wait(0.1) and not self._force.is_set():
                pass  # The other container goes on until somebody deletes the pod.
        if not self._killed.is_set():
            unready = [condition("PodReadyToStartContainers", True), *conditions]
            self._status("Pending" if self.knobs["quick"] else "Running", state, conditions=unready)
        ready = [condition("PodReadyToStartContainers", False), *conditions]
        self._status("Succeeded" if good else "Failed", state, conditions=ready)

    # The container's surroundings

    def _environment(self, container):
        metadata = self.pod["metadata"]
        found = {
            "PATH": os.environ["PATH"],
            "HOSTNAME": self.pod["spec"].get("hostname", metadata["name"]),
            MARK: self.uid,
        }
        for variable in container.get("env") or ():
            source = variable.get("valueFrom")
            if source is None:
                found[variable["name"]] = self._volumes.placed(_expanded(variable.get("value", ""), found))
            elif "secretKeyRef" in source:
                reference = source["secretKeyRef"]
                found[variable["name"]] = self.knobs["secrets"][reference["name"]][reference["key"]]
            else:
                found[variable["name"]] = self._field(source["fieldRef"]["fieldPath"])
        return found

    def _field(self, path):
        where = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        if where:
            return self.pod["metadata"].get(where[1], {}).get(where[2], "")
        return {"metadata.name": self.pod["metadata"]["name"], "metadata.uid": self.uid}[path]

    def _mind_memory(self, limit):
        while self._process.poll() is None:
            held = {pid: _resident(pid) for pid in _marked(self.uid)}
            if sum(held.values()) > limit:
                self._out_of_memory = True
                if self.knobs["kills"] == "child":  # as control groups of version 1 do
                    _kill(max(held, key=held.get))
                else:
                    self._end()
            time.sleep(0.05)


def _expanded(text, environment):
    """``$(NAME)`` and ``$$`` as Kubernetes has them."""

    def value(match):
        if match[0] == "$$":
            return "$"
        return environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, text)


def _bytes(text):
    number, unit = _SIZE.fullmatch(text).groups()
    return float(number) * _UNITS.get(unit, 1)


def _handles_term(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def _marked(uid):
    """Processes of a pod."""
    mark = f"{MARK}={uid}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def _sweep(uid):
    """Kill everything that runs in a pod."""
    while pids := _marked(uid):
        for pid in pids:
            _kill(pid)
        if not _alive(pids):
            continue
        time.sleep(0.005)


def _alive(pids):
    return any(os.path.exists(f"/proc/{pid}") for pid in pids)


def _kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _resident(pid):
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0
