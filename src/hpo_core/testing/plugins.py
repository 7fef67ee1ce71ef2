"""Plugins that are not installed, for the time of a test."""

from __future__ import annotations

from hpo_core.registry import added as registered

__all__ = ["registered"]
