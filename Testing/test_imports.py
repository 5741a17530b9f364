"""Every name that is imported from this project is there, also where it is imported inside a function."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOPS = {name: ROOT / name for name in ("DeepRegistrationLib", "Testing", "Training", "benchmarks")}
TOPS["DeepRegistrationSlicer"] = ROOT / "DeepRegistration" / "DeepRegistrationSlicer"


def place_of(parts):
    """The file of a module, or its folder without an ``__init__``; None if there is no such module."""
    path = TOPS[parts[0]].joinpath(*parts[1:])
    found = (path.with_suffix(".py"), path / "__init__.py", path)
    return next((place for place in found if place.exists()), None)


@functools.cache
def names_in(place):
    """What a module or a folder holds; None where it makes names when they are asked for."""
    if place.is_dir():
        return {p.stem for p in place.iterdir()}
    names = {p.stem for p in place.parent.iterdir()} if place.name == "__init__.py" else set()
    for node in ast.walk(ast.parse(place.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return None if "__getattr__" in names else names


def imports_of(path, top):
    """(line, module's parts, name) of each ``from ... import`` of this project in a file."""
    here = (top, *path.relative_to(TOPS[top]).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = here[: len(here) - node.level + 1] if node.level else ()
            parts = (*parts, *(node.module.split(".") if node.module else ()))
            if parts and parts[0] in TOPS:
                yield from ((node.lineno, parts, alias.name) for alias in node.names if alias.name != "*")


@pytest.mark.parametrize("top", TOPS)
def test_every_imported_name_is_there(top):
    missing = []
    for path in sorted(TOPS[top].rglob("*.py")):
        for line, parts, name in imports_of(path, top):
            place = place_of(parts)
            names = set() if place is None else names_in(place)
            if names is not None and name not in names:
                missing.append(f"{path.relative_to(ROOT)}:{line}: {'.'.join(parts)} has no {name}")
    assert not missing, "\n".join(missing)
