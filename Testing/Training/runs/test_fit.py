"""``fit``: a folder of images becomes a better model for just these in one command, or nothing is written."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.models import bundle
from DeepRegistrationLib.models.bundle import load_model, save_bundle
from DeepRegistrationLib.models.header import NetworkGrid, read_header
from DeepRegistrationLib.models.methods import find_method, fresh_model, methods_as_json, model_for
from DeepRegistrationLib.models.worth import Worth, worths
from Training.__main__ import main
from Training.pairs.cohort import common_grid, find_images, prepare
from Training.runs import fit as module
from Training.runs import judge
from Training.runs.judge import Verdict
from Training.steps.turns import registration_network


def blob(number, shape=(32, 32)):
    """A disk with a bright one within, large or small in turn, as no matrix explains, and its label map."""
    random = np.random.default_rng(number)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    r = np.sqrt(sum((x / random.uniform(0.8, 0.85)) ** 2 for x in axes))
    inner = (0.35, 0.65)[number % 2]
    picture = 50 / (1 + np.exp(12 * (r - 0.95))) + 80 / (1 + np.exp(12 * (r - inner)))
    return picture.astype(np.float32), (r < inner).astype(np.uint8) + (r < 0.95)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine").mkdir()
    for number in range(8):
        picture, label = blob(number)
        grid = Grid.from_shape(picture.shape, 2.0)
        Image(picture, grid).save(tmp_path / "mine" / f"p{number}_img.nrrd")
        Image(label, grid).save(tmp_path / "mine" / f"p{number}_lab.nrrd")
    return tmp_path / "mine"


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A model of small sizes in a user's folder, to begin with."""
    (tmp_path / "models").mkdir()
    monkeypatch.setenv(bundle.USER_FOLDER_VARIABLE, str(tmp_path / "models"))
    model = fresh_model(find_method("voxelmorph-2"), 2)
    path = tmp_path / "models" / "begun.safetensors"
    save_bundle(path, model.network, replace(model.header, grid=NetworkGrid(longest=32)))
    monkeypatch.setattr(module, "RATE", 5e-3)  # these weights have learned nothing yet
    return path


def command(folder, output, *more):
    return main(["fit", str(folder), str(output), "--quiet", "--device", "cpu", "--threads", "1", *map(str, more)])


def test_one_command_makes_a_better_model_which_is_listed_and_runs_by_its_name_alone(
    folder, begun, tmp_path, monkeypatch, capsys
):
    output = begun.with_name("blobs.safetensors")
    # On so few voxels a start moves the refinement's Dice by half a hundredth, up or down: that is not to decide here.
    monkeypatch.setattr(judge, "HARM", 0.02)
    assert command(folder, output, "--start", "begun", "--steps", "80", "--work", tmp_path / "w") == 0
    said = capsys.readouterr().out
    header = read_header(output)
    (row,) = worths(header.scores)
    assert (row.images, row.pairs) == ("blobs images", 6)
    assert row.alone > row.before + 0.01
    assert f"{row.alone:.3f} by the new ones" in said
    assert header.training["cohort"] == {"images": 8, "from": "begun"}
    assert header.grid == NetworkGrid(longest=32)
    listed = {entry["name"]: entry for entry in methods_as_json()}
    assert listed["blobs"]["available"]
    assert "blobs images" in listed["blobs"]["worth"]["2"]
    assert model_for(find_method("blobs"), 2).name == "blobs"
    assert model_for(find_method("voxelmorph-2"), 2).name == "begun"  # a cohort's weights never take its place
    assert str(folder) not in json.dumps(header.training)


def test_what_is_not_better_is_not_written(folder, begun, tmp_path, monkeypatch, capsys):
    output = tmp_path / "blobs.safetensors"
    worse = Verdict(Worth("x", 0, "dice", 3, 0.5, 0.6, 0.7, 0.7), -0.01, 0.001, (0, 0), "Dice 0.6 against 0.61")
    monkeypatch.setattr(module, "judge", lambda *_: worse)
    assert command(folder, output, "--start", "begun", "--steps", "2") == 1
    assert "not better" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("gain", "error", "folds", "start", "better"),
    [
        (0.02, 0.005, (0.1, 0.1), 0.70, True),
        (0.004, 0.005, (0.1, 0.1), 0.70, False),  # within chance
        (0.001, 0.0, (0.1, 0.1), 0.70, False),
        (0.02, 0.005, (3.0, 0.1), 0.70, False),  # folds
        (0.02, 0.005, (0.1, 0.1), 0.69, False),  # harm as a start
    ],
)
def test_better_is_beyond_chance_without_folds_and_without_harm_as_a_start(gain, error, folds, start, better):
    worth = Worth("x", 0, "dice", 5, 0.5, 0.6, 0.70, start)
    assert Verdict(worth, gain, error, folds, "").better is better


@pytest.mark.slow
def test_without_label_maps_the_objective_decides(folder, begun, tmp_path, capsys):
    for path in folder.glob("*_lab.nrrd"):
        path.unlink()
    output = tmp_path / "bare.safetensors"
    assert command(folder, output, "--start", "begun", "--steps", "60") == 0
    before, after = map(float, re.search(r"objective ([\d.]+) -> ([\d.]+)", capsys.readouterr().out).groups())
    assert after < before - 0.02  # its first weights are not taken for the best
    assert worths(read_header(output).scores) == []


@pytest.mark.slow
def test_the_universal_network_learns_from_real_pairs(folder, begun, tmp_path):
    model = fresh_model(find_method("universal"), 2)
    begun_too = tmp_path / "models" / "wide.safetensors"
    save_bundle(begun_too, model.network, replace(model.header, grid=NetworkGrid(longest=32)))
    status = command(folder, tmp_path / "u.safetensors", "--start", begun_too, "--steps", "20")
    assert status in (0, 1)  # better or not, it was trained and judged
    draft = load_model(tmp_path / "u-run" / "u.safetensors")
    before, after = (m.network.state_dict() for m in (load_model(begun_too), draft))
    assert any(not np.array_equal(before[name].numpy(), after[name].numpy()) for name in before)


def test_bad_folders_and_names_are_one_sentence_each(folder, begun, tmp_path, capsys):
    def said(*arguments):
        assert command(*arguments) == 2
        text = capsys.readouterr().err.strip()
        assert text.count("\n") == 0
        return text

    output = tmp_path / "m.safetensors"
    assert "does not exist" in said(tmp_path / "nowhere", output)
    assert "is a file; give the folder" in said(folder / "p0_img.nrrd", output)
    (tmp_path / "empty").mkdir()
    assert "has 0 images" in said(tmp_path / "empty", output)
    assert "has 0 images like q*.nrrd" in said(folder, output, "--images", "q*.nrrd")
    assert "needs one *" in said(folder, output, "--images", "p.nrrd")
    assert "ends in .safetensors" in said(folder, tmp_path / "m.pt")
    assert "choose another one" in said(folder, tmp_path / "universal.safetensors")
    assert "--minutes" in said(folder, output, "--minutes", "-1")
    assert "--minutes" in said(folder, output, "--minutes", "nan")
    assert "3-D images and these are 2-D" in said(folder, output, "--start", "voxelmorph-2")
    assert "learns by more than pairs" in said(folder, output, "--start", "sar-net")
    assert "Cannot read" in said(folder, output, "--start", "absent.safetensors")
    (folder / "p3_lab.nrrd").unlink()
    assert "p3_img.nrrd has no label map" in said(folder, output)
    (folder / "p3_img.nrrd").rename(tmp_path / "aside.nrrd")
    (folder / "p9_img.nrrd").write_bytes((folder / "p0_img.nrrd").read_bytes())
    (folder / "p9_lab.nrrd").write_bytes((folder / "p0_lab.nrrd").read_bytes())
    Image(np.zeros((9, 9), np.uint8), Grid.from_shape((9, 9))).save(folder / "p4_lab.nrrd")
    assert "does not lie on its image" in said(folder, output, "--start", "begun")
    Image(np.zeros((9, 9, 9), np.float32), Grid.from_shape((9, 9, 9))).save(folder / "p4_img.nrrd")
    Image(np.zeros((9, 9, 9), np.uint8), Grid.from_shape((9, 9, 9))).save(folder / "p4_lab.nrrd")
    assert "all be 2-D or all 3-D" in said(folder, output, "--start", "begun")
    assert not output.exists()


def test_images_and_label_maps_are_found_by_their_names(folder):
    found = find_images(folder)
    assert [(each.case, each.image.name, each.label.name) for each in found[:1]] == [
        ("p0", "p0_img.nrrd", "p0_lab.nrrd")
    ]
    same = find_images(folder, "*_img.nrrd", "*_lab.nrrd")
    assert found == same


def test_work_goes_on_with_the_same_images_and_never_with_others(folder, tmp_path):
    """A second folder under the name of the first was not looked at: its model was made of the first's images."""

    def prepared():
        return prepare(find_images(folder), NetworkGrid(longest=32), 16, tmp_path / "w" / "images", lambda _: None)

    manifest = prepared()
    written = manifest.stat().st_mtime_ns
    assert prepared().stat().st_mtime_ns == written
    for change in (
        lambda: (folder / "p3_img.nrrd").write_bytes((folder / "p4_img.nrrd").read_bytes()),
        lambda: [path.unlink() for path in folder.glob("p7_*")],
    ):
        change()
        with pytest.raises(InputError, match="holds the work on other images"):
            prepared()


def test_the_common_grid_shows_the_same_place_in_multiples_of_what_the_network_halves():
    grid = Grid((30, 200, 100), np.array([[0.0, 0, 1.2, -40], [0, 1.0, 0, 3], [3.0, 0, 0, 7], [0, 0, 0, 1]]))
    made = common_grid(grid, NetworkGrid(longest=100), 16)
    assert np.allclose(made.spacing, 2.0)
    assert made.shape == (48, 112, 64)
    middles = [g.to_world((np.array(g.shape) - 1) / 2) for g in (grid, made)]
    assert np.allclose(*middles)


@pytest.mark.parametrize("name", ["universal", "universal-2d", "voxelmorph-2"])
def test_every_model_in_the_box_that_can_be_begun_with_fits_the_network_of_its_plan(name, tmp_path):
    old = load_model(name)
    wish = module.Wish(tmp_path, tmp_path / "m.safetensors", steps=2)
    plan = module._plan(wish, old, tmp_path / "images.json", 0.0)
    assert registration_network(plan, old.header.dimensions).weights_from(old.network) is not None
