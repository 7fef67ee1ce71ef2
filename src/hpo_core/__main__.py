"""``python -m hpo_core`` is ``hpo``."""

from hpo_core.cli import main

main()
