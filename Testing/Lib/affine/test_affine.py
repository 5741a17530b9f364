"""The affine stage finds a known motion: any orientation of the grids, any contrast, masked, rigid, 2-D."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.affine.align import align, find_alignment
from DeepRegistrationLib.affine.alignment import AffineSettings
from DeepRegistrationLib.affine.content import find_content
from DeepRegistrationLib.affine.solver import Prior
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.progress import Cancelled, CancelToken, Reporter

from ..geometry.geometries import oblique, rotation
from ..openings import sections_under_lights


@functools.cache
def _tissues(ndim: int) -> Image:
    """A body of four tissues without symmetry, 1.5 mm voxels."""
    shape = (64,) * ndim
    grid = Grid.from_shape(shape, (1.5,) * ndim)
    points = grid.to_world(np.argwhere(np.ones(shape))) - grid.center
    labels = np.zeros(len(points), np.uint8)
    parts = (
        (1, (0, 0, 0), (36, 45, 40)),
        (2, (4, 6, -3), (28, 36, 30)),
        (3, (-12, 10, 5), (9, 14, 8)),
        (4, (12, -12, -8), (7, 8, 13)),
        (3, (2, -22, 10), (12, 6, 6)),
    )
    for value, center, radii in parts:
        inside = (((points - np.array(center[:ndim])) / np.array(radii[:ndim])) ** 2).sum(1) < 1
        labels[inside] = value
    return Image(labels.reshape(shape), grid)


def _seen_through(tissues: Image, grid: Grid, matrix: np.ndarray, table: tuple[float, ...], seed: int) -> Image:
    """``tissues`` on ``grid``, whose points are mapped by ``matrix`` first, in a contrast, with some noise."""
    n = tissues.ndim
    transform = sitk.AffineTransform(n)
    transform.SetMatrix(matrix[:n, :n].ravel().tolist())
    transform.SetTranslation(matrix[:n, n].tolist())
    painted = np.array(table, np.float32)[tissues.array]
    source = tissues.grid.to_sitk(painted)
    reference = grid.to_sitk(np.zeros(grid.shape, np.uint8))
    array = sitk.GetArrayFromImage(sitk.Resample(source, reference, transform, sitk.sitkLinear, 0.0))
    return Image(array + np.random.default_rng(seed).normal(0, 8, array.shape).astype(np.float32), grid)


def _motion(ndim: int, center: np.ndarray, degrees: float, scale: float = 1.0, shift: float = 8.0) -> np.ndarray:
    turn = rotation((degrees, -0.5 * degrees, 0.7 * degrees))[:ndim, :ndim] if ndim == 3 else rotation((0, 0, degrees))
    matrix = np.eye(ndim + 1)
    matrix[:ndim, :ndim] = scale * turn[:ndim, :ndim]
    matrix[:ndim, ndim] = center - matrix[:ndim, :ndim] @ center + shift * np.array([1.0, -0.6, 0.4])[:ndim]
    return matrix


def _error(tissues: Image, found: np.ndarray, fixed_to_world: np.ndarray, moving_to_world: np.ndarray) -> float:
    """Largest distance, mm, on the body: ``found`` against the motion that made the images."""
    body = tissues.grid.to_world(np.argwhere(tissues.array > 0)[::97])
    body = np.c_[body, np.ones(len(body))]
    fixed = body @ np.linalg.inv(fixed_to_world).T
    moving = body @ np.linalg.inv(moving_to_world).T
    return float(np.linalg.norm((fixed @ found.T - moving)[:, :-1], axis=1).max())


T1 = (0.0, 400.0, 800.0, 150.0, 600.0)
T2 = (0.0, 300.0, 350.0, 950.0, 500.0)


@pytest.mark.parametrize("table", [T1, T2], ids=["one contrast", "two contrasts"])
def test_a_turned_and_scaled_body_on_an_oblique_anisotropic_flipped_grid_is_found(table: tuple[float, ...]) -> None:
    tissues = _tissues(3)
    fixed = _seen_through(tissues, tissues.grid, np.eye(4), T1, 1)
    shape, spacing = (30, 72, 80), (3.5, 1.6, 1.4)
    tilted = oblique(shape, spacing, (12.0, -9.0, 15.0), origin=(0.0, 0.0, 0.0))
    matrix = tilted.matrix.copy()
    matrix[:3, 3] += tissues.grid.center - tilted.center + 25.0
    grid = Grid(shape, matrix)
    motion = _motion(3, tissues.grid.center, 14.0, 1.04, -25.0)
    moving = _seen_through(tissues, grid, motion, table, 2)
    assert _error(tissues, align(fixed, moving), np.eye(4), motion) < 2.5


def test_a_rigid_search_keeps_lengths_and_angles() -> None:
    tissues = _tissues(3)
    fixed = _seen_through(tissues, tissues.grid, np.eye(4), T1, 1)
    motion = _motion(3, tissues.grid.center, 10.0)
    moving = _seen_through(tissues, tissues.grid, motion, T1, 2)
    found = align(fixed, moving, AffineSettings("rigid"))
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(found[:3, :3]) > 0
    assert _error(tissues, found, np.eye(4), motion) < 1.5


def test_images_that_are_aligned_stay_where_they_are() -> None:
    tissues = _tissues(3)
    fixed, moving = (_seen_through(tissues, tissues.grid, np.eye(4), table, 3) for table in (T1, T2))
    assert _error(tissues, align(fixed, moving), np.eye(4), np.eye(4)) < 1.0


def test_a_slice_is_turned_back_in_its_plane() -> None:
    tissues = _tissues(2)
    fixed = _seen_through(tissues, tissues.grid, np.eye(3), T1, 1)
    motion = _motion(2, tissues.grid.center, 20.0)
    moving = _seen_through(tissues, tissues.grid, motion, T1, 2)
    assert _error(tissues, align(fixed, moving), np.eye(3), motion) < 2.0


def test_what_a_mask_hides_does_not_pull() -> None:
    tissues = _tissues(3)
    fixed = _seen_through(tissues, tissues.grid, np.eye(4), T1, 1)
    motion = _motion(3, tissues.grid.center, 8.0)
    moving = _seen_through(tissues, tissues.grid, motion, T1, 2)
    array = moving.array.copy()
    array[:, :, -14:] = 1200.0  # a bright plate beside the body
    mask = np.ones(array.shape, np.uint8)
    mask[:, :, -14:] = 0
    found = align(fixed, Image(array, moving.grid), moving_mask=mask)
    assert _error(tissues, found, np.eye(4), motion) < 3.0


def _about_center(turn: np.ndarray, center: np.ndarray) -> np.ndarray:
    n = len(center)
    matrix = np.eye(n + 1)
    matrix[:n, :n], matrix[:n, n] = turn, center - turn @ center + 4.0
    return matrix


FAR_TURNS = (
    ((180, 0, 0), T1),
    ((0, 180, 0), T2),
    ((0, 0, 180), T1),
    ((0, 0, 180), T2),
    ((0, -90, 20), T1),
    ((25, 100, -160), T2),
)


@pytest.mark.parametrize(("degrees", "table"), FAR_TURNS)
def test_a_body_turned_by_any_angle_is_found(degrees: tuple[float, float, float], table: tuple[float, ...]) -> None:
    tissues = _tissues(3)
    fixed = _seen_through(tissues, tissues.grid, np.eye(4), T1, 1)
    motion = _about_center(rotation(degrees), tissues.grid.center)
    found = find_alignment(fixed, _seen_through(tissues, tissues.grid, motion, table, 2))
    assert _error(tissues, found.matrix, np.eye(4), motion) < 2.0
    assert not found.orientation_open


@pytest.mark.parametrize("degrees", [90, -135, 180])
def test_a_slice_turned_by_any_angle_is_found(degrees: float) -> None:
    tissues = _tissues(2)
    fixed = _seen_through(tissues, tissues.grid, np.eye(3), T1, 1)
    motion = _about_center(rotation((0, 0, degrees))[:2, :2], tissues.grid.center)
    moving = _seen_through(tissues, tissues.grid, motion, T2, 2)
    assert _error(tissues, align(fixed, moving), np.eye(3), motion) < 2.0


def _rays() -> Image:
    """Five bones that spread from one place, as in a hand, 1.5 mm pixels: one bone further on fits nearly as well."""
    grid = Grid.from_shape((64, 64), (1.5, 1.5))
    points = grid.to_world(np.argwhere(np.ones(grid.shape))) - grid.center
    labels = np.where((points**2).sum(1) < 12**2, 2, 0)
    for degrees, length in zip((-56, -28, 0, 28, 56), (26, 34, 38, 34, 22), strict=True):
        along, across = (points @ rotation((0, 0, degrees))[:2, :2]).T
        labels[(along > 0) & (along < length) & (abs(across) < 3.5)] = 1
        labels[(along > 8) & (along < length - 3) & (abs(across) < 1.75)] = 3
    return Image(labels.astype(np.uint8).reshape(grid.shape), grid)


@pytest.mark.parametrize("degrees", [-85, -70, 10, 70, 80])
@pytest.mark.parametrize("table", [T1, T2], ids=["one contrast", "two contrasts"])
def test_a_wrong_turn_beside_the_right_one_is_not_taken_for_it(degrees: float, table: tuple[float, ...]) -> None:
    bones = _rays()
    fixed = _seen_through(bones, bones.grid, np.eye(3), T1, 1)
    turn = rotation((0, 0, degrees))[:2, :2] @ np.diag([1.1, 0.95])
    motion = _about_center(turn, bones.grid.center)
    found = find_alignment(fixed, _seen_through(bones, bones.grid, motion, table, 2))
    assert _error(bones, found.matrix, np.eye(3), motion) < 3.0


def test_turns_are_searched_as_far_as_asked_for() -> None:
    tissues = _tissues(3)
    fixed = _seen_through(tissues, tissues.grid, np.eye(4), T1, 1)
    motion = _about_center(rotation((0, 0, 180)), tissues.grid.center)
    moving = _seen_through(tissues, tissues.grid, motion, T1, 2)
    found = align(fixed, moving, AffineSettings(largest_rotation=30.0))
    assert _error(tissues, found, np.eye(4), motion) > 20


def test_where_symmetry_leaves_it_open_the_header_is_believed_and_it_is_said() -> None:
    tissues = _tissues(3)
    half_turned = tissues.array[:, ::-1, ::-1]  # about the head-foot axis
    symmetric = Image(np.maximum(tissues.array, half_turned), tissues.grid)
    fixed = _seen_through(symmetric, tissues.grid, np.eye(4), T1, 1)
    motion = _motion(3, tissues.grid.center, 12.0)
    found = find_alignment(fixed, _seen_through(symmetric, tissues.grid, motion, T1, 2))
    assert _error(tissues, found.matrix, np.eye(4), motion) < 2.0
    assert found.orientation_open


@pytest.mark.parametrize(("share", "kept"), [(0.6, True), (0.8, False)])
def test_the_header_is_kept_where_a_far_turn_is_a_little_better_and_it_is_said(share: float, kept: bool) -> None:
    """A crop in another contrast was turned by 70 degrees, a mouse in another pose by 158."""
    tissues = _tissues(3)
    half_turned = tissues.array[:, ::-1, ::-1]
    one_sided = np.maximum(tissues.array, half_turned)
    middle, low = one_sided.shape[2] // 2, round(share * one_sided.shape[0])
    one_sided[:, :, :middle] = tissues.array[:, :, :middle]
    mostly_turned = np.concatenate([one_sided[:low, ::-1, ::-1], one_sided[low:]])
    fixed = _seen_through(Image(one_sided, tissues.grid), tissues.grid, np.eye(4), T1, 1)
    motion = _motion(3, tissues.grid.center, 12.0)
    found = find_alignment(fixed, _seen_through(Image(mostly_turned, tissues.grid), tissues.grid, motion, T1, 2))
    assert (_error(tissues, found.matrix, np.eye(4), motion) < 2.0) == kept
    assert found.orientation_open == kept


@pytest.mark.parametrize("scale", [1e-3, 0.07, 1e3], ids=["micrometers", "a mouse", "meters"])
def test_the_size_of_a_voxel_does_not_matter(scale: float) -> None:
    tissues = _tissues(3)
    motion = _motion(3, tissues.grid.center, 100.0)
    pair = [_seen_through(tissues, tissues.grid, m, T1, s) for s, m in enumerate((np.eye(4), motion))]
    zoom = np.diag([scale, scale, scale, 1.0])
    small = [Image(image.array, Grid(image.grid.shape, zoom @ image.grid.matrix)) for image in pair]
    found = np.linalg.inv(zoom) @ align(*small) @ zoom
    np.testing.assert_allclose(found, align(*pair), atol=1e-3)


@pytest.mark.parametrize("table", [T1, T2], ids=["one contrast", "two contrasts"])
@pytest.mark.parametrize("size", [0.7, 1.35])
def test_a_body_of_another_size_is_found_however_it_is_turned(size: float, table: tuple[float, ...]) -> None:
    """A child and an adult, or a wrong voxel size: a head of 0.77 times the size ended 28 mm off."""
    tissues = _tissues(3)
    fixed = _seen_through(tissues, tissues.grid, np.eye(4), T1, 1)
    motion = _motion(3, tissues.grid.center, 70.0)
    moving = _seen_through(tissues, tissues.grid, motion, table, 2)
    zoom = np.diag([size, size, size, 1.0])
    resized = Image(moving.array, Grid(moving.grid.shape, zoom @ moving.grid.matrix))
    assert _error(tissues, np.linalg.inv(zoom) @ align(fixed, resized), np.eye(4), motion) < 2.0


def _missed_in_other_proportions(sizes: tuple[float, ...], seed: int, degrees: float) -> float:
    """The error in mm for two contrasts, one as large along each axis as one of ``sizes`` and turned."""
    ndim = len(sizes)
    tissues, random = _tissues(ndim), np.random.default_rng(seed)
    center = tissues.grid.center
    turn, shift = float(random.uniform(-degrees, degrees)), float(random.uniform(-8, 8))
    stretch = np.diag([*random.permutation(sizes), 1.0])
    stretch[:ndim, ndim] = center - stretch[:ndim, :ndim] @ center
    motion = _motion(ndim, center, turn, shift=shift) @ stretch
    tables = [(0.0, *random.uniform(100, 900, 4)) for _ in range(2)]
    fixed = _seen_through(tissues, tissues.grid, np.eye(ndim + 1), tables[0], seed)
    moving = _seen_through(tissues, tissues.grid, motion, tables[1], seed + 100)
    return _error(tissues, align(fixed, moving), np.eye(ndim + 1), motion)


@pytest.mark.parametrize("seed", [10, 30, 34, 51])
def test_a_slice_of_other_proportions_is_found_in_another_contrast(seed: int) -> None:
    """From one size along both axes these ended 7 to 20 mm off."""
    assert _missed_in_other_proportions((0.82, 1.18), seed, 25) < 1


@pytest.mark.parametrize("seed", [0, 1, 3, 9, 10, 12, 16, 19, 21, 37])
def test_a_volume_of_other_proportions_is_found_in_another_contrast(seed: int) -> None:
    """These ended 1.4 to 74 mm off: from one size along all axes, of sizes that the contents told, or turned round."""
    assert _missed_in_other_proportions((0.82, 1.0, 1.18), seed, 15) < 1


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_holds_scale_and_shear_back_has_the_right_derivatives(ndim: int) -> None:
    random = torch.Generator().manual_seed(0)
    matrices = torch.eye(ndim, ndim + 1) + 0.1 * torch.randn(3, ndim, ndim + 1, generator=random)
    matrices[2] *= 1.3
    prior = Prior(torch.linspace(-0.2, 0.4, 2 * ndim).view(2, ndim), (1.0, 1.3))
    gradient, curvature = prior.derivatives(matrices)
    given = matrices.clone().requires_grad_()
    (exact,) = torch.autograd.grad(prior.penalty(given).sum(), given)
    torch.testing.assert_close(gradient, exact.flatten(1))
    assert torch.linalg.eigvalsh(curvature).min() > -1e-6


def test_the_size_that_the_contents_tell_costs_as_little_as_none() -> None:
    squeezed = torch.diag(torch.tensor([0.9, 1.0, 1.0]))
    matrices = torch.stack([torch.eye(3), squeezed, 1.3 * torch.eye(3), 1.3 * squeezed, 1.15 * torch.eye(3)])
    costs = Prior(0.3 * torch.eye(3), (1.0, 1.3)).penalty(torch.cat([matrices, torch.zeros(5, 3, 1)], 2))
    assert costs[0] == 0
    torch.testing.assert_close(costs[2:4], costs[0:2], atol=1e-6, rtol=1e-4)
    assert costs[4] > 0


@pytest.mark.parametrize(("gain", "offset"), [(1e-12, 0.0), (1.0, 32768.0), (-1.0, 0.0), (1e6, -3024.0)])
def test_the_scale_of_the_intensities_does_not_matter(gain: float, offset: float) -> None:
    tissues = _tissues(3)
    motion = _motion(3, tissues.grid.center, 14.0)
    fixed, moving = (_seen_through(tissues, tissues.grid, m, T1, s) for s, m in enumerate((np.eye(4), motion)))
    other = Image(moving.array.astype(np.float64) * gain + offset, moving.grid)
    assert _error(tissues, align(fixed, other), np.eye(4), motion) < 1.5


def test_binary_segmentations_are_aligned() -> None:
    tissues = _tissues(3)
    motion, grid = _motion(3, tissues.grid.center, 14.0), tissues.grid
    masks = []
    for matrix in (np.eye(4), motion):
        image = _seen_through(tissues, grid, matrix, (0.0, 0.0, 1e4, 1e4, 0.0), 1)
        masks.append(Image((image.array > 5e3).astype(np.uint8), grid))
    assert _error(tissues, align(*masks), np.eye(4), motion) < 4.0


@pytest.mark.parametrize("times", [1, 3], ids=["few voxels", "many voxels"])
def test_padding_is_left_out_on_every_grid(times: int) -> None:
    tissues = _tissues(3)
    grid = tissues.grid.resized(tuple(times * n for n in tissues.grid.shape))
    array = tissues.array.repeat(times, 0).repeat(times, 1).repeat(times, 2).astype(np.float32)
    array += (array > 0) * np.random.default_rng(0).random(array.shape, np.float32)
    before = array.copy()
    content = find_content(Image(array, grid))
    np.testing.assert_array_equal(array, before)
    share = float(content.weight.sum() * np.prod(content.grid.spacing))
    assert share == pytest.approx(float((array > 0).sum() * np.prod(grid.spacing)), rel=0.02)


def test_the_same_pair_gives_the_same_matrix_twice() -> None:
    tissues = _tissues(2)
    fixed = _seen_through(tissues, tissues.grid, np.eye(3), T1, 1)
    moving = _seen_through(tissues, tissues.grid, _motion(2, tissues.grid.center, 9.0), T2, 2)
    np.testing.assert_array_equal(align(fixed, moving), align(fixed, moving))


def test_images_that_cannot_be_aligned_are_refused_with_a_sentence() -> None:
    flat, volume = _tissues(2), _tissues(3)
    with pytest.raises(InputError, match="dimensions"):
        align(flat, volume)
    constant = Image(np.full(volume.array.shape, 7.0, np.float32), volume.grid)
    with pytest.raises(InputError):
        align(volume, constant)
    with pytest.raises(InputError):
        align(volume, volume, fixed_mask=np.ones((3, 3, 3)))


def test_the_search_can_be_canceled() -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        align(_tissues(3), _tissues(3), reporter=Reporter(cancel=token))


def test_the_check_by_detail_is_part_of_the_progress() -> None:
    """Under uneven light the whole of a second search ran after the end of the progress."""
    fixed, moving, _ = sections_under_lights(0, 100.0)
    said: list[tuple[float, str]] = []
    find_alignment(fixed, moving, reporter=Reporter(lambda _, done, message: said.append((done, message))))
    assert sum(message == "trying orientations" for _, message in said) == 2
    assert [done for done, _ in said[:-1]] == sorted(done for done, _ in said[:-1])
    assert all(done < 1 for done, _ in said[:-1])


def test_gradients_stay_off() -> None:
    tissues = _tissues(2)
    assert torch.is_grad_enabled()
    align(tissues, tissues)
    assert torch.is_grad_enabled()
