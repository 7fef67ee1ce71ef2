"""Options of plugins: from what users write to a checked instance of the plugin's attrs class."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from hpo_core._words import did_you_mean
from hpo_core.exceptions import ConfigurationError


def build_options(schema: type | None, given: Mapping[str, Any], where: str) -> Any:
    """Make an instance of `schema` from what the user wrote.

    Args:
        schema: an attrs class, or None for a plugin without options.
        given: key to value; text is converted where the schema asks for a number or a truth value.
        where: how messages call the plugin, such as ``strategy 'genetic'``.

    Returns:
        the instance, or None without a schema.

    Raises:
        ConfigurationError: an unknown key, a wrong type, or a value that a validator refuses.
    """
    if schema is None:
        if given:
            raise ConfigurationError(f"{where} has no options; given: {', '.join(sorted(given))}")
        return None
    hints = typing.get_type_hints(schema)
    fields = {field.alias: field for field in attrs.fields(schema)}
    for key in given:
        if key not in fields:
            raise ConfigurationError(
                f"{where} has no option '{key}'{did_you_mean(key, fields)}; it has: {', '.join(fields) or 'none'}"
            )
    values = {key: _convert(value, hints[fields[key].name], f"{where}, option '{key}'") for key, value in given.items()}
    try:
        return schema(**values)
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        reason = error.args[0] if error.args else error
        raise ConfigurationError(f"{where}: {reason}") from error


def options_to_json(options: Any) -> dict[str, Any]:
    """The JSON form of an instance that `build_options` made; empty for None."""
    return {} if options is None else attrs.asdict(options)


def _convert(value: Any, wanted: Any, where: str) -> Any:
    choices = typing.get_args(wanted) if _is_union(wanted) else (wanted,)
    for choice in choices:
        origin = typing.get_origin(choice) or choice
        if origin is Any or origin is typing.Literal:
            return value
        if origin is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, bool) and origin is not bool:
            continue
        if isinstance(origin, type) and isinstance(value, origin):
            return value
        if origin is tuple and isinstance(value, list):
            return tuple(value)
    if isinstance(value, str):
        for choice in choices:
            try:
                return _from_text(value, choice)
            except (ValueError, KeyError):
                continue
    names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices)
    raise ConfigurationError(f"{where}: {value!r} is not {names}")


def _from_text(text: str, wanted: Any) -> Any:
    if wanted is bool:
        return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
    if wanted in (int, float):
        return wanted(text)
    if wanted is type(None):
        return {"none": None}[text.lower()]
    raise ValueError(text)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
