"""Every smoke plan, shortened: runs, resumes after kill -9 with the same losses, exports, and the bundle registers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import read_transform
from Testing.data import ROOT
from Training.plan import PLANS, read_plan
from Training.runs.logs import read_log
from Training.runs.train import source_of

SHORTER = {"steps": 8, "validate_every": 4, "validation_pairs": 1, "checkpoint_every": 2, "log_every": 1}


def shortened(plan: Path, folder: Path) -> Path:
    """The plan with fewer steps, and a checkpoint every other one."""
    text = plan.read_text(encoding="utf-8")
    for key, value in SHORTER.items():
        text, found = re.subn(rf"(?m)^{key} = \d+$", f"{key} = {value}", text)
        if not found:
            text += f"{key} = {value}\n"  # the schedule is the last table of these plans
    path = folder / plan.name
    path.write_text(text, encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "Training", *map(str, arguments)]


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_log(folder) if line["kind"] == "train"]


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(PLANS.glob("*-smoke.toml")), ids=lambda p: p.stem)
def test_a_smoke_plan_resumes_after_a_kill_and_its_bundle_registers(source: Path, tmp_path: Path) -> None:
    plan = shortened(source, tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    common = {"cwd": ROOT, "env": environment, "timeout": 900}
    train = [*command("train", plan, "--device", "cpu", "--threads", 1, "--quiet"), "--output"]
    subprocess.run([*train, str(tmp_path / "whole")], check=True, **common)  # type: ignore[call-overload]
    process = subprocess.Popen([*train, str(tmp_path / "killed")], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 900
    while len(losses(tmp_path / "killed")) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*train, str(tmp_path / "killed")], check=True, **common)  # type: ignore[call-overload]
    assert len(losses(tmp_path / "whole")) == SHORTER["steps"]
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")
    bundle = tmp_path / "model.safetensors"
    subprocess.run(command("export", plan, tmp_path / "killed", bundle), check=True, **common)  # type: ignore[call-overload]
    read = read_plan(plan)
    pair = source_of(read, torch.device("cpu")).batch([0], 1.0)
    shape = tuple(pair.fixed.shape[2:])
    for name, image in (("f", pair.fixed), ("m", pair.moving)):
        Image(image[0, 0].numpy(), Grid.from_shape(shape, 1.0)).save(tmp_path / f"{name}.nii.gz")
    register = [sys.executable, "-m", "DeepRegistrationLib", "register", "f.nii.gz", "m.nii.gz", "--progress", "none"]
    how = ["--method", str(bundle), "--refine", "none", "--affine", "none", "--output-transform", "t.h5"]
    path = {**environment, "PYTHONPATH": str(ROOT)}
    subprocess.run([*register, *how], check=True, cwd=tmp_path, env=path, timeout=900)
    assert read_transform(tmp_path / "t.h5").GetDimension() == len(shape)
