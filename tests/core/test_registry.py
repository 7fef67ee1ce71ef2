"""Plugins as they are installed: a module and a dist-info folder on the path, found by real entry points."""

import subprocess
import sys
import textwrap
from importlib.metadata import distributions
from pathlib import Path

import pytest

import hpo_core as hpo
from hpo_core.registry import ENTRY_POINT_GROUP, KINDS, PluginInfo, Registry

GUESS = """
from hpo_core import Pause, Proposal, Strategy, hookimpl

class Guess(Strategy):
    name = "guess"
    def ask(self):
        return Proposal(self.space.draw(self.rng))

@hookimpl
def hpo_register_strategy():
    return Guess
"""


class Site:
    """A folder in which distributions are installed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, distribution: str, text: str, *, version: str = "1.2", entry: str = "") -> None:
        module = distribution.replace("-", "_")
        (self.path / f"{module}.py").write_text(textwrap.dedent(text))
        info = self.path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{entry or module} = {module}\n")

    def registry(self) -> Registry:
        """All built-ins, and what is installed here alone."""
        found = [
            point
            for distribution in distributions(path=[str(self.path)])
            for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        ]
        return Registry(
            [f"hpo_core.builtin.{name}" for name in ("random", "grid", "local", "text_metrics", "observers")],
            entry_points=found,
        )


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.startswith("hpo_") and name.partition(".")[0] != "hpo_core"]:
        monkeypatch.delitem(sys.modules, name)  # really installed, and looked at by another test
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def test_an_installed_plugin_is_found_by_its_name(site):
    site.install("hpo-guess", GUESS)
    registry = site.registry()
    assert registry.get("strategy", "guess").__name__ == "Guess"
    assert "guess" in registry.names("strategy")
    assert [info for info in registry.infos() if info.name == "guess"] == [
        PluginInfo("strategy", "guess", "hpo-guess", "1.2", "ok")
    ]


def test_in_a_fresh_process_from_installation_to_result(site, tmp_path):
    """Nothing but what an author ships: a module, an entry point, and a user who writes its name."""
    site.install("hpo-guess", GUESS)
    program = """
        import hpo_core as hpo
        evaluator = hpo.Evaluator("echo FoM: 1 #", workload_manager="local")
        study = hpo.Study(hpo.Params([["--x", 1, (0, 9)]]), evaluator, strategy="guess", n_trials=3)
        study.optimize()
        print(len(study.trials), [i.health for i in hpo.list_plugins() if i.distribution == "hpo-guess"])
    """
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site.path)!r})\n" + textwrap.dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "3 ['ok']\n", done.stderr


def test_several_classes_and_kinds_from_one_module(site):
    site.install(
        "hpo-many",
        """
        from hpo_core import Observer, Strategy, hookimpl
        class One(Strategy):
            name = "one"
            def ask(self): ...
        class Two(One):
            name = "two"
        class Ear(Observer):
            name = "ear"
        @hookimpl
        def hpo_register_strategy():
            return [One, Two]
        @hookimpl
        def hpo_register_observer():
            return Ear
        """,
    )
    registry = site.registry()
    assert {"one", "two"} <= set(registry.names("strategy"))
    assert registry.get("observer", "ear").name == "ear"


BROKEN = {
    "raises at import": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "needs what is not there": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    "is no Python": ("def (", "SyntaxError"),
    "exits": ("raise SystemExit('stop everything')", "stop everything"),
    "has an unknown hook": (
        "from hpo_core import hookimpl\n@hookimpl\ndef hpo_register_strategie(): return None",
        r"there is no hook hpo_register_strategie (did you mean 'hpo_register_strategy'?)",
    ),
    "forgets the mark": (
        "from hpo_core import Strategy\ndef hpo_register_strategy(): return Strategy",
        "module hpo_broken implements no hook: mark one of hpo_register_strategy, ",
    ),
    "returns no class": (
        "from hpo_core import hookimpl\n@hookimpl\ndef hpo_register_strategy(): return 'guess'",
        "returned 'guess', which is no subclass of Strategy",
    ),
    "returns another kind": (
        "from hpo_core import Observer, hookimpl\n@hookimpl\ndef hpo_register_strategy(): return Observer",
        "is no subclass of Strategy",
    ),
    "has no name": (
        "from hpo_core import Strategy, hookimpl\nclass S(Strategy):\n    def ask(self): ...\n"
        "@hookimpl\ndef hpo_register_strategy(): return S",
        "S carries no name",
    ),
    "hook raises": (
        "from hpo_core import hookimpl\n@hookimpl\ndef hpo_register_strategy(): 1 / 0",
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_does_not_break_the_others(site, kind):
    text, reason = BROKEN[kind]
    site.install("hpo-broken", text, entry="broken")
    site.install("hpo-guess", GUESS)
    registry = site.registry()
    assert registry.get("strategy", "guess").name == "guess"
    assert registry.get("strategy", "random").name == "random"
    (info,) = [info for info in registry.infos() if info.distribution == "hpo-broken"]
    assert (info.name, info.version) == ("broken", "1.2")
    assert reason in info.health
    with pytest.raises(hpo.PluginLoadError, match=r"hpo-broken 1\.2 is installed and cannot be loaded") as caught:
        registry.get("strategy", "broken")
    assert caught.value.__cause__ is not None
    assert caught.value.distribution == "hpo-broken"
    with pytest.raises(hpo.PluginNotFoundError, match=r"could not be loaded: hpo-broken \(see: hpo plugins\)"):
        registry.get("strategy", "something-else")


def test_a_broken_backend_of_ours_is_not_said_to_be_missing(site):
    site.install("hpo-slurm", "import no_such_module_at_all", entry="slurm-things")
    with pytest.raises(hpo.PluginLoadError, match=r"hpo-slurm 1\.2 is installed and cannot be loaded.*no_such_module"):
        site.registry().get("workload_manager", "slurm")


def test_two_plugins_with_one_name_are_refused_naming_both(site):
    site.install("hpo-guess", GUESS)
    site.install("hpo-other", GUESS)
    registry = site.registry()
    with pytest.raises(hpo.PluginConflictError, match="registered by both hpo-guess and hpo-other") as caught:
        registry.get("strategy", "guess")
    assert caught.value.distributions == ("hpo-guess", "hpo-other")
    healths = [info.health for info in registry.infos() if info.name == "guess"]
    assert len(healths) == 2
    assert all("hpo-guess and hpo-other" in health for health in healths)
    assert registry.get("strategy", "random")


def test_a_built_in_cannot_be_overridden(site):
    site.install("hpo-sly", GUESS.replace('"guess"', '"random"'))
    registry = site.registry()
    assert registry.get("strategy", "random").__module__ == "hpo_core.builtin.random"
    (ours,) = [info for info in registry.infos() if (info.name, info.distribution) == ("random", "hpo-core")]
    (sly,) = [info for info in registry.infos() if info.distribution == "hpo-sly"]
    assert ours.health == "ok"
    assert "hpo-core and hpo-sly" in sly.health


@pytest.mark.parametrize(
    ("version", "who"),
    [(hpo.INTERFACE_VERSION - 1, "upgrade hpo-guess"), (hpo.INTERFACE_VERSION + 1, "upgrade hpo-core")],
)
def test_another_interface_version_is_refused_and_says_what_to_upgrade(site, version, who):
    site.install("hpo-guess", GUESS.replace('name = "guess"', f'name = "guess"; interface_version = {version}'))
    registry = site.registry()
    with pytest.raises(hpo.PluginLoadError, match=f"written for interface version {version}.*{who}$"):
        registry.get("strategy", "guess")
    assert registry.get("strategy", "grid")


@pytest.mark.parametrize("version", ["'1'", "None", "1.0", "True"])
def test_an_interface_version_that_is_no_whole_number_is_refused(site, version):
    site.install("hpo-guess", GUESS.replace('name = "guess"', f'name = "guess"; interface_version = {version}'))
    registry = site.registry()
    with pytest.raises(hpo.PluginLoadError, match=r"'guess' of hpo-guess.*interface_version = .*not a whole number"):
        registry.get("strategy", "guess")
    (info,) = [info for info in registry.infos() if info.distribution == "hpo-guess"]
    assert "not a whole number" in info.health


def test_a_class_that_lacks_methods_is_refused_naming_them(site):
    site.install("hpo-guess", GUESS.replace("def ask", "def asks"))
    registry = site.registry()
    with pytest.raises(hpo.PluginLoadError, match=r"'guess' of hpo-guess does not implement ask\(\)"):
        registry.get("strategy", "guess")
    assert [info.health for info in registry.infos() if info.name == "guess"] != ["ok"]


def test_a_name_that_one_distribution_gives_twice_names_it_once(site):
    twice = GUESS.replace("return Guess", "return [Guess, type('Other', (Guess,), {})]")
    site.install("hpo-guess", twice)
    with pytest.raises(hpo.PluginConflictError, match="'guess' is registered twice by hpo-guess"):
        site.registry().get("strategy", "guess")


def test_an_unknown_name_gives_a_close_match_and_what_there_is(site):
    site.install("hpo-guess", GUESS)
    with pytest.raises(hpo.PluginNotFoundError, match=r"did you mean 'guess'\?\); there are: grid, guess, random") as e:
        site.registry().get("strategy", "gess")
    assert (e.value.kind, e.value.name) == ("strategy", "gess")
    assert "guess" in e.value.known
    assert isinstance(e.value, LookupError)


@pytest.mark.parametrize(
    ("kind", "name", "distribution"),
    [
        ("strategy", "genetic", "hpo-genetic"),
        ("strategy", "pbt", "hpo-genetic"),
        ("workload_manager", "slurm", "hpo-slurm"),
        ("launcher", "slurm", "hpo-slurm"),
        ("workload_manager", "pbs", "hpo-pbs"),
        ("workload_manager", "k8s", "hpo-k8s"),
        ("launcher", "k8s", "hpo-k8s"),
        ("launcher", "urika", "hpo-urika"),
    ],
)
def test_a_missing_backend_names_what_to_install(site, kind, name, distribution):
    with pytest.raises(hpo.PluginNotFoundError, match=f"pip install {distribution} "):
        site.registry().get(kind, name)


def test_built_ins_are_found_without_loading_others(site):
    site.install("hpo-loud", "raise AssertionError('was imported')")
    registry = site.registry()
    registry.get("strategy", "random")
    registry.get("launcher", "local")
    assert "hpo_loud" not in sys.modules


def test_a_plugin_is_loaded_once(site):
    site.install("hpo-guess", GUESS + "\nimport builtins\nbuiltins.loads = getattr(builtins, 'loads', 0) + 1\n")
    registry = site.registry()
    import builtins

    try:
        for _ in range(3):
            registry.get("strategy", "guess")
            registry.names("strategy")
            registry.infos()
        assert builtins.loads == 1
    finally:
        del builtins.loads


def test_every_kind_has_a_documented_hook_without_arguments():
    import inspect

    from hpo_core import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("hpo_register_")}
    assert hooks == {f"hpo_register_{kind}" for kind in KINDS}
    for name in hooks:
        hook = getattr(hookspecs, name)
        assert (hook.__doc__ or "").strip()
        assert not inspect.signature(hook).parameters


def test_the_core_lists_its_own():
    found = {(info.kind, info.name): info for info in hpo.list_plugins() if info.distribution == "hpo-core"}
    for key in [
        ("strategy", "random"), ("strategy", "grid"), ("workload_manager", "local"), ("launcher", "local"),
        ("workload_manager", "simulated"), ("launcher", "simulated"), ("metric_parser", "text"),
        ("observer", "progress"),
    ]:  # fmt: skip
        assert found[key].health == "ok"
