"""Generated pairs of growing size, up to a CT as large as a whole chest and belly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .pairs import Pair
from .worker import environment, voxels_of

SIZES = (
    *((f"{edge}", (edge, edge * 5 // 4, edge), "head") for edge in (48, 64, 96, 128, 160, 192)),
    ("512x512x300", (300, 512, 512), "ct"),
)
"""Name, shape (array order) and kind of each pair."""


def make_pair(name: str, shape: tuple[int, ...], kind: str, folder: Path) -> Pair:
    """Write both images of the demonstration's head at ``shape``; a CT is a small one made fine, in 16 bits."""
    from DeepRegistrationLib.phantom.demo_pair import demo_pair

    small = shape if kind == "head" else (96, 120, 96)
    pair = demo_pair(shape=small, spacing=192 / small[0])
    files = [folder / f"{which}.nrrd" for which in ("fixed", "moving")]
    for image, file in zip((pair.fixed, pair.moving), files, strict=True):
        picture = image.to_sitk()
        sitk.WriteImage(picture if kind == "head" else _fine(picture, shape), str(file))
    return Pair(name, "scaling", str(files[0]), str(files[1]), cross=True)


def _fine(image: sitk.Image, shape: tuple[int, ...]) -> sitk.Image:
    size = list(reversed(shape))
    spacing = [s * n / m for s, n, m in zip(image.GetSpacing(), image.GetSize(), size, strict=True)]
    values = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), 0.0
    )
    return sitk.Cast(sitk.RescaleIntensity(values, -1000, 2000), sitk.sitkInt16)


def measure_command(pair: Pair, refine: str, threads: int, folder: Path) -> dict[str, Any]:
    """The command line on ``pair``, reading and writing included: seconds, peak memory, voxels (Linux and macOS)."""
    command = [sys.executable, "-m", "DeepRegistrationLib", "register", pair.fixed, pair.moving]
    command += ["--refine", refine, "--output-transform", str(folder / "transform.h5")]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment(threads),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        return {"error": f"exit code {os.waitstatus_to_exitcode(status)}: {said.strip()[-200:]}"}
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "linux" else 1 << 30)
    cpu = usage.ru_utime + usage.ru_stime
    return {"wall": time.perf_counter() - started, "cpu": cpu, "peak_gb": peak, "voxels": voxels_of(pair.fixed)}
