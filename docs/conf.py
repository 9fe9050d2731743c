"""Settings of the documentation site: `tox -e docs` builds it into build/site.

The built pages load nothing from elsewhere: the theme has no web fonts, and the search is an index of this site.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from futures_cluster import __version__
from futures_cluster.config import THREAD_VARIABLES

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

project = "futures_cluster"
author = "the futures_cluster developers"
version = release = __version__
html_title = f"futures_cluster {release}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "command_line",
]
exclude_patterns = ["_build", "changes.d"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist", "html_image"]
myst_heading_anchors = 4
# Only addresses with these schemes are links elsewhere: `tcp://...` in a text is none.
myst_url_schemes = ["http", "https", "mailto"]

# The programs of the gallery measure speed-ups: NumPy, which is imported later, has one thread in all of them.
os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
# Runs the programs of examples/gallery, and makes a page of each with its output and its picture.
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "download_all_examples": False,
    "abort_on_example_error": True,
}

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
# The docstrings say the types of parameters.
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_preprocess_types = False


# The site links to its own names. Those of the standard library, NumPy and other packages have no inventory here, for a
# build must not need the network; and a type in words ("key or list") is no name, though one may be called so.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!futures_cluster\.).*"),
    (r"py:.*", r"futures_cluster\.(client|executor|glm\.\w+|scheduler|services|testing|wire|worker)\..*"),
]
suppress_warnings = ["ref.python"]


def skip_metadata_routing(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the methods by which scikit-learn routes metadata: their docstrings refer to its own site."""
    return True if name == "get_metadata_routing" or re.fullmatch(r"set_\w+_request", name) else None


def point_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links to files of the repository that are pages of this site to these pages."""
    source[0] = re.sub(r"\]\((\.\./)+SECURITY\.md", "](/understanding/security.md", source[0])


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", skip_metadata_routing)
    app.connect("source-read", point_to_pages)
