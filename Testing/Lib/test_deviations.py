"""The table of deviations speaks of presets that exist, and leaves none out."""

import re

import pytest

from DeepRegistrationLib.models.methods import find_method
from Testing.data import ROOT

METHOD_OF = {
    "VoxelMorph-1 and VoxelMorph-2": "voxelmorph-2",
    "Gradient-guided dual branch with gated fusion": "dual-branch",
    "Deform-GAN": "deform-gan",
    "SAR-Net": "sar-net",
    "FlowNet with ROI": "flownet-roi",
}
ROWS = "Rows of the papers' tables"
NAME = re.compile(r"presets? ((?:`[\w-]+`[^`|;]{0,12}(?:, | and ))*`[\w-]+`)")


def presets_by_section():
    found, section = {}, ""
    for line in (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
            found[section] = set()
        elif line.startswith("|"):
            columns = 3 if section == ROWS else 4
            assert line.count("|") - line.count("\\|") == columns + 1, f"not {columns} columns: {line}"
            for group in NAME.findall(line):
                found[section].update(re.findall(r"`([\w-]+)`", group))
    return found


@pytest.mark.parametrize(("section", "method"), METHOD_OF.items())
def test_each_preset_the_table_names_exists_and_each_preset_is_named(section, method):
    assert presets_by_section()[section] == {preset.name for preset in find_method(method).presets}


def test_every_paper_has_its_rows():
    assert set(presets_by_section()) == {"All methods", *METHOD_OF, ROWS}


def test_every_row_of_the_papers_tables_is_shown_or_says_why_not():
    page = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8").split(f"## {ROWS}")[1]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        assert re.match(r"(shown|listed|not done: |not done\.|not repeated\.)", row[-1]), row
