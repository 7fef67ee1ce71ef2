"""The launcher ``k8s``: one Job for each evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

from hpo_core import Capability, Evaluation, Launcher, LaunchError
from hpo_core.events import EventLoop, Key
from hpo_k8s import _manifest
from hpo_k8s._clerk import Clerk
from hpo_k8s._client import ApiError, Client
from hpo_k8s._manager import K8sManager
from hpo_k8s._options import K8sOptions, template_of
from hpo_k8s._sweep import sweep


class K8sLauncher(Launcher):
    """Runs each evaluation as a Job, reads its log while it runs, and deletes it once it is recorded.

    Everything of a study belongs to one ConfigMap, ``hpo-STUDY``: to delete that is to delete all.
    """

    name = "k8s"
    interface_version = 1
    managers = ("k8s",)
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
        self._client: Client | None = None
        self._clerk: Clerk | None = None
        self._adopted: set[str] = set()

    def open(self, events: EventLoop, study_id: str) -> None:
        super().open(events, study_id)
        self._adopted = set()
        self._client = self._connect()

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

    def clean(self, study_id: str, grace_s: float) -> Sequence[str]:
        client = self._client or self._connect()
        spare = self._adopted if self._client is not None and study_id == self.study_id else ()
        try:
            ended, left = sweep(client, study_id, grace_s, spare=spare)
        except ApiError as error:
            raise LaunchError(f"what was left on the cluster can't be ended: {error}") from error
        finally:
            if client is not self._client:
                client.close()
        if left:
            warnings.warn(_left(left, study_id, client.namespace), stacklevel=2)
        return [f"job {name}" for name in ended]

    def preview(self, evaluation: Evaluation) -> str:
        import yaml  # type: ignore[import-untyped]

        study_id = evaluation.environment.get("HPO_STUDY", "STUDY")
        job = _manifest.job(evaluation, study_id, self.options, self._template)
        text = yaml.safe_dump(job, sort_keys=False, allow_unicode=True, width=120)
        return f"# When it runs, it belongs to the ConfigMap {_manifest.anchor_name(study_id)}.\n{text}"

    def close(self) -> None:
        clerk, self._clerk = self._clerk, None
        client, self._client = self._client, None
        if clerk is not None:
            clerk.stop()
        if client is None:
            return
        try:
            if clerk is not None and clerk.used:
                client.go_on()
                left = sweep(client, self.study_id, 0.0, patience_s=20.0)[1]
                if left:
                    warnings.warn(_left(left, self.study_id, client.namespace), stacklevel=2)
        except ApiError as error:
            words = f"the cluster can't be asked ({error})"
            warnings.warn(f"{words}: {_left(['what ran'], self.study_id, client.namespace)}", stacklevel=2)
        finally:
            client.close()

    def _connect(self) -> Client:
        options = self.options
        return Client(options.context, options.kubeconfig, options.namespace, options.followers + 16)

    def _work(self) -> Clerk:
        """The clerk, who is there from the first launch on."""
        if self._clerk is None:
            if self._client is None:
                raise LaunchError("the launcher 'k8s' is not open")
            manager = self.manager if isinstance(self.manager, K8sManager) else None
            self._clerk = Clerk(self._client, self.options, self._template, self.study_id, self.events, manager)
        return self._clerk


def _left(names: Sequence[str], study_id: str, namespace: str) -> str:
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    anchor = _manifest.anchor_name(study_id)
    return f"{shown} may still be there; to remove all of this study: kubectl -n {namespace} delete configmap {anchor}"
