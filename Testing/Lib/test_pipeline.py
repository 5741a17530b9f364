import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import Cancelled, CancelToken, InputError, pipeline, register
from DeepRegistrationLib.fields import smooth, warp
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform, resample
from DeepRegistrationLib.inputs import pair as prepared
from DeepRegistrationLib.inputs.pair import working_grid
from DeepRegistrationLib.quality.there_and_back import missed_by_fields, missed_by_transforms
from DeepRegistrationLib.settings import Settings
from Testing.Lib.geometry.geometries import oblique, rotation

FAST = {"affine": "none", "device": "cpu"}


def blobs(shape, seed=0):
    """A smooth picture with structure everywhere, 0 to 1000."""
    generator = torch.Generator().manual_seed(seed)
    picture = smooth(torch.randn(1, 1, *shape, generator=generator), 2.0)
    picture = picture + 2 * smooth(torch.randn(1, 1, *shape, generator=generator), 5.0)
    picture = picture - picture.min()
    return picture * (1000 / picture.max())


def bump(shape, size):
    """A field that pushes the middle ``size`` voxels along each axis."""
    axes = [torch.linspace(-1, 1, s) for s in shape]
    r2 = sum(a**2 for a in torch.meshgrid(*axes, indexing="ij"))
    return (size * torch.exp(-4 * r2) * (r2 < 4)).expand(1, len(shape), *shape).clone()


def pair(grid, size=2.0):
    picture = blobs(grid.shape)
    moved = warp(picture, bump(grid.shape, size))
    fixed, moving = (Image(p[0, 0].numpy().astype(np.float32), grid) for p in (moved, picture))
    return fixed, moving


@pytest.fixture(scope="module")
def case():
    fixed, moving = pair(oblique((30, 36, 32), (1.5, 1.2, 1.0)))
    return fixed, moving, register(fixed, moving, **FAST)


def correlation(a, b):
    """Away from the border, beyond which ITK shows nothing."""
    inner = tuple(slice(3, -3) if s > 1 else slice(None) for s in a.array.shape)
    return float(np.corrcoef(a.array[inner].ravel(), b.array[inner].ravel())[0, 1])


def test_two_images_become_alike(case):
    fixed, moving, result = case
    assert correlation(fixed, result.warped) > 0.995 > correlation(fixed, moving)
    assert result.report.folding_percent == 0
    assert result.report.similarity_after > result.report.similarity_before
    assert result.report.judge()[0] == "good"


def test_the_warped_image_is_what_simpleitk_makes_of_the_transform(case):
    fixed, moving, result = case
    theirs = sitk.Resample(moving.to_sitk(), fixed.to_sitk(), result.transform)
    difference = np.abs(sitk.GetArrayFromImage(theirs) - result.warped.array)
    assert difference.max() < 1e-3 * np.ptp(moving.array)


def test_the_known_field_is_found(case):
    fixed, _, result = case
    u = bump(fixed.grid.shape, 2.0)
    error = (result.field - u).square().sum(1).sqrt()
    assert error.mean() < 0.25
    assert error[..., 8:-8, 8:-8, 8:-8].mean() < 0.35 * u.square().sum(1).sqrt()[..., 8:-8, 8:-8, 8:-8].mean()


def test_the_fixed_image_is_brought_onto_the_working_grid_once(case, monkeypatch):
    fixed, moving, _ = case
    monkeypatch.setitem(prepared.MOST_VOXELS, "cpu", fixed.array.size // 3)
    seen = []

    def counted(image, grid, *others, **options):
        seen.append((image.name, grid.shape))
        return resample(image, grid, *others, **options)

    monkeypatch.setattr(prepared, "resample", counted)
    masked = Image(np.ones(fixed.grid.shape, np.uint8), fixed.grid)
    named = [Image(image.array, image.grid, name) for image, name in ((fixed, "still"), (moving, "brought"))]
    result = register(*named, fixed_mask=masked, **FAST)
    assert result.grid.shape != fixed.grid.shape
    assert sorted(name for name, _ in seen) == ["brought", "mask", "mask", "still"]
    assert {shape for _, shape in seen} == {result.grid.shape}


def test_forward_and_back_cancel(case):
    fixed, _, result = case
    points = fixed.grid.to_world(np.random.default_rng(0).uniform(5, 25, (200, 3)))
    back = result.inverse.map_points(result.transform.map_points(points))
    assert np.linalg.norm(back - points, axis=1).mean() < 0.1
    assert result.report.inverse_error_mm < 0.1


@pytest.mark.parametrize("shape", [(30, 36, 32), (60, 64), (1, 60, 64)])
def test_there_and_back_by_the_fields_is_there_and_back_by_the_transforms(shape):
    grid = oblique(shape, (1.5, 1.2, 1.0)[: len(shape)])
    flat = [axis for axis, size in enumerate(shape) if size > 1]
    plane = grid if len(flat) == len(shape) else oblique(tuple(shape[a] for a in flat), (1.2, 1.0))
    generator = torch.Generator().manual_seed(0)
    u, w = (torch.randn((1, len(flat), *plane.shape), generator=generator) for _ in range(2))
    u, w = (smooth(x, 3.0) * 20 for x in (u, w))  # not inverse to each other: something is missed
    found = missed_by_fields(u, w, plane, grid)
    lifted = [torch.zeros((1, grid.ndim, *shape)) for _ in range(2)]
    for field, part in zip(lifted, (u, w), strict=True):
        field[:, flat] = part.reshape(1, len(flat), *shape)
    matrix = np.eye(grid.ndim + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = 1.1 * np.eye(grid.ndim), 4.0
    there = Transform.from_field(lifted[0], grid, matrix)
    back = Transform.inverse_of(lifted[1], grid, matrix, grid)
    expected = missed_by_transforms(there, back, grid)
    assert found.grid.same_as(expected.grid)
    inner = tuple(slice(6, -6) if n > 1 else slice(None) for n in found.grid.shape)
    assert expected.array[inner].mean() > 0.3
    assert np.allclose(found.array[inner], expected.array[inner], atol=1e-3)


def test_the_jacobian_lies_on_the_fixed_grid(case):
    fixed, _, result = case
    assert result.jacobian.grid.same_as(fixed.grid)
    assert 0 < result.jacobian.array.min() < 1 < result.jacobian.array.max()


def test_the_report_tells_every_stage_and_the_progress_never_goes_back():
    fixed, moving = pair(Grid.from_shape((20, 22, 24)), 1.0)
    seen = []
    result = register(fixed, moving, device="cpu", progress=lambda *step: seen.append(step))
    fractions = [fraction for _, fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {"read", "affine", "prepare", "refine", "output"} <= set(result.report.seconds)


def test_a_rotated_and_shifted_image_in_another_geometry_is_found_by_the_affine():
    grid = Grid.from_shape((40, 44, 42), 2.0)
    picture = Image(blobs(grid.shape)[0, 0].numpy() * _ball(grid), grid)
    turn = np.eye(4)
    turn[:3, :3] = rotation((12.0, -8.0, 15.0))
    turn[:3, 3] = grid.center - turn[:3, :3] @ grid.center + [8.0, -6.0, 5.0]
    matrix = turn @ grid.matrix
    moving = Image(picture.array, Grid(grid.shape, matrix))
    result = register(picture, moving, refine="none", device="cpu")
    points = grid.to_world(np.random.default_rng(0).uniform(8, 32, (100, 3)))
    truth = points @ turn[:3, :3].T + turn[:3, 3]
    assert np.linalg.norm(result.transform.map_points(points) - truth, axis=1).mean() < 1.5


def _ball(grid):
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, s) for s in grid.shape], indexing="ij"))
    return ((index**2).sum(0) < 0.8).astype(np.float32)


def test_a_photograph_is_registered_in_two_dimensions():
    fixed, moving = pair(oblique((60, 50), (0.7, 0.9), flips=(1, -1)), 2.0)
    result = register(fixed, moving, **FAST)
    assert result.transform.GetDimension() == 2
    assert correlation(fixed, result.warped) > max(0.99, correlation(fixed, moving))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_in_space_gives_a_three_dimensional_transform_that_stays_in_the_plane(axis):
    shape = [40, 44, 48]
    shape[axis] = 1
    grid = oblique(tuple(shape), (1.5, 1.2, 1.0))
    flat = tuple(s for s in shape if s > 1)
    picture = blobs(flat)
    moved = warp(picture, bump(flat, 2.0))
    fixed, moving = (Image(p[0, 0].numpy().reshape(shape), grid) for p in (moved, picture))
    result = register(fixed, moving, **FAST)
    assert result.transform.GetDimension() == 3
    assert correlation(fixed, result.warped) > max(0.99, correlation(fixed, moving))
    points = grid.to_world(np.array([[s // 2 for s in shape], [s // 3 for s in shape]]))
    step = (result.transform.map_points(points) - points) @ grid.directions[:, axis]
    np.testing.assert_allclose(step, 0, atol=1e-4)


def test_a_slice_and_a_volume_are_refused():
    volume = Image(np.random.default_rng(0).normal(size=(8, 9, 10)), Grid.from_shape((8, 9, 10)))
    one = Image(volume.array[:1], Grid.from_shape((1, 9, 10)))
    with pytest.raises(InputError, match="single slice"):
        register(one, volume)


def test_an_initial_transform_takes_the_place_of_the_affine_stage(tmp_path):
    fixed, moving = pair(Grid.from_shape((24, 26, 28)), 1.0)
    shift = sitk.TranslationTransform(3, [300.0, 0.0, 0.0])
    far = Image(moving.array, Grid(moving.grid.shape, _shifted(moving.grid.matrix, 300.0)))
    result = register(fixed, far, initial_transform=shift, device="cpu")
    assert correlation(fixed, result.warped) > 0.98
    assert result.report.affine == "given"
    field = Transform.from_field(bump(fixed.grid.shape, 1.0), fixed.grid)
    field.save(tmp_path / "start.h5")
    started = register(fixed, moving, initial_transform=tmp_path / "start.h5", refine="none", device="cpu")
    np.testing.assert_allclose(started.warped.array, resample(moving, fixed.grid, field).array, atol=1.0)


def _shifted(matrix, step):
    moved = matrix.copy()
    moved[0, 3] += step
    return moved


def test_masks_in_other_geometries_are_taken():
    fixed, moving = pair(Grid.from_shape((24, 26, 28)), 1.0)
    half = fixed.grid.resized((12, 13, 14))
    mask = Image(np.ones(half.shape, np.uint8), half)
    result = register(fixed, moving, fixed_mask=mask, moving_mask=mask, **FAST)
    assert correlation(fixed, result.warped) > 0.98


def test_landmarks_in_millimeters_pull_the_field():
    grid = oblique((24, 26, 28), (1.5, 1.2, 1.0))
    flat = Image(np.zeros(grid.shape, np.float32), grid)
    flat.array[2:-2, 2:-2, 2:-2] = 1
    start = grid.to_world(np.array([[12.0, 13.0, 14.0]]))
    goal = grid.to_world(np.array([[12.0, 15.0, 14.0]]))
    result = register(flat, Image(flat.array.copy(), grid), landmarks=(start, goal), **FAST)
    left = np.linalg.norm(result.transform.map_points(start) - goal)
    assert left < 0.5 * np.linalg.norm(goal - start)


def test_the_same_run_gives_the_same_answer_twice():
    fixed, moving = pair(Grid.from_shape((20, 22, 24)), 1.0)
    first, second = (register(fixed, moving, device="cpu", seed=3) for _ in range(2))
    assert torch.equal(first.field, second.field)


def test_a_cancelled_run_stops_and_says_so():
    fixed, moving = pair(Grid.from_shape((20, 22, 24)), 1.0)
    token = CancelToken()

    def stop(stage, fraction, message):
        if stage == "refine":
            token.cancel()

    with pytest.raises(Cancelled):
        register(fixed, moving, progress=stop, cancel=token, **FAST)


@pytest.mark.parametrize("last", ["resample", "measure_doubt"])
def test_a_cancel_while_the_output_is_made_stops_before_its_next_part(monkeypatch, last):
    fixed, moving = pair(Grid.from_shape((20, 22, 24)), 1.0)
    token, begun = CancelToken(), []
    own = getattr(pipeline, last)

    def work(*arguments, **keywords):
        token.cancel()
        return own(*arguments, **keywords)

    monkeypatch.setattr(pipeline, last, work)
    monkeypatch.setattr(
        pipeline, "missed_by_fields" if last == "resample" else "measure_result", lambda *_: begun.append(1)
    )
    monkeypatch.setattr("DeepRegistrationLib.quality.doubt.measure_shape", lambda *_: begun.append(1))
    if last == "measure_doubt":
        monkeypatch.setattr(pipeline, "missed_by_fields", lambda *_: None)
    with pytest.raises(Cancelled):
        register(fixed, moving, cancel=token, affine="none", refine="none", device="cpu")
    assert not begun


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"refine": "slow"}, "refine can be none, fast or accurate"),
        ({"affine": "elastic"}, "affine can be auto, rigid or none"),
        ({"smoothness": -1.0}, "out of range"),
        ({"device": "tpu"}, "device"),
        ({"similarity": "magic"}, "similarity"),
        ({"method": "nobody"}, "nobody"),
        ({"initial_transform": "nowhere.h5"}, "does not exist"),
        ({"landmarks": (np.zeros((2, 3)), np.zeros((3, 3)))}, "landmarks"),
    ],
)
def test_a_wrong_choice_is_one_sentence(wrong, sentence):
    fixed, moving = pair(Grid.from_shape((12, 12, 12)), 1.0)
    with pytest.raises(InputError, match=sentence):
        register(fixed, moving, **{**FAST, **wrong})


def test_a_rigid_result_keeps_every_distance_and_an_affine_one_need_not():
    fixed, moving = pair(Grid.from_shape((24, 26, 28)), 2.0)
    moving = Image(moving.array, Grid.from_shape((24, 26, 28), (1.1, 1.1, 1.1)), "moving")
    points = np.random.default_rng(0).uniform(4, 20, (12, 3))
    lengths = {}
    for affine in ("rigid", "auto"):
        result = register(fixed, moving, Settings(method="none", refine="none"), affine=affine, device="cpu")
        moved = result.transform.map_points(points)
        lengths[affine] = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
        assert result.report.affine == affine
    given = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert np.abs(lengths["rigid"] - given).max() < 1e-3
    assert np.abs(lengths["auto"] - given).max() > 0.5


def test_a_huge_image_gets_a_coarser_working_grid_and_keeps_thick_slices(monkeypatch):
    monkeypatch.setattr("DeepRegistrationLib.inputs.pair.available_bytes", lambda device: 8 << 30)
    ct = Grid.from_shape((300, 512, 512), (3.0, 0.8, 0.8))
    working = working_grid(ct, torch.device("cpu"))
    assert np.prod(working.shape) <= 10_000_000
    assert working.shape[0] == 300
    assert working_grid(working, torch.device("cpu")) is working
    monkeypatch.setattr("DeepRegistrationLib.inputs.pair.available_bytes", lambda device: 1 << 20)
    with pytest.raises(InputError, match="too little free memory"):
        working_grid(ct, torch.device("cpu"))


def test_a_transform_on_a_coarse_working_grid_still_fits_the_images(monkeypatch):
    monkeypatch.setitem(__import__("DeepRegistrationLib.inputs.pair").inputs.pair.MOST_VOXELS, "cpu", 20_000)
    fixed, moving = pair(oblique((40, 44, 42), (1.5, 1.2, 1.0)), 3.0)
    result = register(fixed, moving, **FAST)
    assert np.prod(result.grid.shape) <= 20_000
    assert result.warped.grid.same_as(fixed.grid)
    assert correlation(fixed, result.warped) > max(0.98, correlation(fixed, moving))
