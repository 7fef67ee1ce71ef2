"""What goes is deprecated first, with a warning that says what to use and when it goes."""

from importlib.metadata import version

import pytest

from hpo_core import _deprecated
from hpo_core._deprecated import DEPRECATED, Deprecation


def release(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")[:2]))


def old_way() -> str:
    _deprecated.warn("old way")
    return "works"


def test_the_warning_names_the_replacement_the_release_and_the_users_line(monkeypatch):
    monkeypatch.setattr(_deprecated, "DEPRECATED", {"old way": Deprecation("old_way()", "new_way()", "0.2", "0.4")})
    with pytest.warns(DeprecationWarning, match="old_way") as caught:
        assert old_way() == "works"
    (warning,) = caught
    assert str(warning.message) == (
        "old_way() is deprecated since hpo-core 0.2 and goes in hpo-core 0.4: use new_way()"
    )
    assert warning.filename == __file__


def test_everything_works_for_a_minor_release_and_is_gone_when_that_was_promised():
    for name, one in DEPRECATED.items():
        since, gone = release(one.since), release(one.gone_in)
        assert gone[0] > since[0] or gone[1] > since[1], f"{name} goes in the release that deprecates it"
        assert release(version("hpo-core")) < gone, f"{name} should be gone by now"
        assert one.what.strip()
        assert one.instead.strip()
