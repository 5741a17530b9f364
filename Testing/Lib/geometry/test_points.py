import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.geometry.points import check_positions, paired, read_points, write_points
from DeepRegistrationLib.pipeline import register
from DeepRegistrationLib.quality.scores import score_points
from Testing.Lib.geometry.geometries import GRIDS

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
    (tmp_path / name).write_text(text, encoding="utf-8")
    points = read_points(tmp_path / name)
    np.testing.assert_allclose(points.positions, LPS)
    write_points(points.moved(LPS + 1), tmp_path / f"out_{name}")
    np.testing.assert_allclose(read_points(tmp_path / f"out_{name}").positions, LPS + 1, atol=1e-6)


def test_labels_are_kept(tmp_path):
    (tmp_path / "a.mrk.json").write_text(json.dumps(MARKUPS), encoding="utf-8")
    points = read_points(tmp_path / "a.mrk.json")
    write_points(points, tmp_path / "b.mrk.json")
    kept = json.loads((tmp_path / "b.mrk.json").read_text(encoding="utf-8"))["markups"][0]
    assert [p["label"] for p in kept["controlPoints"]] == ["anterior commissure", "posterior commissure"]
    assert kept["coordinateSystem"] == "LPS"


def test_two_dimensional_points_keep_two_coordinates(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n", encoding="utf-8")
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
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_points(path)


def test_points_are_not_written_in_a_format_that_cannot_hold_them(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        write_points(read_points(tmp_path / "a.csv"), tmp_path / "a.mrk.json")


# What Slicer 5.13 wrote for two points at RAS (1, 2, 3) and (-4, 5, 6.5), and two that are not placed.
EXPORT = """"label","{axes}","defined","selected","visible","locked","description"
"AC",{first},1,1,1,0,""
"not yet",0,0,0,0,1,1,0,""
"PC",{second},1,1,1,0,"left, of it"
"""
CURRENT_FCSV = """# Markups fiducial file version = slicer-core-5.13.31053.0
{system}# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,-1,-2,3,0,0,0,1,1,1,0,"A, C",,,2,0
2,-4,-5,6,0,0,0,1,1,1,0,undefined,,,0,0
3,-7,-8,9,0,0,0,1,1,1,0,missing,,,3,0
4,4,-5,6.5,0,0,0,1,1,1,0,PC,,,2,0
"""
SLICER_3 = """# Fiducial List file /tmp/L.fcsv
# version = 2
# name = L
# numPoints = 2
# columns = label,x,y,z,sel,vis
AC,1,2,3,1,1
PC,-4,5,6.5,1,1
"""


def read(folder, name, text, encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return read_points(folder / name)


class TestSlicersExport:
    @pytest.mark.parametrize(
        ("axes", "first", "second"),
        [('l","p","s', "-1,-2,3", "4,-5,6.5"), ('r","a","s', "1,2,3", "-4,5,6.5")],
        ids=["lps", "ras"],
    )
    def test_columns_are_taken_by_their_names(self, tmp_path, axes, first, second):
        points = read(tmp_path, "a.csv", EXPORT.format(axes=axes, first=first, second=second))
        np.testing.assert_allclose(points.positions, LPS)
        assert points.names == ("AC", "not yet", "PC")
        assert points.placed == (True, False, True)
        assert points.notes == ["1 of the 3 points of a.csv are not placed and do not count (not yet)."]
        write_points(points.moved(LPS + 1), tmp_path / "b.csv")
        again = read_points(tmp_path / "b.csv")
        np.testing.assert_allclose(again.positions, LPS + 1)
        assert (again.names, again.placed) == (points.names, points.placed)
        assert "left, of it" in (tmp_path / "b.csv").read_text(encoding="utf-8")

    @pytest.mark.parametrize("system", ["", "# CoordinateSystem = LPS\n", "# CoordinateSystem = 1\n"])
    def test_an_fcsv_file_is_lps_unless_it_says_otherwise(self, tmp_path, system):
        points = read(tmp_path, "a.fcsv", CURRENT_FCSV.format(system=system))
        np.testing.assert_allclose(points.positions, LPS)
        assert points.names == ("A, C", "undefined", "missing", "PC")
        assert points.placed == (True, False, False, True)
        write_points(points.moved(LPS + 1), tmp_path / "b.fcsv")
        again = read_points(tmp_path / "b.fcsv")
        np.testing.assert_allclose(again.positions, LPS + 1)
        assert (again.names, again.placed) == (points.names, points.placed)

    def test_what_slicer_saves_as_csv_is_an_fcsv_file(self, tmp_path):
        np.testing.assert_allclose(read(tmp_path, "a.csv", CURRENT_FCSV.format(system="")).positions, LPS)

    def test_slicer_3_wrote_ras_and_the_name_first(self, tmp_path):
        points = read(tmp_path, "a.fcsv", SLICER_3)
        np.testing.assert_allclose(points.positions, LPS)
        assert points.names == ("AC", "PC")

    @pytest.mark.parametrize("system", ["IJK", "2", "head"])
    def test_voxels_are_refused(self, tmp_path, system):
        with pytest.raises(InputError, match="not LPS or RAS"):
            read(tmp_path, "a.fcsv", CURRENT_FCSV.format(system=f"# CoordinateSystem = {system}\n"))


def markups(*points, kind="Fiducial", system="LPS", **more):
    made = [{"label": label, "position": position, **extra} for label, position, extra in points]
    return json.dumps({"markups": [{"type": kind, "coordinateSystem": system, "controlPoints": made, **more}]})


class TestMarkups:
    NONE = ("B", "", {"positionStatus": "undefined"})
    LOST = ("C", [9.0, 9.0, 9.0], {"positionStatus": "missing"})

    def test_points_without_a_place_do_not_count_and_stay(self, tmp_path):
        text = markups(("A", [-1, -2, 3], {}), self.NONE, self.LOST, ("D", [4, -5, 6.5], {"positionStatus": "defined"}))
        points = read(tmp_path, "a.mrk.json", text)
        np.testing.assert_allclose(points.positions, LPS)
        assert "2 of the 4" in points.notes[0]
        assert "(B, C)" in points.notes[0]
        write_points(points.moved(LPS + 1), tmp_path / "b.mrk.json")
        kept = json.loads((tmp_path / "b.mrk.json").read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
        assert [p["position"] for p in kept] == [[0, -1, 4], "", [9, 9, 9], [5, -4, 7.5]]

    def test_none_placed_is_a_sentence(self, tmp_path):
        with pytest.raises(InputError, match="none of its points is placed"):
            read(tmp_path, "a.mrk.json", markups(self.NONE))

    @pytest.mark.parametrize("kind", ["Plane", "ROI"])
    def test_what_is_more_than_its_points_is_refused(self, tmp_path, kind):
        with pytest.raises(InputError, match=f"holds a {kind}"):
            read(tmp_path, "a.mrk.json", markups(("A", [1, 2, 3], {}), kind=kind))

    @pytest.mark.parametrize("kind", ["Curve", "ClosedCurve", "Line", "Angle"])
    def test_a_curve_is_its_control_points_and_its_old_length_goes(self, tmp_path, kind):
        length = {"name": "length", "enabled": True, "value": 12.5, "units": "mm"}
        text = markups(("A", [-1, -2, 3], {}), ("B", [4, -5, 6.5], {}), kind=kind, measurements=[length])
        points = read(tmp_path, "a.mrk.json", text)
        write_points(points.moved(LPS + 1), tmp_path / "b.mrk.json")
        kept = json.loads((tmp_path / "b.mrk.json").read_text(encoding="utf-8"))["markups"][0]
        assert kept["type"] == kind
        assert [p["position"] for p in kept["controlPoints"]] == (LPS + 1).tolist()
        assert kept["measurements"] == [{"name": "length", "enabled": True, "units": "mm"}]

    def test_orientations_turn_with_the_axes(self, tmp_path):
        turned = {"orientation": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
        points = read(tmp_path, "a.mrk.json", markups(("A", [1, 2, 3], turned), system="RAS"))
        write_points(points, tmp_path / "b.mrk.json")
        point = json.loads((tmp_path / "b.mrk.json").read_text(encoding="utf-8"))["markups"][0]["controlPoints"][0]
        assert point["position"] == [-1, -2, 3]
        assert point["orientation"] == [-1, 0, 0, 0, -1, 0, 0, 0, 1]

    def test_voxels_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="not LPS or RAS"):
            read(tmp_path, "a.mrk.json", markups(("A", [1, 2, 3], {}), system="IJK"))

    def test_names_go_to_a_plain_table(self, tmp_path):
        points = read(tmp_path, "a.mrk.json", markups(("A", [1, 2, 3], {}), self.NONE))
        write_points(points, tmp_path / "b.csv")
        assert (tmp_path / "b.csv").read_text(encoding="utf-8") == "label,x,y,z\nA,1.000000,2.000000,3.000000\n"

    def test_deep_nesting_is_one_sentence(self, tmp_path):
        with pytest.raises(InputError, match="could not be read"):
            read(tmp_path, "a.mrk.json", "[" * 100_000)


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "name;x;y;z\nAC;-1;-2;3\nPC;4;-5;6,5\n",
            "name\tx\ty\tz\nAC\t-1\t-2\t3\nPC\t4\t-5\t6.5\n",
            "sep=;\nname;x;y;z\n\nAC;-1;-2;3\n;;;\nPC;4;-5;6.5\n",
            "X [mm],y (mm),z_mm\n-1,-2,3\n4,-5,6.5\n",
            "x,y,z,t,label,comment\n-1,-2,3,0,1,none\n4,-5,6.5,0,1,none\n",
            "description,z,y,x,size\nfirst,3,-2,-1,7\nsecond,6.5,-5,4,7\n",
            "R,A,S\n1,2,3\n-4,5,6.5\n",
            "AC,-1,-2,3\nPC,4,-5,6.5\n",
            "-1,-2,3\n4,-5,6.5\n",
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    def test_other_programs_tables(self, tmp_path, text, encoding):
        points = read(tmp_path, "a.csv", text, encoding)
        np.testing.assert_allclose(points.positions, LPS)
        write_points(points.moved(LPS + 0.25), tmp_path / "b.csv")
        again = read_points(tmp_path / "b.csv")
        np.testing.assert_allclose(again.positions, LPS + 0.25)
        assert again.names == points.names

    @pytest.mark.parametrize(
        "text",
        [
            "i,j,k\n1,2,3\n",
            "x_vox,y_vox,z_vox\n1,2,3\n",
            "x,y,z,r,a,s\n1,2,3,-1,-2,3\n",
            "x,x,y,z\n1,2,3,4\n",
            "first,second,third\n1,2,3\n",
            "AC,1,2,3,1,1,1,0\n",
            "7,1,2,3\n9,2,2,3\n",
        ],
    )
    def test_other_columns_are_a_sentence_that_names_what_is_expected(self, tmp_path, text):
        with pytest.raises(InputError, match="x,y,z or l,p,s") as raised:
            read(tmp_path, "a.csv", text)
        assert "\n" not in str(raised.value)

    def test_a_word_among_the_numbers_is_named(self, tmp_path):
        with pytest.raises(InputError, match="point 2 has no 3 coordinates"):
            read(tmp_path, "a.csv", "x,y,z\n1,2,3\n1,two,3\n")


class TestNowhere:
    @pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
    def test_in_a_file(self, tmp_path, value):
        with pytest.raises(InputError, match=r"point 2 \(PC\) at .* no place"):
            read(tmp_path, "a.csv", f"name,x,y,z\nAC,1,2,3\nPC,1,{value},3\n")
        number = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(value, value)
        with pytest.raises(InputError, match="no place"):
            read(tmp_path, "a.mrk.json", markups(("A", [1, 2, 3], {})).replace("2", number))

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
    def test_in_arrays(self, value):
        good, bad = LPS, LPS.copy()
        bad[1, 0] = value
        with pytest.raises(InputError, match="no place"):
            score_points(sitk.AffineTransform(3), good, bad)
        stages = []
        image = Image(
            np.random.default_rng(0).random((16, 16, 16)).astype(np.float32), GRIDS["axis-aligned"].resized((16,) * 3)
        )
        with pytest.raises(InputError, match="no place"):
            register(image, image, landmarks=(bad, good), progress=lambda stage, *_: stages.append(stage))
        assert set(stages) <= {"read"}  # before anything is computed

    @pytest.mark.parametrize("wrong", ["text", [[1, 2], [3]], [1, 2, 3], np.zeros((2, 4)), [[None, 1, 2]]])
    def test_what_are_no_positions(self, wrong):
        with pytest.raises(InputError):
            check_positions(wrong)


class TestPairs:
    def pair(self, folder, a, b):
        lists = []
        for name, rows in (("a", a), ("b", b)):
            text = "label,x,y,z,defined\n" + "".join(
                f"{label},{x},0,0,{int(x is not None)}\n".replace("None", "0") for label, x in rows
            )
            lists.append(read(folder, f"{name}.csv", text))
        pairs = paired(*lists)
        return pairs.fixed[:, 0].tolist(), pairs.moving[:, 0].tolist(), pairs.notes

    def test_the_same_names_in_another_order(self, tmp_path):
        a, b, notes = self.pair(tmp_path, [("A", 1), ("B", 2), ("C", 3)], [("C", 30), ("A", 10), ("B", 20)])
        assert (a, b) == ([1, 2, 3], [10, 20, 30])
        assert "paired by their names" in notes[0]

    def test_other_names_are_taken_row_by_row(self, tmp_path):
        assert self.pair(tmp_path, [("F-1", 1), ("F-2", 2)], [("M-1", 10), ("M-2", 20)]) == ([1, 2], [10, 20], [])
        assert self.pair(tmp_path, [("", 1), ("", 2)], [("M-1", 10), ("M-2", 20)]) == ([1, 2], [10, 20], [])
        assert self.pair(tmp_path, [("F", 1), ("F", 2)], [("F", 10), ("F", 20)]) == ([1, 2], [10, 20], [])

    def test_a_point_that_one_list_lacks_leaves_its_partner_alone(self, tmp_path):
        a, b, notes = self.pair(tmp_path, [("A", 1), ("B", None), ("C", 3)], [("A", 10), ("B", 20), ("C", 30)])
        assert (a, b) == ([1, 3], [10, 30])
        assert "not placed" in notes[0]
        a, b, _ = self.pair(tmp_path, [("A", 1), ("B", 2), ("C", 3)], [("M1", None), ("M2", 20), ("M3", 30)])
        assert (a, b) == ([2, 3], [20, 30])

    @pytest.mark.parametrize(
        ("b", "sentence"),
        [
            ([("A", 1)], "2 fixed and 1 moving"),
            ([("B", 1), ("C", 2)], "B is in row 2 of the fixed and row 1"),
            ([("A", None), ("B", 2)], "No point is placed in both"),
        ],
    )
    def test_lists_that_do_not_fit_are_a_sentence(self, tmp_path, b, sentence):
        with pytest.raises(InputError, match=sentence):
            self.pair(tmp_path, [("A", 1), ("B", None)], b)
