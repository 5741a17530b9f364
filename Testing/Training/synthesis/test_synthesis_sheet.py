"""The contact sheet: one command, one picture."""

import argparse
import json
from pathlib import Path

import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from Training.synthesis.contact_sheet import add_synthesize


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_synthesize(parser.add_subparsers())
    options = parser.parse_args(["synthesize", *arguments])
    options.run(options)


def test_a_picture_and_the_recipes_are_written(tmp_path: Path) -> None:
    picture, recipes = tmp_path / "sheet.png", tmp_path / "recipes.json"
    run(str(picture), "--shape", "32", "32", "32", "--samples", "2", "--recipes", str(recipes))
    image = sitk.ReadImage(str(picture))
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert image.GetWidth() > image.GetHeight()
    assert len(json.loads(recipes.read_text(encoding="utf-8"))) == 2


def test_the_plan_of_a_training_run_can_be_drawn(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('method = "universal"\n[synthesis]\npreset = "sar-net"\nshape = [48, 48]\n', encoding="utf-8")
    run(str(plan), str(tmp_path / "sheet.png"), "--samples", "1")
    assert (tmp_path / "sheet.png").exists()


def test_a_plan_or_folder_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        run(str(tmp_path / "no.toml"), str(tmp_path / "sheet.png"))
    with pytest.raises(InputError, match="Cannot write"):
        run(str(tmp_path / "no" / "sheet.png"), "--shape", "32", "32", "--samples", "1")
