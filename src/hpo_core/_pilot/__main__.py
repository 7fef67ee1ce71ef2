"""What the worker's file does when it is started: ``worker.pyz CONFIG``, or ``worker.pyz guard ...`` as its guard."""

from __future__ import annotations

import sys

if sys.argv[1] == "guard":
    from hpo_core._processes import guard

    guard(sys.argv[2], sys.argv[3], float(sys.argv[4]))
else:
    from hpo_core._pilot.worker import main

    sys.exit(main(sys.argv[1]))
