"""The list of every kind, and the table in which each stands beside its best peer."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks import every_kind, kinds
from benchmarks.networks.real import known_fields
from benchmarks.pairs import Pair, read_pairs, write_pairs
from benchmarks.peers import coarse_grid, greedy_levels
from benchmarks.robustness.cases import base_cases
from benchmarks.robustness.generated import KINDS, SEEDS
from benchmarks.worker import agreement
from Testing.data import real


def result(pair: str, method: str, group: str = "liver (MR, breathing)", **scores) -> dict:
    return {"pair": pair, "method": method, "group": group, "threads": 1, "wall": 1.0, **scores}


def line(records: list[dict], start: str) -> list[str]:
    (found,) = [text for text in every_kind.section(records) if text.startswith(f"| {start}")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_every_kind_of_the_data_folder_is_listed_once():
    data = real("brain_t1", "OAS1_0001_t1.nii.gz").parents[1]
    pairs = kinds.project_pairs(data)
    assert len({(p.group, p.name) for p in pairs}) == len(pairs)
    assert Counter(p.group for p in pairs) == {
        kinds.BRAIN: 4,
        kinds.REMAPPED: 4,
        kinds.TWO_PIPELINES: 4,
        kinds.TUMOR: 4,
        kinds.HEART: 2,
        kinds.PATIENTS: 7,
        kinds.HIPPOCAMPUS: 40,
        kinds.CHEST: 40,
        kinds.SLICES: 10,
        kinds.NATIVE: 1,
        kinds.LIVER: 4,
        kinds.LUNG: 1,
        kinds.SKULL: 3,
        kinds.PROSTATE: 2,
        kinds.HISTOLOGY: 2,
        kinds.HAND: 1,
        kinds.RETINA: 2,
    }
    assert all(p.fixed_labels or p.fixed_points for p in pairs)
    assert {name for p in pairs for name in p.more_points} == {"outside"}
    assert len(kinds.NATIVE_LABELS) == len(kinds.BRAIN_LABELS) == 31


def test_the_robustness_benchmark_takes_its_pairs_from_that_list():
    data = real("brain_t1", "OAS1_0001_t1.nii.gz").parents[1]
    found = [(kind, name) for kind, name, _ in base_cases(data)]
    assert len(set(found)) == len(found)
    # What is done to a pair is drawn by these names, and results are told apart by them.
    for wanted in (("tumor", "t1<-t2"), ("slices", "20-10<-20-1_"), ("heart", "acdc002"), ("prostate", "one")):
        assert wanted in found
    assert [name for kind, name in found if kind == "brain"] == [
        "OAS1_0001<-OAS1_0002",
        "fstrain01<-fstrain02",
        "OAS1_0002<-vxm_test",
    ]


def test_an_absent_folder_gives_no_pairs(tmp_path):
    assert kinds.project_pairs(tmp_path) == []
    found = Counter(kind for kind, _, _ in base_cases(tmp_path))
    assert found == {"generated head": 8, **dict.fromkeys(KINDS, len(SEEDS))}


def test_further_landmarks_are_read_with_the_list_and_scored_by_themselves(tmp_path):
    import SimpleITK as sitk

    for name, rows in (("a", "0,0"), ("b", "3,4"), ("c", "0,6")):
        (tmp_path / f"{name}.csv").write_text(f"X,Y\n{rows}\n", encoding="utf-8")
    for name in ("f.png", "m.png"):
        sitk.WriteImage(sitk.Image(8, 8, sitk.sitkUInt8), str(tmp_path / name))
    entry = {"fixed": "f.png", "moving": "m.png", "fixed_points": "a.csv", "moving_points": "b.csv"}
    given = tmp_path / "pairs.json"
    given.write_text(json.dumps({"pairs": [{**entry, "more_points": {"outside": ["a.csv", "c.csv"]}}]}), "utf-8")
    (pair,) = read_pairs(given)
    assert agreement(pair, sitk.Transform(2, sitk.sitkIdentity)) == pytest.approx({"tre": 5.0, "tre outside": 6.0})
    assert [Path(path).name for path in pair.files()] == ["f.png", "m.png", "a.csv", "b.csv", "a.csv", "c.csv"]
    write_pairs([pair], tmp_path / "again.json")
    assert read_pairs(tmp_path / "again.json") == [pair]


def test_a_kind_is_held_against_the_peer_over_which_it_gains_least_on_shared_pairs():
    records = [
        result("a", "before", tre=4.0, unaligned={"tre": 9.0}),
        result("b", "before", tre=2.0, unaligned={"tre": 7.0}),
        result("a", "ours, fast", tre=1.0),
        result("b", "ours, fast", tre=2.0),
        result("c", "ours, fast", tre=50.0),
        result("a", "greedy, NCC", tre=1.5),
        result("b", "greedy, NCC", tre=2.0),
        result("b", "elastix, B-spline", tre=1.6),
        {**result("a", "elastix, B-spline"), "error": "it crashed"},
    ]
    cells = line(records, "liver")
    assert cells[:6] == ["liver (MR, breathing)", "Landmark error (mm)", "2", "8.00", "3.00", "1.50"]
    assert cells[6:8] == ["1.60 (1)", "1.75"]
    assert cells[8:] == ["elastix, B-spline", "-25.0 %"]


def test_over_all_kinds_each_counts_once_and_dice_and_landmarks_apart():
    records = []
    for method, brain, prostate, lung in (("ours, fast", 0.80, 0.80, 0.9), ("greedy, NCC", 0.79, 0.83, 1.0)):
        records += [result(f"{n}", method, "brain (T1)", dice=brain) for n in range(9)]
        records += [
            result("p", method, "prostate (MR)", dice=prostate),
            result("l", method, "lung", tre=lung, dice=0.9),
        ]
    assert line(records, "all kinds, our gain | Dice")[-1] == "-0.007"
    assert line(records, "all kinds, our gain | landmarks")[-1] == "+10.0 %"
    said = every_kind.section(records)[-2]
    assert "3 of 4 rows are so; not so: prostate (MR) (-0.030 against greedy, NCC)." in said


def test_a_peer_that_fell_over_on_most_pairs_is_not_called_the_best():
    records = [result(f"{n}", "ours, fast", dice=0.8) for n in range(4)]
    records += [result(f"{n}", "greedy, NCC", dice=0.7) for n in range(4)]
    records += [result("0", "elastix, B-spline", dice=0.99)]
    assert line(records, "liver")[-2:] == ["greedy, NCC", "+0.100"]


def test_without_a_peer_there_is_no_such_table():
    assert every_kind.section([result("a", "ours, fast", dice=0.8), result("a", "before", dice=0.5)]) == []


def test_peers_take_what_is_thin():
    """Of few slices ConvexAdam's grid gets finer and greedy's levels fewer, where both would fall over."""
    assert [coarse_grid((n, 256, 216)) for n in (160, 18, 9, 7, 2)] == [6, 6, 3, 2, 1]
    assert [greedy_levels((n, 256, 216)) for n in (160, 16, 9, 7)] == ["100x50x10", "100x50x10", "100x10", "100"]


def test_pixels_are_called_so():
    assert every_kind.title("tre", kinds.HAND) == "Landmark error (px)"
    assert every_kind.title("tre outside", kinds.LIVER) == "Landmark error outside (mm)"
    assert Pair("a", "b", "f", "m").points() == {}


def test_a_slice_is_moved_alike_however_many_there_are(tmp_path):
    """What was measured of it is kept by its name, and shared by networks that are tried on other numbers of slices."""
    volume = np.random.default_rng(0).random((20, 24, 26)).astype(np.float32)
    for name in ("t1", "t2"):
        sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / f"preop_{name}.nii.gz"))
    few, many = ({case[1]: sitk.GetArrayFromImage(case[3]) for case in known_fields(tmp_path, n)} for n in (2, 4))
    assert set(few) < set(many)
    for name, moving in few.items():
        np.testing.assert_array_equal(moving, many[name])
