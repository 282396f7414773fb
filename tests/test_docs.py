"""The documentation: links lead somewhere, and the code of its tables runs.

The examples of the pages are run by pytest itself, as those of docstrings are; the
site is built by ``make docs``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcad

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "bench" / "results").glob("*.md")),
]
FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1`*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def text_of(path: Path) -> str:
    """Markdown of a page or of a notebook's cells, without fenced code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        written = (c["source"] for c in cells if c["cell_type"] == "markdown")
        text = "\n\n".join("".join(source) for source in written)
    return FENCE.sub("", text)


def anchors_of(path: Path) -> set[str]:
    """Names of a page's headings, as GitHub and MyST make them."""
    titles = HEADING.findall(text_of(path))
    kept = (re.sub(r"[^\w\- ]", "", title.strip().lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_images_and_anchors_exist(page):
    missing = []
    for target in LINK.findall(CODE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        if not path.exists() or (anchor and anchor not in anchors_of(path)):
            missing.append(target)
    assert not missing


def test_a_link_that_leads_nowhere_is_found(tmp_path, monkeypatch):
    page = ROOT / "docs" / "nowhere.md"
    text = "# Here\n[a](#here) [b](#there) [c](none.md) ![d](no.png) `[e](code)`"
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: text)
    monkeypatch.setattr(Path, "exists", lambda path: path == page)
    with pytest.raises(AssertionError, match=re.escape("['#there', 'none.md', 'no.p")):
        test_relative_links_images_and_anchors_exist(page)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=name_of)
def test_every_python_block_is_an_example_that_runs(page):
    if page.name == "new_primitive.md":
        pytest.skip("its blocks are run by test_new_primitive.py")
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.M)
    assert all(block.startswith(">>> ") for block in blocks)


# ---------------------------------------------------------------- tables of equivalents

PEERS = {
    "autograd": """
        import autograd, autograd.scipy
        import autograd.numpy as np
        from autograd import *
        from autograd import checkpoint
        from autograd.misc.flatten import flatten
        from autograd.test_util import check_grads
        x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
        f = lambda x: np.sum(np.sin(x) * x)
        g = lambda x, y: np.sum(x * y**2)
        h = lambda x: np.outer(x, x)[:, 0] * np.sum(x)
        params = {"w": np.array([[1.0, 2.0]]), "b": np.array([3.0])}
        loss = lambda params: np.sum(params["w"] ** 2) * params["b"][0]
        """,
    "jax": """
        import jax, jax.flatten_util, jax.numpy as jnp, jax.scipy
        jax.config.update("jax_enable_x64", True)
        x, v = jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])
        f = lambda x: jnp.sum(jnp.sin(x) * x)
        g = lambda x, y: jnp.sum(x * y**2)
        h = lambda x: x * jnp.sum(x)
        params = {"w": jnp.array([[1.0, 2.0]]), "b": jnp.array([3.0])}
        rows = jnp.arange(6.0).reshape(3, 2)
        """,
    "pytorch": """
        import torch
        import torch.nn.functional as F
        from torch.utils.checkpoint import checkpoint
        torch.set_default_dtype(torch.float64)
        x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        t = x.clone().requires_grad_()
        f = lambda x: torch.sum(torch.sin(x) * x)
        h = lambda x: x * torch.sum(x)
        rows = torch.arange(6.0).reshape(3, 2)
        labels = torch.tensor([0, 1, 1])
        """,
}
MODULES = {"pytorch": "torch"}


def page_of(peer: str) -> str:
    return (ROOT / "docs" / f"coming_from_{peer}.md").read_text()


def rows_of(peer: str) -> list[tuple[str, str]]:
    """The peer's expression and funcad's, from the tables of the page."""
    return re.findall(r"^\| `(.+)` \| `(.+)` \|$", page_of(peer), re.MULTILINE)


def names_of(peer: str) -> dict[str, Any]:
    """What the page defines before its first table."""
    first = re.search(r"^```python\n(.*?)^```", page_of(peer), re.DOTALL | re.M)
    names: dict[str, Any] = {}
    exec(re.sub(r"^(>>>|\.\.\.) ?", "", first.group(1), flags=re.MULTILINE), names)
    exec("import scipy.special, funcad.numpy as fnp", names)
    return names


@pytest.mark.parametrize("peer", PEERS)
def test_tables_of_equivalents_name_what_exists(peer):
    rows = rows_of(peer)
    assert len(rows) >= 15
    names = names_of(peer)
    for _, code in rows:
        eval(code, names)


@pytest.mark.parametrize("peer", PEERS)
def test_both_columns_compute_the_same(peer):
    pytest.importorskip(
        MODULES.get(peer, peer), reason="the other column needs its library"
    )
    theirs: dict[str, Any] = {}
    lines = (line.strip() for line in PEERS[peer].strip().splitlines())
    exec("\n".join(lines), theirs)
    ours = names_of(peer)
    for left, right in rows_of(peer):
        ast.parse(left, mode="eval")
        expected, given = eval(left, theirs), eval(right, ours)
        for a, b in zip(leaves(expected), leaves(given), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12, err_msg=right)


def leaves(tree: Any) -> Iterator[np.ndarray]:
    for leaf in funcad.tree.leaves(tree):
        leaf = leaf.detach() if hasattr(leaf, "detach") else leaf
        yield np.asarray(leaf)
