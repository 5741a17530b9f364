"""What a user may choose is spelled once, and a bad value is one sentence before anything is computed."""

import argparse
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from DeepRegistrationLib import register
from DeepRegistrationLib import settings as module
from DeepRegistrationLib.command_line.options import add_settings, settings_from
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.settings import FOR_ONE_CONTRAST, NAMES, SIMILARITIES, Choices, Settings

OTHER = {
    "method": "voxelmorph-2",
    "variant": "cc",
    "fine_tune": True,
    "untrained": True,
    "result": "rigid",
    "refine": "accurate",
    "from_here": True,
    "affine": "rigid",
    "similarity": "mind",
    "smoothness": 2.5,
    "device": "cuda:1",
    "seed": 2**62 + 1,
}


def test_settings_can_be_imported_into_slicer():
    code = (
        "import sys; import DeepRegistrationLib.settings; assert not {'torch', 'numpy', 'SimpleITK'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_which_similarities_are_for_one_contrast_is_said_once():
    assert set(FOR_ONE_CONTRAST) < set(SIMILARITIES)
    folder = Path(module.__file__).parent
    texts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if path.name != "settings.py"}
    said = re.compile(r'"lncc"(: 1)?, "ssd"|"ssd"(: 1)?, "lncc"')
    assert not [path for path, text in texts.items() if said.search(text)]


def test_the_keywords_for_type_checkers_are_the_settings():
    assert tuple(Choices.__annotations__) == NAMES == tuple(OTHER)
    assert get_type_hints(Choices) == get_type_hints(Settings)


def test_what_is_chosen_goes_over_the_command_line_unchanged():
    chosen = Settings.of(OTHER)
    parser = argparse.ArgumentParser()
    add_settings(parser)
    assert settings_from(parser.parse_args(chosen.arguments())) == chosen
    assert settings_from(parser.parse_args([])) == Settings()
    assert Settings().arguments() == []
    assert chosen.as_dict() == OTHER


@pytest.mark.parametrize("name", ["fixed_labels", "moving_points", "fixed_landmarks"])
def test_who_names_a_guide_as_the_command_line_does_hears_how_it_is_given(name):
    what = "labels" if name.endswith("labels") else "landmarks"
    with pytest.raises(InputError, match=rf"both images together: {what}=\(fixed, moving\)"):
        register("fixed.nii.gz", "moving.nii.gz", **{name: "a.nii.gz"})


def test_only_some_settings_can_be_offered():
    parser = argparse.ArgumentParser()
    add_settings(parser, ("refine", "seed"))
    assert settings_from(parser.parse_args(["--refine", "none"])) == Settings(refine="none")
    assert Settings.of(OTHER).arguments(("seed",)) == ["--seed", str(2**62 + 1)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("refine", "exact"),
        ("affine", True),
        ("similarity", "nmi"),
        ("smoothness", 0.05),
        ("smoothness", 21),
        ("smoothness", math.nan),
        ("smoothness", math.inf),
        ("smoothness", "1"),
        ("smoothness", None),
        ("seed", 1.5),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", True),
        ("fine_tune", 1),
        ("fine_tune", "yes"),
        ("method", ""),
        ("method", "a\0b"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_setting(name, value):
    with pytest.raises(InputError) as caught:
        Settings.of({name: value})
    text = str(caught.value)
    assert name in text
    assert text.endswith(".")
    assert "\n" not in text


def test_a_misspelled_setting_is_named_with_the_right_one():
    with pytest.raises(InputError, match="'smothness'; did you mean smoothness"):
        Settings.of({"smothness": 2})


def test_a_variant_needs_a_method():
    with pytest.raises(InputError, match="variant"):
        Settings(variant="zzz")
    with pytest.raises(InputError, match="variant"):
        Settings(method="none", variant="zzz")


def test_whole_numbers_of_other_types_are_numbers():
    import numpy as np

    assert Settings(seed=np.int64(3), smoothness=np.float32(2)).arguments() == ["--smoothness", "2.0", "--seed", "3"]


def test_a_sentence_is_one_line_that_can_be_read_whatever_it_quotes():
    said = str(InputError("There is no method " + "n" * 9000 + "; choose\none."))
    assert len(said) < 1300
    assert said.startswith("There is no method nnn")
    assert said.endswith("n; choose one.")
