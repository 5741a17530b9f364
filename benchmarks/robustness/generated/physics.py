"""What scanners add: noise of every kind, blur, uneven sensitivity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from DeepRegistrationLib import fields

from .shapes import smooth_noise


def blurred(array: np.ndarray, sigma: Sequence[float] | float) -> np.ndarray:
    """Gaussian; ``sigma`` in voxels, one for all or one an axis."""
    sigmas = [float(s) for s in np.broadcast_to(np.asarray(sigma, float), array.ndim)]
    return np.asarray(
        fields.smooth(torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None], sigmas)[0, 0]
    )


def grain(shape: tuple[int, ...], random: np.random.Generator, sigma: Sequence[float] | float) -> np.ndarray:
    """(*shape) Gaussian noise of variance 1 whose neighbors are alike over ``sigma`` voxels."""
    noise = blurred(random.standard_normal(shape).astype(np.float32), sigma)
    return noise / noise.std()


def rician(array: np.ndarray, random: np.random.Generator, sigma: float) -> np.ndarray:
    """Magnitude of a complex signal with Gaussian noise, as MR's."""
    real, other = (random.standard_normal(array.shape).astype(np.float32) * sigma for _ in range(2))
    return np.asarray(np.hypot(array + real, other))


def speckle(shape: tuple[int, ...], random: np.random.Generator, sigma: Sequence[float] | float) -> np.ndarray:
    """(*shape) Rayleigh amplitudes of mean 1, alike over ``sigma`` voxels: what coherent waves show."""
    amplitude = np.hypot(grain(shape, random, sigma), grain(shape, random, sigma))
    return np.asarray(amplitude / amplitude.mean())


def coil(shape: tuple[int, ...], random: np.random.Generator, spacing: np.ndarray, strength: float) -> np.ndarray:
    """(*shape) gain about 1, changing over the whole image."""
    wide = float(np.max(spacing * np.asarray(shape)))
    return np.asarray(np.exp(strength * smooth_noise(shape, random, spacing, wide)))


def streaks(
    shape: tuple[int, int, int], random: np.random.Generator, width: float = 0.06, lines: int = 9
) -> np.ndarray:
    """(*shape) variance 1: straight lines across each slice, in some directions, alike in neighboring slices."""
    n, m = shape[1:]
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(m)[None]
    mask = np.zeros((n, m // 2 + 1), np.float32)
    for angle in random.uniform(0, np.pi, lines):
        along = np.abs(fx * np.cos(angle) + fy * np.sin(angle))
        radius = np.hypot(fx, fy)
        mask += np.exp(-((along / (width * np.maximum(radius, 0.02))) ** 2)) * random.uniform(0.5, 1)
    mask *= np.exp(-((np.hypot(fx, fy) / 0.25) ** 2)) * (np.hypot(fx, fy) > 0.01)
    noise = blurred(random.standard_normal(shape).astype(np.float32), (1.0, 0.0, 0.0))
    made = np.fft.irfft2(np.fft.rfft2(noise) * mask, s=(n, m)).astype(np.float32)
    return np.asarray(made / made.std())
