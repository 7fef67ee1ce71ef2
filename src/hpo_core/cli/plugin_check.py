"""``hpo plugin check``: what can be known of the installed plugins without a cluster."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Sequence, Set

import attrs
import click
from attrs import frozen

from hpo_core import registry
from hpo_core._options import build_options, options_to_json
from hpo_core._words import did_you_mean
from hpo_core.exceptions import HpoError, PluginError, PluginNotFoundError
from hpo_core.interfaces import Capability, Launcher, Plugin, Strategy, WorkloadManager
from hpo_core.registry import KINDS, PluginInfo

_OWN = "hpo-core"

_ANSWERS = {
    Capability.REPORTS: "report",
    Capability.CONTINUES: "continuable",
    Capability.ADOPTS: "adopt",
    Capability.SPAWNS: "spawn",
}
"""What must be overridden by those who declare it."""

_OF = {
    "strategy": {Capability.SLOW, Capability.REPORTS, Capability.CONTINUES},
    "workload_manager": {Capability.MULTI_NODE, Capability.SPAWNS},
    "launcher": set(Capability) - {Capability.SLOW, Capability.REPORTS, Capability.CONTINUES, Capability.SPAWNS},
}
"""What may be declared by each kind; the others declare nothing."""


@frozen
class Finding:
    """What was found of one plugin.

    Attributes:
        plugin: what it is.
        interface: the interface version that its class names, or None where it could not be loaded.
        faults: what its author must mend.
        remarks: what is good to know here and now, and no fault.
    """

    plugin: PluginInfo
    interface: int | None
    faults: tuple[str, ...]
    remarks: tuple[str, ...] = ()


@click.command
@click.argument("names", nargs=-1)
def command(names: tuple[str, ...]) -> int:
    """Check plugins: those of these names, or of these distributions, or all.

    Whether they load, for which interface they were written, what they declare, their options, and whether workload
    managers find what they need on this machine. The exit status is 1 where something is broken. It does not replace
    the contracts of hpo_core.testing.
    """
    findings = [check(plugin) for plugin in _chosen(names)]
    for finding in findings:
        click.echo(_heading(finding))
        for text in (*finding.faults, *finding.remarks):
            click.echo(f"        {text}")
    broken = sum(bool(finding.faults) for finding in findings)
    click.echo(f"{len(findings)} checked, {broken or 'none'} broken")
    return 1 if broken else 0


def _chosen(names: Sequence[str]) -> list[PluginInfo]:
    there = sorted(registry.list_plugins(), key=lambda info: (info.kind, info.name))
    known = {name for info in there for name in (info.name, info.distribution)}
    for name in names:
        if name not in known:
            raise PluginNotFoundError(
                f"no plugin and no distribution is called '{name}'{did_you_mean(name, known)} (see: hpo plugins)",
                kind="",
                name=name,
                known=sorted(known),
            )
    return [info for info in there if not names or info.name in names or info.distribution in names]


def _heading(finding: Finding) -> str:
    plugin = finding.plugin
    state = "broken" if finding.faults else "ok"
    interface = "" if finding.interface is None else f", interface {finding.interface}"
    kind = plugin.kind.replace("_", " ") or "?"
    return f"{state:<7} {kind} {plugin.name} ({plugin.distribution} {plugin.version}{interface})"


def check(plugin: PluginInfo) -> Finding:
    """What can be known of a plugin without running anything with it."""
    if plugin.health != "ok":
        return Finding(plugin, None, (plugin.health,))
    try:
        cls = registry.get(KINDS[plugin.kind], plugin.name)
    except PluginError as error:
        return Finding(plugin, None, (str(error),))
    faults = [*_capability_faults(plugin.kind, cls), *_option_faults(cls)]
    remarks: list[str] = []
    if plugin.distribution != _OWN and not _names_its_interface(cls):
        remarks.append(
            f"it names no interface version, so that it claims to know every future one: write 'interface_version = "
            f"{cls.interface_version}' in {cls.__name__}"
        )
    if issubclass(cls, Strategy) and cls.tell is not Strategy.tell and cls.get_state is Strategy.get_state:
        remarks.append(
            "it learns by tell() and does not override get_state(): what it learned may be lost when a study goes on"
        )
    if issubclass(cls, WorkloadManager):
        _check_manager(cls, faults, remarks)
    if issubclass(cls, Launcher):
        remarks += [
            f"it runs on nodes of the workload manager '{name}', which is not installed"
            for name in cls.managers
            if name not in registry.names(KINDS["workload_manager"])
        ]
    return Finding(plugin, cls.interface_version, tuple(faults), tuple(remarks))


def _names_its_interface(cls: type[Plugin]) -> bool:
    return any("interface_version" in vars(base) for base in cls.__mro__ if base is not Plugin)


def _capability_faults(kind: str, cls: type[Plugin]) -> Iterator[str]:
    declared: object = cls.capabilities
    if not isinstance(declared, Set):
        yield f"capabilities is {declared!r}, not a frozenset of hpo_core.Capability"
        return
    for one in declared:
        if not isinstance(one, Capability):
            yield f"it declares {one!r}, which is no hpo_core.Capability"
            continue
        if one not in _OF.get(kind, set()):
            yield f"it declares {one.name}, which says nothing of a {kind.replace('_', ' ')}"
        elif (method := _ANSWERS.get(one)) and getattr(cls, method) is getattr(KINDS[kind], method):
            yield f"it declares {one.name} and does not implement {method}()"


def _option_faults(cls: type[Plugin]) -> Iterator[str]:
    schema = cls.Options
    if schema is None:
        return
    if not (isinstance(schema, type) and attrs.has(schema)):
        yield f"Options is {schema!r}, not an attrs class"
        return
    needed = [field.alias for field in attrs.fields(schema) if field.init and field.default is attrs.NOTHING]
    if needed:
        yield f"options without a default: {', '.join(map(str, needed))}"
        return
    try:
        untyped = [field.name for field in attrs.fields(schema) if field.name not in typing.get_type_hints(schema)]
        if untyped:
            yield f"options without a type: {', '.join(untyped)}"
            return
        json.dumps(options_to_json(build_options(schema, {}, "its options")))
    except (HpoError, NameError, TypeError, ValueError) as error:
        yield f"options with their defaults can't be used: {error}"


def _check_manager(cls: type[WorkloadManager], faults: list[str], remarks: list[str]) -> None:
    launchers = registry.names(KINDS["launcher"])
    if cls.default_launcher not in launchers:
        faults.append(f"its default launcher '{cls.default_launcher}' is not installed")
    if cls.detect.__func__ is WorkloadManager.detect.__func__:  # type: ignore[attr-defined]
        return
    try:
        found = cls.detect()
    except Exception as error:  # noqa: BLE001 - a foreign plugin's fault is what is looked for
        faults.append(f"detect() raised {type(error).__name__}: {error}")
        return
    remarks.append(f"found here: {found}" if found else "not found on this machine")
