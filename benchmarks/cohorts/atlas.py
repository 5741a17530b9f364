"""The command ``template`` against antspyx' ``build_template``: Dice of labels that travel, leave one out, and time.

python -m benchmarks cohort-atlas DATA/hippocampus --peer-python PYTHON-WITH-ANTSPYX
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import read_image
from DeepRegistrationLib.quality import metrics

from .cluster import timed
from .page import replace_section

PEER = Path(__file__).with_name("ants_template.py")


def add_atlas(commands: Any) -> None:
    parser = commands.add_parser("cohort-atlas", help="our template and antspyx' of the same subjects")
    parser.add_argument("images", type=Path, help="folder of images and label maps")
    parser.add_argument("--pattern", default="*_img.nii.gz")
    parser.add_argument("--labels", default="_img:_lab", help="OLD:NEW, what to replace in an image's name")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4, help="of ours; of the peer one less, its default is 3")
    parser.add_argument("--peer-python", default="", help="a Python with antspyx; nothing: ours alone")
    parser.add_argument("--folder", type=Path, help="where the results go, and stay (default: nowhere)")
    parser.add_argument("--output", type=Path, default=Path("docs/scale.md"), help="page whose section is written anew")
    parser.add_argument("--section", default="cohort-atlas")
    parser.set_defaults(run=run_atlas)


def run_atlas(options: argparse.Namespace) -> None:
    """Both, one after the other, on one thread; then the page."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        path = _listed(options, folder)
        ours = [sys.executable, "-m", "DeepRegistrationLib", "template", str(path), "--output", str(folder / "ours")]
        how = ["--method", "none", "--device", "cpu", "--threads", "1", "--weighting", "majority"]
        found = {"ours": _measured([*ours, *how, "--rounds", str(options.rounds)], folder)}
        again = _measured([*ours, *how[:-1], "local", "--rounds", str(options.rounds)], folder)  # only the labels anew
        found["ours, local weighting"] = {**found["ours"], "dice": again["dice"]}
        if options.peer_python:
            peer = [options.peer_python, str(PEER), str(path), str(folder / "peer"), str(options.rounds - 1)]
            found["antspyx build_template"] = _measured(peer, folder) | {"dice": _dice(path, folder / "peer")}
        print(json.dumps(found), flush=True)
    lines = [
        f"{options.count} subjects of {options.images.name}, one thread each side, one after the other in one run:",
        "",
        "| template | leave-one-out Dice, mean | worst subject | processor time, s | wall, s |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {np.mean(f['dice']):.3f} | {min(f['dice']):.3f} | {f['cpu']:.0f} | {f['wall']:.0f} |"
            for name, f in found.items()
        ),
    ]
    replace_section(options.output, options.section, lines)


def _listed(options: argparse.Namespace, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    old, _, new = options.labels.partition(":")
    images = sorted(options.images.glob(options.pattern))[: options.count]
    if len(images) < max(2, options.count):
        raise InputError(f"{options.images} has {len(images)} images {options.pattern}; lower --count.")
    path = folder / "list.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "image", "labels"))
        for k, image in enumerate(images):
            writer.writerow((f"s{k:02d}", image.absolute(), image.with_name(image.name.replace(old, new)).absolute()))
    return path


def _measured(command: list[str], folder: Path) -> dict[str, Any]:
    """Run it: seconds of wall and processor, and our leave-one-out Dice where there is one."""
    wall, cpu = timed(command, {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    scores = folder / "ours" / "leave_one_out.csv"
    dice = []
    if scores.is_file():
        with scores.open(encoding="utf-8") as file:
            dice = [float(row["dice"]) for row in csv.DictReader(file)]
    return {"wall": wall, "cpu": cpu, "dice": dice}


def _dice(path: Path, folder: Path) -> list[float]:
    """Of each subject, the mean over its labels, as the library's leave-one-out."""
    scores = []
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            maps = [read_image(name).array.astype(int) for name in (row["labels"], folder / f"{row['name']}.nii.gz")]
            scores.append(metrics.mean(metrics.dice(*maps)))
    return scores
