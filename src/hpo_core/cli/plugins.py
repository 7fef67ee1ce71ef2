"""``hpo plugins``: what is installed, and whether it can be used."""

from __future__ import annotations

import click


@click.command
def command() -> int:
    """List strategies, workload managers, launchers, metric parsers and observers that are installed."""
    from hpo_core.registry import list_plugins

    head = ("NAME", "KIND", "DISTRIBUTION", "VERSION", "HEALTH")
    rows = [
        (info.name, info.kind.replace("_", " ") or "?", info.distribution, info.version, info.health)
        for info in list_plugins()
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    for row in [head, *sorted(rows, key=lambda row: (row[1], row[0]))]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]))
    return 0
