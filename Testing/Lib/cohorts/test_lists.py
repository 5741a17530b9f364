"""Lists as people have them, and what is said of those that cannot be used."""

import json

import pytest

from DeepRegistrationLib.cohorts.bids import describe, read_folder
from DeepRegistrationLib.cohorts.lists import EXTRAS, LONGEST_NAME, read_jobs
from DeepRegistrationLib.errors import InputError


def written(folder, text, name="l.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_a_csv_list_with_extra_files(tmp_path):
    path = written(tmp_path, "fixed,moving,name,fixed_mask\nf.nii,m.nrrd,one,mask.nrrd\ng.nii.gz,m.nrrd,,\n")
    jobs = read_jobs(path)
    assert [job.name for job in jobs] == ["one", "g_m"]
    assert jobs[0].fixed == tmp_path / "f.nii"
    assert jobs[0].arguments()[2:] == ["--fixed-mask", str(tmp_path / "mask.nrrd")]
    assert jobs[1].arguments()[2:] == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_excel_makes_of_a_list(tmp_path, encoding, delimiter):
    rows = ["Fixed,Moving,Fixed-Mask,", ",,,", '"Müller a.nii",b.nii,mask é.nii,', ",,,", ""]
    text = "\r\n".join(rows).replace(",", delimiter)
    (job,) = read_jobs(written(tmp_path, text, encoding=encoding))
    assert (job.fixed.name, job.moving.name) == ("Müller a.nii", "b.nii")
    assert job.options == {"fixed_mask": tmp_path / "mask é.nii"}


def test_a_separator_that_the_list_declares(tmp_path):
    (job,) = read_jobs(written(tmp_path, "sep=;\nfixed;moving\na,1.nii;b.nii\n"))
    assert job.fixed.name == "a,1.nii"


def test_every_extra_may_be_written_with_dashes_in_any_case(tmp_path):
    names = [name.replace("_", "-").title() for name in EXTRAS]
    (job,) = read_jobs(written(tmp_path, f"fixed,moving,{','.join(names)}\na,b,{','.join(EXTRAS)}\n"))
    assert {name: path.name for name, path in job.options.items()} == {name: name for name in EXTRAS}


def test_columns_about_something_else_are_left_aside_and_that_is_said(tmp_path):
    said = []
    jobs = read_jobs(written(tmp_path, "fixed,moving,age,site\na,b,70,x\n"), note=said.append)
    assert len(jobs) == 1
    assert "age, site" in said[0]


def test_names_made_of_those_of_files_can_be_folders(tmp_path):
    odd = [
        'q"u?.nrrd',
        "a b,c.nrrd",
        "ümläut 日本.nrrd",
        "x" * 190 + "1.nrrd",
        "x" * 190 + "2.nrrd",
        "é" * 110 + ".nii.gz",
    ]
    jobs = read_jobs(written(tmp_path, json.dumps([{"fixed": "a.nrrd", "moving": name} for name in odd]), "l.json"))
    assert [job.name for job in jobs[:3]] == ["a_q_u_", "a_a b,c", "a_ümläut 日本"]
    for job in jobs:
        (tmp_path / "out" / job.name).mkdir(parents=True)
        assert len(job.name.encode()) <= LONGEST_NAME
    assert [job.moving.name for job in jobs] == odd
    images = json.dumps([{"image": name} for name in odd])
    pairs = read_jobs(written(tmp_path, images, "l.json"), "all")
    assert len({job.name for job in pairs}) == len(odd) * (len(odd) - 1)


def test_a_learn2reg_file(tmp_path):
    pairs = [{"fixed": "./imagesTr/a.nii.gz", "moving": "./imagesTr/b.nii.gz"}]
    path = written(tmp_path, json.dumps({"name": "x", "registration_val": pairs}), "dataset.json")
    assert [job.name for job in read_jobs(path)] == ["a_b"]


PAIR = '"fixed": "a.nrrd", "moving": "b.nrrd"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "has no pairs"),
        ('{"name": "x"}', "has no pairs"),
        ('[{"fixed": "a.nrrd"}]', "Entry 1"),
        ('["a"]', "Entry 1"),
        (f'[{{{PAIR}, "name": "../x"}}]', "cannot be a folder's name"),
        (f'[{{{PAIR}, "name": "a:b"}}]', "cannot be a folder's name"),
        (f'[{{{PAIR}, "name": "CON"}}]', "cannot be a folder's name"),
        (f'[{{{PAIR}, "name": ".batch"}}]', "cannot be a folder's name"),
        (f'[{{{PAIR}, "name": "{"n" * 300}"}}]', "cannot be a folder's name"),
        (f'[{{{PAIR}, "name": "Reports.csv"}}]', "a file of batch"),
        (f'[{{{PAIR}, "name": "index-2.html"}}]', "a file of batch"),
        (f'[{{{PAIR}}}, {{"fixed": "a.nii", "moving": "b.nii"}}]', "Two pairs"),
        (f'[{{{PAIR}, "name": "x"}}, {{{PAIR}, "name": "X"}}]', "the same folder on some systems"),
        (f'[{{{PAIR}, "fixed_msk": "x"}}]', "did you mean fixed_mask"),
        (f'[{{{PAIR}, "method": "none"}}]', "give --method to the command"),
        (f'[{{{PAIR}, "mask": "x"}}]', "'mask' that is not known"),
        (f'[{{{PAIR}, "fixed_mask": ["x"]}}]', "not a text"),
        (f'[{{{PAIR}, "fixed_points": "x.csv"}}]', "points of one image"),
        ('[{"fixed": "a\\u0000.nrrd", "moving": "b.nrrd"}]', "NUL"),
    ],
)
def test_a_wrong_json_list_is_one_sentence(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_jobs(written(tmp_path, text, "l.json"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no pairs"),
        ("fixed,moving\n,,\n", "has no pairs"),
        ("a.nii,b.nii\nc.nii,d.nii\n", "no column fixed"),
        ("fixed,moved\na,b\n", "no column moving"),
        ("fixed,moving,fixed-msk\na,b,c\n", "did you mean fixed_mask"),
        ("fixed,moving,Smoothness\na,b,high\n", "'smoothness', and settings hold for all pairs: give --smoothness"),
        ("fixed,moving,from here\na,b,1\n", "give --from-here to the command, or rename"),
        ("fixed,moving,label\na,b,1\n", r"'label' that is not known; those that mean .* are [^?]*\. Rename"),
        ("fixed,moving,fixed\na,b,c\n", "two columns fixed"),
        ("fixed,moving\na,1.nii,b.nii\n", "Line 2 .* has 3 cells"),
        ("fixed,moving\n\na,\n", "Line 3 .* needs fixed and moving"),
        ("PK\x03\x04...", "Excel's own format"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_jobs(written(tmp_path, text))


def test_a_long_list_is_read_in_linear_time(tmp_path, monkeypatch):
    """Counted, not timed: every name is looked at a fixed number of times."""
    count = 0
    original = str.casefold

    class Counted(str):
        def __eq__(self, other):
            nonlocal count
            count += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    monkeypatch.setattr("DeepRegistrationLib.cohorts.lists.stem", lambda path: Counted(original(path.name)))
    rows = "".join(f"a{k}.nii,b.nii,\n" for k in range(2000))
    assert len(read_jobs(written(tmp_path, "fixed,moving,name\n" + rows))) == 2000
    assert count < 20_000


def test_all_pairs_of_images_and_all_to_one(tmp_path):
    path = written(tmp_path, "image,name,labels\na.nii,a,al.nii\nb.nii,b,bl.nii\nc.nii,c,\n")
    jobs = read_jobs(path, "all")
    assert [job.name for job in jobs] == ["a_b", "a_c", "b_a", "b_c", "c_a", "c_b"]
    assert {k: v.name for k, v in jobs[0].options.items()} == {"fixed_labels": "al.nii", "moving_labels": "bl.nii"}
    assert jobs[1].options == {}
    assert [(job.name, job.moving.name) for job in read_jobs(path, "to:b")] == [("b_a", "a.nii"), ("b_c", "c.nii")]
    for wrong in ("to:z", "each", "to:"):
        with pytest.raises(InputError, match="--pairs is all"):
            read_jobs(path, wrong)
    with pytest.raises(InputError, match="one image"):
        read_jobs(written(tmp_path, "image\na.nii\n"), "all")


def test_a_list_of_images_alone_is_told_to_need_a_choice_of_pairs(tmp_path):
    for text, name in (("image\na\nb\n", "l.csv"), ('[{"image": "a"}, {"image": "b"}]', "l.json")):
        with pytest.raises(InputError, match="is one of images; add --pairs all, --pairs baseline, or --pairs to:NAME"):
            read_jobs(written(tmp_path, text, name))


def test_pairs_of_the_same_files_are_said_once(tmp_path):
    said = []
    rows = ["a,b,,x", "a,b,,y", "a,b,m,masked", "b,a,,back", "./c/../a,b,,z"]
    jobs = read_jobs(written(tmp_path, "\n".join(["fixed,moving,fixed_mask,name", *rows])), note=said.append)
    assert [job.name for job in jobs] == ["x", "y", "masked", "back", "z"]
    assert len(said) == 1
    assert "same files: y as x, z as x; each is registered" in said[0]
    more = "\n".join(["fixed,moving,name", *(f"a,b,n{k}" for k in range(9))])
    read_jobs(written(tmp_path, more), note=said.append)
    assert said[1].endswith("n5 as n0 and 3 more; each is registered.")


def test_each_image_of_a_list_to_its_subjects_first(tmp_path):
    text = "image,name,subject,mask\na1.nii,a1,a,am.nii\nb1.nii,b1,b,\na2.nii,a2,a,\nb2.nii,b2,b,\na3.nii,a3,a,\n"
    jobs = read_jobs(written(tmp_path, text), "baseline")
    assert [(job.fixed.stem, job.moving.stem) for job in jobs] == [("a1", "a2"), ("b1", "b2"), ("a1", "a3")]
    assert jobs[0].options == {"fixed_mask": tmp_path / "am.nii"}
    assert {job.name for job in read_jobs(written(tmp_path, text), "to:b1")} == {"b1_a1", "b1_a2", "b1_b2", "b1_a3"}
    for wrong, words in (
        ("image\na.nii\nb.nii\n", "needs a column subject; a has none"),
        ("image,subject\na.nii,a\nb.nii,\n", "needs a column subject; b has none"),
        ("image,subject\na.nii,a\nb.nii,b\n", "No subject .* has two images"),
    ):
        with pytest.raises(InputError, match=words):
            read_jobs(written(tmp_path, wrong), "baseline")


def test_subjects_with_one_image_are_named(tmp_path):
    said = []
    alone = "".join(f"c{k:02d}.nii,c{k:02d}\n" for k in range(12))
    path = written(tmp_path, f"image,subject\na1.nii,a\nb1.nii,b\na2.nii,a\n{alone}")
    assert [job.name for job in read_jobs(path, "baseline", said.append)] == ["a1_a2"]
    assert said == [
        f"Left aside in {path}, as these subjects have one image, and a pair needs two: b, "
        f"{', '.join(f'c{k:02d}' for k in range(9))} and 3 more."
    ]
    said.clear()
    assert len(read_jobs(written(tmp_path, "image,subject\na1.nii,a\na2.nii,a\n"), "baseline", said.append)) == 1
    assert not said


def test_what_of_a_bids_folder_is_in_no_pair_is_named(tmp_path):
    said = []
    place = bids(tmp_path) / "sub-01" / "ses-1" / "anat"
    (place / "sub-01_ses-1_run-2_T1w.nii.gz").touch()
    assert len(read_folder(tmp_path, None, note=said.append)) == 1
    assert said == [
        f"Left aside in {tmp_path}, as these subjects have one session, and a pair needs two: sub-02.",
        f"Left aside in {tmp_path}, as another image of the first session is the baseline: sub-01_ses-1_run-2.",
    ]
    said.clear()
    assert len(read_folder(tmp_path, "all", note=said.append)) == 12
    assert not said


def bids(folder):
    for text in ("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1"):
        place = folder / text / "anat"
        place.mkdir(parents=True)
        for suffix in ("T1w", "T2w"):
            (place / f"{text.replace('/', '_')}_{suffix}.nii.gz").touch()
    return folder


def test_a_bids_folder(tmp_path):
    (job,) = read_folder(bids(tmp_path), None)
    assert (job.fixed.name, job.moving.name) == ("sub-01_ses-1_T1w.nii.gz", "sub-01_ses-2_T1w.nii.gz")
    # The moving image comes to the fixed one's space, as fMRIPrep names it.
    assert job.files["transform"] == "sub-01/ses-2/anat/sub-01_ses-2_from-01ses2_to-01ses1_mode-image_xfm.h5"
    assert job.files["volume"] == "sub-01/ses-2/anat/sub-01_ses-2_space-01ses1_T1w.nii.gz"
    assert len(read_folder(tmp_path, "all", "T2w")) == 6
    assert [j.moving.name[:12] for j in read_folder(tmp_path, "to:sub-02")] == ["sub-01_ses-1", "sub-01_ses-2"]
    describe(tmp_path / "out")
    assert (
        json.loads((tmp_path / "out" / "dataset_description.json").read_text(encoding="utf-8"))["DatasetType"]
        == "derivative"
    )


@pytest.mark.parametrize(
    ("pairs", "suffix", "words"),
    [
        (None, "FLAIR", "has 0 images"),
        ("to:sub-01", "T1w", "has 2 images; name one"),
        ("to:x", "T1w", "that is there"),
        ("", "T1w", "or to:SUBJECT, not nothing"),
    ],
)
def test_a_bids_folder_without_such_pairs_is_one_sentence(tmp_path, pairs, suffix, words):
    with pytest.raises(InputError, match=words):
        read_folder(bids(tmp_path), pairs, suffix)
