"""The models that come with the project: small, documented, listed, and each registers a pair."""

import json
from pathlib import Path

import numpy as np
import pytest

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.transform import read_transform
from DeepRegistrationLib.models import bundle
from DeepRegistrationLib.models.header import read_header
from DeepRegistrationLib.models.methods import default_method, find_method, taken_bundle
from DeepRegistrationLib.models.worth import HARM, WORTH_KEY, sentence, worths
from Testing.Lib.test_pipeline import pair

BOX = sorted(bundle.BOX.glob("*.safetensors"))
SHAPES = {2: (64, 72), 3: (40, 44, 42)}


@pytest.fixture(autouse=True)
def _no_models_of_the_user(monkeypatch):
    monkeypatch.delenv(bundle.USER_FOLDER_VARIABLE, raising=False)


def test_no_file_is_larger_than_4_mb_and_all_are_within_15_mb():
    sizes = [path.stat().st_size for path in BOX]
    assert sizes
    assert max(sizes) <= 4e6
    assert sum(sizes) <= 15e6


def test_the_command_methods_lists_every_one_as_available(capsys):
    assert main(["methods", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    for path in BOX:
        assert listed[path.stem]["available"]
        assert listed[read_header(path).method]["weights"]


def test_headers_docs_and_defaults_say_one_thing_and_auto_harms_no_kind():
    page = (BOX[0].parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    measured = [path for path in BOX if WORTH_KEY in read_header(path).scores]
    for path in measured:
        header = read_header(path)
        for row in worths(header.scores):
            start, alone = (row.words(row.none, value) for value in (row.start, row.alone))
            assert f"| {path.stem} | {row.images} | {row.pairs} | {start} | {alone} |" in page
        assert sentence(header.scores) in path.with_suffix(".md").read_text(encoding="utf-8")
    assert len({read_header(path).scores[WORTH_KEY]["engine"] for path in measured}) <= 1
    for ndim in (2, 3):
        for contrasts in (None, 1, 2):
            taken = default_method(ndim, contrasts)
            rows = []
            if taken.network:
                scores = taken_bundle(taken, ndim).header.scores
                assert scores.get("start_gain", 0) >= 0
                rows = worths(scores)
            assert all(row.gain >= -HARM for row in rows if contrasts is None or row.contrasts in (0, contrasts))


@pytest.mark.parametrize("path", BOX, ids=lambda path: path.stem)
class TestModel:
    def test_has_a_card_that_names_its_plan(self, path: Path):
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        header = read_header(path)
        assert header.training["plan_sha256"] in card
        assert "## Limits" in card
        assert header.license == "Apache-2.0"

    def test_learned_from_generated_pairs_alone_and_is_better_than_no_motion(self, path: Path):
        header = read_header(path)
        assert header.training["data"] == {"kind": "synthetic"}
        assert header.scores["network"]["end_point"] < header.scores["identity"]["end_point"]
        assert header.scores["held_out_pairs"] >= 50

    def test_registers_a_pair_on_the_command_line(self, path: Path, tmp_path, capsys):
        ndim = read_header(path).dimensions
        assert ndim in find_method(path.stem).dimensions
        files = [tmp_path / f"{name}.nrrd" for name in ("fixed", "moving")]
        for image, file in zip(pair(Grid.from_shape(SHAPES[ndim]), 1.0), files, strict=True):
            image.save(file)
        output = tmp_path / "found.h5"
        arguments = ["register", *files, "--method", path.stem, "--refine", "none", "--affine", "none"]
        arguments += ["--device", "cpu", "--output-transform", output, "--progress", "none"]
        assert main([str(a) for a in arguments]) == 0
        assert "no trained weights" not in "".join(capsys.readouterr())
        transform = read_transform(output)
        point = [10.0] * ndim
        assert np.isfinite(transform.TransformPoint(point)).all()
