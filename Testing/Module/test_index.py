"""The Extensions Index' own checks, restated and run on this checkout as they will be on a clone of it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRY = ROOT / "docs" / "DeepRegistration.json"
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
MOST_BYTES = 100e6

SCHEMA = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}
"""Version 1.0.2: every key that an entry may have, and what it holds."""
REQUIRED = {"$schema", "category", "scm_url"}
KNOWN_TO_SLICER = [
    "HOMEPAGE",
    "CONTRIBUTORS",
    "CATEGORY",
    "ICONURL",
    "DESCRIPTION",
    "SCREENSHOTURLS",
    "ENABLED",
    "STATUS",
    "TIER",
    "DEPENDS",
]
LICENSES = ("LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING", "COPYING.txt")


def entry() -> dict:
    return json.loads(ENTRY.read_text(encoding="utf-8"))


def test_the_entry_is_what_the_schema_allows():
    assert b"\r" not in ENTRY.read_bytes()
    found = entry()
    assert set(found) >= REQUIRED
    for key, value in found.items():
        assert type(value) is SCHEMA[key], key
    assert found["$schema"].split("#")[0].endswith("/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json")
    assert found["category"] == "Registration"
    assert 1 <= found["tier"] <= 5
    assert found["build_dependencies"] == ["PyTorch"]


def test_names_and_addresses_agree():
    found = entry()
    address = urlsplit(found["scm_url"])
    assert address.scheme == "https"
    repository = Path(address.path).stem
    assert repository == f"Slicer{ENTRY.stem}"
    assert not ENTRY.stem.lower().startswith("slicer")
    assert re.findall(r"project\s*\(\s*([^\s)]+)", CMAKE) == [ENTRY.stem]
    home = re.search(r'set\(EXTENSION_HOMEPAGE "([^"]+)"\)', CMAKE)[1]
    assert found["scm_url"] in (home, f"{home}.git")
    # The pictures are read from the branch that is built.
    for url in re.findall(r"https://raw\S+?\.png", CMAKE):
        assert f"/{repository}/{found['scm_revision']}/" in url


def test_the_metadata_are_found_where_the_index_looks():
    """It does not run CMake: each is looked for on a line of its own, in quotes, with nothing before the bracket."""
    assert len(re.findall(r'^set\s*\(EXTENSION_ICONURL\s*"(http[^"]+\.png)"[ ]*\)', CMAKE, re.MULTILINE)) == 1
    screenshots = re.findall(r'^set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', CMAKE, re.MULTILINE)
    assert len(screenshots) == 1
    assert all(url.startswith("http") for url in screenshots[0].split())
    assert set(re.findall(r"set\(EXTENSION_(\w+)", CMAKE)) <= set(KNOWN_TO_SLICER)
    depends = re.search(r'set\(EXTENSION_DEPENDS "([^"]*)"\)', CMAKE)[1]
    assert depends.split() == entry()["build_dependencies"]


def test_there_is_a_license_under_a_known_name():
    (path,) = [ROOT / name for name in LICENSES if (ROOT / name).is_file()]
    assert "Apache License" in path.read_text(encoding="utf-8")


def test_a_clone_is_small_enough():
    """With its whole history, as a revision is named in the entry."""
    inside = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if inside.returncode:
        pytest.skip("no git checkout here")
    files = [ROOT / name for name in inside.stdout.decode("utf-8").split("\0") if name]
    # Packed anew, as a server does for a clone: how a checkout's own store is packed says nothing of that.
    packing = ["git", "pack-objects", "--revs", "--all", "--stdout", "--quiet"]
    packed = len(subprocess.run(packing, cwd=ROOT, input=b"HEAD\n", capture_output=True, check=True).stdout)
    assert sum(f.stat().st_size for f in files if f.is_file()) + packed < MOST_BYTES


def test_importing_the_module_runs_nothing():
    """What Slicer imports when it starts holds imports, definitions and names for texts, nothing that is done."""
    tree = ast.parse((ROOT / "DeepRegistration" / "DeepRegistration.py").read_text(encoding="utf-8"))
    for node in tree.body:
        is_text = isinstance(node, ast.Expr | ast.Assign) and isinstance(node.value, ast.Constant)
        is_definition = isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef)
        assert is_text or is_definition, f"line {node.lineno}: {ast.unparse(node)[:80]}"


def test_no_installer_of_packages_is_called():
    """PyTorch comes through its extension, and nothing else is needed."""
    for path in (ROOT / "DeepRegistration").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            assert name not in ("pip_install", "pip_ensure", "urlopen", "urlretrieve", "downloadFile"), path


def test_the_answers_for_the_reviewers_are_complete():
    text = (ROOT / "docs" / "submission.md").read_text(encoding="utf-8")
    for words in ("3d-slicer-extension", "BUILD_TESTING", "Qt 6", "first-time user", "Patents".lower(), "removed"):
        assert words in text, words
    steps = [int(n) for n in re.findall(r"^\| \d\. .*? \| (\d) \|", text, re.MULTILINE)]
    assert len(steps) == 3
    assert sum(steps) <= 3
