"""Model bundles: one safetensors file that other tools can read, and nothing in it is believed unchecked."""

import json
import os
import struct
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models import bundle as models
from DeepRegistrationLib.models.bundle import list_bundles, load_model, save_bundle, weights_hash
from DeepRegistrationLib.models.header import (
    KEY,
    Header,
    NetworkGrid,
    Normalization,
    beside,
    read_header,
    write_worth,
)
from DeepRegistrationLib.models.safetensors import read_weights, write_weights
from DeepRegistrationLib.models.worth import WORTH_KEY, Worth, as_scores, worths
from DeepRegistrationLib.networks.voxelmorph import VoxelMorph

HEADER = Header(
    method="voxelmorph-1",
    network="VoxelMorph",
    arguments={"ndim": 3, "variant": 1},
    dimensions=3,
    modality="T1 MR",
    grid=NetworkGrid("LIA", (1.0, 1.0, 1.2), (32, 48, 32)),
    normalization=Normalization("range", -1000.0, 1000.0, (-1.0, 1.0)),
    moving_normalization=Normalization("percentile", 1.0, 99.0),
    training={"plan": {"steps": 3}, "plan_sha256": "ab"},
    scores={"dice": 0.8},
    license="Apache-2.0",
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return VoxelMorph(3, 1)


@pytest.fixture
def bundle(tmp_path, network):
    path = tmp_path / "mine.safetensors"
    save_bundle(path, network, HEADER)
    return path


def test_a_bundle_comes_back_as_it_was_written(bundle, network):
    model = load_model(bundle)
    assert model.name == "mine"
    assert model.header == HEADER
    assert not model.network.training
    assert len(model.sha256) == 64
    expected = {name: t.half().float() for name, t in network.state_dict().items()}
    kept = model.network.state_dict()
    assert kept.keys() == expected.keys()
    for name, tensor in kept.items():
        if "flow.weight" not in name:  # N(0, 1e-5) would lose its digits in float16: that tensor stays float32
            assert torch.equal(tensor, expected[name])
    assert torch.equal(kept["unet.flow.weight"], network.state_dict()["unet.flow.weight"])
    assert bundle.stat().st_size < 2.1 * sum(p.numel() for p in network.parameters()) + 20_000


def test_the_reference_package_reads_what_we_write_and_we_read_what_it_writes(bundle, tmp_path):
    reference = pytest.importorskip("safetensors")
    reference_torch = pytest.importorskip("safetensors.torch")
    with reference.safe_open(str(bundle), "pt") as file:
        assert Header.from_json(file.metadata()[KEY]) == HEADER
        ours, _ = read_weights(bundle)
        assert set(file.keys()) == set(ours)
        assert all(torch.equal(file.get_tensor(name), ours[name]) for name in ours)
    tensors = {
        "half": torch.randn(3, 1, 2).half(),
        "brain": torch.randn(2, 2).bfloat16(),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "odd": torch.arange(3, dtype=torch.uint8),
        "yes": torch.tensor([True, False]),
        "long": torch.tensor([1.5], dtype=torch.float64),
    }
    reference_torch.save_file(tensors, tmp_path / "theirs.safetensors", {"note": "ä"})
    read, metadata = read_weights(tmp_path / "theirs.safetensors")
    assert metadata == {"note": "ä"}
    assert all(torch.equal(read[k], v) and read[k].dtype == v.dtype for k, v in tensors.items())
    write_weights(tmp_path / "ours.safetensors", tensors, {"note": "ä"})
    back = reference_torch.load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in tensors.items())


def with_header(path, change):
    """The file with its JSON header changed."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def huge(header):
    header["unet.flow.bias"]["shape"] = [1 << 60]


def negative(header):
    header["unet.flow.bias"]["data_offsets"] = [-6, 0]


def overlapping(header):
    first = header["unet.flow.bias"]
    next_one = header["unet.encoder.0.convolution.bias"]
    next_one["shape"], next_one["dtype"] = first["shape"], first["dtype"]
    next_one["data_offsets"] = first["data_offsets"]


def pickled(header):
    header["unet.flow.bias"]["dtype"] = "PICKLE"


def type_is_a_table(header):
    header[next(k for k in header if k != "__metadata__")]["dtype"] = {"F32": []}


def misnamed(header):
    header["unet.flow.bogus"] = header.pop("unet.flow.bias")


def reshaped(header):
    header["unet.flow.bias"]["shape"] = [1, 3]


def without_header(header):
    del header["__metadata__"][KEY]


def other_network(header):
    document = json.loads(header["__metadata__"][KEY])
    header["__metadata__"][KEY] = json.dumps({**document, "network": "Path"})


def other_arguments(header):
    document = json.loads(header["__metadata__"][KEY])
    document["arguments"]["colour"] = "blue"
    header["__metadata__"][KEY] = json.dumps(document)


def newer(header):
    document = json.loads(header["__metadata__"][KEY])
    header["__metadata__"][KEY] = json.dumps({**document, "format": 99})


def nowhere(header):
    document = json.loads(header["__metadata__"][KEY])
    document["grid"]["orientation"] = "LRA"
    header["__metadata__"][KEY] = json.dumps(document)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (huge, "another size than its shape"),
        (negative, "makes no sense"),
        (overlapping, "overlap or leave gaps"),
        (pickled, "type of its tensor"),
        (type_is_a_table, "type of its tensor"),
        (misnamed, "not those of its network"),
        (reshaped, "not those of its network"),
        (without_header, "not a model bundle"),
        (other_network, "no network Path"),
        (other_arguments, "cannot be built"),
        (newer, "format 99"),
        (nowhere, "cannot be understood"),
    ],
)
def test_a_bundle_with_a_bad_header_is_refused_in_one_sentence(bundle, change, sentence):
    with_header(bundle, change)
    with pytest.raises(InputError, match=sentence):
        load_model(bundle)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[:-10], "should have"),
        (lambda data: data + b"more", "should have"),
        (lambda data: data[:5], "no readable header"),
        (lambda data: b"", "no readable header"),
        (lambda data: struct.pack("<Q", 1 << 62) + data[8:], "no readable header"),
        (lambda data: data[:8] + b"\xff" + data[9:], "not JSON"),
        (lambda data: struct.pack("<Q", 20) + b"[" * 20, "not JSON"),
        (lambda data: struct.pack("<Q", 4) + b"[ ] ", "not a table"),
        (lambda data: struct.pack("<Q", 18) + b'{"a": {}, "a": {}}', "not JSON"),
        (lambda data: b"\x80\x04\x95pickle" * 9, "no readable header"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(bundle, damage, sentence):
    bundle.write_bytes(damage(bundle.read_bytes()))
    with pytest.raises(InputError, match=sentence):
        load_model(bundle)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_no_numbers_are_refused_before_they_predict(bundle, value):
    data = bytearray(bundle.read_bytes())
    data[-2:] = np.float16(value).tobytes()
    bundle.write_bytes(data)
    with pytest.raises(InputError, match="values that are not numbers"):
        load_model(bundle)


def test_a_name_is_looked_for_in_the_box_and_in_the_user_s_folder(tmp_path, monkeypatch, network):
    box, own = tmp_path / "box", tmp_path / "own"
    box.mkdir()
    own.mkdir()
    monkeypatch.setattr(models, "BOX", box)
    monkeypatch.delenv(models.USER_FOLDER_VARIABLE, raising=False)
    assert list_bundles() == []
    save_bundle(box / "a.safetensors", network, HEADER)
    save_bundle(box / "b.safetensors", network, HEADER)
    save_bundle(own / "b.safetensors", network, HEADER)
    (own / "broken.safetensors").write_bytes(b"?")
    assert [b.name for b in list_bundles()] == ["a", "b"]
    assert [b.path.parent for b in list_bundles(own)] == [box, own]
    monkeypatch.setenv(models.USER_FOLDER_VARIABLE, str(own))
    assert load_model("b").path == own / "b.safetensors"
    with pytest.raises(InputError, match=r"no model c.*\(a, b\)"):
        load_model("c")


def test_the_box_is_beside_the_library():
    assert models.BOX.parts[-2:] == ("Resources", "Models")
    assert (models.BOX.parents[1] / "DeepRegistrationLib").is_dir()


def test_a_folder_that_is_not_there_is_one_sentence_and_leaves_nothing_behind(tmp_path, network):
    with pytest.raises(InputError, match="Cannot write"):
        save_bundle(tmp_path / "absent" / "m.safetensors", network, HEADER)
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_the_weights_changes_with_any_of_them(network):
    before = weights_hash(network)
    assert weights_hash(network) == before
    with torch.no_grad():
        network.unet.flow.bias[0] += 1e-7
    assert weights_hash(network) != before


def test_a_model_that_was_replaced_is_read_anew(bundle, network):
    assert read_header(bundle).modality == HEADER.modality
    save_bundle(bundle, network, replace(HEADER, modality="CT of the chest"))
    assert read_header(bundle).modality == "CT of the chest"


def test_what_a_model_is_worth_is_renewed_beside_it_without_writing_its_weights_anew(bundle):
    before = bundle.read_bytes()
    read_header(bundle)  # kept from now on
    write_worth(bundle, as_scores([KNEES], "abc"))
    for header in (read_header(bundle), load_model(bundle).header):
        assert worths(header.scores) == [KNEES]
        assert header.scores["dice"] == HEADER.scores["dice"]
        assert header.scores[WORTH_KEY]["engine"] == "abc"
    assert bundle.read_bytes() == before


KNEES = Worth("knees", 1, "dice", 3, before=0.5, alone=0.6, none=0.7, start=0.71)


def beside_it(**changed):
    return json.dumps({**as_scores([KNEES], "abc"), "bytes": "SIZE", **changed}).replace('"SIZE"', "{size}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 9999,
        beside_it(bytes=3),
        beside_it(engine=""),
        beside_it(kinds=[]),
        beside_it(kinds=[1]),
        beside_it(kinds="many"),
        beside_it(kinds=[asdict(KNEES), {**asdict(KNEES), "start": None}]),
        beside_it(kinds=[asdict(KNEES), {**asdict(KNEES), "start": 1e300}]),
    ],
)
def test_figures_beside_a_bundle_that_are_damaged_or_of_other_weights_do_not_count(bundle, text):
    """Not one of them: what is left out may be the kind on which it harms."""
    beside(bundle).write_text(text.replace("{size}", str(bundle.stat().st_size)), encoding="utf-8")
    assert read_header(bundle) == HEADER


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_beside_a_bundle_is_not_waited_for(bundle):
    os.mkfifo(beside(bundle))
    assert read_header(bundle) == HEADER


def test_new_weights_are_not_worth_what_those_before_were(bundle, network):
    """The same network trained again has the same number of bytes."""
    write_worth(bundle, as_scores([KNEES], "abc"))
    size = bundle.stat().st_size
    with torch.no_grad():
        network.unet.flow.bias += 1
    save_bundle(bundle, network, HEADER)
    assert bundle.stat().st_size == size
    assert read_header(bundle) == HEADER


@pytest.mark.parametrize("path", [".", "/", ".."])
def test_a_folder_is_no_bundle(path):
    with pytest.raises(InputError, match="not a file"):
        read_header(Path(path))
