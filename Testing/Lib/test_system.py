import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLD = """
import os, sys
import {module}.__main__ as command
assert "torch" not in sys.modules
try:
    command.main(["--help"])
except SystemExit:
    pass
print(os.environ["GOMP_SPINCOUNT"])
"""


def told(module, **environment):
    run = subprocess.run(
        [sys.executable, "-c", TOLD.format(module=module)],
        capture_output=True, text=True, cwd=ROOT, env={"PATH": "", **environment}, check=True, encoding="utf-8",
    )  # fmt: skip
    return run.stdout.split()[-1]


@pytest.mark.parametrize("module", ["DeepRegistrationLib", "Training"])
def test_waiting_threads_are_told_to_sleep_soon_before_pytorch_reads_it(module):
    assert 1000 <= int(told(module)) <= 30_000


def test_what_the_user_says_of_waiting_threads_counts():
    assert told("DeepRegistrationLib", GOMP_SPINCOUNT="77") == "77"
