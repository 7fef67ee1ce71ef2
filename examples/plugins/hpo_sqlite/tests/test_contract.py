"""The observer keeps the promises of all observers."""

import pytest

from hpo_core import Observer
from hpo_core.testing import ObserverContract
from hpo_sqlite import SqliteObserver


class TestSqlite(ObserverContract):
    @pytest.fixture
    def observer(self) -> Observer:
        return SqliteObserver()
