"""Every command on a disk that is nearly full: all outputs, or a sentence and all that was there before."""

from __future__ import annotations

import shutil

import pytest

from DeepRegistrationLib.__main__ import main as library
from Testing.Campaign import materials
from Testing.Campaign.outcomes import contents
from Testing.Lib.files.full_disk import files_up_to, needs_limit, small_disk
from Training.__main__ import main as training

pytestmark = [pytest.mark.slow, needs_limit]
SIZES = (60, 2500, 9000)
"""Bytes that a file may have; the outputs have from 100 to 60 000."""
FREE = (0, 8, 40)
"""Kilobytes of the small file system that are left."""
QUICK = ("--affine", "none", "--refine", "none", "--method", "none", "--device", "cpu", "--progress", "none")
ENDINGS = {
    "transform": (".h5", ".tfm", ".nii.gz", ".mhd"),
    "volume": (".nii.gz", ".nhdr", ".hdr"),
    "inverse": (".h5",),
    "jacobian": (".nii.gz",),
    "doubt": (".nrrd",),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full") / "good"
    materials.make_good(folder)
    materials.make_run(folder)
    return folder


def commands(good, place):
    """What to run by its name; all write into ``place``."""
    images = [str(good / f"{side}.nii.gz") for side in ("fixed", "moving")]
    found = {}
    for kind, endings in ENDINGS.items():
        for ending in endings:
            out = (f"--output-{kind}", str(place / f"o{ending}"))
            found[f"register {kind}{ending}"] = library, ("register", *images, *out, *QUICK)
    found["register report"] = library, ("register", *images, "--report", str(place / "r"), *QUICK)
    every = [t for kind in ENDINGS for t in (f"--output-{kind}", str(place / f"{kind}{ENDINGS[kind][0]}"))]
    found["register all"] = library, ("register", *images, *every, "--report", str(place / "r"), *QUICK)
    warp = str(good / "warp.h5")
    for ending in ENDINGS["volume"]:
        more = "--reference", images[0], "--output", str(place / f"a{ending}")
        found[f"apply {ending}"] = library, ("apply", warp, images[1], *more)
    for name in ("fixed.csv", "points.fcsv", "points.mrk.json"):
        found[f"apply {name}"] = library, ("apply", warp, str(good / name), "--output", str(place / name))
    found["export"] = (
        training,
        ("export", str(good / "plan.toml"), str(good / "run"), str(place / "m.safetensors"), "--last"),
    )
    found["manifest"] = training, ("manifest", str(good), str(place / "m.json"), "--images", "fixed*labels.nii.gz")
    found["synthesize"] = training, ("synthesize", str(good / "plan.toml"), str(place / "s.png"), "--samples", "1")
    found["train"] = (
        training,
        ("train", str(good / "plan.toml"), "--output", str(place / "run"), "--device", "cpu", "--quiet"),
    )
    return found


NAMES = tuple(commands(materials.Path("good"), materials.Path("place")))
NOT_RESULTS = ("log.jsonl", "tfevents")


def results(place):
    return {name: digest for name, digest in contents(place).items() if not any(n in name for n in NOT_RESULTS)}


def sizes(place):
    return {name: (place / name).stat().st_size for name in results(place)}


def refused_or_whole(command, place, before, complete, capsys):
    program, arguments = command
    code = program(list(arguments))
    said = capsys.readouterr().err.strip()
    after = results(place)
    if code == 0:
        assert {*after} >= {*complete}, "an output is missing, and nothing was said"
        for name, size in complete.items():
            assert (place / name).stat().st_size > 0.9 * size, f"{name} is cut short, and nothing was said"
        return "whole"
    assert code in (1, 2)
    assert len(said.splitlines()) == 1, said
    assert "Traceback" not in said
    assert "unexpectedly" not in said
    assert {name: after.get(name) for name in before} == before
    return "refused"


@pytest.mark.parametrize("name", NAMES)
def test_no_file_may_grow_beyond_a_size(good, tmp_path, capsys, name):
    command = commands(good, tmp_path / "place")[name]
    (tmp_path / "place").mkdir()
    assert command[0](list(command[1])) == 0
    capsys.readouterr()
    complete, before, ends = sizes(tmp_path / "place"), results(tmp_path / "place"), []
    for size in SIZES:
        with files_up_to(size):
            ends.append(refused_or_whole(command, tmp_path / "place", before, complete, capsys))
        if ends[-1] == "whole":
            before = results(tmp_path / "place")
    assert "refused" in ends


@pytest.mark.parametrize("name", NAMES)
def test_a_file_system_that_fills_up(good, tmp_path, capsys, name):
    with small_disk(tmp_path / "disk", 8000 if name == "train" else 600) as disk:
        command = commands(good, disk)[name]
        assert command[0](list(command[1])) == 0
        complete = sizes(disk)
        for free in FREE:
            capsys.readouterr()
            left = shutil.disk_usage(disk).free - free * 1024
            (disk / "filler").write_bytes(bytes(max(0, left)))
            known = {key: value for key, value in results(disk).items() if key != "filler"}
            refused_or_whole(command, disk, known, complete, capsys)
            (disk / "filler").unlink()


def test_batch_keeps_the_earlier_result_and_says_so(good, tmp_path, capsys):
    arguments = ["batch", str(good / "pairs.csv"), "--output", str(tmp_path / "b"), *QUICK]
    assert library(arguments) == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "b" / "one").iterdir() if p.suffix in (".h5", ".gz")}
    capsys.readouterr()
    with files_up_to(6000):  # of other settings, so that it is done again
        assert library([*arguments, "--smoothness", "2"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "b" / "one").iterdir() if p.name in before} == before
    assert library([*arguments, "--smoothness", "2"]) == 0
