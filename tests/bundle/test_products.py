"""Products on one thread; `tests/edge_runtime/engines/test_threads.py` measures whole requests."""

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.products import inner, inner_pairs

BLAS = ("dot", "vdot", "matmul", "tensordot", "inner", "vecdot", "matvec", "multi_dot", "slogdet")
"""Functions of numpy that call BLAS; operator @ does, too."""
PLAIN_FORMS = ("reference.py",)
"""Run in tests only."""


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 9), st.integers(1, 5))
def test_products_are_the_sums_of_plain_loops(seed, n, m, dim):
    rng = np.random.default_rng(seed)
    one, two = (rng.integers(-9, 10, (k, dim)).astype(np.float32) for k in (n, m))
    wanted = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in two] for x in one]
    assert inner_pairs(one, two).tolist() == wanted
    assert inner_pairs(one, two).shape == (n, m)
    for at in range(m):
        assert inner(one, two[at]).tolist() == [line[at] for line in wanted]


def test_equal_vectors_have_equal_products_wherever_they_stand():
    rng = np.random.default_rng(1)
    vectors, query = rng.normal(size=(1000, 64)).astype(np.float32), rng.normal(size=64)
    vectors[::7] = vectors[0]
    query = query.astype(np.float32)
    assert len(np.unique(inner(vectors, query)[::7])) == 1
    assert len(np.unique(inner_pairs(vectors, query[None])[::7])) == 1


def test_products_may_be_written_in_place():
    found = np.zeros(3, np.float32)
    inner(np.eye(3, dtype=np.float32), np.array([1, 2, 3], np.float32), out=found)
    assert found.tolist() == [1, 2, 3]


def calls_blas(node: ast.AST) -> bool:
    """Whether a piece of Python is a product that numpy hands to BLAS."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return isinstance(node.op, ast.MatMult)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.linalg.norm":
        return not node.keywords  # without an axis it calls `dot`
    return isinstance(node, ast.Attribute) and node.attr in BLAS


@pytest.mark.parametrize("room", ["bundle", "edge_runtime"])
def test_nothing_on_the_device_calls_blas(repository, room):
    found = [
        f"{path.relative_to(repository)}:{node.lineno}"
        for path in sorted((repository / room).rglob("*.py"))
        if path.name not in PLAIN_FORMS
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.expr | ast.stmt) and calls_blas(node)
    ]
    assert found == []
