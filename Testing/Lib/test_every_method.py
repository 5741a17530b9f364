"""Every method takes the one road, with fresh weights and from a bundle, in every dimension it claims."""

import numpy as np
import pytest

from DeepRegistrationLib import register
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.image import Grid
from DeepRegistrationLib.method_list import find_method, fresh_model, methods
from DeepRegistrationLib.models import save_bundle
from DeepRegistrationLib.predict import predict
from Testing.Lib.test_pipeline import FAST, pair

SHAPES = {2: (40, 44), 3: (24, 28, 26)}
NETWORKS = [(method.name, ndim) for method in methods() if method.network for ndim in method.dimensions]


@pytest.mark.parametrize(("name", "ndim"), NETWORKS)
def test_a_method_without_weights_runs_and_says_so(name, ndim):
    fixed, moving = pair(Grid.from_shape(SHAPES[ndim]), 1.0)
    result = register(fixed, moving, method=name, refine="none", **FAST)
    assert result.report.method == name
    assert any("no trained weights" in warning for warning in result.report.warnings)
    assert np.isfinite(result.warped.array).all()
    again = register(fixed, moving, method=name, refine="none", **FAST)
    np.testing.assert_array_equal(result.warped.array, again.warped.array)
    assert result.report.model_hash == again.report.model_hash != ""


@pytest.mark.parametrize(("name", "ndim"), [n for n in NETWORKS if n[0] in ("voxelmorph-1", "universal")])
def test_a_bundle_runs_through_the_command_line(tmp_path, name, ndim):
    fixed, moving = pair(Grid.from_shape(SHAPES[ndim]), 1.0)
    for image, path in ((fixed, "f.nrrd"), (moving, "m.nrrd")):
        image.save(tmp_path / path)
    model = fresh_model(find_method(name), ndim)
    save_bundle(tmp_path / "mine.safetensors", model.network, model.header)
    arguments = ["register", tmp_path / "f.nrrd", tmp_path / "m.nrrd", "--method", tmp_path / "mine.safetensors"]
    arguments += ["--refine", "none", "--affine", "none", "--output-transform", tmp_path / "t.h5", "--progress", "none"]
    assert main([str(a) for a in arguments]) == 0
    assert (tmp_path / "t.h5").exists()


@pytest.mark.parametrize("fit", ["lncc", "mind", "gradient"])
def test_fine_tuning_on_the_pair_leaves_the_weights_and_repeats_itself(fit):
    fixed, moving = pair(Grid.from_shape(SHAPES[2]), 1.0)
    model = fresh_model(find_method("voxelmorph-1"), 2)
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    first, second = (predict(model, fixed, moving, fit=fit) for _ in range(2))
    assert all((before[k] == v).all() for k, v in model.network.state_dict().items())
    assert (first == second).all()
    assert (first != predict(model, fixed, moving, precision="float32")).any()


def test_fine_tuning_is_a_choice_of_register():
    fixed, moving = pair(Grid.from_shape(SHAPES[2]), 1.0)
    plain, fitted = (
        register(fixed, moving, method="voxelmorph-1", refine="none", fine_tune=chosen, **FAST)
        for chosen in (False, True)
    )
    assert plain.report.model_hash == fitted.report.model_hash
    assert not np.array_equal(plain.field, fitted.field)
