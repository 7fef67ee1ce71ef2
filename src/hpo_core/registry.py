"""Names to plugin classes: the built-ins, and what other distributions bring through entry points.

The built-ins go through the same hooks. A distribution is imported only when a name is not among the built-ins
or all names are asked for; one that cannot be imported never harms the others.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen, mutable

from hpo_core._version import own_version
from hpo_core._words import did_you_mean
from hpo_core.exceptions import PluginConflictError, PluginError, PluginLoadError, PluginNotFoundError
from hpo_core.interfaces import (
    INTERFACE_VERSION,
    Launcher,
    MetricParser,
    Observer,
    Plugin,
    Strategy,
    WorkloadManager,
)

if TYPE_CHECKING:
    import pluggy

ENTRY_POINT_GROUP = "hpo_core"

KINDS: dict[str, type[Plugin]] = {
    "strategy": Strategy,
    "workload_manager": WorkloadManager,
    "launcher": Launcher,
    "metric_parser": MetricParser,
    "observer": Observer,
}

_BUILTIN = "hpo-core"

_INSTALLED_BY = {
    ("strategy", "genetic"): "hpo-genetic",
    ("strategy", "pbt"): "hpo-genetic",
    ("workload_manager", "slurm"): "hpo-slurm",
    ("launcher", "slurm"): "hpo-slurm",
    ("workload_manager", "pbs"): "hpo-pbs",
    ("workload_manager", "k8s"): "hpo-k8s",
    ("launcher", "k8s"): "hpo-k8s",
    ("launcher", "urika"): "hpo-urika",
}

P = TypeVar("P", bound=Plugin)


@frozen
class PluginInfo:
    """One line of ``hpo plugins``.

    A name of hpo-core's own can't be taken: it stays the built-in, and the other is shown as refused.

    Attributes:
        kind: a key of `KINDS`, or empty when the distribution could not be loaded.
        name: what users write to choose it.
        distribution: the installed distribution that brings it.
        version: the distribution's version.
        health: ``ok``, or why it cannot be used.
    """

    kind: str
    name: str
    distribution: str
    version: str
    health: str = "ok"


@mutable(eq=False)
class _Source:
    """Modules that implement hooks, and where they come from. A hook is called when its kind is first looked for."""

    distribution: str
    version: str
    load: Callable[[], Sequence[ModuleType]]
    name: str = ""
    """Of the entry point."""
    failure: BaseException | None = None
    _manager: pluggy.PluginManager | None = None
    _classes: dict[str, list[type[Plugin]]] = field(factory=dict)

    def classes(self, kind: str) -> list[type[Plugin]]:
        """The classes of a kind; empty once something failed (see `failure`)."""
        if self.failure is None and kind not in self._classes:
            try:
                if self._manager is None:
                    self._manager = _manager(self.load())
                self._classes[kind] = _registered_classes(self._manager, kind, KINDS[kind])
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign module's faults must not harm the rest
                self.failure = error
        return [] if self.failure is not None else self._classes[kind]


class Registry:
    """All plugins of this process. Use the module's functions; a registry of your own is for tests."""

    def __init__(self, builtin_modules: Iterable[str], *, entry_points: Iterable[Any] | None = None) -> None:
        self._lock = threading.RLock()
        modules = tuple(builtin_modules)
        self._builtin = _Source(_BUILTIN, "", lambda: [import_module(module) for module in modules])
        self._entry_points = entry_points
        self._external: list[_Source] | None = None
        self._added: list[type[Plugin]] = []

    @contextmanager
    def added(self, *classes: type[Plugin]) -> Iterator[None]:
        """Within the context, these classes are found by their names, before all others of their kind."""
        with self._lock:
            self._added = [*classes, *self._added]
        try:
            yield
        finally:
            with self._lock:
                self._added = [cls for cls in self._added if cls not in classes]

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The class of this kind and name.

        Raises:
            PluginNotFoundError: there is none; the message says what to install, or which names are near.
            PluginLoadError: a distribution promises it and cannot be imported (the cause is chained), or the class was
                written for another interface version or lacks methods.
            PluginConflictError: two distributions claim the name.
        """
        with self._lock:
            for cls in self._added_classes(kind):
                if cls.name == name:
                    _check_usable(kind, cls.__module__, cls)
                    return cls
            for cls in self._builtin_classes(kind):
                if cls.name == name:
                    return cls
            found = self._registered(kind, name)
            if not found:
                raise self._not_found(kind, name)
            if len(found) > 1:
                raise _conflict(kind, name, found[0][0], found[1][0])
            _check_usable(kind, *found[0])
            return found[0][1]

    def names(self, kind: str) -> tuple[str, ...]:
        """All names of a kind that can be asked for, sorted."""
        with self._lock:
            classes = [*self._added_classes(kind), *self._builtin_classes(kind)]
            for source in self._external_sources():
                classes += source.classes(kind)
            return tuple(sorted({cls.name for cls in classes}))

    def infos(self) -> list[PluginInfo]:
        """Everything that is installed, also what cannot be used and why."""
        with self._lock:
            return [line for source in [self._builtin, *self._external_sources()] for line in self._lines(source)]

    def _lines(self, source: _Source) -> list[PluginInfo]:
        source.version = source.version or own_version("(not installed)")
        found = [(kind, cls.name) for kind in KINDS for cls in source.classes(kind)]
        if source.failure is not None:
            health = f"cannot be loaded: {_describe(source.failure)}"
            return [PluginInfo("", source.name, source.distribution, source.version, health)]
        return [
            PluginInfo(kind, name, source.distribution, source.version, self._health(kind, name, source))
            for kind, name in found
        ]

    def _registered(self, kind: str, name: str) -> list[tuple[str, type[Plugin]]]:
        """The classes of that name from other distributions, each with its distribution."""
        return [
            (source.distribution, cls)
            for source in self._external_sources()
            for cls in source.classes(kind)
            if cls.name == name
        ]

    def _health(self, kind: str, name: str, source: _Source) -> str:
        try:
            if source is not self._builtin and any(c.name == name for c in self._builtin_classes(kind)):
                raise _conflict(kind, name, _BUILTIN, source.distribution)
            self.get(kind, name)
        except PluginError as error:
            return str(error)
        return "ok"

    def _added_classes(self, kind: str) -> list[type[Plugin]]:
        return [cls for cls in self._added if issubclass(cls, KINDS[kind])]

    def _builtin_classes(self, kind: str) -> list[type[Plugin]]:
        classes = self._builtin.classes(kind)
        if self._builtin.failure is not None:
            raise self._builtin.failure
        return classes

    def _external_sources(self) -> list[_Source]:
        if self._external is None:
            points = self._entry_points
            if points is None:
                from importlib.metadata import entry_points

                points = entry_points(group=ENTRY_POINT_GROUP)
            self._external = [_source(point) for point in sorted(points, key=lambda point: str(point.name))]
        return self._external

    def _not_found(self, kind: str, name: str) -> PluginError:
        for source in self._external_sources():
            if source.failure is not None and name in (source.name, *_promised(source, kind)):
                error = PluginLoadError(
                    f"{_spoken(kind)} '{name}': {source.distribution} {source.version} is installed and cannot be "
                    f"loaded: {_describe(source.failure)}",
                    distribution=source.distribution,
                )
                error.__cause__ = source.failure
                return error
        known = self.names(kind)
        distribution = _INSTALLED_BY.get((kind, name))
        if distribution:
            folder = distribution.replace("-", "_")
            hint = (
                f"it comes with {distribution}: pip install {distribution} "
                f"(from a checkout: pip install -e plugins/{folder})"
            )
        else:
            hint = f"there are: {', '.join(known)}"
        broken = [s.distribution for s in self._external_sources() if s.failure is not None]
        if broken:
            hint += f"; could not be loaded: {', '.join(broken)} (see: hpo plugins)"
        return PluginNotFoundError(
            f"no {_spoken(kind)} is called '{name}'{did_you_mean(name, known)}; {hint}",
            kind=kind,
            name=name,
            known=known,
        )


def _check_usable(kind: str, distribution: str, cls: type[Plugin]) -> None:
    who = f"{_spoken(kind)} '{cls.name}' of {distribution}"
    reason = ""
    if type(cls.interface_version) is not int:
        reason = (
            f"{who} says interface_version = {cls.interface_version!r}, "
            f"which is not a whole number such as {INTERFACE_VERSION}"
        )
    elif cls.interface_version != INTERFACE_VERSION:
        older = cls.interface_version < INTERFACE_VERSION
        reason = (
            f"{who} was written for interface version {cls.interface_version}, this hpo-core has version "
            f"{INTERFACE_VERSION}: upgrade {distribution if older else 'hpo-core'}"
        )
    elif inspect.isabstract(cls):
        reason = f"{who} does not implement {', '.join(f'{name}()' for name in sorted(cls.__abstractmethods__))}"
    if reason:
        raise PluginLoadError(reason, distribution=distribution)


def _conflict(kind: str, name: str, first: str, second: str) -> PluginConflictError:
    what = f"by both {first} and {second}: uninstall one of them" if first != second else f"twice by {first}"
    return PluginConflictError(f"{_spoken(kind)} '{name}' is registered {what}", distributions=(first, second))


def _promised(source: _Source, kind: str) -> list[str]:
    return [name for (k, name), dist in _INSTALLED_BY.items() if k == kind and dist == source.distribution]


def _source(point: Any) -> _Source:
    name, version = (point.dist.name, point.dist.version) if point.dist else (point.value, "?")
    return _Source(name, version, lambda: [point.load()], name=point.name)


def _manager(modules: Iterable[ModuleType]) -> pluggy.PluginManager:
    """A manager of the registration hooks that these modules implement."""
    import pluggy

    from hpo_core import hookspecs

    manager = pluggy.PluginManager("hpo_core")
    manager.add_hookspecs(hookspecs)
    hooks = [f"hpo_register_{kind}" for kind in KINDS]
    for module in modules:
        manager.register(module)
        callers = manager.get_hookcallers(module) or []
        for caller in callers:
            if not caller.has_spec():
                raise PluginError(f"there is no hook {caller.name}{did_you_mean(caller.name, hooks)}")
        if not callers:
            names = ", ".join(hooks)
            raise PluginError(
                f"the module {module.__name__} implements no hook: mark one of {names} with hpo_core.hookimpl"
            )
    return manager


def _registered_classes(manager: pluggy.PluginManager, kind: str, base: type[Plugin]) -> list[type[Plugin]]:
    """Call the hook of a kind, and check what it returns."""
    hook = f"hpo_register_{kind}"
    classes: list[type[Plugin]] = []
    for answer in getattr(manager.hook, hook)():
        for cls in answer if isinstance(answer, (list, tuple)) else [answer]:
            if not (isinstance(cls, type) and issubclass(cls, base)):
                raise PluginError(f"{hook} returned {cls!r}, which is no subclass of {base.__name__}")
            if not isinstance(getattr(cls, "name", None), str) or not cls.name:
                raise PluginError(f"{cls.__qualname__} carries no name: give it a class attribute 'name'")
            classes.append(cls)
    return classes


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")


_REGISTRY = Registry(
    [
        "hpo_core.builtin.random",
        "hpo_core.builtin.grid",
        "hpo_core.builtin.local",
        "hpo_core.builtin.pilot",
        "hpo_core.builtin.simulated",
        "hpo_core.builtin.text_metrics",
        "hpo_core.builtin.regex_metrics",
        "hpo_core.builtin.json_metrics",
        "hpo_core.builtin.observers",
    ]
)


def added(*classes: type[Plugin]) -> AbstractContextManager[None]:
    """Within the context, these classes are found by their names, as if they were installed."""
    return _REGISTRY.added(*classes)


def get(kind: type[P], name: str) -> type[P]:
    """The plugin class of a kind (such as `Strategy`) and name; see `Registry.get` for what it raises."""
    return _REGISTRY.get(kind_name(kind), name)  # type: ignore[return-value]


def names(kind: type[Plugin]) -> tuple[str, ...]:
    """All names of a kind, sorted."""
    return _REGISTRY.names(kind_name(kind))


def list_plugins() -> list[PluginInfo]:
    """All plugins that are installed, with kind, name, distribution, version and health."""
    return _REGISTRY.infos()


def distribution_of(name: str) -> str | None:
    """The distribution of this project that brings plugins of that name, installed or not; None for other names."""
    return next((distribution for (_, own), distribution in _INSTALLED_BY.items() if own == name), None)


def kind_name(kind: type[Plugin]) -> str:
    """The name of a kind, such as ``workload_manager`` for `WorkloadManager`."""
    return next(name for name, base in KINDS.items() if base is kind)
