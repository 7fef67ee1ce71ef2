"""``hpo plugin``: commands about plugins."""

from __future__ import annotations

import click

from hpo_core.cli._lazy import LazyGroup


@click.group(cls=LazyGroup, lazy={"list": ("hpo_core.cli.plugins", "List what is installed.")})
def command() -> None:
    """Commands about plugins."""
