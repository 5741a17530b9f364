"""Every method takes the one road, with fresh weights and from a bundle, in every dimension it claims."""

import json

import numpy as np
import pytest

from DeepRegistrationLib import register
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.models import bundle
from DeepRegistrationLib.models.bundle import save_bundle
from DeepRegistrationLib.models.methods import find_method, fresh_model, methods
from DeepRegistrationLib.models.predict import predict
from Testing.Lib.test_pipeline import FAST, pair

SHAPES = {2: (40, 44), 3: (16, 24, 18)}
NETWORKS = [(method.name, ndim) for method in methods() if method.network for ndim in method.dimensions]
SLOWEST_APART = [pytest.param(*each, marks=pytest.mark.slow) if each == ("sar-net", 3) else each for each in NETWORKS]


@pytest.mark.parametrize(("name", "ndim"), SLOWEST_APART)
def test_a_method_without_weights_runs_and_says_so(name, ndim):
    fixed, moving = pair(Grid.from_shape(SHAPES[ndim]), 1.0)
    result = register(fixed, moving, method=name, untrained=True, refine="none", **FAST)
    assert result.report.method == name
    assert any("no trained weights" in warning for warning in result.report.warnings)
    assert np.isfinite(result.warped.array).all()
    again = register(fixed, moving, method=name, untrained=True, refine="none", **FAST)
    np.testing.assert_array_equal(result.warped.array, again.warped.array)
    assert result.report.model_hash == again.report.model_hash != ""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A pair of images a dimension, as files."""
    folder, found = tmp_path_factory.mktemp("pairs"), {}
    for ndim, shape in SHAPES.items():
        found[ndim] = [folder / f"{name}{ndim}.nrrd" for name in ("fixed", "moving")]
        for image, path in zip(pair(Grid.from_shape(shape), 1.0), found[ndim], strict=True):
            image.save(path)
    return found


def run_command(images, method, output, *more):
    arguments = ["register", *images, "--method", method, "--refine", "none", "--affine", "none"]
    arguments += ["--device", "cpu", "--output-transform", output, "--progress", "none", *more]
    assert main([str(a) for a in arguments]) == 0
    assert output.exists()


@pytest.fixture(autouse=True)
def _empty_box(tmp_path, monkeypatch):
    """No bundles but those a test makes."""
    monkeypatch.setattr(bundle, "BOX", tmp_path / "box")
    monkeypatch.delenv(bundle.USER_FOLDER_VARIABLE, raising=False)


def test_the_networks_here_are_all_that_the_command_methods_lists(capsys):
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(m["name"], ndim) for m in listed if m["network"] for ndim in m["dimensions"]] == NETWORKS


@pytest.mark.parametrize(("name", "ndim"), SLOWEST_APART)
def test_every_method_runs_through_the_command_line_with_fresh_weights_and_as_a_bundle(tmp_path, files, name, ndim):
    run_command(files[ndim], name, tmp_path / "fresh.h5", "--untrained")
    model = fresh_model(find_method(name), ndim)
    save_bundle(tmp_path / "mine.safetensors", model.network, model.header)
    run_command(files[ndim], tmp_path / "mine.safetensors", tmp_path / "bundle.h5")


@pytest.mark.parametrize("fit", ["lncc", "mind", "gradient"])
def test_fine_tuning_on_the_pair_leaves_the_weights_and_repeats_itself(fit):
    fixed, moving = pair(Grid.from_shape(SHAPES[2]), 1.0)
    model = fresh_model(find_method("voxelmorph-1"), 2)
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    first, second = (predict(model, fixed, moving, fine_tuned_by=fit) for _ in range(2))
    assert all((before[k] == v).all() for k, v in model.network.state_dict().items())
    assert (first == second).all()
    assert (first != predict(model, fixed, moving, precision="float32")).any()


def test_fine_tuning_is_a_choice_of_register():
    fixed, moving = pair(Grid.from_shape(SHAPES[2]), 1.0)
    plain, fitted = (
        register(fixed, moving, method="voxelmorph-1", untrained=True, refine="none", fine_tune=chosen, **FAST)
        for chosen in (False, True)
    )
    assert plain.report.model_hash == fitted.report.model_hash
    assert not np.array_equal(plain.field, fitted.field)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_method_without_weights_is_refused_in_a_sentence_unless_asked_for(tmp_path, files, ndim, capsys):
    wanted = f"no trained weights for {ndim}-D images here"
    with pytest.raises(InputError, match=wanted):
        register(*pair(Grid.from_shape(SHAPES[ndim]), 1.0), method="sar-net", **FAST)
    command = ["register", *files[ndim], "--method", "sar-net", "--output-transform", tmp_path / "T.h5"]
    assert main([str(word) for word in command]) == 2
    assert wanted in capsys.readouterr().err
    assert not (tmp_path / "T.h5").exists()
