"""A folder of DICOM slices, as scanners leave it: gaps, a tilted gantry, several series."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import read_image

UID = "1.2.826.0.1.3680043.2.1125."


def ramp(shape=(6, 20, 24)) -> np.ndarray:
    """Smooth, so that interpolated values can be foretold: 10 i + 3 j + 50 k."""
    k, j, i = np.indices(shape)
    return (10 * i + 3 * j + 50 * k).astype(np.int16)


def write_slices(
    folder: Path, volume: np.ndarray, positions: list, series="1", orientation=(1, 0, 0, 0, 1, 0), **more
) -> None:
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, (pixels, position) in enumerate(zip(volume, positions, strict=True)):
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing([0.5, 0.75])
        tags = {
            "0008|0060": "CT",
            "0008|103e": f"scan {series}",
            "0020|000d": UID + "9",
            "0020|000e": UID + series,
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(map(str, position)),
            "0020|0037": "\\".join(map(str, orientation)),
            "0008|0018": f"{UID}{series}.{k + 1}",
            **{name.lstrip("t").replace("_", "|"): value for name, value in more.items()},
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{series}_{5 - k}.dcm"))
        writer.Execute(image)


def test_even_slices_are_read_as_they_lie(tmp_path):
    write_slices(tmp_path, ramp(), [(-5, 7, 2 * k) for k in range(6)])
    image = read_image(tmp_path, "moving image")
    np.testing.assert_array_equal(image.array, ramp())
    np.testing.assert_allclose(image.grid.to_world([1, 2, 3]), [-3.5, 8.5, 2])
    assert image.warnings == ()


def test_missing_slices_are_said(tmp_path):
    write_slices(tmp_path, ramp(), [(0, 0, 2 * (k + (k > 3))) for k in range(6)])
    (said,) = read_image(tmp_path, "moving image").warnings
    assert "moving image lie 2.00 to 4.00 mm apart" in said
    assert "2.40 mm is taken for all, so that slices are up to 1.2 mm off" in said


def test_a_tilted_gantry_is_undone(tmp_path):
    write_slices(tmp_path, ramp(), [(0, 1.1 * k, 2 * k) for k in range(6)])
    image = read_image(tmp_path)
    assert "tilt of 28.8 degrees, 6 mm from the first to the last" in image.warnings[0]
    np.testing.assert_allclose(image.grid.directions.T @ image.grid.directions, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(image.grid.spacing, [2, 0.75, 0.5])
    inside = np.array([[k, j, i] for k in range(6) for j in range(9, 17) for i in (3, 20)])
    place = image.grid.to_world(inside)
    taken = 10 * place[:, 0] / 0.5 + 3 * (place[:, 1] - 1.1 * place[:, 2] / 2) / 0.75 + 50 * place[:, 2] / 2
    np.testing.assert_allclose(image.array[tuple(inside.T)], taken, atol=1)


def test_several_series_are_listed(tmp_path):
    for series in ("1", "2"):
        write_slices(tmp_path, ramp(), [(0, 0, 2 * k) for k in range(6)], series)
    with pytest.raises(InputError, match=r"2 series \(scan 1: 6 slices; scan 2: 6 slices\); put the slices"):
        read_image(tmp_path)


def test_a_series_named_in_another_alphabet_is_listed(tmp_path):
    for series in ("1", "2"):
        write_slices(tmp_path, ramp(), [(0, 0, 2 * k) for k in range(6)], series)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"scan ", b"sc\xe4n "))  # Latin-1, as scanners write it
    with pytest.raises(InputError, match=r"2 series \(sc\?n 1: 6 slices"):
        read_image(tmp_path)


def test_slices_that_are_no_volume_are_refused(tmp_path):
    write_slices(tmp_path, ramp(), [(0, 0, 2 * (k // 2)) for k in range(6)])
    with pytest.raises(InputError, match="several slices at one place"):
        read_image(tmp_path)


def test_a_folder_without_slices_is_one_sentence(tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("nothing here", encoding="utf-8")
    with pytest.raises(InputError, match="a folder without DICOM slices"):
        read_image(tmp_path)
    assert capfd.readouterr() == ("", "")
