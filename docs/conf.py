"""Settings of the documentation site: ``nox -s docs``."""

import importlib.metadata
import re
from typing import Any

project = "hpo-core"
author = "The hpo-core authors"
copyright = f"{author}, Apache-2.0"
release = importlib.metadata.version("hpo-core")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
default_role = "code"

html_theme = "furo"
html_title = f"hpo-core {release}"

myst_heading_anchors = 3
# READMEs that are pages here also name files that are none; tests/docs/test_pages.py checks every link.
suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_use_rtype = False


def setup(app: Any) -> None:
    """Let docstrings show a blank at the end of literal text, as messages do: ``f1: ``."""

    def without_last_blank(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        lines[:] = [re.sub(r"``(.+?)``", lambda match: f"``{match[1].rstrip()}``", line) for line in lines]

    app.connect("autodoc-process-docstring", without_last_blank)
