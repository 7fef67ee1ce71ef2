"""The launcher ``k8s``: one Job for each evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from hpo_core import Capability, ConfigurationError, Evaluation, Launcher, LaunchError
from hpo_core.events import AllocationNotice, EventLoop, Key
from hpo_k8s import _access, _manifest
from hpo_k8s._clerk import Clerk
from hpo_k8s._client import Client, Patience
from hpo_k8s._connection import ApiError, Object
from hpo_k8s._files import Layout, layout
from hpo_k8s._jobs import Jobs
from hpo_k8s._manager import K8sManager
from hpo_k8s._options import K8sOptions, template_of
from hpo_k8s._requests import Requests
from hpo_k8s._sweep import sweep

if TYPE_CHECKING:
    from hpo_core import Evaluator

_CLEARED_WITHIN_S = 30.0
"""How long a Job is waited for that deletes checkpoints at the end of a study."""
_CLEARED_AT_ONCE = 500
_CLOSED_WITHIN_S = 20.0
"""How long a server that is away is waited for at the end of a study."""


class K8sLauncher(Launcher):
    """Runs each evaluation as a Job, reads its log while it runs, and deletes it once it is recorded.

    Everything of a study belongs to one ConfigMap, ``hpo-STUDY``: to delete that is to delete all.
    """

    name = "k8s"
    interface_version = 1
    managers = ("k8s",)
    looks_by = ("context", "namespace")
    capabilities = frozenset(
        {
            Capability.STREAMS,
            Capability.MULTI_NODE,
            Capability.ADOPTS,
            Capability.KILLS_TREES,
            Capability.LIMITS_MEMORY,
            Capability.MERGED_OUTPUT,
            Capability.REMOTE,
        }
    )
    Options = K8sOptions

    def __init__(self, options: Any = None, *, launch_args: str = "") -> None:
        super().__init__(options or K8sOptions(), launch_args=launch_args)
        self._template = template_of(self.options)
        self._layout = Layout()
        self._wide, self._grace_s = False, 5.0
        self._client: Client | None = None
        self._requests: Requests | None = None
        self._clerk: Clerk | None = None
        self._adopted: set[str] = set()

    def check(self, evaluator: Evaluator) -> None:
        if not evaluator.workload_image:
            raise ConfigurationError("workload_manager='k8s' needs workload_image, the container image to run")
        for name in ("launch_args", "alloc_args"):
            if getattr(evaluator, name):
                raise ConfigurationError(
                    f"{name} has no meaning on Kubernetes; pods are described by launcher_options (see hpo-k8s)"
                )
        self._layout = layout(evaluator, self.options)
        self._wide = evaluator.nodes_per_eval > 1 or "nodes_per_evaluation" in evaluator.flag
        self._grace_s = evaluator.grace_s
        self.makes_files = self._layout.by_pod

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._adopted = set()
        self._client = self._connect()
        _access.check(self._client, wide=self._wide)
        if self._layout.words:
            self._notice(self._layout.words)

    def launch(self, evaluation: Evaluation) -> None:
        self._work().launch(evaluation)

    def end(self, key: Key, grace_s: float) -> None:
        if self._clerk is not None:
            self._clerk.end(key, grace_s)

    def adopt(self, evaluations: Sequence[Evaluation]) -> Collection[Key]:
        try:
            keys = set(self._work().adopt(evaluations))
        except ApiError as error:
            raise LaunchError(f"what still runs on the cluster can't be found: {error}; try again later") from error
        self._adopted = {_manifest.name_of(one.name) for one in evaluations if one.key in keys}
        return keys

    def forget(self, keys: Sequence[Key]) -> None:
        if self._clerk is not None:
            self._clerk.forget(keys)

    def discard(self, directories: Sequence[Sequence[str]]) -> None:
        self._work().discard(directories)

    def clean(self, study_id: str, grace_s: float) -> Sequence[str]:
        client = self._client or self._connect()
        spare = self._adopted if self._client is not None and study_id == self.study_id else ()
        try:
            ended, left = sweep(client, study_id, grace_s, spare=spare, lost_timeout_s=self.options.lost_timeout_s)
        except ApiError as error:
            raise LaunchError(f"what was left on the cluster can't be ended: {error}") from error
        finally:
            if client is not self._client:
                client.close()
        if left:
            warnings.warn(_left(left, study_id, client.namespace), stacklevel=2)
        return [f"job {name}" for name in ended]

    def preview(self, evaluation: Evaluation) -> str:
        from hpo_k8s._yaml import as_yaml

        study_id = evaluation.environment.get("HPO_STUDY", "STUDY")
        made = self._manifests(evaluation, study_id)
        if self.options.namespace:
            for one in made:
                one["metadata"]["namespace"] = self.options.namespace
        return as_yaml(made, f"When it runs, all belongs to the ConfigMap {_manifest.anchor_name(study_id)}.")

    def _manifests(self, evaluation: Evaluation, study_id: str) -> list[Object]:
        """Everything that is made for one evaluation."""
        made = [_manifest.anchor(study_id)]
        if self._layout.sources is not None:
            made.append(_manifest.sources(study_id, self._layout.sources))
        if len(evaluation.slots) > 1:
            made.append(_manifest.service(study_id))
        return [*made, self._jobs(study_id).job(evaluation)]

    def close(self) -> None:
        clerk, self._clerk = self._clerk, None
        client, self._client = self._client, None
        requests, self._requests = self._requests, None
        if clerk is not None:
            clerk.stop()
        if client is None:
            return
        try:
            if clerk is not None and requests is not None and requests.used:
                client.go_on()
                self._clear(requests, clerk.garbage)
                patience_s, lost_timeout_s = min(_CLOSED_WITHIN_S, self.options.patience_s), self.options.lost_timeout_s
                _, left = sweep(client, self.study_id, 0.0, patience_s=patience_s, lost_timeout_s=lost_timeout_s)
                if left:
                    warnings.warn(_left(left, self.study_id, client.namespace), stacklevel=2)
        except ApiError as error:
            words = f"the cluster can't be asked ({error})"
            warnings.warn(f"{words}: {_left(['what ran'], self.study_id, client.namespace)}", stacklevel=2)
        finally:
            client.close()

    def _clear(self, requests: Requests, garbage: Sequence[Sequence[str]]) -> None:
        """Delete the checkpoints that no evaluation will; a study that goes on finds those again that are left."""
        paths = [path for places in garbage[:_CLEARED_AT_ONCE] for path in places]
        try:
            if not paths or requests.clear(paths, _CLEARED_WITHIN_S):
                return
            why = f"not within {_CLEARED_WITHIN_S:g} s"
        except ApiError as error:
            why = str(error)
        warnings.warn(f"checkpoints that nobody continues could not be deleted, {why}: {paths[0]} ...", stacklevel=3)

    def _connect(self) -> Client:
        options = self.options
        patience = Patience(options.patience_s, min(120.0, options.patience_s))
        connections = options.followers + 16
        return Client(
            options.context,
            options.kubeconfig,
            options.namespace,
            account=options.account,
            connections=connections,
            patience=patience,
        )

    def _jobs(self, study_id: str) -> Jobs:
        return Jobs(study_id, self.options, self._template, self._layout, self._grace_s)

    def _notice(self, text: str) -> None:
        self.events.post(AllocationNotice(text))

    def _work(self) -> Clerk:
        """The clerk, who is there from the first launch on."""
        if self._clerk is None:
            if self._client is None:
                raise LaunchError("the launcher 'k8s' is not open")
            manager = self.manager if isinstance(self.manager, K8sManager) else None
            jobs = self._jobs(self.study_id)
            self._requests = Requests(self._client, self.study_id, jobs, self._layout, self._notice)
            self._clerk = Clerk(self._client, self._requests, self.options, self.study_id, self.events, manager)
        return self._clerk


def _left(names: Sequence[str], study_id: str, namespace: str) -> str:
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    anchor = _manifest.anchor_name(study_id)
    return f"{shown} may still be there; to remove all of this study: kubectl -n {namespace} delete configmap {anchor}"
