"""Small helpers for messages and for what users type: close matches, durations, sizes."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from hpo_core.exceptions import ConfigurationError


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with a leading blank, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|min|[smhd])", re.IGNORECASE)


def seconds(value: object, what: str, *, plain: float = 60.0) -> float:
    """Seconds of a duration.

    Args:
        value: a number, or text such as ``90s``, ``1h30m``, ``250ms``.
        what: how the message calls it.
        plain: seconds that a number without unit counts for (those of CrayAI HPO are minutes).

    Raises:
        ConfigurationError: neither a number nor such a text, or negative, or not finite.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _spelled_out(str(value), what)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{what}: {value!r} is no duration; write a number, or text such as '90s', '1h30m'")
    if not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{what}: {value!r} is no duration; it must be finite and not negative")
    return value * plain


def _spelled_out(text: str, what: str) -> float:
    total, end = 0.0, 0
    while match := _DURATION.match(text, end):
        total += float(match[1]) * _UNITS[match[2].lower()]
        end = match.end()
    if end == 0 or text[end:].strip():
        raise ConfigurationError(f"{what}: {text!r} is no duration; write it like '90s', '15m', '1h30m'")
    return total


def duration(total_s: float) -> str:
    """Text for people: ``0.25 s``, ``42 s``, ``3 min 10 s``, ``2 h 05 min``."""
    if not math.isfinite(total_s):
        return "?"
    if total_s < 10:
        return f"{total_s:.2g} s"
    whole = round(total_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Text for people: ``17 bytes``, ``3.2 MiB``."""
    if count < 1024:
        return f"{count} bytes"
    value, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.3g} {units[0]}"


_SIZES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def size_bytes(value: object, what: str) -> int:
    """Bytes of a size: a number of bytes, or text such as ``512M``, ``4GiB``, ``2 GB`` (powers of 1024).

    Raises:
        ConfigurationError: neither of them, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?\s*", value, re.IGNORECASE)
        if match:
            return int(float(match[1]) * _SIZES[match[2].lower()])
    raise ConfigurationError(f"{what}: {value!r} is no size; write bytes, or text such as '512M', '4G'")


def is_unicode(text: str) -> bool:
    """Whether a text is whole characters: lone surrogates, such as names of files that are no UTF-8 hold, are none."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
