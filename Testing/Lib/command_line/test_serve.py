"""The process that serves one command after the other, spoken to as by a program that stays open."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.command_line.protocol import ENDED_FILE, ERRORS_FILE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def ask(tmp_path):
    """A function that sends a command line, and gives what is told of its end and what was said."""
    command = [sys.executable, "-m", "DeepRegistrationLib", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as process:

        def send(*arguments):
            folder = tmp_path / f"request{len([*tmp_path.iterdir()])}"
            folder.mkdir()
            for line in ("no JSON{", "[]", "{}", json.dumps({"arguments": arguments, "folder": str(folder)})):
                process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            while not (folder / ENDED_FILE).exists():
                assert process.poll() is None
                time.sleep(0.02)
            ended, said = ((folder / name).read_text(encoding="utf-8") for name in (ENDED_FILE, ERRORS_FILE))
            return json.loads(ended), said

        yield send
        process.stdin.close()
        assert process.wait(60) == 0


def test_what_is_refused_or_asks_for_help_ends_no_process(ask, tmp_path):
    field = str(tmp_path / "field.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(np.full((5, 6, 7, 3), 0.5, np.float32), isVector=True), field)
    for arguments, code, sentence in (
        (["register", field, field], 2, "Nothing would be kept"),
        (["apply", "--help"], 0, ""),
        (["evaluate", "--transform", str(tmp_path / "none.h5"), "--fixed", field], 2, "does not exist"),
        (["methods", "--json"], 0, ""),
    ):
        ended, said = ask(*arguments)
        assert ended == {"code": code, "stays": True}
        assert sentence in said
