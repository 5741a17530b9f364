"""The page of what the trainers learn: trained once, found again, written with its figures."""

from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from Testing.Training.small_runs import write_data
from Training.evaluation.learn import LIST, learn, read_list, run_name, write_page
from Training.plan import read_plan
from Training.runs.speed import Speed, speed

from ..small_runs import tiny_plan

CPU = torch.device("cpu")


def write_plan(path: Path, data: str) -> Path:
    path.write_text(
        f'method = "voxelmorph-1"\n{data}\n[schedule]\n'
        "steps = 2\nbatch = 1\nvalidate_every = 1\nvalidation_pairs = 2\n",
        encoding="utf-8",
    )
    return path


def test_a_list_is_trained_once_and_written_down(tmp_path: Path) -> None:
    write_data(tmp_path / "images" / "toys", 5)
    real = write_plan(tmp_path / "real.toml", '[data]\nmanifest = "x"\nshape = [32, 48]\nvalidation = 0.4')
    made = write_plan(tmp_path / "made.toml", "[synthesis]\nshape = [32, 32]\nfamilies = { shapes = 1.0 }")
    entries = [
        {
            "plan": str(real), "title": "Toy", "data": "toys", "folder": "toys",
            "images": "imagesTr/*.nii.gz", "labels": "labelsTr/*.nii.gz",
        },
        {"plan": str(made)},
    ]  # fmt: skip
    done = [learn(entry, tmp_path / "images", tmp_path / "runs", 3, CPU) for entry in entries]
    checkpoint = tmp_path / "runs" / "made" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    again = learn(entries[1], tmp_path / "images", tmp_path / "runs", 3, CPU)
    assert again.steps == 2
    assert checkpoint.read_bytes() == before
    assert [len(run.rows) for run in done] == [2, 3]
    write_page(done, {"universal-smoke": Speed(1.5, 0.04, 0.01)}, tmp_path / "docs", CPU)
    text = (tmp_path / "docs" / "learning.md").read_text(encoding="utf-8")
    assert "| Toy | toys | `real` |" in text
    assert "| `universal-smoke` | Universal | 32 x 32 x 32 | 2 | 1.50 | 4 % | 1.0 % |" in text
    assert (tmp_path / "docs" / "figures" / "learning-curves.png").stat().st_size > 5000


def test_every_run_of_the_list_has_its_plan() -> None:
    for entry in read_list(LIST):
        assert ("folder" in entry) == (read_plan(entry["plan"]).data is not None)


def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text("[[run]]\nplans = 3\n", encoding="utf-8")
    with pytest.raises(InputError, match="needs plan"):
        read_list(path)
    known = run_name(read_list(LIST)[0])
    with pytest.raises(InputError, match="has no run nothing"):  # one of two, too: it would be left out silently
        read_list(LIST, [known, "nothing"])
    with pytest.raises(InputError, match="cannot be read"):
        read_list(tmp_path / "no.toml")


def test_speed_is_measured_for_any_plan() -> None:
    found = speed(tiny_plan("voxelmorph-1", batch=1), CPU, steps=2, warm_up=1)
    assert found.steps_per_second > 0
    assert 0 <= found.data_share <= 1
    assert 0 <= found.waiting <= 1
