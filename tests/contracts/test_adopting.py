"""The launcher of the tests that adopts keeps the contract of those that do."""

import pytest

from detaching import DetachingLauncher
from hpo_core.testing import AdoptingContract


class TestDetaching(AdoptingContract):
    @pytest.fixture
    def launcher(self):
        return DetachingLauncher()

    @pytest.fixture
    def successor(self):
        return DetachingLauncher()
