"""Plugins that are not installed, for the time of a test: ``with registered(MyStrategy): ...``."""

from __future__ import annotations

from hpo_core.registry import added as registered

__all__ = ["registered"]
