"""The methods that are measured: this library's, and the peers'. Each is a function of images in memory.

A method takes two float32 SimpleITK images, whether their contrasts differ, and returns a SimpleITK transform from
fixed to moving. The peers run at their defaults or at one common setting, demons at two; they were not tuned further.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib.geometry.transform import Transform

Registration = Callable[[sitk.Image, sitk.Image, bool], sitk.Transform]


def ours(refine: str, affine: str = "none", method: str = "none") -> Registration:
    """This library at one of its settings."""

    def run(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
        from DeepRegistrationLib import register

        result = register(fixed, moving, refine=refine, affine=affine, method=method, device="auto")
        result.transform.own_inverse_mm = result.report.inverse_error_mm  # type: ignore[attr-defined]
        return result.transform

    return run


def demons(sigma: float) -> Registration:
    """SimpleITK's diffeomorphic demons at three scales, histograms matched; one contrast only."""

    def run(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
        matched = sitk.HistogramMatching(moving, fixed, 1024, 12, True)
        field = None
        for shrink, iterations in ((4, 100), (2, 60), (1, 30)):
            factors = [shrink if size >= 4 * shrink else 1 for size in fixed.GetSize()]
            small = [
                sitk.Shrink(sitk.SmoothingRecursiveGaussian(x, 0.5 * shrink), factors) if shrink > 1 else x
                for x in (fixed, matched)
            ]
            demon = sitk.DiffeomorphicDemonsRegistrationFilter()
            demon.SetNumberOfIterations(iterations)
            demon.SetSmoothDisplacementField(True)
            demon.SetStandardDeviations(sigma)
            field = demon.Execute(*small) if field is None else demon.Execute(*small, sitk.Resample(field, small[0]))
        return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))

    return run


def syn(metric: str, iterations: tuple[int, ...]) -> Registration:
    """ANTs' SyN through antspyx."""

    def run(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
        import ants

        pair = [_to_ants(ants, image) for image in (fixed, moving)]
        with tempfile.TemporaryDirectory() as folder:
            result = ants.registration(
                *pair,
                type_of_transform="SyNOnly",
                initial_transform="Identity",
                syn_metric=metric,
                reg_iterations=iterations,
                outprefix=str(Path(folder) / "syn"),
            )
            warp = next(p for p in result["fwdtransforms"] if "Warp" in p)
            return sitk.DisplacementFieldTransform(sitk.ReadImage(warp, sitk.sitkVectorFloat64))

    return run


def _to_ants(ants, image: sitk.Image):  # type: ignore[no-untyped-def]
    n = image.GetDimension()
    return ants.from_numpy(
        np.ascontiguousarray(sitk.GetArrayFromImage(image).T),
        origin=image.GetOrigin(),
        spacing=image.GetSpacing(),
        direction=np.asarray(image.GetDirection()).reshape(n, n),
    )


def elastix() -> Registration:
    """itk-elastix' default B-spline parameters (mutual information). A thread count must not be passed: it crashes."""

    def run(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
        import itk

        pair = [_to_itk(itk, image) for image in (fixed, moving)]
        parameters = itk.ParameterObject.New()
        parameters.AddParameterMap(parameters.GetDefaultParameterMap("bspline"))
        _, found = itk.elastix_registration_method(*pair, parameter_object=parameters, log_to_console=False)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it leaves a file where it runs
            field = itk.transformix_deformation_field(pair[1], found)
            array = np.asarray(itk.array_from_image(field), dtype=np.float64)
        image = sitk.GetImageFromArray(array, isVector=True)
        image.CopyInformation(fixed)
        return sitk.DisplacementFieldTransform(image)

    return run


def _to_itk(itk, image: sitk.Image):  # type: ignore[no-untyped-def]
    n = image.GetDimension()
    result = itk.image_from_array(np.ascontiguousarray(sitk.GetArrayFromImage(image)))
    result.SetOrigin(image.GetOrigin())
    result.SetSpacing(image.GetSpacing())
    result.SetDirection(itk.matrix_from_array(np.asarray(image.GetDirection()).reshape(n, n)))
    return result


def coarse_grid(shape: Sequence[int]) -> int:
    """ConvexAdam's spacing in voxels: 6, its default, or less where fewer than three steps of it fit into an axis."""
    return max(1, min(6, min(shape) // 3))


def convex_adam() -> Registration:
    """ConvexAdam with MIND at its defaults, on a finer grid where slices are too few for these; 3-D only."""

    def run(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        pair = [torch.from_numpy(sitk.GetArrayFromImage(image)) for image in (fixed, moving)]
        spacing = coarse_grid(pair[0].shape)
        device = torch.device("cpu")
        u = convex_adam_pt(*pair, grid_sp=spacing, dtype=torch.float32, device=device, verbose=False)
        field = torch.from_numpy(np.moveaxis(np.asarray(u, dtype=np.float32), -1, 0))[None].contiguous()
        from DeepRegistrationLib.geometry.image import Grid

        return Transform.from_field(field, Grid.from_sitk(fixed))

    return run


def greedy_levels(shape: Sequence[int]) -> str:
    """Greedy's iterations: 100, 50 and 10, levels left out where an axis would have fewer than four voxels on one."""
    levels = max(k for k in (1, 2, 3) if k == 1 or min(shape) // 2 ** (k - 1) >= 4)
    return {1: "100", 2: "100x10", 3: "100x50x10"}[levels]


def greedy() -> Registration:
    """Greedy with NCC in windows of 5 voxels at 100, 50 and 10 iterations."""

    def run(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
        from picsl_greedy import Greedy2D, Greedy3D

        ndim = fixed.GetDimension()
        tool = (Greedy2D if ndim == 2 else Greedy3D)()
        window = "x".join(["2"] * ndim)
        levels = greedy_levels(fixed.GetSize())
        tool.execute(f"-d {ndim} -i f m -n {levels} -m NCC {window} -o w", f=fixed, m=moving, w=None)
        return sitk.DisplacementFieldTransform(sitk.Cast(tool["w"], sitk.sitkVectorFloat64))

    return run


def no_registration(fixed: sitk.Image, moving: sitk.Image, cross: bool) -> sitk.Transform:
    """The images as they lie."""
    return sitk.Transform(fixed.GetDimension(), sitk.sitkIdentity)


METHODS: dict[str, Registration] = {
    "before": no_registration,
    "ours, fast": ours("fast"),
    "ours, accurate": ours("accurate"),
    "demons, sigma 1.5": demons(1.5),
    "demons, sigma 1.0": demons(1.0),
    "SyN, Mattes 40-20-0": syn("mattes", (40, 20, 0)),
    "SyN, Mattes 100-70-50-20": syn("mattes", (100, 70, 50, 20)),
    "elastix, B-spline": elastix(),
    "ConvexAdam, MIND": convex_adam(),
    "greedy, NCC": greedy(),
}
SETTINGS = {
    "demons, sigma 1.5": "SimpleITK's diffeomorphic demons: histograms matched, shrink 4, 2, 1 with 100, 60, 30 "
    "iterations, field smoothed by 1.5 voxels",
    "demons, sigma 1.0": "the same, field smoothed by 1 voxel",
    "SyN, Mattes 40-20-0": "antspyx SyNOnly at its defaults: Mattes mutual information, 40, 20 and 0 iterations",
    "SyN, Mattes 100-70-50-20": "the same with 100, 70, 50 and 20 iterations",
    "elastix, B-spline": "itk-elastix' default B-spline parameter map: mutual information, 4 resolutions",
    "ConvexAdam, MIND": "convexAdam's convex_adam_pt at its defaults, on a finer grid below 18 slices",
    "greedy, NCC": "picsl-greedy: normalized cross-correlation in windows of 5 voxels, 100, 50 and 10 iterations; "
    "coarse levels left out below 16 slices",
}
"""What each peer runs with, in words, for the page."""
ONE_CONTRAST = ("demons, sigma 1.5", "demons, sigma 1.0")
"""Methods that compare intensities and cannot work across contrasts."""
VOLUMES_ONLY = ("ConvexAdam, MIND",)
