"""Landmarks on the command line belong together by their names; what was left out is said."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from Testing.Lib.geometry.geometries import oblique
from Testing.Lib.test_pipeline import pair


@pytest.fixture
def folder(tmp_path):
    fixed, moving = pair(oblique((20, 22, 24)), 1.0)
    for name, image in (("fixed", fixed), ("moving", moving)):
        image.save(tmp_path / f"{name}.nrrd")
    inside = fixed.grid.to_world(np.array([[8.0, 9, 10], [12, 9, 11], [9, 14, 12]]))
    rows = [f"{name},{','.join(f'{v:.6f}' for v in place)}" for name, place in zip("ABC", inside, strict=True)]
    for name, order in (("f", rows), ("m", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["label,x,y,z", *order]), encoding="utf-8")
    sitk.WriteTransform(sitk.AffineTransform(3), str(tmp_path / "t.tfm"))
    return tmp_path


def run(folder, *arguments):
    return main([str(folder / a) if "." in a else a for a in arguments])


POINTS = ("--fixed-points", "f.csv", "--moving-points", "m.csv")


def test_evaluate_pairs_by_name_and_says_so(folder, capsys):
    assert run(folder, "evaluate", "--transform", "t.tfm", *POINTS, "--json") == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["mean_tre_after_mm"] < 1e-6
    assert "paired by their names" in out.err


def test_register_pairs_by_name_and_says_so_in_the_report(folder, capsys):
    arguments = ("register", "fixed.nrrd", "moving.nrrd", *POINTS, "--affine", "none", "--output-transform", "o.tfm")
    assert run(folder, *arguments, "--progress", "json", "--device", "cpu") == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
    assert any("paired by their names" in warning for warning in report["warnings"])


@pytest.mark.parametrize("command", ["register", "evaluate"])
def test_lists_that_do_not_fit_are_refused_before_anything_else(folder, capsys, command):
    (folder / "m.csv").write_text("label,x,y,z\nA,1,2,3\nD,1,2,3\n", encoding="utf-8")
    known = {
        "register": ("fixed.nrrd", "moving.nrrd", "--output-transform", "o.tfm"),
        "evaluate": ("--transform", "t.tfm"),
    }
    assert run(folder, command, *known[command], *POINTS) == 2
    said = capsys.readouterr().err
    assert "3 fixed and 2 moving points (such as B)" in said
    assert said.count("\n") == 1


def test_apply_says_which_points_are_not_placed(folder, capsys):
    (folder / "p.mrk.json").write_text(
        json.dumps(
            {
                "markups": [
                    {
                        "type": "Fiducial",
                        "coordinateSystem": "LPS",
                        "controlPoints": [{"label": "A", "position": [1, 2, 3]}, {"label": "B", "position": ""}],
                    }
                ]
            }
        ),
        encoding="utf-8",
    )
    assert run(folder, "apply", "t.tfm", "p.mrk.json", "--output", "q.mrk.json") == 0
    assert "1 of the 2 points of p.mrk.json are not placed and do not count (B)." in capsys.readouterr().err
