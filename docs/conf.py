"""How ``make docs`` builds these pages: Sphinx reads the Markdown as it is; the reference of all settings is made of the code."""

import re
import sys
from importlib import import_module
from pathlib import Path

from vfgateway import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "vfgateway"
version = release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["_build", "examples"]
html_theme = "furo"
html_title = f"vfgateway {version}"
html_copy_source = False
# Blocks for the terminal have comments, and words that stand for others.
highlight_language = "none"


def setup(app):
    """Called by Sphinx."""
    app.connect(
        "source-read",
        lambda app, page, source: source.__setitem__(0, source[0].replace("](../README.md)", "](start.md)")),
    )
    write("settings.md", import_module("settings_reference").page())
    readme = (HERE.parent / "README.md").read_text()
    links = re.sub(r"\]\((?![a-z]+:|docs/)", "](../", readme)
    write("start.md", links.replace("](docs/", "]("))


def write(name: str, text: str) -> None:
    """Make a page, unless it is as it should be: otherwise all that refers to it is built anew."""
    if not (HERE / name).exists() or (HERE / name).read_text() != text:
        (HERE / name).write_text(text)
