"""``hpo plugin check`` finds what is wrong with a plugin, and what is only not at hand."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import field, frozen

import hpo_core as hpo
from hpo_core.cli.plugin_check import Finding, check
from hpo_core.events import EventLoop
from hpo_core.processes import ProcessLauncher
from hpo_core.registry import KINDS, PluginInfo, added


def finding(cls: type) -> Finding:
    """What is found of a class that is not installed."""
    kind = next(name for name, base in KINDS.items() if issubclass(cls, base))
    with added(cls):
        return check(PluginInfo(kind, cls.name, "hpo-mine", "1.0"))


class Good(hpo.Strategy):
    name = "good"
    interface_version = 1

    def ask(self) -> hpo.Proposal:
        return hpo.Proposal(self.space.draw(self.rng))


class Unnamed(hpo.Strategy):
    name = "unnamed"

    def ask(self) -> hpo.Proposal:
        return hpo.Proposal(self.space.draw(self.rng))


class Forgetful(Good):
    def tell(self, trial: hpo.Trial, result: hpo.Result) -> None: ...


class Abstract(hpo.Launcher):
    name = "abstract"
    interface_version = 1

    def launch(self, evaluation: hpo.Evaluation) -> None: ...


class Deaf(Good):
    capabilities = frozenset({hpo.Capability.REPORTS})


class Confused(Good):
    capabilities = frozenset({hpo.Capability.STREAMS})


class Misspelt(Good):
    capabilities = frozenset({"SLOW"})


class Single(Good):
    capabilities = hpo.Capability.SLOW


class PlainOptions(Good):
    class Options:
        size = 3


@frozen
class NoDefault:
    size: int


class Demanding(Good):
    Options = NoDefault


@frozen
class NoType:
    size = field(default=3)


class Untyped(Good):
    Options = NoType


@frozen
class NoName:
    size: "Nowhere" = 3  # noqa: F821


class Lost(Good):
    Options = NoName


@frozen
class Unrecordable:
    size: object = field(factory=object)


class Opaque(Good):
    Options = Unrecordable


class Manager(hpo.WorkloadManager):
    name = "mine"
    interface_version = 1

    def acquire(self, request: hpo.AllocationRequest, events: EventLoop) -> None: ...
    def attach(self, events: EventLoop) -> None: ...
    def release(self) -> None: ...


class Homeless(Manager):
    default_launcher = "teleport"


class Raises(Manager):
    @classmethod
    def detect(cls) -> str | None:
        raise FileNotFoundError("sinfo")


class Found(Manager):
    @classmethod
    def detect(cls) -> str | None:
        return "a farm of 3 machines"


class Absent(Manager):
    @classmethod
    def detect(cls) -> str | None:
        return None


class Elsewhere(ProcessLauncher):
    name = "elsewhere"
    interface_version = 1
    managers = ("nobodys",)


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Abstract, "does not implement close(), end()"),
        (Deaf, "it declares REPORTS and does not implement report()"),
        (Confused, "it declares STREAMS, which says nothing of a strategy"),
        (Misspelt, "it declares 'SLOW', which is no hpo_core.Capability"),
        (Single, "not a frozenset of hpo_core.Capability"),
        (PlainOptions, "not an attrs class"),
        (Demanding, "options without a default: size"),
        (Untyped, "options without a type: size"),
        (Lost, "options with their defaults can't be used: name 'Nowhere' is not defined"),
        (Opaque, "options with their defaults can't be used: Object of type object"),
        (Homeless, "its default launcher 'teleport' is not installed"),
        (Raises, "detect() raised FileNotFoundError: sinfo"),
    ],
)
def test_a_fault_is_named(cls: type, fault: str) -> None:
    (found,) = finding(cls).faults
    assert fault in found


@pytest.mark.parametrize(
    ("cls", "remarks"),
    [
        (Good, ()),
        (Found, ("found here: a farm of 3 machines",)),
        (Absent, ("not found on this machine",)),
        (Manager, ()),
        (Elsewhere, ("it runs on nodes of the workload manager 'nobodys', which is not installed",)),
    ],
)
def test_what_is_no_fault_is_remarked(cls: type, remarks: tuple[str, ...]) -> None:
    assert finding(cls) == Finding(PluginInfo(finding(cls).plugin.kind, cls.name, "hpo-mine", "1.0"), 1, (), remarks)


def test_a_strategy_that_learns_and_saves_nothing_is_told_to() -> None:
    (remark,) = finding(Forgetful).remarks
    assert "does not override get_state()" in remark


def test_a_plugin_that_names_no_interface_version_is_told_to() -> None:
    (remark,) = finding(Unnamed).remarks
    assert "write 'interface_version = 1' in Unnamed" in remark


@pytest.mark.parametrize("words", [("plugin", "check"), ("plugins", "--check")])
def test_everything_that_is_here_is_sound(hpo: Callable, words: tuple[str, ...]) -> None:
    outcome = hpo(*words)
    assert outcome.status == 0, outcome.out
    assert "ok      strategy random (hpo-core" in outcome.out
    assert outcome.out.endswith(" checked, none broken\n")


def test_by_name_and_by_distribution(hpo: Callable) -> None:
    assert hpo("plugin", "check", "grid").out.count("\n") == 2
    assert hpo("plugin", "check", "local").out.endswith("2 checked, none broken\n")
    assert "metric parser text" in hpo("plugin", "check", "hpo-core").out


def test_a_name_that_nothing_has(hpo: Callable) -> None:
    outcome = hpo("plugin", "check", "randm")
    assert outcome.status == 2
    assert "no plugin and no distribution is called 'randm' (did you mean 'random'?)" in outcome.err


def test_the_list_is_the_same_by_both_names(hpo: Callable) -> None:
    assert hpo("plugin", "list").out == hpo("plugins").out


def test_what_cannot_be_loaded_is_broken_and_the_status_is_1(start: Callable, folder: Path, monkeypatch) -> None:
    """An installed distribution, in a process of its own."""
    (folder / "hpo_sad.py").write_text("import no_such_module_at_all\n")
    info = folder / "hpo_sad-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hpo-sad\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[hpo_core]\nsad = hpo_sad\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    out, err = (process := start("plugin", "check", "sad")).communicate(timeout=60)
    assert process.returncode == 1, err
    assert out == textwrap.dedent(
        """\
        broken  ? sad (hpo-sad 1.2)
                cannot be loaded: ModuleNotFoundError: No module named 'no_such_module_at_all'
        1 checked, 1 broken
        """
    )
