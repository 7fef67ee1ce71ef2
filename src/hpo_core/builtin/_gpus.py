"""GPUs of this machine, by what the environment or the drivers' tools say."""

from __future__ import annotations

import os
import subprocess

_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_TOOLS = (
    ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader"),
    ("rocm-smi", "--showid", "--csv"),
)
_PATIENCE_S = 20.0


def find_gpus() -> tuple[str, ...]:
    """Ids of the GPUs that a program started here may use; empty where there are none."""
    for variable in _VARIABLES:
        if variable in os.environ:
            return tuple(gpu.strip() for gpu in os.environ[variable].split(",") if gpu.strip())
    for tool in _TOOLS:
        try:
            answer = subprocess.run(tool, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        ids = [line.split(",")[0].strip().removeprefix("card") for line in answer.stdout.splitlines()]
        return tuple(gpu for gpu in ids if gpu.isdigit())
    return ()
