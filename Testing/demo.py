"""``make demo``: register a generated head pair whose true transform is known, or two images of the user's.

Everything is written into one folder: the transform and its inverse, the warped volume, a report, pictures, and a scene
that opens in Slicer.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.command_line.progress_bar import ProgressBar
from DeepRegistrationLib.geometry.image import Image, read_image
from DeepRegistrationLib.phantom.demo_pair import DemoPair, demo_pair
from DeepRegistrationLib.quality.report import save_report
from DeepRegistrationLib.quality.scores import score_labels, score_points
from DeepRegistrationLib.result import Result


def main() -> int:
    """Run the demonstration; exit code 0, or 2 with one sentence if an image cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--fixed", help="an image of yours (with --moving)")
    parser.add_argument("--moving")
    options = parser.parse_args()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        if options.fixed or options.moving:
            if not (options.fixed and options.moving):
                raise InputError("FIXED and MOVING belong together; give both, or none for the generated pair.")
            pair = None
            fixed, moving = read_image(options.fixed, "fixed image"), read_image(options.moving, "moving image")
        else:
            print("Generating a T1-like and a T2-like head with a known transform between them ...", flush=True)
            pair = demo_pair()
            fixed, moving = pair.fixed, pair.moving
            save_inputs(pair, options.output)
        bar = ProgressBar()
        result = register(fixed, moving, progress=bar)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    bar.close()
    result.transform.save(options.output / "transform.h5")
    result.inverse.save(options.output / "inverse.h5")
    result.warped.save(options.output / "warped.nii.gz")
    save_report(result.report, options.output, fixed, moving, result.warped)
    for name, value in result.report.lines():
        print(f"{name}: {value}")
    if pair is not None:
        print(compare_with_truth(pair, result))
    scene = save_scene(fixed, moving, result, options.output)
    print(f"Open {options.output / 'report.html'} in a browser and {scene} in Slicer.")
    return 0


def save_inputs(pair: DemoPair, folder: Path) -> None:
    """The generated images and label maps, for those who want to try the command line on them."""
    for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
        getattr(pair, name).save(folder / f"{name}.nii.gz")


@dataclass(frozen=True)
class Comparison:
    """How near the result is to the truth; error in mm over the head of the fixed image."""

    error_before: float
    error_after: float
    dice_before: float
    dice_after: float
    landmarks_before: float
    landmarks_after: float
    folding_percent: float

    def __str__(self) -> str:
        return (
            "Against the known truth: "
            f"mean error {self.error_before:.2f} -> {self.error_after:.2f} mm, "
            f"Dice {self.dice_before:.3f} -> {self.dice_after:.3f}, "
            f"landmarks {self.landmarks_before:.2f} -> {self.landmarks_after:.2f} mm, "
            f"folding {self.folding_percent:.4f} %"
        )


def compare_with_truth(pair: DemoPair, result: Result) -> Comparison:
    """Score a registration of the generated pair."""
    labels = score_labels(result.transform, pair.fixed_labels, pair.moving_labels)
    points = score_points(result.transform, pair.fixed_points, pair.moving_points)
    inside = pair.fixed_labels.array > 0
    found = result.transform.displacement(pair.fixed.grid)
    return Comparison(
        float(np.linalg.norm(pair.true_displacement, axis=-1)[inside].mean()),
        float(np.linalg.norm(found - pair.true_displacement, axis=-1)[inside].mean()),
        labels["mean_dice_before"],
        labels["mean_dice_after"],
        points["mean_tre_before_mm"],
        points["mean_tre_after_mm"],
        labels["folding_percent"],
    )


def save_scene(fixed: Image, moving: Image, result: Result, folder: Path) -> Path:
    """An ``.mrb`` with both images, the warped one and the transform, made of real MRML nodes; slice pictures too."""
    from Testing.host import boot

    host = boot()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "DeepRegistration"))
    import slicer
    from DeepRegistrationSlicer.scene import display, nodes, views

    volumes = {}
    for name, image in (("Fixed", fixed), ("Moving", moving), ("Moving warped", result.warped)):
        volumes[name] = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        volumes[name].CreateDefaultDisplayNodes()
        picture = image.to_sitk()
        nodes.setVolume(volumes[name], picture if image.ndim == 3 else sitk.JoinSeries(picture))
        display.makeReadable(volumes[name])
    if result.transform.GetDimension() == 3:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Moving to Fixed")
        domain = result.transform.domain
        nodes.setField(transform, domain.to_sitk(result.transform.displacement(), vector=True))
        nodes.setRoles(transform, volumes["Fixed"], volumes["Moving"])
    views.overlay(volumes["Fixed"], volumes["Moving warped"])
    for view, plane in (("Red", "axial"), ("Green", "coronal"), ("Yellow", "sagittal")):
        host.slice_view(view).save(folder / f"slicer_{plane}.png")
    path = (folder / "scene.mrb").absolute()
    path.unlink(missing_ok=True)
    slicer.util.saveScene(str(path))
    host.close()
    return folder / path.name


if __name__ == "__main__":
    sys.exit(main())
