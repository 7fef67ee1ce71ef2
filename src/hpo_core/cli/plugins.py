"""``hpo plugins``: what is installed, and whether it can be used."""

from __future__ import annotations

import click


@click.command
@click.option("--check", is_flag=True, help="Check each as well, as 'hpo plugin check' does.")
@click.pass_context
def command(ctx: click.Context, check: bool) -> int:
    """List strategies, workload managers, launchers, metric parsers and observers that are installed."""
    if check:
        from hpo_core.cli.plugin_check import command as checking

        return int(ctx.invoke(checking, names=()))
    from hpo_core.cli._columns import aligned
    from hpo_core.registry import list_plugins

    head = ("NAME", "KIND", "DISTRIBUTION", "VERSION", "HEALTH")
    rows = [
        (info.name, info.kind.replace("_", " ") or "?", info.distribution, info.version, info.health)
        for info in list_plugins()
    ]
    click.echo("\n".join(aligned([head, *sorted(rows, key=lambda row: (row[1], row[0]))])))
    return 0
