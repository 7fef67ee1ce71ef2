"""The conformance kit: one contract class for each kind of plugin, and what tests of your own may need.

Subclass a contract in your tests, say what is to be tested, run pytest. Needs ``pip install hpo-core[testing]``;
nothing else of hpo-core imports this.
"""

import pytest

for _module in (
    *("_rehearsal", "_stage", "_watching", "adopting", "launchers", "managers"),
    *("metrics", "observers", "simulated_launchers", "strategies"),
):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from hpo_core.testing._stage import Stage  # noqa: E402
from hpo_core.testing.adopting import AdoptingContract  # noqa: E402
from hpo_core.testing.launchers import LauncherContract  # noqa: E402
from hpo_core.testing.managers import WorkloadManagerContract  # noqa: E402
from hpo_core.testing.metrics import MetricParserContract  # noqa: E402
from hpo_core.testing.observers import ObserverContract  # noqa: E402
from hpo_core.testing.plugins import registered  # noqa: E402
from hpo_core.testing.simulated_launchers import SimulatedLauncherContract  # noqa: E402
from hpo_core.testing.spaces import spaces  # noqa: E402
from hpo_core.testing.strategies import StrategyContract  # noqa: E402

__all__ = [
    "AdoptingContract",
    "LauncherContract",
    "MetricParserContract",
    "ObserverContract",
    "SimulatedLauncherContract",
    "Stage",
    "StrategyContract",
    "WorkloadManagerContract",
    "registered",
    "spaces",
]
