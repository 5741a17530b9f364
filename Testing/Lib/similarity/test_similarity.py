"""Similarity of intensities: LNCC, MSE, L1, SSIM and mutual information, each beside an independent computation."""

import math

import numpy as np
import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss
from skimage.metrics import normalized_mutual_information as skimage_nmi
from skimage.metrics import structural_similarity

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import smooth
from DeepRegistrationLib.similarity.measures import (
    joint_histogram,
    l1,
    lncc,
    lncc_map,
    mse,
    nmi,
    ssim,
)
from DeepRegistrationLib.similarity.windows import box_mean, box_sum, weighted_mean

SHAPES = [(14, 17), (9, 12, 11)]


def images(*shape, seed=0, dtype=torch.float64, count=2):
    """``count`` smooth random images in [0, 1] of shape (1, 1, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        x = smooth(torch.rand(1, 1, *shape, generator=generator, dtype=torch.float32), 1.0).to(dtype)
        out.append((x - x.min()) / (x.max() - x.min()))
    return out


def shift(image, voxels, axis=-1):
    return torch.roll(image, voxels, axis)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_box_sums_equal_a_plain_convolution_with_ones(shape, size):
    x = torch.rand(2, 3, *shape, dtype=torch.float64)
    convolve = torch.nn.functional.conv2d if len(shape) == 2 else torch.nn.functional.conv3d
    kernel = torch.ones(3, 1, *[size] * len(shape), dtype=torch.float64)
    expected = convolve(x, kernel, padding=size // 2, groups=3)
    assert torch.allclose(box_sum(x, size), expected)
    padded = torch.nn.functional.pad(x, [size // 2] * (2 * len(shape)), mode="replicate")
    assert torch.allclose(box_sum(x, size, "replicate"), convolve(padded, kernel, groups=3))
    assert torch.allclose(box_mean(x, size) * size ** len(shape), expected)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("shape", [(5, 6), (4, 3, 5)])
def test_the_gradient_of_box_sums_is_exact(shape, padding):
    x = torch.rand(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: box_sum(x, 3, padding), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: box_sum(x, 5, padding).square(), x, fast_mode=True)


@pytest.mark.parametrize("shape", [(20, 22), (14, 15, 16)])
@pytest.mark.parametrize("window", [5, 9])
def test_lncc_equals_monai(shape, window):
    a, b = images(*shape, count=2)
    theirs = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=len(shape), kernel_size=window, smooth_nr=0, smooth_dr=1e-12
    )
    assert lncc(a, b, window, eps=1e-12).item() == pytest.approx(-theirs(a, b).item(), rel=1e-6)


@pytest.mark.parametrize("shape", [(7, 6), (5, 4, 6)])
@pytest.mark.parametrize("signed", [False, True])
def test_lncc_equals_a_direct_loop_over_windows(shape, signed):
    a, b = images(*shape, seed=3)
    n, count = 3, 3 ** len(shape)
    pa, pb = (np.pad(x[0, 0].numpy(), 1) for x in (a, b))
    expected = np.zeros(shape)
    for index in np.ndindex(*shape):
        window = tuple(slice(i, i + n) for i in index)
        wa, wb = pa[window], pb[window]
        # The mean over a whole window, at the border too: zeros outside count.
        ca, cb = wa - wa.sum() / count, wb - wb.sum() / count
        cov, product = (ca * cb).sum(), (ca * ca).sum() * (cb * cb).sum() + 1e-5
        expected[index] = cov / math.sqrt(product) if signed else cov**2 / product
    np.testing.assert_allclose(lncc_map(a, b, n, signed)[0, 0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_only_the_signed_lncc_sees_a_reversed_contrast():
    (a,) = images(16, 16, 16, count=1)
    # Zeros outside are part of the border's windows, so only the inside is fully reversed.
    inside = (..., *[slice(2, -2)] * 3)
    assert lncc_map(a, 1 - a, 5)[inside].mean() > 0.99
    assert lncc_map(a, 1 - a, 5, signed=True)[inside].mean() < -0.99
    assert lncc_map(a, a, 5, signed=True)[inside].mean() > 0.99


def test_lncc_of_flat_bright_images_is_finite_and_small_in_float32():
    flat = torch.full((1, 1, 20, 20, 20), 0.9, requires_grad=True)
    noise = torch.rand(1, 1, 20, 20, 20)
    inside = (..., *[slice(4, -4)] * 3)
    for signed in (False, True):
        values = lncc_map(flat, noise, 9, signed)[inside]
        values.mean().backward()
        assert values.abs().max() < 0.05
        assert flat.grad.isfinite().all()


def test_lncc_of_half_precision_is_computed_in_float32():
    a, b = images(12, 12, 12, dtype=torch.float32)
    half = lncc(a.bfloat16(), b.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(lncc(a.bfloat16().float(), b.bfloat16().float()).item())


@pytest.mark.parametrize("shape", [(24, 30), (14, 15, 17)])
def test_ssim_equals_scikit_image(shape):
    a, b = images(*shape)
    expected = structural_similarity(
        a[0, 0].numpy(),
        b[0, 0].numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    # scikit-image cuts its Gaussian at 5 voxels, as we do.
    assert ssim(a, b).item() == pytest.approx(expected, rel=1e-6)
    assert ssim(a, a).item() == pytest.approx(1.0)


def test_ssim_takes_images_thinner_than_its_window():
    a, b = images(5, 30, 30)
    assert -1 <= ssim(a, b).item() < 1


def test_mse_and_l1_are_plain_means():
    a, b = images(6, 7, 8)
    assert mse(a, b).item() == pytest.approx(((a - b).numpy() ** 2).mean())
    assert l1(a, b).item() == pytest.approx(np.abs((a - b).numpy()).mean())


def b_spline(x):
    x = np.abs(x)
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.where(x < 2, (2 - x) ** 3 / 6, 0))


def test_the_joint_histogram_equals_a_product_of_b_spline_weights(monkeypatch):
    monkeypatch.setattr("DeepRegistrationLib.similarity.mutual_information.CHUNK", 500)
    a, b = images(12, 13, 14)
    mask = torch.rand(1, 1, 12, 13, 14, dtype=torch.float64)
    bins = np.arange(16)[:, None]
    rows, columns = (b_spline(x.numpy().ravel() * 13 + 1 - bins) for x in (a, b))
    for weights, given in ((np.ones(a.numel()), None), (mask.numpy().ravel(), mask)):
        expected = (rows * weights) @ columns.T / weights.sum()
        np.testing.assert_allclose(joint_histogram(a, b, 16, given)[0].numpy(), expected, atol=1e-15)


def mutual_information(a, b, bins=32):
    """Nats, from the joint histogram: what ``nmi`` puts into relation to the entropy of both."""
    p = joint_histogram(a, b, bins)[0]
    return torch.xlogy(p, p).sum() - torch.xlogy(p, p.sum(1, keepdim=True) * p.sum(0, keepdim=True)).sum()


def test_mutual_information_equals_a_plain_histogram_of_few_gray_levels():
    # Levels 8 bins apart fall on bins of their own, so that the Parzen window moves no mass from one to another: each
    # level's blur is the same, and adds its own entropy to all three.
    generator = torch.Generator().manual_seed(1)
    a = torch.randint(0, 4, (1, 1, 40, 40), generator=generator).double()
    b = torch.where(torch.rand(1, 1, 40, 40, generator=generator) < 0.7, (a + 1) % 4, a)
    counts = np.zeros((4, 4))
    np.add.at(counts, (a.long().numpy().ravel(), b.long().numpy().ravel()), 1)
    p = counts / counts.sum()
    expected = (p[p > 0] * np.log(p[p > 0] / np.outer(p.sum(1), p.sum(0))[p > 0])).sum()
    assert mutual_information(a, b, bins=27).item() == pytest.approx(expected, rel=1e-6)


def test_nmi_follows_scikit_image_for_a_fine_histogram():
    a, b = images(60, 60)
    b = 0.7 * a + 0.3 * b
    ours = nmi(a, b, bins=32).item()
    theirs = skimage_nmi(a[0, 0].numpy(), b[0, 0].numpy(), bins=30) - 1
    assert ours == pytest.approx(theirs, rel=0.35)
    assert 0 < ours < 1


def test_mutual_information_does_not_mind_a_remapped_contrast():
    a, b = images(20, 20, 20)
    assert mutual_information(a, 1 - a).item() == pytest.approx(mutual_information(a, a).item(), rel=1e-6)
    assert mutual_information(3 * a + 7, b).item() == pytest.approx(mutual_information(a, b).item(), rel=1e-6)
    # An independent image says little; a folded contrast (two intensities of a become one) still says much.
    folded = (a - 0.5).abs()
    assert mutual_information(a, folded) > 4 * mutual_information(a, b)


MEASURES = {
    "mse": lambda a, b: -mse(a, b),
    "l1": lambda a, b: -l1(a, b),
    "lncc": lambda a, b: lncc(a, b, 5),
    "signed lncc": lambda a, b: lncc(a, b, 5, signed=True),
    "ssim": ssim,
    "nmi": nmi,
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("shape", [(20, 24), (14, 16, 18)])
def test_each_measure_is_best_at_identity(name, shape):
    (a,) = images(*shape, count=1)
    measure = MEASURES[name]
    best = measure(a, a)
    for axis in range(2, a.ndim):
        for voxels in (-2, -1, 1, 2):
            assert measure(shift(a, voxels, axis), a) < best


FIXED_RANGE = {"range_a": (-0.5, 1.5), "range_b": (-0.5, 1.5), "bins": 8}
GRADIENTS = MEASURES | {
    "ssim": lambda a, b: ssim(a, b, sigma=0.7),
    "nmi": lambda a, b: nmi(a, b, **FIXED_RANGE),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 4)])
def test_each_gradient_agrees_with_finite_differences(name, shape):
    a, b = images(*shape, seed=5)
    assert torch.autograd.gradcheck(GRADIENTS[name], (a.requires_grad_(), b.requires_grad_()), fast_mode=True)


@pytest.mark.parametrize("measure", [mse, l1, lncc, ssim, nmi])
def test_shapes_that_do_not_fit_are_refused_in_a_sentence(measure):
    a = torch.rand(1, 1, 12, 12, 12)
    with pytest.raises(InputError, match="same shape"):
        measure(a, a[..., :-1])
    with pytest.raises(InputError, match="N, C"):
        measure(a[0, 0], a[0, 0])
    with pytest.raises(InputError, match="mask"):
        measure(a, a, mask=torch.ones(1, 1, 12, 12, 11))
    with pytest.raises(InputError, match="float32"):
        measure(a.int(), a.int())


@pytest.mark.parametrize("measure", [mse, l1, nmi])
def test_voxels_outside_the_mask_do_not_count(measure):
    a, b = images(12, 12, 12)
    mask = torch.zeros(1, 1, 12, 12, 12)
    mask[..., 3:9] = 1
    limits = {} if measure in (mse, l1) else {"range_a": (0.0, 1.0), "range_b": (0.0, 1.0)}
    changed = torch.where(mask > 0, b, torch.rand_like(b))
    assert measure(a, b, mask=mask, **limits).item() == pytest.approx(measure(a, changed, mask=mask, **limits).item())
    inner = (..., slice(3, 9))
    assert measure(a, b, mask=mask, **limits).item() == pytest.approx(measure(a[inner], b[inner], **limits).item())


def test_a_mask_for_one_item_serves_the_whole_batch():
    values = torch.rand(3, 2, 5, 6)
    mask = torch.rand(1, 1, 5, 6)
    expected = (values * mask).sum() / mask.expand_as(values).sum()
    assert weighted_mean(values, mask).item() == pytest.approx(expected.item())


def test_windows_of_an_even_size_are_refused():
    with pytest.raises(InputError, match="odd"):
        lncc(torch.rand(1, 1, 9, 9), torch.rand(1, 1, 9, 9), window=4)
