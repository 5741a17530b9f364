"""The network that is kept for the next pair is the one whose file lies there now."""

import os
import shutil

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.models.header import BOX, USER_FOLDER_VARIABLE
from DeepRegistrationLib.models.network_proposal import proposal_for
from DeepRegistrationLib.progress import SILENT

SHAPE = (32, 40)


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path))
    return shutil.copy(BOX / "universal-2d.safetensors", tmp_path / "universal-2d.safetensors")


@pytest.fixture
def propose(model):
    pair = torch.rand(2, 1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    asked = proposal_for(pair[0], pair[1], Grid.from_shape(SHAPE), torch.device("cpu"))
    return lambda before=None: asked(SILENT, before)[0]


def test_what_was_moved_before_is_looked_at_as_it_lies_then(propose):
    """By two rows, so that nothing is interpolated; what comes from beyond the border is its last row."""
    moved = torch.zeros(1, 2, *SHAPE)
    moved[:, 0] = 2.0
    assert not torch.equal(propose(moved), propose())
    fixed, moving = torch.rand(2, 1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    rows = [*range(2, SHAPE[0]), SHAPE[0] - 1, SHAPE[0] - 1]
    alone = proposal_for(fixed, moving[:, :, rows], Grid.from_shape(SHAPE), torch.device("cpu"))
    torch.testing.assert_close(propose(moved), alone(SILENT, None)[0], atol=1e-3, rtol=0)


def test_a_model_removed_during_a_registration_is_one_sentence(model, propose):
    propose()
    model.unlink()
    with pytest.raises(InputError, match="Cannot read the weights file"):
        propose()


@pytest.mark.skipif(os.name == "nt", reason="no time there that a copy cannot keep")
def test_other_weights_of_the_same_time_are_read_anew(model, propose):
    """As archives give all of their files."""
    before, state = propose(), model.stat()
    content = model.read_bytes()
    model.write_bytes(content[:-4000] + bytes(4000))
    os.utime(model, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not torch.equal(propose(), before)
