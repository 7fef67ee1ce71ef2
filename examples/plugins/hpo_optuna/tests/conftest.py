"""Without Optuna nothing here can be collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("optuna") else ["test_*.py"]
