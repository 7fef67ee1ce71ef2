"""What a cluster does by itself: pods for Jobs, nodes for pods, and an end of what belongs to nobody any more."""

import copy
import threading
import time
import uuid

import kubelet
from store import now, random_name

_PARTS = ("limits", "requests")
TRACKED = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


class Controllers:
    """Job controller, scheduler and garbage collector: one thread that looks at everything after each change."""

    def __init__(self, store, knobs):
        self.store, self.knobs = store, knobs
        self.kubelets = {}
        self._again = {}
        """When pods of a Job are tried again that a quota refused."""
        self._finished = {}
        self._started = {}
        self._counted = {}
        """Of each Job, its pods with the phase in which they were counted."""
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        with self.store.lock:
            self._stop = True
            self.store.changed.notify_all()
        self._thread.join()
        for one in list(self.kubelets.values()):
            one.kill()

    def _run(self):
        seen = -1
        while True:
            with self.store.lock:
                if self._stop:
                    return
                if seen == self.store.version:
                    self.store.changed.wait(0.1)
                seen = self.store.version
                self._collect_garbage()
                for job in self.store.all("jobs"):
                    self._reconcile(job)
                for pod in self.store.all("pods"):
                    self._schedule(pod)
                    self._finalize(pod)

    # Jobs

    def _pods_of(self, job):
        uid = job["metadata"]["uid"]
        return [
            pod
            for pod in self.store.all("pods", job["metadata"]["namespace"])
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))
        ]

    def _reconcile(self, job):
        spec, status, uid = job["spec"], job["status"], job["metadata"]["uid"]
        before = copy.deepcopy(status)
        pods = self._pods_of(job)
        if "deletionTimestamp" in job["metadata"]:
            if "foregroundDeletion" in job["metadata"].get("finalizers", ()):
                for pod in pods:
                    self.delete_pod(pod)
                if not pods:
                    self.store.remove("jobs", job)
            return
        if uid in self._finished:
            ttl = spec.get("ttlSecondsAfterFinished")
            if ttl is not None and time.monotonic() - self._finished[uid] > ttl:
                self.store.remove("jobs", job)
            return
        if spec["suspend"]:
            return
        if uid not in self._started:
            self._started[uid] = time.monotonic()
            status["startTime"] = now()
        counted = self._counted.setdefault(uid, {})
        for pod in pods:
            if pod["status"]["phase"] in ("Succeeded", "Failed"):
                counted[pod["metadata"]["uid"]] = (pod["status"]["phase"], _index(pod))
            elif "deletionTimestamp" in pod["metadata"]:
                counted.setdefault(pod["metadata"]["uid"], ("Failed", _index(pod)))
            else:
                counted.setdefault(pod["metadata"]["uid"], ("", _index(pod)))
        there = {pod["metadata"]["uid"] for pod in pods}
        for one, (phase, index) in list(counted.items()):
            if not phase and one not in there:
                counted[one] = ("Failed", index)
        failed = sum(phase == "Failed" for phase, _ in counted.values())
        succeeded = {index for phase, index in counted.values() if phase == "Succeeded"}
        good = sum(phase == "Succeeded" for phase, _ in counted.values())
        active = [p for p in pods if p["status"]["phase"] in ("Pending", "Running")]
        late = spec.get("activeDeadlineSeconds")
        deadline = late is not None and time.monotonic() - self._started[uid] > late
        if failed > spec["backoffLimit"] or deadline:
            self._fail(job, active, deadline)
        elif good >= spec["completions"]:
            self._complete(job)
        else:
            self._make_pods(job, active, succeeded, good)
        active = [p for p in self._pods_of(job) if p["status"]["phase"] in ("Pending", "Running")]
        going = [p for p in active if "deletionTimestamp" in p["metadata"]]
        fields = {
            "active": len(active) - len(going),
            "succeeded": good,
            "failed": failed,
        }
        for key, value in fields.items():
            status.pop(key, None)
            if value:
                status[key] = value
        if spec["completionMode"] == "Indexed" and succeeded:
            status["completedIndexes"] = ",".join(map(str, sorted(succeeded)))
        status["terminating"] = len(going)
        status["uncountedTerminatedPods"] = {}
        status["ready"] = sum(p["status"]["phase"] == "Running" for p in active)
        if status != before:
            self.store.touch("jobs", job)

    def _make_pods(self, job, active, succeeded, good):
        spec, uid, namespace = job["spec"], job["metadata"]["uid"], job["metadata"]["namespace"]
        if time.monotonic() < self._again.get(uid, 0.0):
            return
        if spec["completionMode"] == "Indexed":
            taken = {_index(pod) for pod in active} | succeeded
            wanted = [index for index in range(spec["completions"]) if index not in taken]
            wanted = wanted[: spec["parallelism"] - len(active)]
        else:
            missing = min(spec["parallelism"], spec["completions"] - good) - len(active)
            wanted = [None] * max(0, missing)
        for index in wanted:
            name = job["metadata"]["name"] + ("" if index is None else f"-{index}") + "-"
            reason = self.over_quota(namespace)
            if reason:
                self._again[uid] = time.monotonic() + 0.3
                message = f'Error creating: pods "{name}{random_name()}" is forbidden: {reason}'
                self.event(job, "Job", "batch/v1", "FailedCreate", message, "job-controller")
                return
            self._make_pod(job, name, index)

    def _make_pod(self, job, name, index):
        template = copy.deepcopy(job["spec"]["template"])
        metadata = template["metadata"]
        labels, notes = dict(metadata["labels"]), dict(metadata.get("annotations") or {})
        spec = template["spec"]
        if index is not None:
            labels[INDEX] = notes[INDEX] = str(index)
            spec["hostname"] = name.rstrip("-")
            field = {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}
            for container in spec["containers"]:
                container.setdefault("env", []).append(
                    {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": field}}
                )
        for container in spec["containers"]:
            limits = container["resources"].get("limits")
            if limits:
                container["resources"]["requests"] = {**limits, **container["resources"].get("requests", {})}
        spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = spec["serviceAccountName"]
        spec["tolerations"] = [
            *spec.get("tolerations", []),
            *(
                {
                    "key": f"node.kubernetes.io/{key}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
                for key in ("not-ready", "unreachable")
            ),
        ]
        spec.update({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})
        spec.setdefault("enableServiceLinks", True)
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        body = {
            "metadata": {
                "generateName": name,
                "labels": labels,
                **({"annotations": notes} if notes else {}),
                "ownerReferences": [owner],
                "finalizers": [TRACKED],
            },
            "spec": spec,
            "status": {"phase": "Pending", "qosClass": _quality(spec)},
        }
        self.store.add("pods", job["metadata"]["namespace"], body)

    def over_quota(self, namespace):
        """Why no further pod may be made in a namespace, or nothing."""
        limit = self.knobs["quota"]
        used = sum(p["status"]["phase"] in ("Pending", "Running") for p in self.store.all("pods", namespace))
        if limit is None or used < limit:
            return ""
        return f"exceeded quota: q, requested: pods=1, used: pods={used}, limited: pods={limit}"

    def _complete(self, job):
        conditions = [
            _condition("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"),
            _condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods"),
        ]
        job["status"]["conditions"] = conditions
        job["status"]["completionTime"] = now()
        self._finished[job["metadata"]["uid"]] = time.monotonic()

    def _fail(self, job, active, deadline):
        reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if deadline:
            reason, message = "DeadlineExceeded", "Job was active longer than specified deadline"
        conditions = job["status"].setdefault("conditions", [_condition("FailureTarget", reason, message)])
        for pod in active:
            self.delete_pod(pod)
        if not active:
            conditions.append(_condition("Failed", reason, message))
            self._finished[job["metadata"]["uid"]] = time.monotonic()

    # Pods

    def delete_pod(self, pod, grace_s=None):
        """Ask the pod's node to end it; what has no node goes at once."""
        metadata = pod["metadata"]
        grace_s = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace_s is None else grace_s
        done = pod["status"]["phase"] in ("Succeeded", "Failed")
        grace_s = 0 if done or not pod["spec"].get("nodeName") else grace_s
        known = metadata.get("deletionGracePeriodSeconds")
        if known is not None and known <= grace_s:
            return
        metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"] = now(), grace_s
        self.store.touch("pods", pod)
        one = self.kubelets.get(metadata["uid"])
        if one is not None:
            one.terminate(grace_s)

    def _finalize(self, pod):
        """Take the Job controller's mark off a pod that was counted, and remove what is over and deleted."""
        metadata = pod["metadata"]
        done = pod["status"]["phase"] in ("Succeeded", "Failed")
        deleting = "deletionTimestamp" in metadata
        over = done or (deleting and not pod["spec"].get("nodeName"))
        if over and TRACKED in metadata.get("finalizers", ()):
            metadata.pop("finalizers")
            self.store.touch("pods", pod)
        elif deleting and over:
            self.kubelets.pop(metadata["uid"], None)
            self.store.remove("pods", pod)

    def _schedule(self, pod):
        spec = pod["spec"]
        if spec.get("nodeName") or "deletionTimestamp" in pod["metadata"]:
            return
        reason = self._unschedulable(pod)
        if reason:
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": now(),
                "reason": "Unschedulable",
                "message": reason,
            }
            known = pod["status"].get("conditions")
            if known is None or known[0].get("message") != reason:
                pod["status"]["conditions"] = [condition]
                self.store.touch("pods", pod)
                self.event(pod, "Pod", "v1", "FailedScheduling", reason, "default-scheduler")
            return
        spec["nodeName"] = "node-1"
        pod["status"]["conditions"] = [kubelet.condition("PodScheduled", True)]
        self.store.touch("pods", pod)
        self.kubelets[pod["metadata"]["uid"]] = kubelet.Kubelet(self.store, self.knobs, pod)

    def _unschedulable(self, pod):
        if self.knobs["unschedulable"]:
            return self.knobs["unschedulable"]
        for container in pod["spec"]["containers"]:
            for resource, count in (container["resources"].get("limits") or {}).items():
                if "/" in resource and int(count) > self.knobs["gpus"]:
                    none = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
                    return f"0/1 nodes are available: 1 Insufficient {resource}. {none}"
        wanted = pod["spec"].get("nodeSelector") or {}
        if any(self.knobs["node_labels"].get(key) != value for key, value in wanted.items()):
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        claims = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"].get("volumes") or ()
            if "persistentVolumeClaim" in volume
        ]
        missing = [claim for claim in claims if claim not in self.knobs["claims"]]
        if missing:
            return f'0/1 nodes are available: persistentvolumeclaim "{missing[0]}" not found.'
        return ""

    # What belongs to nobody

    def _collect_garbage(self):
        alive = {obj["metadata"]["uid"]: obj for kind in list(self.store.objects) for obj in self.store.all(kind)}
        for kind in ("jobs", "pods", "services", "configmaps"):
            for obj in self.store.all(kind):
                owners = obj["metadata"].get("ownerReferences")
                if not owners or any(owner["uid"] in alive for owner in owners):
                    continue
                if kind == "pods":
                    if "deletionTimestamp" not in obj["metadata"]:
                        self.delete_pod(obj)
                else:
                    self.store.remove(kind, obj)

    def event(self, obj, kind, version, reason, message, component):
        metadata = obj["metadata"]
        body = {
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}"},
            "involvedObject": {
                "kind": kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "apiVersion": version,
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "source": {"component": component} if component == "job-controller" else {},
            "firstTimestamp": now() if component == "job-controller" else None,
            "lastTimestamp": now() if component == "job-controller" else None,
            "type": "Warning",
            "eventTime": None if component == "job-controller" else now(),
            "reportingComponent": component,
        }
        if component == "job-controller":
            body |= {"count": 1, "reportingInstance": ""}
        else:
            body |= {"action": "Scheduling", "reportingInstance": f"{component}-vm"}
        self.store.add("events", metadata["namespace"], body)


def _condition(kind, reason, message):
    return {
        "type": kind,
        "status": "True",
        "lastProbeTime": now(),
        "lastTransitionTime": now(),
        "reason": reason,
        "message": message,
    }


def _index(pod):
    return int(pod["metadata"]["labels"].get(INDEX, -1))


def _quality(spec):
    parts = [container["resources"].get(part) or {} for container in spec["containers"] for part in _PARTS]
    return "Burstable" if any(name in ("cpu", "memory") for one in parts for name in one) else "BestEffort"
