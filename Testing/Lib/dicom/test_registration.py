"""DICOM registration objects: what is written reads back, by us, by the standard's text, and as SlicerRT reads it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.dicom.image_series import read_series
from DeepRegistrationLib.dicom.registration_reading import read_registration
from DeepRegistrationLib.dicom.registration_writing import write_registration
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.transform import Transform, affine_to_sitk, map_points, read_transform
from Testing.Lib.files.test_dicom_folder import UID, ramp, write_slices

from . import standard

pydicom = pytest.importorskip("pydicom")

PATIENT = {"t0010_0010": "Doe^Jane", "t0010_0020": "17", "t0010_0030": "19700101"}


def folder_of(path: Path, series="1", frame="5", patient=PATIENT, study="9", volume=None) -> Path:
    path.mkdir()
    volume = ramp() if volume is None else volume
    positions = [(-5, 7, 2 * k) for k in range(len(volume))]
    named = {} if frame is None else {"t0020_0052": f"{UID}{frame}"}
    write_slices(path, volume, positions, series, **named, **patient, t0020_000d=f"{UID}{study}")
    return path


@pytest.fixture
def pair(tmp_path):
    fixed = read_series(folder_of(tmp_path / "fixed"), "fixed image")
    return fixed, read_series(folder_of(tmp_path / "moving", "2", "6", study="10"), "moving image")


def turned(degrees=20.0) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    matrix[:3, 3] = [31.123456789, -250.5, 7.25]
    return matrix


def grid(handed=1, angle=0.0) -> Grid:
    """Spacing 3, 2, 1.5 mm along k, j, i; oblique if turned; left-handed if ``handed`` is -1."""
    matrix = np.eye(4)
    matrix[:3, :3] = turned(angle)[:3, :3] @ np.diag([1.5, 2.0, 3.0 * handed])[:, ::-1]
    matrix[:3, 3] = [-40, 12.5, 100]
    return Grid((10, 12, 14), matrix)


def field(on: Grid) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(1, 3, 4, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, on.shape, mode="trilinear", align_corners=True)


def onto(transform: Transform) -> sitk.Image:
    return transform.domain.to_sitk(np.zeros(transform.domain.shape, np.uint8))


def places(on: Grid, count=200) -> np.ndarray:
    inside = np.random.default_rng(1).uniform(0, 1, (count, 3)) * (np.asarray(on.shape) - 1)
    return on.to_world(inside)


@pytest.mark.parametrize(("handed", "angle"), [(1, 0), (-1, 0), (1, 33), (-1, 33)])
@pytest.mark.parametrize("whole", [None, turned()], ids=["field", "affine and field"])
def test_a_field_comes_back_and_so_does_its_inverse(tmp_path, pair, handed, angle, whole):
    from DeepRegistrationLib.fields.inverse import invert

    on = grid(handed, angle)
    u = field(on)
    transform = Transform.from_field(u, on, whole)
    write_registration(transform, tmp_path / "t.dcm", onto(transform), *pair)
    back = read_transform(tmp_path / "t.dcm")
    points = places(on)
    np.testing.assert_allclose(map_points(back, points), map_points(transform, points), atol=1e-4)

    inverse = Transform.inverse_of(invert(u), on, whole, on)
    write_registration(inverse, tmp_path / "i.dcm", onto(inverse), *pair[::-1])
    nodes = places(inverse.domain, 0)
    nodes = inverse.domain.to_world(np.random.default_rng(2).integers(0, inverse.domain.shape, (50, 3)))
    np.testing.assert_allclose(
        map_points(read_transform(tmp_path / "i.dcm"), nodes), map_points(inverse, nodes), atol=1e-4
    )


def test_a_field_means_what_the_standard_says(tmp_path, pair):
    on = grid(-1, 33)
    transform = Transform.from_field(field(on), on, turned())
    write_registration(transform, tmp_path / "t.dcm", onto(transform), *pair)
    data = standard.read(tmp_path / "t.dcm")
    assert standard.text(data[0x0020, 0x0052]) == pair[0].frame
    frame, points, moved = standard.deformable(data)
    assert frame == pair[1].frame
    assert len(points) == np.prod(transform.domain.shape)
    some = slice(None, None, 37)
    np.testing.assert_allclose(map_points(transform, points[some]), moved[some], atol=1e-4)


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (turned(), "RIGID"),
        (np.linalg.inv(turned() @ np.diag([1.1, 0.9, 1.2, 1])), "RIGID_SCALE"),
        (turned() @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "AFFINE"),
        (np.diag([-1.0, 1, 1, 1]), "AFFINE"),
    ],
)
def test_a_matrix_leads_from_the_moving_to_the_fixed_frame(tmp_path, pair, matrix, kind):
    transform = affine_to_sitk(matrix)
    write_registration(transform, tmp_path / "t.dcm", sitk.Image(2, 2, 2, sitk.sitkUInt8), *pair)
    points = places(grid())
    back = read_transform(tmp_path / "t.dcm")
    assert back.IsLinear()
    np.testing.assert_allclose(map_points(back, points), map_points(transform, points), atol=1e-6)
    data = standard.read(tmp_path / "t.dcm")
    found = standard.linear(data)
    (to_fixed,) = found[pair[1].frame]
    np.testing.assert_array_equal(found[pair[0].frame], [np.eye(4)])
    moved = map_points(transform, points)
    np.testing.assert_allclose(moved @ to_fixed[:3, :3].T + to_fixed[:3, 3], points, atol=1e-6)
    kinds = [item[0x70, 0x309][0][0x70, 0x30A][0][0x70, 0x30C] for item in data[0x0070, 0x0308]]
    assert [standard.text(k) for k in kinds] == ["RIGID", kind]


def test_slicerrt_takes_the_matrix_to_parent_and_the_vectors_on_a_straight_grid(tmp_path, pair):
    """Its importer multiplies all matrices, turns x and y around, and sets the product as TransformToParent (moving to
    fixed); of a grid it takes position, spacing and vectors, x and y turned around, and ignores the last matrix."""
    flip = np.diag([-1.0, -1, 1, 1])
    transform = affine_to_sitk(turned())
    write_registration(transform, tmp_path / "t.dcm", sitk.Image(2, 2, 2, sitk.sitkUInt8), *pair)
    product = np.eye(4)
    for matrices in standard.linear(standard.read(tmp_path / "t.dcm")).values():
        product = product @ matrices[0]
    np.testing.assert_allclose(flip @ product @ flip, flip @ np.linalg.inv(turned()) @ flip, atol=1e-9)

    on = grid()
    deformed = Transform.from_field(field(on), on, turned())
    write_registration(deformed, tmp_path / "d.dcm", onto(deformed), *pair)
    (item,) = standard.read(tmp_path / "d.dcm")[0x0064, 0x0002]
    assert not {(0x0064, 0x000F), (0x0064, 0x0010)} & set(item)
    cosines = standard.decimals(item[0x0064, 0x0005][0][0x0020, 0x0037])
    np.testing.assert_array_equal(cosines, [1, 0, 0, 0, 1, 0])


def write_object(path, pair, change, linear=False):
    """A registration of another maker: ours, changed."""
    on = grid()
    transform = affine_to_sitk(turned()) if linear else Transform.from_field(field(on), on)
    write_registration(transform, path, sitk.Image(2, 2, 2, sitk.sitkUInt8) if linear else onto(transform), *pair)
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)
    return path


def test_matrices_before_and_after_the_field_are_applied(tmp_path, pair):
    before, after = turned(10), turned(-25) @ np.diag([1.1, 1, 0.9, 1])

    def change(data):
        for name, matrix in (("Pre", before), ("Post", after)):
            item = pydicom.Dataset()
            item.FrameOfReferenceTransformationMatrixType = "AFFINE"
            item.FrameOfReferenceTransformationMatrix = [f"{v:.10g}" for v in matrix.ravel()]
            setattr(data.DeformableRegistrationSequence[0], f"{name}DeformationMatrixRegistrationSequence", [item])

    path = write_object(tmp_path / "t.dcm", pair, change)
    _, points, moved = standard.deformable(standard.read(path))
    np.testing.assert_allclose(map_points(read_transform(path), points[::37]), moved[::37], atol=1e-4)


def test_a_product_of_matrices_is_read_only_where_its_order_does_not_matter(tmp_path, pair):
    def change(data):
        sequence = data.RegistrationSequence[1].MatrixRegistrationSequence[0].MatrixSequence
        extra = pydicom.Dataset()
        extra.FrameOfReferenceTransformationMatrixType = "RIGID"
        extra.FrameOfReferenceTransformationMatrix = np.eye(4).ravel().tolist()
        if shift:
            extra.FrameOfReferenceTransformationMatrix[3] = 5
        sequence.append(extra)

    shift = False
    path = write_object(tmp_path / "t.dcm", pair, change, linear=True)
    np.testing.assert_allclose(map_points(read_transform(path), np.zeros((1, 3)))[0], turned()[:3, 3], atol=1e-6)
    shift = True
    write_object(path, pair, change, linear=True)
    with pytest.raises(InputError, match="product of several matrices"):
        read_transform(path)


def spoil(name):
    def change(data):
        item = data.DeformableRegistrationSequence[0]
        inner = item.DeformableRegistrationGridSequence[0]
        if name == "undefined":
            vectors = np.frombuffer(inner.VectorGridData, "<f4").copy()
            vectors[: len(vectors) // 4] = np.nan
            inner.VectorGridData = vectors.tobytes()
        elif name == "short":
            inner.VectorGridData = inner.VectorGridData[:-12]
        elif name == "no grid resolution":
            del inner.GridResolution
        elif name == "another kind":
            data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        elif name == "skewed":
            inner.ImageOrientationPatient = [1, 0, 0, 0.5, 1, 0]
        elif name == "no sequence":
            del data.DeformableRegistrationSequence

    return change


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("undefined", "leaves 25.0 % of its grid undefined"),
        ("short", "no whole DICOM registration"),
        ("no grid resolution", "no whole DICOM registration"),
        ("skewed", "no whole DICOM registration"),
        ("no sequence", "no whole DICOM registration"),
        ("another kind", r"another kind \(CT Image Storage\)"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, pair, name, words):
    with pytest.raises(InputError, match=words):
        read_transform(write_object(tmp_path / "t.dcm", pair, spoil(name)))


def test_a_file_that_was_cut_anywhere_is_one_sentence(tmp_path, pair):
    data = write_object(tmp_path / "t.dcm", pair, lambda data: None, linear=True).read_bytes()
    for length in range(140, len(data) - 1, 41):
        (tmp_path / "cut.dcm").write_bytes(data[:length])
        with pytest.raises(InputError):
            read_transform(tmp_path / "cut.dcm")


def test_frames_of_reference_are_followed(tmp_path, pair):
    fixed, moving = pair
    path = tmp_path / "t.dcm"
    write_registration(affine_to_sitk(turned()), path, sitk.Image(2, 2, 2, sitk.sitkUInt8), fixed, moving)
    found = read_registration(path)
    origin = np.zeros((1, 3))
    forward = map_points(found.between(fixed.frame, moving.frame), origin)
    np.testing.assert_allclose(forward[0], turned()[:3, 3], atol=1e-6)
    back = map_points(found.between(moving.frame, fixed.frame), forward)
    np.testing.assert_allclose(back, origin, atol=1e-6)
    with pytest.raises(InputError, match="does not lead to the frame of reference of the moving image"):
        found.between(fixed.frame, "1.2.3")
    with pytest.raises(InputError, match="another frame of reference than the fixed image's"):
        found.between("1.2.3", moving.frame)


def test_what_it_was_made_for_is_written_down(tmp_path, pair):
    on = grid()
    transform = Transform.from_field(field(on), on)
    write_registration(transform, tmp_path / "t.dcm", onto(transform), *pair)
    data = pydicom.dcmread(tmp_path / "t.dcm")
    assert (str(data.PatientName), data.PatientID, data.Modality) == ("Doe^Jane", "17", "REG")
    assert data.StudyInstanceUID == f"{UID}9"
    referenced = data.DeformableRegistrationSequence[0].ReferencedImageSequence
    assert {i.ReferencedSOPInstanceUID for i in referenced} == {f"{UID}2.{k + 1}" for k in range(6)}
    assert [s.SeriesInstanceUID for s in data.ReferencedSeriesSequence] == [f"{UID}1"]
    other = data.StudiesContainingOtherReferencedInstancesSequence[0]
    assert (other.StudyInstanceUID, other.ReferencedSeriesSequence[0].SeriesInstanceUID) == (f"{UID}10", f"{UID}2")


def test_slicers_process_gets_the_room_without_torch():
    code = "import sys; from DeepRegistrationLib.dicom import image_series, registration_reading; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    loaded = run.stdout.split()
    assert "DeepRegistrationLib.dicom.image_series" in loaded
    assert "torch" not in loaded


def test_without_pydicom_nothing_of_it_is_loaded_and_one_sentence_says_what_to_install(tmp_path):
    folder_of(tmp_path / "a")
    folder_of(tmp_path / "b", "2", "6")
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from DeepRegistrationLib.command_line.exit import guarded\nimport runpy\n"
        f"sys.argv = ['x', 'register', {str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}, '--output-transform', "
        f"{str(tmp_path / 'x.dcm')!r}]\n"
        "runpy.run_module('DeepRegistrationLib', run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "pip install pydicom" in run.stderr
