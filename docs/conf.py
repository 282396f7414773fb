"""The documentation as a site: ``make docs``.

Sphinx reads the repository from its root, so that pages, notebooks, benchmark results
and CONTRIBUTING.md are taken from where they stand, and a relative link is the same on
the site and in the repository. Written while building: a page for each public module,
in ``docs/api``.
"""

from __future__ import annotations

import importlib
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import funcad

project = "funcad"
author = "funcad developers"
release = version = funcad.__version__
project_copyright = f"{author}, MIT licence"

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "bench/results/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "dist", "src", "tests"]
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]

# -------------------------------------------------------------------- pages, notebooks

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Outputs are those that are stored: the tests run every notebook.
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "image/gif", 35)]

# ----------------------------------------------------------------------- API reference

autodoc_default_options = {"members": True}
# Docstrings say types, with shapes and dtypes.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
nitpicky = True
default_role = "py:obj"

# ------------------------------------------------------------------------------- looks

html_theme = "furo"
html_title = f"funcad {version}"
html_copy_source = False
html_additional_pages = {"index": "to_front_page.html"}
templates_path = ["templates"]
copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d+\]: "
copybutton_prompt_is_regexp = True


def setup(app: Any) -> None:
    """Write the pages of the API reference before anything is read."""
    app.connect("config-inited", lambda app, config: write_api_pages(app.srcdir))
    app.connect("autodoc-skip-member", not_of_funcad)
    app.connect("source-read", without_last_blank_lines)


def public_modules(module: types.ModuleType) -> Iterator[str]:
    """Name of a module, and of the public modules in it."""
    yield module.__name__
    for name in sorted(getattr(module, "__all__", ())):
        if isinstance(getattr(module, name), types.ModuleType):
            yield from public_modules(getattr(module, name))


def write_api_pages(root: pathlib.Path) -> None:
    """Write a page for each public module, and take away those of modules that went."""
    folder = pathlib.Path(root) / "docs" / "api"
    folder.mkdir(exist_ok=True)
    pages = {f"{name}.md": page_of(name) for name in public_modules(funcad)}
    for path in folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def page_of(name: str) -> str:
    """Source of a module's page; objects that are no classes get an entry each."""
    module = importlib.import_module(name)
    objects = [
        key
        for key in sorted(module.__all__)
        if type(getattr(module, key)).__module__.startswith("funcad")
    ]
    lines = [f".. automodule:: {name}"]
    lines += [f"   :exclude-members: {', '.join(objects)}"] if objects else []
    for key in objects:
        lines += ["", f".. autodata:: {name}.{key}", "   :no-value:"]
    return "\n".join([f"# `{name}`", "", "```{eval-rst}", *lines, "```", ""])


def not_of_funcad(
    app: Any, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Skip what another library documents, and a class's names for other classes."""
    module = getattr(obj, "__module__", None) or "funcad"
    foreign = not module.startswith("funcad")
    return foreign or (what == "class" and isinstance(obj, type)) or None


def without_last_blank_lines(app: Any, name: str, source: list[str]) -> None:
    """Take away the blank lines that end the examples of pages for doctest's sake."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")
