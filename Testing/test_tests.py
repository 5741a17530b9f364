"""What every test keeps: no assertion on how long something took, and a name that each process gives it alike."""

import ast
import gzip
from collections.abc import Iterator

import pytest

from .architecture import ROOT

CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time"}


def timed(tree: ast.AST) -> Iterator[int]:
    """Lines that assert on a clock's reading less another; a deadline, compared with the bare reading, may stay."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assert):
            continue
        for part in ast.walk(node.test):
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and any(map(is_clock, ast.walk(part))):
                yield node.lineno


def is_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS


def test_no_test_asserts_how_long_something_took():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "Testing").rglob("*.py"))
        for line in timed(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, f"asserts on seconds: {', '.join(found)}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("assert time.monotonic() - start < 1", [1]),
        ("assert 2 > perf.perf_counter() - start", [1]),
        ("assert time.monotonic() < end", []),
    ],
)
def test_such_an_assertion_is_found(text, expected):
    assert list(timed(ast.parse(text))) == expected


@pytest.mark.parametrize("data", [gzip.compress(b"a"), gzip.compress(b"b", mtime=0)])
def test_bytes_name_no_test(request, data):
    assert request.node.name in ("test_bytes_name_no_test[data0]", "test_bytes_name_no_test[data1]")
