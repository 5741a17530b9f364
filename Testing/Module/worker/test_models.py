"""Models: those in the box and the user's own, in the panel and for the worker."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from Testing.host import interact

from .. import cases

from DeepRegistrationLib.models import header  # isort: skip

import slicer  # isort: skip
from DeepRegistrationSlicer.worker import devices, models  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
HEADER = header.Header(
    method="universal",
    network="UniversalNetwork",
    arguments={"ndim": 3},
    dimensions=3,
    scores={"dice": 0.81234},
    license="Apache-2.0",
)


def bundle(path: Path, key=header.KEY, **changed) -> Path:
    text = json.dumps({"__metadata__": {key: replace(HEADER, **changed).to_json()}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


@pytest.fixture
def folder(tmp_path):
    cases.setModelsFolder(tmp_path / "mine")
    yield tmp_path / "mine"
    os.environ.pop(models.USER_FOLDER_VARIABLE, None)


def test_a_model_of_the_library_is_read(folder, tmp_path):
    from DeepRegistrationLib.models import bundle as library
    from DeepRegistrationLib.models.methods import find_method, fresh_model

    made = fresh_model(find_method("voxelmorph-1"), 2)
    library.save_bundle(tmp_path / "small.safetensors", made.network, made.header)
    model = models.importModel(tmp_path / "small.safetensors")
    assert model.header.method == "voxelmorph-1"
    assert "small" in [b.name for b in library.list_bundles()]


def test_what_a_model_is_worth_is_a_sentence_and_no_table_of_numbers(folder, tmp_path):
    from DeepRegistrationLib.models.worth import WORTH_KEY, Worth, as_scores

    rows = as_scores([Worth("T1 brains", 1, "dice", 8, 0.57, 0.74, 0.790, 0.801)], "abc")
    path = bundle(tmp_path / "knee.safetensors", scores={"dice": 0.81234, WORTH_KEY: rows})
    details = dict(models.importModel(path).details())
    assert details["Worth"] == "Measured as a start: better than no network on T1 brains (Dice +0.011)."
    assert details["Scores"] == "dice 0.8123"


def test_importing_copies_and_removing_deletes(folder, tmp_path):
    path = bundle(tmp_path / "knee.safetensors")
    model = models.importModel(path)
    assert [m.name for m in models.listModels() if not m.isInTheBox] == ["knee"]
    assert ("Scores", "dice 0.8123") in model.details()
    with pytest.raises(SceneInputError, match="already"):
        models.importModel(path)
    models.removeModel(model)
    assert path.is_file()
    assert [m for m in models.listModels() if not m.isInTheBox] == []


def test_what_a_model_is_worth_goes_with_it_and_is_shown_as_it_is_renewed(folder, tmp_path):
    from DeepRegistrationLib.models.worth import Worth, as_scores

    def shown():
        return [dict(m.details()).get("Worth", "") for m in models.listModels() if not m.isInTheBox]

    def worth(start):
        return as_scores([Worth("knees", 1, "dice", 8, 0.57, 0.74, 0.790, start)], "abc")

    path = bundle(tmp_path / "knee.safetensors")
    header.write_worth(path, worth(0.80))
    model = models.importModel(path)
    assert "better than no network on knees (Dice +0.010)" in shown()[0]
    header.write_worth(model.path, worth(0.70))
    assert "worse than no network on knees (Dice -0.090)" in shown()[0]
    models.removeModel(model)
    assert list(folder.iterdir()) == []
    header.beside(path).rename(header.beside(model.path))  # of one that was removed by hand
    models.importModel(path)
    assert shown() == [""]


def damaged(header_text: bytes, tensors: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header_text)) + header_text + tensors


NOT_MODELS = {
    "empty": b"",
    "something else": b"PK\x03\x04 nonsense",
    "endless": struct.pack("<Q", 1 << 60) + b"{}",
    "without a header": damaged(b"{}"),
    "of others": damaged(json.dumps({"__metadata__": {"something": HEADER.to_json()}}).encode()),
    "cut short": damaged(
        json.dumps(
            {
                "__metadata__": {header.KEY: HEADER.to_json()},
                "w": {"dtype": "F16", "shape": [9], "data_offsets": [0, 18]},
            }
        ).encode()
    ),
    "of tensors without a type": damaged(
        json.dumps(
            {
                "__metadata__": {header.KEY: HEADER.to_json()},
                "w": {"dtype": {"F16": []}, "shape": [1], "data_offsets": [0, 2]},
            }
        ).encode(),
        bytes(2),
    ),
    "newer": damaged(
        json.dumps({"__metadata__": {header.KEY: HEADER.to_json().replace('"format": 1', '"format": 99')}}).encode()
    ),
    "impossible": damaged(
        json.dumps(
            {"__metadata__": {header.KEY: HEADER.to_json().replace('"dimensions": 3', '"dimensions": 7')}}
        ).encode()
    ),
}


@pytest.mark.parametrize("content", NOT_MODELS.values(), ids=list(NOT_MODELS))
def test_other_files_are_refused_with_the_sentence_of_the_library_and_not_listed(folder, tmp_path, content):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(header.InputError) as expected:
        header.read_header(path)
    with pytest.raises(SceneInputError) as found:
        models.importModel(path)
    assert str(found.value) == str(expected.value)
    folder.mkdir()
    path.rename(folder / path.name)
    assert [m for m in models.listModels() if not m.isInTheBox] == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_not_waited_for(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(SceneInputError, match="not a file"):
        models.importModel(tmp_path / "pipe.safetensors")


def test_what_is_in_the_box_stays(tmp_path):
    with pytest.raises(SceneInputError, match="came with the module"):
        models.removeModel(models.ModelFile(tmp_path / "x.safetensors", True, HEADER))


def test_the_worker_is_told_where_they_are(folder):
    assert os.environ[models.USER_FOLDER_VARIABLE] == str(folder)


def test_it_is_clicked_together(panel, tmp_path):
    cases.setModelsFolder(tmp_path / "mine")
    ui, section = panel.ui, panel.panel.sections["models"]
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.modelsButton)
    section.refresh()
    count = ui.modelsList.count
    section.importModel(bundle(tmp_path / "knee.safetensors"))
    assert ui.modelsList.count == count + 1
    assert "universal" in ui.modelLabel.text
    section.importModel(tmp_path / "knee.safetensors")
    assert "already" in ui.modelLabel.text
    interact.click(ui.removeModelButton)
    assert ui.modelsList.count == count
    assert not list((tmp_path / "mine").iterdir())
    os.environ.pop(models.USER_FOLDER_VARIABLE, None)


def test_the_devices_are_said_with_their_memory():
    assert devices.describeDevices({"cpu": 8e9, "cuda": None}) == (
        "No graphics card that PyTorch can use; processor: 8.0 GB free."
    )
    assert devices.describeDevices({"cpu": 8e9, "cuda": None, "mps": True}) == (
        "Apple graphics processor; processor: 8.0 GB free."
    )
    assert devices.describeDevices({"cpu": 8e9, "cuda": ["H200", 1.4e11]}) == (
        "H200: 140.0 GB free; processor: 8.0 GB free."
    )


def test_opening_advanced_shows_the_devices(panel):
    interact.click(panel.ui.advancedButton)
    interact.wait_until(lambda: "GB free" in panel.ui.deviceLabel.text, 60)
    assert panel.ui.deviceLabel.visible
    assert slicer.mrmlScene is not None


def test_a_model_of_the_box_describes_itself_in_words():
    for model in models.listModels():
        if model.isInTheBox:
            spoken = dict(model.details())
            assert spoken["Trained on"].startswith("generated images")
            assert "Dice" in spoken["Scores"]
            assert len(spoken["Scores"]) < 120
