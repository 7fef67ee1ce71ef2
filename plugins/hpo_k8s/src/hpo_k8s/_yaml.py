"""Manifests as people read and write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml  # type: ignore[import-untyped]

from hpo_k8s._connection import Object


def as_yaml(manifests: Iterable[Object], about: str) -> str:
    """Documents for ``kubectl apply``, with a comment on top; several such texts may follow each other."""
    documents = [
        yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000) for one in manifests
    ]
    return f"---\n# {about}\n" + "---\n".join(documents)


_READ_DIFFERENTLY = re.compile(r"[-+]?\.?[0-9].*|[yYnN]|.*[\x85\u2028\u2029].*", re.DOTALL)
"""Text that is a number, a truth or several lines to some readers of YAML, and not to others."""


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Shows scripts line by line."""


def _text(dumper: _Dumper, text: str) -> Any:
    style = '"' if _READ_DIFFERENTLY.fullmatch(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
