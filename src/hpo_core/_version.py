"""The installed version of hpo-core."""

from __future__ import annotations


def own_version(otherwise: str) -> str:
    """The installed version of hpo-core.

    Args:
        otherwise: what is given where it runs without being installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hpo-core")
    except PackageNotFoundError:
        return otherwise
