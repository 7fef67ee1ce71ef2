"""The command ``hpo``. Each of its commands is a module that is imported when that command is used."""

from hpo_core.cli._main import main

__all__ = ["main"]
