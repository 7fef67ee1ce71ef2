"""Trials as flat records and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from hpo_core.trial import TrialRecord


def columns(flags: Sequence[str], metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns; metrics have their own only where there are several."""
    named = [f"metric {name}" for name in metrics] if len(metrics) > 1 else []
    return (
        "trial", "state", "fom", *named, *flags, "tag", "origin", "failure", "duration_s", "attempts", "parent"
    )  # fmt: skip


def row(record: TrialRecord, names: Sequence[str]) -> dict[str, Any]:
    """One record; None where there is nothing to say, such as an inactive flag."""
    trial, result = record.trial, record.result
    cells: dict[str, Any] = {
        "trial": trial.number,
        "state": record.state.value,
        "tag": trial.tag,
        "origin": trial.origin,
        "parent": trial.parent,
        **trial.values,
    }
    if result is not None:
        cells["fom"] = None if math.isnan(result.fom) else result.fom
        cells["failure"] = None if result.failure is None else result.failure.value
        cells["duration_s"] = round(result.duration_s, 6)
        cells["attempts"] = result.attempts
        cells.update({f"metric {name}": value for name, value in result.metrics.items()})
    return {name: cells.get(name) for name in names}


def csv_text(records: Iterable[TrialRecord], names: Sequence[str]) -> str:
    """All records as CSV with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row(record, names) for record in records)
    return text.getvalue()
