"""The API of a fake cluster, over HTTP."""

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import checks
from controllers import Controllers
from store import KINDS, NAMESPACES, Refused, Store, details, full, not_found, selects

_ROUTE = re.compile(r"/(api/v1|apis/batch/v1)/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?")
_REVIEWS = "/apis/authorization.k8s.io/v1/"
_ORPHANS = (
    '299 - "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove '
    'them or set propagationPolicy=Orphan to suppress this warning"'
)

VERSION = {
    **{"major": "1", "minor": "33", "emulationMajor": "1", "emulationMinor": "33"},
    **{"minCompatibilityMajor": "1", "minCompatibilityMinor": "32", "gitVersion": "v1.33.13-fake", "gitCommit": ""},
    **{"gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "", "platform": "linux/amd64"},
}
KNOBS = {
    "token": "secret-token",
    "role": None,
    "quota": None,
    "gpus": 0,
    "node_labels": {},
    "hides_rules": False,
    "claims": {"data": ""},
    "secrets": {},
    "missing_images": ["lab/nope:1"],
    "unschedulable": "",
    "stuck": False,
    "rotate": 0,
    "kills": "group",
    "quick": False,
    "sidecar": False,
    "away": False,
    "hanging_logs": False,
    "faults": [],
}
"""What tests turn. `role`: rules as in a Role, or None for an administrator. `claims`: the folder of each on this
machine, which takes the place of the path at which pods mount it; empty: it is that path itself. `away`: nobody
answers. `hanging_logs`: who follows a log hears of no end. `faults`: the first that matches a request
``METHOD PATH?QUERY`` is done to it, `times` often: `status` with `headers`, `slow_s`, `drop` (no answer, nothing done),
`lost` (no answer, but done)."""


class Cluster:
    """One fake cluster and its server."""

    def __init__(self, port=0, certificate=None):
        self.knobs = json.loads(json.dumps(KNOBS))
        self.store = Store()
        self.requests = []
        self.controllers = Controllers(self.store, self.knobs)
        self.server = _Server(("127.0.0.1", port), type("Handler", (Handler,), {"cluster": self}))
        if certificate is not None:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_address[1]

    def serve(self):
        self.server.serve_forever(0.1)

    def reset(self):
        """As new: no objects, no faults."""
        with self.store.lock:
            self.knobs.update(json.loads(json.dumps(KNOBS)))
            for kind in ("configmaps", "services", "jobs", "events", "pods"):
                for obj in self.store.all(kind):
                    self.store.remove(kind, obj)
            running = list(self.controllers.kubelets.values())
            self.controllers.kubelets.clear()
        for one in running:
            one.kill()
        self.requests.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients may hang up as they like."""


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format, *arguments):
        pass

    def do_GET(self):
        self._answer()

    do_POST = do_DELETE = do_PATCH = do_PUT = do_GET

    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        self.route, self.query = unquote(parts.path), dict(parse_qsl(parts.query))
        if self.route.startswith("/fake/"):
            self._control()
            return
        cluster, line = self.cluster, f"{self.command} {unquote(self.path)}"
        cluster.requests.append(line)
        try:
            lost = self._be_faulty(line)
            found = self._respond()
            if lost:
                raise Dropped
            if found is not None:
                self._send(*found)
        except Refused as refusal:
            self._send(refusal.status, refusal.body, refusal.headers)
        except Dropped:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _be_faulty(self, line):
        knobs = self.cluster.knobs
        if knobs["away"]:
            raise Dropped
        for fault in list(knobs["faults"]):
            if not re.search(fault["match"], line):
                continue
            fault["times"] = fault.get("times", 1) - 1
            if fault["times"] <= 0:
                knobs["faults"].remove(fault)
            time.sleep(fault.get("slow_s", 0.0))
            if fault.get("drop"):
                raise Dropped
            if "status" in fault:
                reason = fault.get("reason", "InternalError")
                raise Refused(fault["status"], reason, fault.get("message", reason), headers=fault.get("headers"))
            return fault.get("lost", False)
        return False

    def _send(self, status, body, headers=None):
        data = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "text/plain" if isinstance(body, bytes) else "application/json")
            self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    def _stream(self, chunks, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in chunks:
            if self.cluster.knobs["away"]:
                raise Dropped
            for start in range(0, len(data), 65536):
                piece = data[start : start + 65536]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _gone(self):
        """Whether the client hung up, as far as can be told; whether nobody is to be answered."""
        if self.cluster.knobs["away"]:
            return True
        self.connection.setblocking(False)
        try:
            flags = () if hasattr(self.connection, "pending") else (socket.MSG_PEEK,)
            return self.connection.recv(1, *flags) == b""
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            return "did not complete" not in str(error)
        finally:
            self.connection.setblocking(True)

    # The API

    def _respond(self):
        store = self.cluster.store
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token != self.cluster.knobs["token"]:
            raise Refused(401, "Unauthorized", "Unauthorized")
        if self.route == "/version":
            return 200, VERSION
        match = _ROUTE.fullmatch(self.route)
        if self.route.startswith(_REVIEWS):
            return self._review(self.route.removeprefix(_REVIEWS))
        if match is None or match[3] not in KINDS or (match[3] == "jobs") != (match[1] == "apis/batch/v1"):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        _, namespace, kind, name, part = match.groups()
        self._authorize(kind, name, part, namespace)
        if part == "log":
            return self._log(namespace, name)
        if part is not None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        with store.lock:
            if self.command == "GET":
                if name:
                    return 200, store.get(kind, namespace, name)
                if self.query.get("watch") != "true":
                    return self._list(kind, namespace)
            elif self.command == "POST":
                return self._create(kind, namespace)
            elif self.command == "DELETE":
                return self._delete(kind, namespace, name)
            elif self.command == "PATCH" and self.headers.get("Content-Type") == "application/merge-patch+json":
                found = store.get(kind, namespace, name)
                changed = {**found["metadata"], **self.body["metadata"]}
                found["metadata"] = {key: value for key, value in changed.items() if value not in ([], None)}
                store.touch(kind, found)
                return 200, found
            else:
                raise Refused(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )
        return self._watch(kind, namespace)

    def _authorize(self, kind, name, part, namespace):
        role = self.cluster.knobs["role"]
        if role is None:
            return
        verb = {"POST": "create", "PATCH": "patch", "PUT": "update"}.get(self.command)
        if self.command == "GET":
            verb = "get" if name else "watch" if self.query.get("watch") == "true" else "list"
        elif self.command == "DELETE":
            verb = "delete" if name else "deletecollection"
        resource, group = kind + (f"/{part}" if part else ""), "batch" if kind == "jobs" else ""
        if any(_allows(rule, group, resource, verb) for rule in role):
            return
        words = f'cannot {verb} resource "{resource}" in API group "{group}" in the namespace "{namespace}"'
        user = 'User "system:serviceaccount:hpo:sa"'
        name = f' "{name}"' if name else ""
        raise Refused(403, "Forbidden", f"{full(kind)}{name} is forbidden: {user} {words}", details(kind))

    def _review(self, kind):
        """What may be done: the whole list, or one thing."""
        role, spec = self.cluster.knobs["role"], self.body["spec"]
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        rules = [everything] if role is None else role
        if kind == "selfsubjectrulesreviews":
            listed = [] if self.cluster.knobs["hides_rules"] else rules
            status = {"resourceRules": listed, "nonResourceRules": [], "incomplete": self.cluster.knobs["hides_rules"]}
            name = "SelfSubjectRulesReview"
        else:
            asked = spec["resourceAttributes"]
            resource = asked["resource"] + (f"/{asked['subresource']}" if "subresource" in asked else "")
            status = {"allowed": any(_allows(rule, asked["group"], resource, asked["verb"]) for rule in rules)}
            name = "SelfSubjectAccessReview"
        version = "authorization.k8s.io/v1"
        return 201, {"kind": name, "apiVersion": version, "metadata": {}, "spec": spec, "status": status}

    def _list(self, kind, namespace):
        store = self.cluster.store
        version = self.query.get("resourceVersion")
        if self.query.get("resourceVersionMatch") == "Exact" and int(version) < store.version:
            raise Refused(410, "Expired", "The resourceVersion for the provided list is too old.")
        found = [obj for obj in store.all(kind, namespace) if selects(self.query, obj)]
        start, limit = int(self.query.get("continue", 0)), int(self.query.get("limit", 0)) or len(found)
        metadata = {"resourceVersion": str(store.version)}
        if start + limit < len(found):
            metadata |= {"continue": str(start + limit), "remainingItemCount": len(found) - start - limit}
        group, name = KINDS[kind]
        items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in found]
        page = items[start : start + limit]
        return 200, {"kind": f"{name}List", "apiVersion": group, "metadata": metadata, "items": page}

    def _watch(self, kind, namespace):
        store = self.cluster.store
        since = int(self.query.get("resourceVersion") or store.version)
        seconds = float(self.query.get("timeoutSeconds", 1800))
        marks = self.query.get("allowWatchBookmarks") == "true"
        wanted = lambda obj: selects(self.query, obj)  # noqa: E731
        events = store.watch(kind, namespace, since, wanted, seconds, marks, self._gone)
        self._stream((json.dumps(event).encode() + b"\n" for event in events), "application/json")

    def _create(self, kind, namespace):
        store, body, headers = self.cluster.store, self.body, {}
        if namespace not in NAMESPACES:
            raise Refused(
                404, "NotFound", f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"}
            )
        if kind == "pods":
            reason = self.cluster.controllers.over_quota(namespace)
            name = body["metadata"]["name"]
            if reason:
                raise Refused(403, "Forbidden", f'pods "{name}" is forbidden: {reason}', details(kind, name))
            raise Refused(422, "Invalid", "this cluster takes no bare pods")
        if kind == "configmaps":
            checks.check_config_map(body)
        if kind != "jobs":
            return 201, store.add(kind, namespace, body)
        unknown = checks.unknown_fields(body)
        if unknown and self.query.get("fieldValidation") == "Strict":
            words = ", ".join(f'unknown field "{path}"' for path in unknown)
            words = f"strict decoding error: {words}"
            raise Refused(400, "BadRequest", f'Job in version "v1" cannot be handled as a Job: {words}')
        if unknown:
            quoted = ", ".join(f'unknown field \\"{path}\\"' for path in unknown)
            headers["Warning"] = f'299 - "{quoted}"'
            checks.drop_unknown(body)
        checks.check_job(body)
        job, uid = checks.filled_in(body)
        made = store.add(kind, namespace, job)
        made["metadata"]["uid"] = uid
        return 201, json.loads(json.dumps(made)), headers

    def _delete(self, kind, namespace, name):
        store = self.cluster.store
        options = {**self.query, **(self.body or {})}
        policy = options.get("propagationPolicy")
        grace = options.get("gracePeriodSeconds")
        grace = None if grace is None else int(grace)
        if name:
            return self._delete_one(kind, store.get(kind, namespace, name), policy, grace)
        found = [obj for obj in store.all(kind, namespace) if selects(self.query, obj)]
        for obj in found:
            self._delete_one(kind, obj, policy, grace)
        group, of = KINDS[kind]
        return 200, {"kind": f"{of}List", "apiVersion": group, "metadata": {}, "items": []}

    def _delete_one(self, kind, obj, policy, grace):
        cluster, store, metadata = self.cluster, self.cluster.store, obj["metadata"]
        if kind == "pods":
            cluster.controllers.delete_pod(obj, grace)
            return 200, obj
        orphan = policy == "Orphan" or (policy is None and kind == "jobs")
        if kind == "jobs" and (orphan or policy == "Foreground"):
            metadata |= {"deletionTimestamp": metadata["creationTimestamp"], "deletionGracePeriodSeconds": 0}
            metadata["generation"] = 2
            metadata["finalizers"] = ["orphan" if orphan else "foregroundDeletion"]
            store.touch(kind, obj)
            answer = json.loads(json.dumps(obj))
            if not orphan:
                return 200, answer
            for pod in store.all("pods", metadata["namespace"]):
                owners = pod["metadata"].get("ownerReferences", ())
                if any(owner["uid"] == metadata["uid"] for owner in owners):
                    del pod["metadata"]["ownerReferences"]
                    store.touch("pods", pod)
            store.remove(kind, obj)
            return 200, answer, {} if policy else {"Warning": _ORPHANS}
        store.remove(kind, obj)
        group = {"group": "batch"} if kind == "jobs" else {}
        about = {"name": metadata["name"], **group, "kind": kind, "uid": metadata["uid"]}
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about}

    def _log(self, namespace, name):
        with self.cluster.store.lock:
            pod = self.cluster.store.objects["pods"].get((namespace, name))
            if pod is None:
                raise not_found("pods", name)
            wanted = self.query.get("container", "main")
            if wanted not in [one["name"] for one in pod["spec"]["containers"]]:
                raise Refused(400, "BadRequest", f"container {wanted} is not valid for pod {name}")
            one = self.cluster.controllers.kubelets.get(pod["metadata"]["uid"])
            if one is None:
                return 204, b""
            if self.query.get("previous") == "true":
                words = f'previous terminated container "main" in pod "{name}" not found'
                raise Refused(400, "BadRequest", words)
            state = pod["status"].get("containerStatuses", [{"state": {"waiting": {}}}])[0]["state"]
            if "waiting" in state:
                why = state["waiting"].get("reason", "ContainerCreating")
                why = {
                    "ErrImagePull": "image can't be pulled",
                    "ImagePullBackOff": "trying and failing to pull image",
                }.get(why, why)
                words = f'container "main" in pod "{name}" is waiting to start: {why}'
                raise Refused(400, "BadRequest", words)
        if self.query.get("follow") == "true":
            hangs = self.cluster.knobs["hanging_logs"]
            self._stream(one.log.follow(self._gone, hangs=hangs), "text/plain")
            return None
        data = one.log.read()
        if "tailLines" in self.query:
            lines = data.splitlines(keepends=True)
            data = b"".join(lines[-int(self.query["tailLines"]) :])
        if "limitBytes" in self.query:
            data = data[: int(self.query["limitBytes"])]
        self._stream([data] if data else [], "text/plain")
        return None

    # For tests

    def _control(self):
        cluster, store = self.cluster, self.cluster.store
        what, body = self.route.removeprefix("/fake/"), self.body or {}
        answer = {}
        if what == "knobs":
            with store.lock:
                cluster.knobs.update(body)
                if cluster.knobs["away"]:
                    store.cuts += 1
                store.changed.notify_all()
        elif what == "reset":
            cluster.reset()
        elif what == "objects":
            with store.lock:
                answer = {kind: json.loads(json.dumps(store.all(kind))) for kind in KINDS}
        elif what == "requests":
            answer = {"requests": list(cluster.requests)}
        elif what == "followers":
            with store.lock:
                answer = {"followers": sum(one.log.followers for one in cluster.controllers.kubelets.values())}
        elif what == "compact":
            store.compact()
        elif what == "cut":
            store.cut()
        elif what == "mute":
            store.mute_until = time.monotonic() + body["seconds"]
        elif what in ("disrupt", "vanish"):
            with store.lock:
                pods = [pod for pod in store.all("pods") if selects(body, pod)]
                kubelets = [cluster.controllers.kubelets[pod["metadata"]["uid"]] for pod in pods]
            for pod, one in zip(pods, kubelets, strict=True):
                if what == "vanish":
                    one.vanish()
                    with store.lock:
                        if body.get("remove"):
                            store.remove("pods", pod)
                else:
                    one.disrupt(body.get("reason", ""), body.get("message", ""), body.get("own", ""))
                    if body.get("delete"):
                        with store.lock:
                            cluster.controllers.delete_pod(pod)
        elif what == "stop":
            threading.Thread(target=cluster.server.shutdown).start()
        self._send(200, answer)


def _allows(rule, group, resource, verb):
    """Whether a rule of a Role allows something for all objects of a kind."""
    wanted = (("apiGroups", group), ("resources", resource), ("verbs", verb))
    return "resourceNames" not in rule and all({text, "*"} & set(rule[part]) for part, text in wanted)
