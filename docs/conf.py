"""The documentation site: `pip install -e '.[docs]' && sphinx-build -W docs build/site`, without a network.

Pages are Markdown and lie here; links in them are such as one follows on GitHub, from file to file. What they lead to
outside this folder (changelog, benchmarks, source files) is gathered into `_gathered/` when a build begins, by
`_gather.py`, and links are turned there. Examples are copied too, so that they do not write beside their originals.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _gather

import softmax_clf

project = "softmax_clf"
author = "softmax_clf developers"
copyright = author  # noqa: A001
version = release = softmax_clf.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "_gather",
]
exclude_patterns = [
    *("_gathered/examples", "_templates", "gallery/*.ipynb", "gallery/*.py"),
    *("sg_execution_times.rst", "gallery/sg_execution_times.rst"),  # they load tables from elsewhere
]
templates_path = ["_templates"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_baseurl = os.environ.get("DOCS_URL", "")  # where the site is published
html_copy_source = False

myst_heading_anchors = 4
autodoc_typehints = "none"  # docstrings have them in words; NumPy's would be written out with private names
autosummary_generate = True
autosummary_context = {"public_methods": _gather.public_methods()}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "_gathered/examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": "|".join(_gather.NOT_RUN) or "$^",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 5,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
}
