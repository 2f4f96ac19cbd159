"""Sphinx: how the pages are built."""

from __future__ import annotations

import django_smtpx

project = "django-smtpx"
author = "the django_smtpx developers"
copyright = author
release = version = django_smtpx.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"django-smtpx {release}"
