"""What a user can choose: found by name or by bundle, listed as JSON, and running with fresh weights or a bundle's."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models import bundle
from DeepRegistrationLib.models.bundle import load_model, save_bundle, weights_hash
from DeepRegistrationLib.models.methods import (
    bundles_of,
    chosen_method,
    default_method,
    find_method,
    fresh_model,
    methods,
    methods_as_json,
    model_for,
)
from DeepRegistrationLib.models.worth import WORTH_KEY, Worth, as_scores
from DeepRegistrationLib.settings import Settings
from Testing.data import ROOT


@pytest.fixture(autouse=True)
def _empty_box(tmp_path, monkeypatch):
    """No bundles but those a test makes."""
    (tmp_path / "box").mkdir()
    monkeypatch.setattr(bundle, "BOX", tmp_path / "box")
    monkeypatch.delenv(bundle.USER_FOLDER_VARIABLE, raising=False)


def test_the_package_offers_the_function_even_after_a_registration_was_imported():
    script = "from DeepRegistrationLib import register, load_model, methods; print(methods()[0].name)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "none"


def rows():
    return [(method.name, variant.name) for method in methods() for variant in method.variants]


def test_every_paper_is_a_method_with_the_rows_it_compares():
    assert [m.name for m in methods()] == [
        "none",
        "universal",
        "voxelmorph-1",
        "voxelmorph-2",
        "dual-branch",
        "deform-gan",
        "sar-net",
        "flownet-roi",
    ]
    variants = {m.name: [v.name for v in m.variants] for m in methods()}
    assert variants["dual-branch"] == ["gated", "average", "vm", "vm-concat"]
    assert variants["deform-gan"] == ["deform-gan-2", "deform-gan-1", "voxelmorph-lg"]
    assert variants["sar-net"] == ["sar-net", "sar-noseg", "dir-net"]
    assert {"pn", "pe", "pn-mask", "pe-mask", "pmn-mask", "pme-mask", "supervised", "supervised-mask"} == set(
        variants["flownet-roi"]
    )


def test_every_paper_has_its_printed_values():
    printed = {m.name: m.preset("paper") for m in methods() if m.paper.count(",") and m.name != "universal"}
    assert printed["voxelmorph-2"].loss == {"similarity": "lncc", "weight": 1.0, "signed": False}
    assert printed["dual-branch"].loss == {"alpha": 0.4, "beta": 0.3, "gamma": 0.8, "kind": "mind"}
    deform = find_method("deform-gan").preset("paper")
    assert (deform.loss["beta"], deform.loss["window"], deform.options["mu"]) == (2.0, 7, 5.0)
    authors = find_method("deform-gan").preset("authors-code")
    assert (authors.loss["alpha"], authors.loss["beta"], authors.options["mu"]) == (0.7, 1.0, 0.0)
    assert find_method("sar-net").preset("paper").optimizer.betas[0] == 0.93
    flownet = find_method("flownet-roi").preset("paper").optimizer
    assert (flownet.learning_rate, flownet.weight_decay, flownet.batch) == (1e-5, 5e-4, 32)
    with pytest.raises(InputError, match=r"no preset bold; it has modern, paper"):
        find_method("sar-net").preset("bold")


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize(("name", "variant"), rows())
def test_every_row_can_be_built_in_two_dimensions(name, variant):
    method = find_method(name)
    model = fresh_model(method, 2, variant=variant)
    assert model.path is None
    assert model.header.variant == variant
    assert model.header.source == "fresh weights, not trained"
    assert not model.network.training


@pytest.mark.parametrize("method", [m for m in methods() if m.network], ids=lambda m: m.name)
def test_the_default_network_can_be_built_saved_and_loaded_in_three_dimensions(method, tmp_path):
    model = fresh_model(method, 3)
    path = tmp_path / "one.safetensors"
    save_bundle(path, model.network, model.header)
    again = load_model(path)
    assert again.header == model.header
    assert again.network.state_dict().keys() == model.network.state_dict().keys()


def test_fresh_weights_are_the_same_for_a_seed_and_leave_the_generator_alone():
    method = find_method("voxelmorph-1")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (fresh_model(method, 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert first.sha256 == second.sha256 == weights_hash(first.network)
    assert first.sha256 != other.sha256


def test_a_bundle_in_the_box_is_what_a_method_runs_with(tmp_path):
    method = find_method("voxelmorph-1")
    fresh = fresh_model(method, 2, seed=3)
    save_bundle(tmp_path / "box" / "hands.safetensors", fresh.network, fresh.header)
    assert [b.name for b in bundles_of(method)] == ["hands"]
    assert model_for(method, 2).path == tmp_path / "box" / "hands.safetensors"
    assert model_for(method, 3, untrained=True).path is None
    assert model_for(method, 2, variant="mse", untrained=True).path is None
    with pytest.raises(InputError, match="no trained weights for 3-D images here, only for 2-D ones"):
        model_for(method, 3)
    with pytest.raises(InputError, match="variant mse"):
        model_for(method, 2, variant="mse")
    assert {m.name: m.trained for m in methods()}[method.name] == (2,)
    with pytest.raises(InputError, match="is for 2-D images and these are 3-D"):
        model_for(find_method("hands"), 3)
    by_name = find_method("hands")
    assert (by_name.name, by_name.bundle) == ("voxelmorph-1", tmp_path / "box" / "hands.safetensors")
    assert find_method(tmp_path / "box" / "hands.safetensors") == by_name
    table = {entry["name"]: entry for entry in json.loads(json.dumps(methods_as_json()))}
    assert table["voxelmorph-1"]["available"]
    assert table["voxelmorph-1"]["weights"]
    assert not table["voxelmorph-2"]["available"]
    assert table["hands"]["available"]
    assert table["hands"]["dimensions"] == [2]


def test_the_list_says_paper_modality_dimensions_and_whether_weights_are_there():
    automatic, *table = json.loads(json.dumps(methods_as_json()))
    assert (automatic["name"], automatic["takes"]) == ("auto", {"2": "none", "3": "none"})
    assert [entry["name"] for entry in table] == [m.name for m in methods()]
    for entry in table:
        assert entry["title"]
        assert entry["purpose"]
        assert entry["modality"]
        assert entry["dimensions"] == [2, 3]
        assert entry["weights"] is False
        assert entry["available"] is (entry["name"] == "none")
        assert (entry["paper"] != "") is (entry["name"] != "none")


def test_a_bundle_that_is_called_as_a_method_is_listed_once(tmp_path, capsys):
    """By its name the method is chosen, so a second entry would be of something that nobody can have."""
    for name in ("universal", "own"):
        model = fresh_model(find_method("universal"), 2)
        save_bundle(tmp_path / "box" / f"{name}.safetensors", model.network, model.header)
    names = [entry["name"] for entry in methods_as_json()]
    assert names == ["auto", *(m.name for m in methods()), "own"]
    assert main(["methods"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0] != " "] == names
    with pytest.raises(InputError) as said:
        find_method("magic")
    assert str(said.value).count("universal") == 1


def test_refinement_alone_is_the_default_until_the_universal_weights_are_in_the_box(tmp_path):
    assert default_method().name == "none"
    for ndim in (2, 3):
        model = fresh_model(find_method("universal"), ndim)
        save_bundle(tmp_path / "box" / f"universal-{ndim}d.safetensors", model.network, model.header)
        assert default_method(ndim).name == "universal"
    assert default_method().name == "universal"


def test_a_universal_model_that_hardly_helps_as_a_start_is_no_default(tmp_path):
    for ndim, gain in ((2, 0.004), (3, 0.02)):
        model = fresh_model(find_method("universal"), ndim)
        header = replace(model.header, scores=worth(gain))
        save_bundle(tmp_path / "box" / f"universal-{ndim}d.safetensors", model.network, header)
    assert [default_method(ndim).name for ndim in (2, 3)] == ["none", "universal"]
    assert methods_as_json()[0]["takes"] == {"2": "none", "3": "universal"}
    assert [chosen_method(Settings(), ndim).name for ndim in (2, 3)] == ["none", "universal"]
    assert chosen_method(Settings(fine_tune=True), 2).name == "universal"  # its weights are there
    assert chosen_method(Settings(method="none"), 3).name == "none"
    assert default_method().name == "none"


def worth(*gains):
    """Scores of a model with these gains on images of one contrast, of two, and so on."""
    return {
        WORTH_KEY: as_scores(
            [Worth(f"kind {n}", n, "dice", 4, 0.5, 0.6, 0.8, 0.8 + g) for n, g in enumerate(gains, 1)], ""
        )
    }


def test_auto_is_chosen_by_dimension_and_by_what_the_similarity_says_of_the_images(tmp_path):
    for ndim, gains in ((2, (0.004, 0.02)), (3, (-0.01, 0.05))):
        model = fresh_model(find_method("universal"), ndim)
        header = replace(model.header, scores=worth(*gains))
        save_bundle(tmp_path / "box" / f"universal-{ndim}d.safetensors", model.network, header)
    takes = {
        similarity: [chosen_method(Settings(similarity=similarity), ndim).name for ndim in (2, 3)]
        for similarity in ("auto", "lncc", "translated")
    }
    assert takes == {
        "auto": ["universal", "none"], "lncc": ["none", "none"], "translated": ["universal", "universal"]
    }  # fmt: skip
    listed = methods_as_json()[0]
    assert listed["takes"] == {"2": "universal", "3": "none"}
    assert listed["takes_for"]["lncc"] == {"2": "none", "3": "none"}
    assert listed["takes_for"]["mind"] == {"2": "universal", "3": "universal"}
    (universal,) = [entry for entry in methods_as_json() if entry["name"] == "universal"]
    assert "worse than no network on kind 1" in universal["worth"]["3"]


def test_weights_made_for_a_cohort_run_where_they_are_named_and_nowhere_else(tmp_path):
    method = find_method("universal")
    model = fresh_model(method, 3)
    header = replace(model.header, training={"cohort": {"images": 20}})
    save_bundle(tmp_path / "box" / "a-hippocampus.safetensors", model.network, header)
    assert default_method(3).name == "none"
    with pytest.raises(InputError, match="no trained weights for 3-D images"):
        model_for(method, 3)
    listed = {entry["name"]: entry for entry in methods_as_json()}
    assert not listed["universal"]["available"]
    assert listed["a-hippocampus"]["available"]
    assert model_for(find_method("a-hippocampus"), 3).name == "a-hippocampus"
    save_bundle(tmp_path / "box" / "universal.safetensors", model.network, model.header)
    assert model_for(method, 3).name == "universal"


def test_what_the_paper_proposes_comes_before_what_it_compares_with(tmp_path):
    method = find_method("dual-branch")
    for variant in ("average", "gated"):
        model = fresh_model(method, 2, variant=variant)
        save_bundle(tmp_path / "box" / f"dual-{variant}.safetensors", model.network, model.header)
    assert model_for(method, 2).header.variant == "gated"
    assert model_for(method, 2, variant="average").header.variant == "average"


def test_what_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no method magic; choose one of auto, none, universal"):
        find_method("magic")
    with pytest.raises(InputError, match=r"no method voxelmorf-2; did you mean voxelmorph-2\? All are auto, none"):
        find_method("voxelmorf-2")
    with pytest.raises(InputError, match="Cannot read the weights file"):
        find_method(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match="has no network"):
        fresh_model(find_method("none"), 3)
    with pytest.raises(InputError, match="no variant bold"):
        fresh_model(find_method("dual-branch"), 2, variant="bold")
