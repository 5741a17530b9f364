"""What is packaged is what is in the tree, and the package works as the sources do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import cmake_lists

ROOT = cmake_lists.ROOT
STANDIN = ROOT / "Testing" / "slicer_standin"


@pytest.mark.parametrize("path", cmake_lists.lists(), ids=lambda p: p.parent.name)
def test_cmake_lists_every_file(path):
    assert path.read_text(encoding="utf-8") == cmake_lists.lists()[path], "run: python -m Testing.Module.cmake_lists"


def test_only_the_module_lies_in_its_folder():
    """Slicer takes every Python file there for a module."""
    assert [p.name for p in (ROOT / "DeepRegistration").glob("*.py")] == ["DeepRegistration.py"]


HOME = "https://github.com/SlicerDeepRegistration/SlicerDeepRegistration"
RAW = "https://raw.githubusercontent.com/SlicerDeepRegistration/SlicerDeepRegistration/main/"


def metadata() -> dict[str, str]:
    """EXTENSION_... of the top CMakeLists.txt, as the index reads them: each on one line, in double quotes."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"]*)"\)$', text, re.MULTILINE))


def test_the_extension_describes_itself_as_the_index_wants_it():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "\r" not in text
    assert re.search(r"^project\(DeepRegistration\)$", text, re.MULTILINE)
    found = metadata()
    assert set(found) == {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    assert found["DEPENDS"] == "PyTorch"
    assert found["HOMEPAGE"] == HOME
    assert HOME.rsplit("/", 1)[1] == "Slicer" + "DeepRegistration"  # the index wants Slicer + the project's name
    for person in found["CONTRIBUTORS"].split(", "):
        assert re.fullmatch(r"\w[\w.-]*( \w[\w.-]*)+ \([^()]+\)", person), person
    assert 60 < len(found["DESCRIPTION"]) < 500
    assert found["DESCRIPTION"].endswith(".")
    assert not [name for name, text in found.items() if ";" in text], "CMake cuts a text off there"


@pytest.mark.parametrize("name", ["ICONURL", "SCREENSHOTURLS"])
def test_the_pictures_of_the_index_are_files_of_this_repository(name):
    addresses = metadata()[name].split(" ")
    assert all(addresses)
    for address in addresses:
        assert address.startswith(RAW)
        assert (ROOT / address.removeprefix(RAW)).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_module_links_to_its_tutorial():
    text = (ROOT / "DeepRegistration" / "DeepRegistration.py").read_text(encoding="utf-8")
    address = re.search(r'TUTORIAL = "([^"]+)"', text).group(1)
    assert (ROOT / address.removeprefix(f"{HOME}/blob/main/")).is_file()
    for line in re.findall(r'parent.contributors = \["([^"]+)"\]', text):
        assert line == metadata()["CONTRIBUTORS"]


def test_the_readme_has_what_reviewers_look_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"!\[[^]]+\]\(Resources/Screenshots/[^)]+\.png\)", text)
    sections = ("## Modules", "## Your data", "## How to cite", "## License")
    for words in (*sections, "Patents", "docs/tutorial.md", "docs/console.md"):
        assert words in text, words


def test_the_icons_are_128_pixels_wide():
    for path in (ROOT / "Resources" / "Icons", ROOT / "DeepRegistration" / "Resources" / "Icons"):
        data = (path / "DeepRegistration.png").read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert [int.from_bytes(data[i : i + 4], "big") for i in (16, 20)] == [128, 128]


OLDEST, NEWEST = "3.20.6", "3.28.0"
"""What Slicer 5.10.0 itself asks of CMake, and what the extension template of Slicer's main does."""


def test_any_cmake_that_builds_slicer_5_10_builds_it_with_the_templates_policies():
    first = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"cmake_minimum_required(VERSION {OLDEST}...{NEWEST} FATAL_ERROR)"


def cmake_version() -> tuple[int, ...] | None:
    """Of the one on the path; None if there is none."""
    if shutil.which("cmake") is None:
        return None
    return tuple(int(n) for n in re.search(r"version (\d+)\.(\d+)\.(\d+)", _run("cmake", "--version")).groups())


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of the scripted modules after cmake, build, test and install against the stand-in for Slicer."""
    found, needed = cmake_version(), tuple(int(n) for n in OLDEST.split("."))
    if found is None or found < needed:
        pytest.skip(f"CMake {OLDEST} or newer is needed to build an extension; here is {found or 'none'}")
    folder = tmp_path_factory.mktemp("package")
    # Copied, so that nothing of the checkout can be found by accident.
    for name in ("DeepRegistration", "DeepRegistrationLib", "Resources"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CMakeLists.txt", folder / "source")
    build = folder / "build"
    # No compiler is needed: the extension is Python only.
    quiet = ["-DCMAKE_C_COMPILER_WORKS=1", "-DCMAKE_CXX_COMPILER_WORKS=1"]
    quiet += ["-DBUILD_TESTING=ON", f"-DSTANDIN_PYTHON={sys.executable}"]
    _run("cmake", "-S", folder / "source", "-B", build, f"-DSlicer_DIR={STANDIN}", *quiet)
    _run("cmake", "--build", build)
    listed = _run("ctest", "--test-dir", build, "-N")
    assert re.findall(r"Test +#\d+: (\w+)", listed) == ["py_DeepRegistration", "py_DeepRegistrationPackageTest"]
    _run("ctest", "--test-dir", build, "--output-on-failure", "-R", "PackageTest")
    _run("cmake", "--install", build, "--prefix", folder / "installed")
    shutil.rmtree(folder / "source")
    return folder / "installed" / "lib" / "Slicer-5.13" / "qt-scripted-modules"


def test_the_package_holds_module_library_and_resources(installed):
    found = {p.relative_to(installed).as_posix() for p in installed.rglob("*") if p.is_file()}
    for folder, prefix in (("DeepRegistration", ""), ("DeepRegistrationLib", "DeepRegistrationLib/")):
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT / folder).parts
            if path.is_file() and "__pycache__" not in inside and inside[0] not in ("CMakeLists.txt", "Testing"):
                assert prefix + path.relative_to(ROOT / folder).as_posix() in found
    for path in (ROOT / "Resources" / "Models").iterdir():
        assert f"Resources/Models/{path.name}" in found
    assert not [name for name in found if "Training" in name or "Testing" in name]


@pytest.mark.parametrize("layout", [pytest.param("sources", marks=pytest.mark.slow), "package"])
def test_a_registration_runs_from(layout, request, tmp_path):
    """Opened, clicked and finished by the real worker, in a process that finds nothing else of the project."""
    folder = ROOT / "DeepRegistration" if layout == "sources" else request.getfixturevalue("installed")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from Testing import host
from Testing.host import interact
running = host.boot()
sys.path.remove({str(ROOT)!r})
import slicer, numpy as np
host.load_module({str(folder / "DeepRegistration.py")!r})
widget = slicer.modules.deepregistration.widgetRepresentation()
from DeepRegistrationSlicer import selftest
from DeepRegistrationSlicer.worker import process
assert process.libraryFolder() == __import__("pathlib").Path({str(ROOT if layout == "sources" else folder)!r})
import DeepRegistrationLib
assert DeepRegistrationLib.__file__.startswith(str(process.libraryFolder()))
slicer.modules.DeepRegistrationInstance.runTest()
assert "torch" not in sys.modules
assert not running.errors, running.errors
print("PASSED")
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert "PASSED" in done.stdout


def _run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
