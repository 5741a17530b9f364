"""Label maps and masks that other programs wrote: layers, NaN, fractions, gray values."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import register
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.inputs.checks import read_mask
from DeepRegistrationLib.inputs.label_maps import read_label_map
from DeepRegistrationLib.quality.scores import score_labels

SHAPE = (8, 9, 10)
GRID = Grid.from_shape(SHAPE)


def layered(path, layers: np.ndarray) -> None:
    """A ``.seg.nrrd`` as Slicer writes it when segments overlap: (*shape, layers), the layers first in the file."""
    count = layers.shape[-1]
    segments = "".join(
        f"Segment{n}_ID:=Segment_{n}\nSegment{n}_Layer:={n}\nSegment{n}_LabelValue:=1\n" for n in range(count)
    )
    text = (
        f"NRRD0004\ntype: uint8\ndimension: 4\nspace: left-posterior-superior\nsizes: {count} 10 9 8\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,1)\nkinds: list domain domain domain\nencoding: raw\n"
        f"space origin: (0,0,0)\n{segments}\n"
    )
    path.write_bytes(text.encode() + layers.astype(np.uint8).tobytes())


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_segmentation_in_layers_is_a_mask_of_all_of_them(tmp_path, count):
    layers = np.zeros((*SHAPE, count), np.uint8)
    for n in range(count):
        layers[n : n + 3, ..., n] = 1
    layered(tmp_path / "s.seg.nrrd", layers)
    image = Image(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), GRID)
    np.testing.assert_array_equal(read_mask(tmp_path / "s.seg.nrrd", image, "fixed mask"), layers.any(-1))
    for read in (read_image, read_label_map):
        with pytest.raises(InputError, match=rf"segments overlap \({count} layers\); export it"):
            read(tmp_path / "s.seg.nrrd")


def test_nothing_measured_is_outside_of_a_mask():
    array = np.full(SHAPE, np.nan, np.float32)
    array[2:4] = 1
    inside = read_mask(Image(array, GRID), Image(np.arange(720.0).reshape(SHAPE), GRID), "fixed mask")
    assert inside.mean() == pytest.approx(0.25)
    with pytest.raises(InputError, match="is empty"):
        read_mask(Image(np.full(SHAPE, np.nan), GRID), Image(np.arange(720.0).reshape(SHAPE), GRID), "fixed mask")


def test_a_mask_in_color_is_where_any_color_is(tmp_path):
    color = np.zeros((9, 10, 3), np.uint8)
    color[2:5, :, 2] = 1  # too dark a blue to be any gray
    sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(tmp_path / "m.png"))
    image = Image(np.arange(90.0).reshape(9, 10), Grid.from_shape((9, 10)))
    assert read_mask(tmp_path / "m.png", image, "fixed mask").sum() == 30


def test_nan_in_a_label_map_is_background():
    array = np.full(SHAPE, np.nan)
    array[2:4] = 7
    labels = read_label_map(Image(array, GRID))
    assert labels.array.dtype == np.int64
    np.testing.assert_array_equal(np.unique(labels.array), [0, 7])
    scores = score_labels(sitk.Transform(3, sitk.sitkIdentity), Image(array, GRID), Image(array, GRID))
    assert (scores["mean_dice_before"], scores["mean_dice_after"], scores["labels"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full(SHAPE, 1.5), "holds 1.5, which is no label"),
        (np.full(SHAPE, np.inf), "from 0 to 16777215"),
        (np.full(SHAPE, 1e300), "from 0 to 16777215"),
        (np.full(SHAPE, -1), "from 0 to 16777215"),
        (np.full(SHAPE, 2**63, np.uint64), "from 0 to 16777215"),
    ],
)
def test_what_is_no_label_map_is_one_sentence(array, sentence):
    with pytest.raises(InputError, match=sentence):
        read_label_map(Image(array, GRID, "fixed label map"))
    with pytest.raises(InputError, match=sentence):
        score_labels(sitk.Transform(3, sitk.sitkIdentity), Image(array, GRID), Image(array, GRID))


def test_an_image_taken_for_a_label_map_is_said():
    shape = (20, 20, 20)
    gray = Image(np.arange(8000).reshape(shape), Grid.from_shape(shape), "moving label map")
    with pytest.raises(InputError, match="8000 different values; it is an image"):
        read_label_map(gray)


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_labels_that_mean_other_structures_in_the_other_image_are_told(numbers):
    """Hippocampi whose numbers were exchanged in one map ended at a Dice of 0.2, and the verdict was good."""
    y, x = np.mgrid[:48, :56]

    def image(center):
        return np.exp(-((y - 24) ** 2 + (x - center) ** 2) / 60)

    grid = Grid.from_shape((48, 56))
    fixed, moving = (Image((image(a) + 0.6 * image(b)).astype(np.float32), grid) for a, b in ((18, 38), (20, 36)))
    one, other = (Image(np.select([image(a) > 0.4, image(b) > 0.4], n).astype(np.uint8), grid)
                  for a, b, n in ((18, 38, (1, 2)), (20, 36, numbers)))  # fmt: skip
    report = register(fixed, moving, labels=(one, other), affine="none", device="cpu").report
    assert (report.label_dice > 0.8) == (numbers == (1, 2))
    assert ("equal numbers mean equal structures" in " ".join(report.judge()[1])) == (numbers == (2, 1))
    assert f"{report.label_dice:.2f} with the result" in dict(report.lines())["Dice of the labels"]
