"""What other programs write as a transform: read as they mean it, or refused with a sentence and nothing else."""

import functools
import gzip
import os
import re
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.endings import check_ending, transform_endings
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.geometry.transform import (
    Transform,
    displacement_on,
    map_points,
    map_points_inverse,
    read_transform,
    save_transform,
)
from Testing.Lib.fields.test_fields import smooth_field
from Testing.Lib.geometry.geometries import GRIDS

GRID = GRIDS["oblique anisotropic flipped"]
PLANE = GRIDS["oblique 2-D"]
AFFINE, FIELD = "AffineTransform_double_3_3", "DisplacementFieldTransform_double_3_3"


@functools.cache
def field_transform(grid=GRID):
    return Transform.from_field(smooth_field(grid.shape), grid)


def points_in(grid, n=50):
    rng = np.random.default_rng(3)
    return grid.to_world(rng.uniform(0.2, 0.8, (n, grid.ndim)) * (np.asarray(grid.shape) - 1))


def matrix(*rows, translation=(0.0, 0.0, 0.0)):
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in rows])
    transform.SetTranslation(translation)
    return transform


def scaling(x=2.0):
    return matrix(x, 0, 0, 0, 1, 0, 0, 0, 1)


def text_list(*transforms):
    lines = ["#Insight Transform File V1.0"]
    for k, transform in enumerate(transforms):
        parameters = " ".join(str(v) for v in transform.GetParameters())
        lines += [f"#Transform {k}", f"Transform: {AFFINE}", f"Parameters: {parameters}", "FixedParameters: 0 0 0"]
    return "\n".join(lines) + "\n"


class TestNifti:
    # Run by hand besides (2-D and 3-D, oblique): SimpleITK 2.5.7, ANTsPy 0.6.1 (transform_from_displacement_field and
    # apply_transforms_to_points) and nitransforms 25.1.0 (load(fmt="itk"), 3-D) moved the same point to the same place
    # within 2e-6 mm, before with 1006 nitransforms was 10 mm off. Slicer: test_slicer_files.py.
    @pytest.mark.parametrize("grid", [GRID, PLANE], ids=["3-D", "2-D"])
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_a_field_is_plain_vectors_in_lps_that_every_reader_takes_alike(self, tmp_path, grid, ending):
        path = tmp_path / f"field{ending}"
        transform = field_transform(grid)
        transform.save(path)
        data = gzip.decompress(path.read_bytes()) if ending.endswith("gz") else path.read_bytes()
        assert struct.unpack("<h", data[68:70]) == (1007,)
        points = points_in(grid)
        plain = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
        np.testing.assert_allclose(map_points(plain, points), transform.map_points(points), atol=1e-4)

    @pytest.mark.parametrize("grid", [GRID, PLANE], ids=["3-D", "2-D"])
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_displacement_vectors_are_ras_and_not_scrambled(self, tmp_path, grid, ending):
        transform = field_transform(grid)
        vectors = displacement_on(transform, transform.domain) * ([-1, -1, 1][: grid.ndim])
        sitk.WriteImage(transform.domain.to_sitk(vectors, vector=True), str(tmp_path / "plain.nii"))
        data = bytearray((tmp_path / "plain.nii").read_bytes())
        data[68:70] = struct.pack("<h", 1006)
        path = tmp_path / f"field{ending}"
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
        points = points_in(grid)
        np.testing.assert_allclose(map_points(read_transform(path), points), transform.map_points(points), atol=1e-4)

    def test_a_packed_field_beside_a_plain_one_is_read_itself(self, tmp_path):
        transform, still = field_transform(), sitk.Transform(3, sitk.sitkIdentity)
        transform.save(tmp_path / "a.nii.gz")
        save_transform(still, tmp_path / "a.nii", transform.domain)
        points = points_in(GRID)
        loaded = read_transform(tmp_path / "a.nii.gz")
        np.testing.assert_allclose(map_points(loaded, points), transform.map_points(points), atol=1e-4)


class TestInvertedInSlicer:
    def check(self, path, expected_forward):
        points = points_in(GRID)
        there = map_points(read_transform(path), points)
        np.testing.assert_allclose(map_points(expected_forward, there), points, atol=0.02)
        assert np.abs(there - points).max() > 0.5  # and they do move

    def test_a_field_image_says_so(self, tmp_path):
        transform = field_transform()
        image = transform.domain.to_sitk(transform.displacement(), vector=True)
        image.SetMetaData("displacement field type", "modeling")
        sitk.WriteImage(image, str(tmp_path / "t.nrrd"))
        self.check(tmp_path / "t.nrrd", transform)
        image.SetMetaData("displacement field type", "resampling")
        sitk.WriteImage(image, str(tmp_path / "t.nrrd"))
        points = points_in(GRID)
        loaded = read_transform(tmp_path / "t.nrrd")
        np.testing.assert_allclose(map_points(loaded, points), transform.map_points(points), atol=1e-4)

    @pytest.mark.parametrize("ending", [".tfm", ".txt"])
    def test_a_text_file_has_a_class_of_its_own(self, tmp_path, ending):
        transform = field_transform()
        transform.save(tmp_path / f"t{ending}")
        self.rename(tmp_path / f"t{ending}", b"")
        self.check(tmp_path / f"t{ending}", transform)

    def test_among_others_only_the_grid_is_turned_around(self, tmp_path):
        forward = sitk.Transform(field_transform()).Downcast()
        sitk.WriteTransform(sitk.CompositeTransform([scaling(), forward]), str(tmp_path / "t.tfm"))
        self.rename(tmp_path / "t.tfm", b"")
        points = points_in(GRID)
        there = map_points(read_transform(tmp_path / "t.tfm"), points) / [2, 1, 1]
        np.testing.assert_allclose(map_points(forward, there), points, atol=0.02)

    def test_what_only_slicer_can_evaluate_is_refused_with_the_way_out(self, tmp_path):
        (tmp_path / "t.tfm").write_text(
            text_list(scaling()).replace(AFFINE, "InverseBSplineTransform_double_3_3"), encoding="utf-8"
        )
        with pytest.raises(InputError, match="convert it to a displacement grid"):
            read_transform(tmp_path / "t.tfm")

    def rename(self, path, filler):
        data = path.read_bytes()
        assert FIELD.encode() in data
        path.write_bytes(data.replace(FIELD.encode(), b"Inverse" + FIELD.encode() + filler))


class TestSeveralTransforms:
    def test_a_list_without_an_order_is_refused(self, tmp_path):
        (tmp_path / "t.tfm").write_text(text_list(scaling(), scaling(3)), encoding="utf-8")
        with pytest.raises(InputError, match=r"holds 2 transforms .* how they follow"):
            read_transform(tmp_path / "t.tfm")

    @pytest.mark.parametrize("ending", [".h5", ".tfm"])
    def test_a_composite_keeps_its_order(self, tmp_path, ending):
        both = sitk.CompositeTransform([scaling(), matrix(1, 0, 0, 0, 1, 0, 0, 0, 1, translation=(5, 0, 0))])
        sitk.WriteTransform(both, str(tmp_path / f"t{ending}"))
        np.testing.assert_allclose(read_transform(tmp_path / f"t{ending}").TransformPoint((1, 1, 1)), (12, 1, 1))

    def test_matrices_that_itk_wrote_for_minc_are_all_applied(self, tmp_path):
        both = sitk.CompositeTransform([scaling(), matrix(1, 0, 0, 0, 1, 0, 0, 0, 1, translation=(5, 0, 0))])
        sitk.WriteTransform(both, str(tmp_path / "t.xfm"))
        np.testing.assert_allclose(read_transform(tmp_path / "t.xfm").TransformPoint((1, 1, 1)), (12, 1, 1))

    def test_a_grid_in_minc_is_not_dropped(self, tmp_path):
        sitk.WriteTransform(
            sitk.CompositeTransform([scaling(), sitk.Transform(field_transform()).Downcast()]), str(tmp_path / "t.xfm")
        )
        with pytest.raises(InputError, match="more than matrices"):
            read_transform(tmp_path / "t.xfm")

    def test_minc_itself_means_other_axes(self, tmp_path):
        (tmp_path / "t.xfm").write_text(
            "MNI Transform File\n\nTransform_Type = Linear;\nLinear_Transform =\n 1 0 0 9\n 0 1 0 0\n 0 0 1 0;\n",
            encoding="utf-8",
        )
        with pytest.raises(InputError, match="RAS"):
            read_transform(tmp_path / "t.xfm")


class TestPaths:
    @pytest.mark.parametrize("name", ["t.mat", "t", "t.mgz", "t.xfm", "t.x5", "t.png"])
    def test_an_ending_that_cannot_hold_a_field_is_known_before(self, tmp_path, name):
        with pytest.raises(InputError):
            check_ending(tmp_path / name, transform_endings(linear=False), "A transform")
        with pytest.raises(InputError):
            field_transform().save(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_is_not_there_is_known_before(self, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            field_transform().save(tmp_path / "no" / "t.h5")

    def test_a_matrix_alone_goes_to_matlab_and_back(self, tmp_path):
        save_transform(scaling(), tmp_path / "t.mat", GRID)
        np.testing.assert_allclose(read_transform(tmp_path / "t.mat").TransformPoint((1, 1, 1)), (2, 1, 1))

    @pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
    def test_a_header_apart_from_its_voxels_is_a_field_too(self, tmp_path, ending):
        transform, points = field_transform(), points_in(GRID)
        transform.save(tmp_path / f"t{ending}")
        loaded = read_transform(tmp_path / f"t{ending}")
        np.testing.assert_allclose(map_points(loaded, points), transform.map_points(points), atol=1e-4)


class TestRefused:
    def refuse(self, source, sentence, capfd):
        with pytest.raises(InputError, match=sentence) as raised:
            read_transform(source)
        assert "\n" not in str(raised.value)
        assert capfd.readouterr() == ("", "")

    def color(self, dtype):
        return sitk.GetImageFromArray(np.ones((4, 5, 6, 3), dtype), isVector=True)

    @pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".nii.gz", ".mha"])
    def test_a_color_image_is_no_field(self, tmp_path, capfd, ending):
        sitk.WriteImage(self.color(np.uint8), str(tmp_path / f"c{ending}"))
        self.refuse(tmp_path / f"c{ending}", "color image", capfd)

    def test_nor_one_in_floating_point(self, tmp_path, capfd):
        sitk.WriteImage(self.color(np.float32), str(tmp_path / "c.nrrd"))
        data = (tmp_path / "c.nrrd").read_bytes()
        (tmp_path / "c.nrrd").write_bytes(data.replace(b"kinds: vector", b"kinds: RGB-color"))
        self.refuse(tmp_path / "c.nrrd", "color image", capfd)

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300], ids=str)
    @pytest.mark.parametrize("ending", [".nrrd", ".h5", "composite.h5", None])
    def test_a_field_with_a_hole(self, tmp_path, capfd, value, ending):
        vectors = np.zeros((5, 6, 7, 3))
        vectors[0] = value  # a slice at the border: nothing that moves the anatomy
        image = sitk.GetImageFromArray(vectors, isVector=True)
        transform = sitk.DisplacementFieldTransform(sitk.Image(image))
        path = tmp_path / f"t{ending}"
        if ending == ".nrrd":
            sitk.WriteImage(image, str(path))
        elif ending == "composite.h5":
            sitk.WriteTransform(sitk.CompositeTransform([scaling(), transform]), str(path))
        elif ending:
            sitk.WriteTransform(transform, str(path))
        self.refuse(path if ending else transform, "check its units" if value == 1e300 else "no numbers", capfd)

    @pytest.mark.parametrize("where", ["file", "memory", "composite"])
    def test_a_matrix_that_flattens_space(self, tmp_path, capfd, where):
        flat = matrix(1, 0, 0, 0, 1, 0, 0, 0, 0)
        if where == "file":
            sitk.WriteTransform(flat, str(tmp_path / "t.tfm"))
        source = {"file": tmp_path / "t.tfm", "memory": flat, "composite": sitk.CompositeTransform([scaling(), flat])}
        self.refuse(source[where], "flattens space", capfd)

    def test_a_matrix_without_numbers(self, tmp_path, capfd):
        self.refuse(matrix(np.nan, 0, 0, 0, 1, 0, 0, 0, 1), "no numbers", capfd)

    def test_a_small_scale_is_no_flattening(self):
        small = matrix(1e-3, 0, 0, 0, 1e-3, 0, 0, 0, 1e-3)  # micrometers to millimeters
        assert read_transform(small) is small

    @pytest.mark.parametrize("kept", [200, 3000, -100])
    def test_a_file_that_is_cut_short(self, tmp_path, capfd, kept):
        field_transform().save(tmp_path / "t.h5")
        data = (tmp_path / "t.h5").read_bytes()
        (tmp_path / "t.h5").write_bytes(data[:kept])
        self.refuse(tmp_path / "t.h5", "cut short", capfd)

    @pytest.mark.parametrize("grid", [GRID, PLANE], ids=["3-D", "2-D"])
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
    def test_a_field_that_is_cut_short(self, tmp_path, capfd, ending, grid):
        path = tmp_path / f"t{ending}"
        field_transform(grid).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        self.refuse(path, rf"t\{ending} (is not whole|could not be read)", capfd)

    @pytest.mark.parametrize("beside", [False, True])
    @pytest.mark.parametrize("at", [12, 60, 0.5])
    def test_a_packed_field_whose_packing_is_damaged(self, tmp_path, capfd, at, beside):
        path = tmp_path / "t.nii.gz"
        field_transform().save(path)
        if beside:  # another way to read it
            field_transform().save(tmp_path / "t.nii")
        data = bytearray(path.read_bytes())
        start = int(at * len(data)) if at < 1 else at
        data[start : start + 8] = bytes(255 - b for b in data[start : start + 8])
        path.write_bytes(data)
        self.refuse(path, "(is not whole|could not be read)", capfd)

    def test_a_text_whose_bytes_are_no_text(self, tmp_path, capfd):
        sitk.WriteTransform(matrix(1, 0, 0, 0, 1, 0, 0, 0, 1), str(tmp_path / "t.tfm"))
        data = (tmp_path / "t.tfm").read_bytes()
        (tmp_path / "t.tfm").write_bytes(data.replace(b"AffineTransform", b"Affin\xd4Transform"))
        self.refuse(tmp_path / "t.tfm", "could not be read", capfd)

    def test_two_dimensional_displacement_vectors_that_are_cut_short(self, tmp_path, capfd):
        field_transform(PLANE).save(tmp_path / "t.nii")
        data = bytearray((tmp_path / "t.nii").read_bytes())
        data[68:70] = struct.pack("<h", 1006)
        packed = gzip.compress(data)
        for name, part in {
            "u.nii": data[:-100],
            "v.nii.gz": packed[:-100],
            "w.nii.gz": gzip.compress(data[:-99]),
        }.items():
            (tmp_path / name).write_bytes(part)
            self.refuse(tmp_path / name, re.escape(f"{tmp_path / name} ") + "(is not whole|could not be read)", capfd)

    def test_a_foreign_hdf5_is_one_sentence(self, tmp_path, capfd):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "t.h5", "w") as file:  # X5's skeleton
            file.attrs["Format"] = "X5"
            file.create_group("TransformGroup/0")["Transform"] = np.eye(4)
        self.refuse(tmp_path / "t.h5", "without an ITK transform", capfd)

    def test_what_a_library_prints_while_it_fails_is_not_shown(self, tmp_path, capfd, monkeypatch):
        def complain(_):  # as HDF5 does of damage inside a file, from C; what it does later is its own affair
            os.write(2, b"HDF5-DIAG: Error detected\n" * 27)
            raise RuntimeError("ITK: exception")

        field_transform().save(tmp_path / "t.h5")
        monkeypatch.setattr(sitk, "ReadTransform", complain)
        self.refuse(tmp_path / "t.h5", "could not be read", capfd)
        os.write(2, b"shown again")
        assert capfd.readouterr().err == "shown again"

    @pytest.mark.parametrize(
        ("name", "content", "sentence"),
        [
            ("w.mgz", b"anything", "FreeSurfer"),
            ("w.m3z", b"anything", "FreeSurfer"),
            ("t.lta", b"type = 1", "FreeSurfer"),
            ("t.dcm", bytes(128) + b"DICM" + bytes(40), "DICOM"),
            ("t.x5", b"\x89HDF\r\n\x1a\n", "X5"),
            ("TransformParameters.0.txt", b'(Transform "EulerTransform")\n', "elastix"),
            ("t.h5", b"", "empty"),
            ("t.nii", b"", "could not be read"),
            ("t.nii.gz", b"\x1f\x8b\x08", "could not be read"),
            ("t.tfm", b"#Insight Transform File V1.0\n#Transform 0\nTransform: Affine", "could not be read"),
        ],
    )
    def test_other_programs_files(self, tmp_path, capfd, name, content, sentence):
        (tmp_path / name).write_bytes(content)
        self.refuse(tmp_path / name, sentence, capfd)

    def test_a_folder(self, tmp_path, capfd):
        self.refuse(tmp_path, "folder", capfd)

    def test_a_plain_image(self, tmp_path, capfd):
        Image(np.zeros(GRID.shape, np.float32), GRID).save(tmp_path / "i.nii.gz")
        self.refuse(tmp_path / "i.nii.gz", "not a displacement field", capfd)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_points_go_back_as_exactly_at_any_scale(scale):
    """A section in micrometers and a mouse are no worse off than a head: nothing there is counted in millimeters."""
    matrix = GRID.matrix.copy()
    matrix[:3] *= scale
    grid = type(GRID)(GRID.shape, matrix)
    transform, points = field_transform(grid), points_in(grid, 10)
    back = map_points_inverse(transform, transform.map_points(points))
    np.testing.assert_allclose(back / scale, points / scale, atol=2e-3)
