"""The refinement engine on generated pairs whose answer is known."""

import pytest
import torch
import torch.nn.functional as F

from DeepRegistrationLib.errors import Cancelled, InputError
from DeepRegistrationLib.fields import compose, inverse_error, jacobian_determinant, sample, smooth, warp
from DeepRegistrationLib.fields.folding import SparseField, smallest_determinant, unfold
from DeepRegistrationLib.fields.inverse import invert
from DeepRegistrationLib.progress import CancelToken, Reporter
from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.refinement.levels import Level, Rim, Window
from DeepRegistrationLib.refinement.one_level import _longest, _Mover
from DeepRegistrationLib.refinement.schedule import plan
from DeepRegistrationLib.settings import Settings


def texture(shape: tuple[int, ...], seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    """Smooth random structure, 0 to 1."""
    noise = torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    image = smooth(noise, scale) + 2 * smooth(noise.flip(2), 2.5 * scale)
    return (image - image.min()) / (image.max() - image.min())


def true_field(shape: tuple[int, ...], amount: float, scale: float = 8.0, seed: int = 1) -> torch.Tensor:
    noise = torch.randn((1, len(shape), *shape), generator=torch.Generator().manual_seed(seed))
    u = smooth(noise, [min(scale, n / 5) for n in shape])
    return u * (amount / 2.5 / u.square().mean().sqrt())


def known_pair(shape: tuple[int, ...], amount: float = 4.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    moving, u = texture(shape), true_field(shape, amount)
    return warp(moving, u), moving, u


def inner_error(found: torch.Tensor, truth: torch.Tensor, margin: int = 6) -> float:
    middle = tuple(slice(min(margin, n // 4), n - min(margin, n // 4)) for n in truth.shape[2:])
    return float((found - truth).square().sum(1).sqrt()[(slice(None), *middle)].mean())


@pytest.mark.parametrize(("shape", "similarity"), [((96, 104), "lncc"), ((44, 48, 40), "lncc"), ((44, 48, 40), "mind")])
def test_a_known_field_is_recovered(shape, similarity):
    fixed, moving, u = known_pair(shape)
    result = refine(fixed, moving, Settings(similarity=similarity))
    before = inner_error(torch.zeros_like(u), u)
    assert inner_error(result.field, u) < min(0.5 if similarity == "lncc" else 0.8, before / 2)


def test_intensities_of_any_range_give_the_same_field():
    fixed, moving, _ = known_pair((64, 60))
    first = refine(fixed, moving)
    second = refine(fixed * 3000 - 1000, moving * 70)
    assert inner_error(first.field, second.field) < 0.05


def test_contrast_inverted_images_are_aligned():
    fixed, moving, u = known_pair((44, 48, 40))
    for similarity in ("lncc", "mind", "gradient"):
        result = refine(1 - fixed, moving, Settings(similarity=similarity))
        assert inner_error(result.field, u) < 0.7 * inner_error(torch.zeros_like(u), u), similarity


def test_auto_tells_one_modality_from_two_and_translates_the_contrast():
    shape = (44, 48, 40)
    moving, u = texture(shape), true_field(shape, 4.0)
    fixed = warp(moving, u)
    other = 0.1 + (1 - fixed).square()
    assert refine(fixed, moving).similarity == "lncc"
    result = refine(other, moving)
    assert result.similarity == "translated"
    assert inner_error(result.field, u) < 0.6 * inner_error(torch.zeros_like(u), u)


def test_thick_slices_are_kept_and_a_known_field_is_recovered():
    shape, spacing = (9, 96, 88), (10.0, 1.4, 1.4)
    assert {level.factors[0] for level in plan(shape, spacing, Settings())} == {1}
    moving = texture((36, 96, 88))[:, :, ::4]
    u = true_field(shape, 4.0)
    u[:, 0] = 0
    result = refine(warp(moving, u), moving, spacing=spacing)
    assert inner_error(result.field, u) < 1.0


@pytest.mark.parametrize("shape", [(35, 51, 36), (5, 7), (1, 40, 40), (3, 3, 3), (17, 130)])
def test_odd_and_tiny_sizes_work(shape):
    result = refine(texture(shape, 3), texture(shape, 4))
    assert result.field.shape == (1, len(shape), *shape)
    assert result.field.isfinite().all()
    assert result.inverse.isfinite().all()


def test_a_nasty_pair_does_not_fold_and_is_inverted():
    shape = (40, 44, 36)
    result = refine(texture(shape, 5, 1.0), texture(shape, 6, 1.0), Settings(similarity="lncc", smoothness=0.5))
    assert float(result.field.abs().max()) > 2
    for scheme in ("central", "forward"):
        assert float(jacobian_determinant(result.field, scheme).min()) > 0
    inside = (slice(None), slice(None), *[slice(8, -8)] * 3)
    assert float(inverse_error(result.field, result.inverse)[inside].mean()) < 0.1


@pytest.mark.parametrize("shape", [(40, 44), (24, 22, 26)])
def test_unfold_mends_what_folds_and_leaves_the_rest(shape):
    u = true_field(shape, 1.0)
    assert torch.equal(unfold(u), u)
    middle = (0, 0, *[n // 2 for n in shape])
    u[middle] += 3
    assert float(smallest_determinant(u).min()) < 0
    mended = unfold(u)
    assert float(smallest_determinant(mended).min()) >= 0.02
    assert torch.equal(mended[:, :, :4], u[:, :, :4])
    wild = torch.randn((1, len(shape), *shape), generator=torch.Generator().manual_seed(0)) * 5
    assert float(smallest_determinant(unfold(wild)).min()) >= 0.02


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("shape", [(12, 14), (9, 8, 7)])
def test_voxels_grow_into_all_their_neighbors(shape, reach):
    chosen = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.02
    pool = F.max_pool2d if len(shape) == 2 else F.max_pool3d
    expected = torch.nonzero(pool(chosen.float()[None, None], 2 * reach + 1, 1, reach)[0, 0])
    field = SparseField(torch.zeros((1, len(shape), *shape)))
    for _ in range(2):  # nothing is left behind for the next call
        assert torch.equal(field.grow(torch.nonzero(chosen), reach), expected)


def test_the_determinant_in_slabs_is_the_determinant():
    u = true_field((30, 90, 96), 6.0, 2.0)
    whole = torch.stack([jacobian_determinant(u, s) for s in ("central", "forward", "backward")]).amin(0)
    assert torch.allclose(smallest_determinant(u), whole)


def test_identical_images_give_no_displacement():
    image = texture((40, 44, 36))
    assert float(refine(image, image.clone()).field.abs().mean()) < 0.02


@pytest.mark.parametrize("similarity", ["auto", "lncc", "translated", "mind", "ssd", "gradient"])
@pytest.mark.parametrize(("shape", "scale"), [((32, 36, 30), 5.0), ((140, 150), 5.0)])
def test_the_identity_stays_the_identity_however_smooth_the_images_are(shape, scale, similarity):
    image = texture(shape, scale=scale)
    found = refine(image, 3 * image + 7, Settings(similarity=similarity))
    assert float(found.field.abs().max()) < 1e-3


def test_what_is_the_same_stays_where_it_is_beside_what_moves():
    shape = (96, 104)
    image, u = texture(shape, scale=4.0), torch.zeros(1, 2, *shape)
    u[:, 1] = 3 * torch.exp(-(((torch.arange(104.0) - 83) / 7) ** 2))
    found = refine(warp(image, u), image).field
    assert float(found[..., :52].abs().max()) < 0.5
    assert float((found - u).square().sum(1).sqrt().mean()) < 0.2


@pytest.mark.parametrize("ndim", [2, 3])
def test_levels_fit_the_window_whatever_the_size(ndim):
    for side in range(12, 300):
        for other, spacing in ((301, 1.0), (140, 2.5), (side, 7.0)):
            shape, mm = (side, *[other] * (ndim - 1)), (spacing, *[1.0] * (ndim - 1))
            multiples = plan(shape, mm, Settings())[0].factors
            window = [-(-n // m) * m for n, m in zip(shape, multiples, strict=True)]
            for level in plan(window, mm, Settings()):
                assert all(n == m * f for n, m, f in zip(window, level.shape, level.factors, strict=True)), shape


@pytest.mark.parametrize("spacing", [(0.001, 1.0, 1.0), (1.0, 0.001, 1.0), (1e-6, 1e-3, 1.0)])
def test_one_very_fine_axis_does_not_multiply_the_work(spacing):
    def work(mm):
        return sum(level.cost for level in plan((64, 64, 64), mm, Settings()))

    assert work(spacing) < 1.5 * work((1.0, 1.0, 1.0))
    assert work((1e-3, 1e-3, 1e-3)) == work((1.0, 1.0, 1.0))


@pytest.mark.parametrize("side", [125, 127])
def test_pictures_just_under_the_size_of_one_more_level_are_registered(side):
    fixed, moving, u = known_pair((side, 139))
    assert inner_error(refine(fixed, moving).field, u) < 1.0


def test_the_same_pair_gives_the_same_field_twice():
    fixed, moving, _ = known_pair((40, 44, 36))
    first, second = refine(fixed, moving), refine(fixed, moving)
    assert torch.equal(first.field, second.field)
    assert torch.equal(first.inverse, second.inverse)


@pytest.mark.parametrize("similarity", ["lncc", "mind", "gradient"])
def test_masks_make_garbage_outside_harmless(similarity):
    fixed, moving, u = known_pair((80, 84), 3.0)
    mask = torch.zeros_like(fixed)
    mask[..., :56] = 1
    broken = torch.where(mask > 0, fixed, texture((80, 84), 9, 1.0))
    result = refine(broken, moving, Settings(similarity=similarity), fixed_mask=mask)
    clean = refine(fixed, moving, Settings(similarity=similarity))
    kept = (slice(None), slice(None), slice(None), slice(0, 44))
    assert inner_error(result.field[kept], u[kept]) < inner_error(clean.field[kept], u[kept]) + 0.35


def test_a_moving_mask_is_carried_along():
    fixed, moving, u = known_pair((80, 84), 3.0)
    mask = torch.zeros_like(moving)
    mask[..., :60] = 1
    broken = torch.where(mask > 0, moving, texture((80, 84), 9, 1.0))
    result = refine(fixed, broken, moving_mask=mask)
    kept = (slice(None), slice(None), slice(None), slice(0, 44))
    assert inner_error(result.field[kept], u[kept]) < 0.5


def test_a_start_is_kept_where_nothing_pulls_and_helps_where_motion_is_large():
    flat = torch.zeros((1, 1, 40, 44))
    start = true_field((40, 44), 3.0)
    assert float((refine(flat, flat, start=start).field - start).abs().mean()) < 0.3
    fixed, moving, u = known_pair((64, 60), 6.0)
    assert inner_error(refine(fixed, moving, start=u).field, u) < 0.2


def test_landmarks_pull_where_images_say_nothing():
    flat = torch.zeros((1, 1, 40, 44, 36))
    fixed = torch.tensor([[12.0, 14.0, 12.0], [26.0, 30.0, 24.0]])
    moving = fixed + torch.tensor([[3.0, 0.0, -2.0], [0.0, -3.0, 1.0]])
    u = refine(flat, flat, landmarks=(fixed, moving)).field
    at = fixed.T.reshape(1, 3, -1, 1, 1)
    reached = fixed + sample(u, at)[0, :, :, 0, 0].T
    assert float((reached - moving).norm(dim=1).max()) < 1.0


def test_where_all_is_aligned_nothing_moves():
    image = texture((36, 40, 32))
    assert float(refine(image, image).field.abs().max()) < 0.05
    seen = torch.ones_like(image)
    seen[..., :12, :] = 0
    assert float(refine(image, image * seen, moving_mask=seen).field.abs().max()) < 0.1


@pytest.mark.parametrize("shape", [(30, 34), (18, 20, 22)])
def test_a_step_is_composed_as_sampling_would(shape):
    ndim = len(shape)
    u = torch.stack([3 * (texture(shape, seed)[0, 0] - 0.5) for seed in range(ndim)])[None]
    d = 0.1 * torch.stack([texture(shape, seed + 9)[0, 0] for seed in range(ndim)])[None]
    sampled, found = compose(u, d), u.clone()
    level = Level(shape, (1,) * ndim, (1.0,) * ndim, 1, 1.5, 0.0, 1.0)
    rim = Rim(level, Window((0,) * ndim, shape), shape, u.device, width=1)
    _Mover(level, found, d, torch.empty_like(u), torch.empty_like(u), rim).move()
    inner = (slice(None), slice(None), *[slice(2, -2)] * ndim)
    error = float((found - sampled)[inner].abs().max())
    assert error < 0.02
    assert float((u + d - sampled)[inner].abs().max()) > 2.5 * error


def test_one_voxel_that_asks_for_a_long_step_does_not_hold_back_all_others():
    length = torch.ones((1, 1, 40, 50))
    length[..., 20, 25] = 30.0
    length[..., :5, :] = 0.0  # what does not move has no say
    assert _longest(length, 30.0, 0.0) == 30.0
    assert _longest(length, 30.0, 0.5) == pytest.approx(2.0)
    assert _longest(length, 30.0, 1e-3) == 30.0
    assert _longest(torch.zeros_like(length), 0.0, 0.5) == 0.0


def test_labels_pull_where_images_say_nothing():
    axes = torch.meshgrid(*[torch.arange(n) for n in (40, 44)], indexing="ij")
    disc = [(((axes[0] - c) ** 2 + (axes[1] - 22) ** 2) < 100).float()[None, None] for c in (18, 22)]
    flat = torch.zeros((1, 1, 40, 44))

    def overlap(warped: torch.Tensor) -> float:
        return float(2 * (warped * disc[0]).sum() / (warped.sum() + disc[0].sum()))

    for value in (1, 7):
        u = refine(flat, flat, labels=(disc[0] * value, disc[1] * value)).field
        assert overlap(disc[1]) < 0.85
        assert overlap(warp(disc[1], u, "nearest")) > 0.95


def test_labels_of_any_number_are_compared():
    shape = (40, 44)
    maps = torch.zeros((2, 1, 1, *shape), dtype=torch.long)
    maps[0, ..., 10:20, 10:24], maps[1, ..., 14:24, 10:24] = 4_000_000_000, 4_000_000_000
    maps[0, ..., 28:36, 28:38], maps[1, ..., 28:36, 28:38] = -7, -7
    flat = torch.ones((1, 1, *shape))
    found = refine(flat, flat, labels=(maps[0], maps[1])).field
    assert 2 < float(found[0, 0, 14:17, 14:20].mean()) < 5
    assert float(found[0, :, 30:34, 31:35].abs().max()) < 1


def test_more_smoothness_gives_a_smoother_field():
    fixed, moving = texture((48, 52), 5), texture((48, 52), 6)
    rough = [
        float(jacobian_determinant(refine(fixed, moving, Settings(similarity="lncc", smoothness=s)).field).log().std())
        for s in (1.0, 2.0, 4.0)
    ]
    assert rough == sorted(rough, reverse=True)


def test_cancel_stops_at_the_next_step():
    token, seen = CancelToken(), []

    def progress(stage: str, fraction: float, message: str) -> None:
        seen.append(fraction)
        if len(seen) == 5:
            token.cancel()

    fixed, moving, _ = known_pair((40, 44, 36))
    with pytest.raises(Cancelled):
        refine(fixed, moving, reporter=Reporter(progress, token))
    assert len(seen) == 5
    assert seen == sorted(seen)


def test_bad_settings_and_shapes_are_refused_in_a_sentence():
    image = texture((20, 22))
    with pytest.raises(InputError, match="share one grid"):
        refine(image, texture((20, 24)))
    with pytest.raises(InputError, match="in pairs"):
        refine(image, image, landmarks=(torch.zeros(2, 2), torch.zeros(3, 2)))
    for wrong in ({"refine": "best"}, {"similarity": "nmi"}, {"smoothness": 0.0}):
        with pytest.raises(InputError):
            Settings(**wrong)


def noisy_disc(center: tuple[int, int], seed: int) -> torch.Tensor:
    """A textured disc in a background of noise."""
    axes = torch.meshgrid(*[torch.arange(n) for n in (96, 104)], indexing="ij")
    inside = (sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)) < 600).float()[None, None]
    picture = smooth(inside, 1.0) * (0.4 + 0.6 * texture((96, 104), 3))
    noise = torch.randn((2, *picture.shape), generator=torch.Generator().manual_seed(seed)) * 0.01
    return ((picture + noise[0]).square() + noise[1].square()).sqrt()


@pytest.mark.parametrize("similarity", ["lncc", "mind", "translated"])
def test_noise_in_the_background_does_not_pull(similarity):
    u = refine(noisy_disc((48, 52), 1), noisy_disc((50, 50), 2), Settings(similarity=similarity)).field
    length = u.square().sum(1).sqrt()
    assert float(length[:, 4:-4, 4:-4].max()) < 9
    assert float(torch.cat([length[:, :4].flatten(), length[:, -4:].flatten()]).max()) < 2.5


@pytest.mark.parametrize("shape", [(60, 66), (35, 28, 26)])
def test_nothing_is_carried_out_of_the_grid_and_the_inverse_holds_at_its_border(shape):
    result = refine(texture(shape, 5), texture(shape, 6))
    for axis in range(len(shape)):
        normal = result.field[:, axis]
        assert float(-normal.select(axis + 1, 0).min()) < 0.5
        assert float(normal.select(axis + 1, -1).max()) < 0.5
    error = inverse_error(result.field, result.inverse)
    assert float(error.mean()) < 0.05
    assert float(error.flatten().quantile(0.999)) < 1


@pytest.mark.parametrize("shape", [(520, 500), (66, 70, 64)])
def test_the_inverse_of_a_large_rough_field_is_right_everywhere_to_a_tenth_of_a_voxel(shape):
    rough = smooth(torch.randn((1, len(shape), *shape), generator=torch.Generator().manual_seed(1)), 1.5)
    u = unfold(true_field(shape, 5.0) + rough * (0.5 / float(rough.std())))
    for axis in range(len(shape)):  # nothing leaves the grid, so that all can come back
        u *= (
            torch.linspace(-1, 1, shape[axis])
            .abs()
            .neg()
            .add(1)
            .mul(8)
            .clamp_max(1)
            .view([-1 if a == axis else 1 for a in range(len(shape))])
        )
    u = unfold(u)
    error = inverse_error(u, invert(u))
    assert float(error.mean()) < 0.03
    assert float(error.max()) < 0.11


def test_a_large_image_ends_at_full_resolution_and_accurate_stays_there_longer():
    shape, spacing = (160, 190, 150), (1.0, 1.0, 1.0)
    fast, accurate = (plan(shape, spacing, Settings(refine=quality))[-1] for quality in ("fast", "accurate"))
    assert fast.factors == accurate.factors == (1, 1, 1)
    assert fast.shape == shape
    assert 0 < fast.iterations < accurate.iterations
