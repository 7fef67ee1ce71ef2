"""``hpo plugin``: commands about plugins."""

from __future__ import annotations

import click

from hpo_core.cli._lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("hpo_core.cli.plugins", "List what is installed."),
        "check": ("hpo_core.cli.plugin_check", "Check what is installed, as far as that takes no cluster."),
        "new": ("hpo_core.cli.plugin_new", "Write a package for a plugin of your own."),
    },
)
def command() -> None:
    """Commands about plugins."""
