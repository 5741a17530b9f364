"""The arrows of the house: who may import whom, and that importing does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STANDARD = sys.stdlib_module_names


def imports(path):
    """(top-level name, at module level?) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, ast.walk(ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], []))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], id(node) in top


@pytest.mark.parametrize(
    ("folder", "always", "lazily"),
    [
        ("DeepRegistrationLib", {"torch", "numpy", "SimpleITK"}, {"matplotlib"}),
        (
            "Training",
            {"torch", "numpy", "SimpleITK", "DeepRegistrationLib", "Training"},
            {"matplotlib", "h5py", "tensorboard"},
        ),
    ],
)
def test_the_libraries_import_only_what_is_theirs(folder, always, lazily):
    for path in (ROOT / folder).rglob("*.py"):
        for name, at_top in imports(path):
            allowed = always | (set() if at_top else lazily)
            assert name in STANDARD or name in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_importing_the_library_loads_neither_torch_nor_simpleitk():
    code = "import sys, DeepRegistrationLib; print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_every_promised_name_is_there():
    import DeepRegistrationLib

    for name in DeepRegistrationLib.__all__:
        assert getattr(DeepRegistrationLib, name).__name__ == name
