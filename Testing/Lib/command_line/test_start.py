"""What the command line loads: nothing dear before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEAR = ("torch", "numpy", "SimpleITK", "matplotlib", "pydicom")


def loaded(arguments, code=0):
    """Of ``DEAR``, what a command loaded."""
    script = f"""
import sys
from DeepRegistrationLib.__main__ import main
try:
    code = main({arguments!r})
except SystemExit as error:
    code = error.code or 0
print("loaded", *[name for name in {DEAR!r} if name in sys.modules])
sys.exit(code)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("command", [[], ["register"], ["batch"], ["template"], ["apply"], ["evaluate"], ["methods"]])
def test_help_loads_nothing_dear(command):
    assert loaded([*command, "--help"]) == []


def test_a_wrong_option_is_said_before_anything_is_loaded():
    assert loaded(["register", "a", "b", "--refine", "slow"], code=2) == []
    assert loaded(["regster"], code=2) == []


def test_register_loads_neither_pages_nor_dicom():
    assert loaded(["register", "a.nrrd", "b.nrrd", "--output-transform", "t.h5"], code=2) == [
        "torch",
        "numpy",
        "SimpleITK",
    ]


def test_a_worker_that_stays_looks_through_nothing_of_pytorch_after_each_request():
    script = """
import gc
from DeepRegistrationLib.command_line.serve import load
load()
print(len(gc.get_objects()))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert int(ended.stdout) < 10_000
