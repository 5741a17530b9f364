"""Every test that docs/faults.md names exists, and every number of the list is there."""

import ast
import re

from .architecture import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def functions_in(name):
    tree = ast.parse((ROOT / "Testing" / name).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def named(row):
    """(file, test) of each in a row; ``::test`` alone is of the file before it."""
    file = ""
    for found in re.findall(r"`([\w/]*(?:\.py)?)::(\w+)`", row):
        file = found[0] or file
        yield file, found[1]


def test_every_named_test_exists():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    pairs = [pair for row in rows for pair in named(row)]
    assert len(pairs) > 90
    for file, test in pairs:
        assert test in functions_in(file), f"docs/faults.md names {file}::{test}"


def test_every_number_has_a_row_with_a_test():
    numbers = {int(row.split("|")[1]): row for row in PAGE.splitlines() if re.match(r"\| \d+ \|", row)}
    assert sorted(numbers) == list(range(1, 35))
    assert all(list(named(row)) for row in numbers.values())
