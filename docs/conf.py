"""Sphinx configuration; the site builds with warnings as errors."""

from __future__ import annotations

import curricula

project = "curricula"
author = "the curricula developers"
copyright = "2026, the curricula developers"
release = version = curricula.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "curricula"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
napoleon_use_ivar = True
