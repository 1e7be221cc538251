"""Settings of the documentation site; `make docs` builds it.

The source folder is the repository's root, so that a link between two pages works on the site as
it does in a checkout. Only the pages named in `include_patterns` are part of the site.
"""

import tomllib
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]

project = "PocketRec"
author = "The PocketRec authors"
version = release = _PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "bundle/FORMAT.md",
]
exclude_patterns = ["**/.*", ".*", "dist", "out", "tests", "work", "benchmarks/out"]
nitpicky = False
suppress_warnings: list[str] = []

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
highlight_language = "text"

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
