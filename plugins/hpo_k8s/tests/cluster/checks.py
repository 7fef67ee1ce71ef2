"""What an API server checks in a Job before it takes it, and what it fills in."""

import copy
import re
import uuid

from store import LABEL, NAME, NAME_RULE, Refused

FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec", "status"},
    "metadata": {"name", "generateName", "namespace", "labels", "annotations", "ownerReferences", "finalizers"},
    "spec": {
        *("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "template"),
        *("completionMode", "suspend", "selector", "manualSelector", "podFailurePolicy", "podReplacementPolicy"),
        *("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy", "managedBy"),
    },
    "spec.template": {"metadata", "spec"},
    "spec.template.metadata": {"labels", "annotations", "name", "creationTimestamp"},
    "spec.template.spec": {
        *("containers", "initContainers", "restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds"),
        *("automountServiceAccountToken", "enableServiceLinks", "serviceAccountName", "nodeSelector", "tolerations"),
        *("imagePullSecrets", "volumes", "subdomain", "hostname", "affinity", "securityContext", "priorityClassName"),
        *("schedulerName", "dnsPolicy", "runtimeClassName", "topologySpreadConstraints", "shareProcessNamespace"),
        *("hostNetwork", "hostPID", "hostAliases", "preemptionPolicy", "priority", "nodeName", "serviceAccount"),
    },
}
CONTAINER = {
    *("name", "image", "command", "args", "env", "envFrom", "workingDir", "resources", "volumeMounts", "ports"),
    *("imagePullPolicy", "securityContext", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "stdin"),
    *("terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "restartPolicy"),
}

CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def unknown_fields(job):
    """Paths of fields that there are not."""
    found = []
    for path, known in FIELDS.items():
        item = job
        for part in filter(None, path.split(".")):
            item = (item or {}).get(part) if isinstance(item, dict) else None
        found += [f"{path}.{key}".lstrip(".") for key in item or () if key not in known]
    for part, containers in (("containers", _containers(job)), ("initContainers", _containers(job, "initContainers"))):
        for place, container in enumerate(containers):
            found += [f"spec.template.spec.{part}[{place}].{key}" for key in container if key not in CONTAINER]
    return found


def drop_unknown(job):
    """What a server does with such fields when it only warns."""
    for path in unknown_fields(job):
        item = job
        *parts, last = path.split(".")
        for part in parts:
            name, _, place = part.partition("[")
            item = item[name]
            if place:
                item = item[int(place.rstrip("]"))]
        del item[last]


def check_job(job):
    """Refuse what Kubernetes refuses."""
    name = job.get("metadata", {}).get("name", "")
    if not NAME.fullmatch(name):
        _invalid(name, "metadata.name", f'Invalid value: "{name}": {NAME_RULE}')
    spec = job.get("spec") or {}
    template = spec.get("template") or {}
    if not _containers(job):
        _invalid(name, "spec.template.spec.containers", "Required value")
    if (template.get("spec") or {}).get("restartPolicy") not in ("Never", "OnFailure"):
        _invalid(name, "spec.template.spec.restartPolicy", 'Required value: valid values: "OnFailure", "Never"')
    if len(name) > 63:
        _invalid(name, "spec.template.labels", f'Invalid value: "{name}": must be no more than 63 bytes')
    if spec.get("completionMode") == "Indexed" and len(f"{name}-{spec.get('completions', 1) - 1}") > 63:
        _invalid(name, "metadata.name", f'Invalid value: "{name}": host names would be longer than 63 bytes')
    for labels, where in (
        (job["metadata"].get("labels"), "metadata.labels"),
        ((template.get("metadata") or {}).get("labels"), "spec.template.labels"),
    ):
        for value in (labels or {}).values():
            if len(value) > 63 or not LABEL.fullmatch(value):
                _invalid(name, where, f'Invalid value: "{value}": a valid label must be an empty string or ...')
    for container in [*_containers(job), *_containers(job, "initContainers")]:
        if not container.get("image"):
            _invalid(name, "spec.template.spec.containers[0].image", "Required value")
        for variable in container.get("env") or ():
            if not isinstance(variable.get("value", ""), str):
                raise Refused(400, "BadRequest", "json: cannot unmarshal number into Go struct field EnvVar.value")


def check_config_map(body):
    """Refuse what Kubernetes refuses."""
    name, data = body["metadata"]["name"], {**(body.get("data") or {}), **(body.get("binaryData") or {})}
    for key in data:
        if not CONFIG_KEY.fullmatch(key):
            _refuse_config_map(name, f'data[{key}]: Invalid value: "{key}": a valid config key must consist of ...')
    if sum(len(text) * (3 / 4 if key in (body.get("binaryData") or {}) else 1) for key, text in data.items()) > 2**20:
        _refuse_config_map(name, "[]: Too long: must have at most 1048576 bytes")


def _refuse_config_map(name, message):
    raise Refused(422, "Invalid", f'ConfigMap "{name}" is invalid: {message}', {"name": name, "kind": "ConfigMap"})


def _containers(job, part="containers"):
    spec = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    return spec.get(part) or []


def _invalid(name, field, message):
    kind = message.partition(": ")[0]
    reason = "FieldValueRequired" if kind == "Required value" else "FieldValueInvalid"
    cause = {"reason": reason, "message": message, "field": field}
    details = {"name": name, "group": "batch", "kind": "Job", "causes": [cause]}
    raise Refused(422, "Invalid", f'Job.batch "{name}" is invalid: {field}: {message}', details)


def filled_in(job):
    """A Job with the defaults of the server."""
    job = copy.deepcopy(job)
    uid, name = str(uuid.uuid4()), job["metadata"]["name"]
    spec = job["spec"]
    labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
    template = spec["template"]
    given = template.get("metadata") or {}
    template["metadata"] = {
        **given,
        "creationTimestamp": None,
        "labels": {**(given.get("labels") or {}), **labels, "controller-uid": uid, "job-name": name},
    }
    pod = template["spec"]
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        container.setdefault("imagePullPolicy", "Always" if tag in ("", "latest") else "IfNotPresent")
    for key, value in (
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("securityContext", {}),
        ("schedulerName", "default-scheduler"),
    ):
        pod.setdefault(key, value)
    for key, value in (
        ("parallelism", 1),
        ("completions", 1),
        ("backoffLimit", 6),
        ("manualSelector", False),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("podReplacementPolicy", "TerminatingOrFailed"),
    ):
        spec.setdefault(key, value)
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    job["status"] = {}
    return job, uid
