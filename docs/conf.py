"""Settings of the documentation site; `make docs` builds it.

The source folder is the repository's root, so that a link between two pages works on the site as
it does in a checkout. Only the pages named in `include_patterns` are part of the site.
"""

import logging
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # autodoc imports the training
logging.getLogger("alembic").setLevel(logging.WARNING)

_ROOT = Path(__file__).parent.parent
sys.path[:0] = [
    str(_ROOT / room)
    for room in ("bundle", "training", "export", "edge_runtime", "sync_server", "experiments", "")
]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]

project = "PocketRec"
author = copyright = "The PocketRec authors"
version = release = _PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "*/README.md",  # of each room
    "bundle/FORMAT.md",
]
exclude_patterns = ["**/.*", ".*", "dist", "out", "tests", "work", "benchmarks/out"]
nitpicky = False
# Decisions are listed by their index page, and old page names by nobody; a test wants every other
# page in the navigation.
suppress_warnings = ["toc.not_included"]

myst_heading_anchors = 4
highlight_language = "text"

default_role = "code"  # docstrings write `name`
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"PocketRec {version}"
html_extra_path = ["site"]  # index.html of the site's root leads to docs/index.html
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def keep_trees(
    _app: Sphinx, _kind: str, _name: str, _object: Any, _: Any, lines: list[str]
) -> None:
    """Show a tree drawn in a docstring, such as one of errors, as it is drawn."""
    text = "\n".join(lines)
    parts = [
        "::\n\n    " + part.replace("\n", "\n    ") if "\n└── " in part else part
        for part in text.split("\n\n")
    ]
    lines[:] = "\n\n".join(parts).split("\n")


def setup(app: Sphinx) -> None:
    """Show hex dumps and drawn trees as plain text."""
    app.add_lexer("hex", TextLexer)
    app.connect("autodoc-process-docstring", keep_trees)
