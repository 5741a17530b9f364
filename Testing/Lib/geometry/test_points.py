import json

import numpy as np
import pytest

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.points import read_points, write_points

MARKUPS = {
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "RAS",
            "controlPoints": [
                {"label": "anterior commissure", "position": [1.0, 2.0, 3.0]},
                {"label": "posterior commissure", "position": [-4.0, 5.0, 6.5]},
            ],
        }
    ]
}
FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,1.0,2.0,3.0,0,0,0,1,1,1,0,AC,,
2,-4.0,5.0,6.5,0,0,0,1,1,1,0,PC,,
"""
LPS = np.array([[-1.0, -2.0, 3.0], [4.0, -5.0, 6.5]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mrk.json", json.dumps(MARKUPS)),
        ("a.fcsv", FCSV.format(system="RAS")),
        ("old.fcsv", FCSV.format(system="0")),
        ("a.csv", "name,X,Y,Z\nAC,-1,-2,3\nPC,4,-5,6.5\n"),
        ("plain.csv", "1,-1,-2,3\n2,4,-5,6.5\n"),
    ],
)
def test_every_file_is_read_in_lps_and_written_again(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    points = read_points(tmp_path / name)
    np.testing.assert_allclose(points.positions, LPS)
    write_points(points.moved(LPS + 1), tmp_path / f"out_{name}")
    np.testing.assert_allclose(read_points(tmp_path / f"out_{name}").positions, LPS + 1, atol=1e-6)


def test_labels_are_kept(tmp_path):
    (tmp_path / "a.mrk.json").write_text(json.dumps(MARKUPS))
    points = read_points(tmp_path / "a.mrk.json")
    write_points(points, tmp_path / "b.mrk.json")
    kept = json.loads((tmp_path / "b.mrk.json").read_text())["markups"][0]
    assert [p["label"] for p in kept["controlPoints"]] == ["anterior commissure", "posterior commissure"]
    assert kept["coordinateSystem"] == "LPS"


def test_two_dimensional_points_keep_two_coordinates(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    assert read_points(tmp_path / "a.csv").positions.shape == (2, 2)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "name\nonly words\n", "could not be read"),
        ("a.csv", "", "could not be read"),
        ("a.mrk.json", "{}", "could not be read"),
        ("a.fcsv", "# nothing\n", "could not be read"),
        ("a.txt", "1,2,3", "unknown kind"),
        (None, "", "do not exist"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, name, text, sentence):
    path = tmp_path / (name or "missing.csv")
    if name:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_points(path)


def test_points_are_not_written_in_a_format_that_cannot_hold_them(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n")
    with pytest.raises(InputError, match="cannot be written"):
        write_points(read_points(tmp_path / "a.csv"), tmp_path / "a.mrk.json")
