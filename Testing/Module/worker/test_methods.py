"""The methods a user can choose, as the library lists them."""

from __future__ import annotations

import json

import pytest

from .. import cases  # noqa: F401 - makes the module importable

from DeepRegistrationSlicer.worker.methods import MethodCatalog, bestAvailable, parseMethods  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
ENTRIES = [
    {"name": "auto", "takes": {"2": "none", "3": "universal"}},
    {"name": "none", "title": "Refinement alone", "dimensions": [2, 3], "trained": [2, 3], "network": False},
    {"name": "flat", "title": "SAR-Net", "dimensions": [2, 3], "trained": [2], "network": True},
    {"name": "untrained", "title": "VoxelMorph", "dimensions": [2, 3], "trained": [], "network": True},
    {"name": "volumes", "title": "DIRNet", "dimensions": [3], "trained": [3], "network": True},
    {"name": "universal", "title": "Universal", "dimensions": [2, 3], "trained": [2, 3], "network": True},
]


def catalogOf(entries) -> MethodCatalog:
    catalog = MethodCatalog()
    catalog._onAnswer(json.dumps(entries))
    return catalog


def test_what_cannot_be_used_comes_last():
    entries = [
        {"name": "none", "title": "Refinement alone", "available": True},
        {"name": "vm", "title": "VoxelMorph", "available": False},
        {"name": "universal", "title": "Universal", "available": True},
    ]
    assert [method.title for method in parseMethods(json.dumps(entries))] == [
        "Refinement alone", "Universal", "VoxelMorph"
    ]  # fmt: skip


def test_a_method_is_for_the_images_that_it_has_weights_for():
    problems = {m.name: (m.problem(2), m.problem(3), m.problem()) for m in parseMethods(json.dumps(ENTRIES))}
    assert problems["none"] == problems["universal"] == problems["auto"] == ("", "", "")
    assert problems["flat"][0] == problems["flat"][2] == ""
    assert "SAR-Net has weights for 2-D images only and these are 3-D; import" in problems["flat"][1]
    assert problems["volumes"][0] == "DIRNet has no network for 2-D images; choose another method."
    for said in problems["untrained"]:
        for what in ("no weights for VoxelMorph here", "import", "train it", "fine-tune"):
            assert what in said


def test_the_title_says_what_is_missing():
    titles = {m.name: (m.titleFor(2), m.titleFor(3)) for m in parseMethods(json.dumps(ENTRIES))}
    assert titles["flat"] == ("SAR-Net", "SAR-Net (2-D only)")
    assert titles["untrained"] == ("VoxelMorph (no weights yet)",) * 2


def test_what_auto_takes_is_what_the_library_says():
    catalog = catalogOf(ENTRIES)
    assert catalog.methods[0].name == "auto"
    assert catalog.methods[0].title == bestAvailable().title
    assert [catalog.taken("auto", n).name for n in (2, 3, None)] == ["none", "universal", "universal"]
    assert [catalog.hasNetwork("auto", n) for n in (2, 3)] == [False, True]
    assert [catalog.hasNetwork(name, 3) for name in ("none", "flat", "of another computer")] == [False, True, True]


@pytest.mark.parametrize(
    "best", [[], [{"name": "auto"}], [{"name": "auto", "takes": ["x"]}], [{"name": "auto", "takes": {"x": 1}}]]
)
def test_a_library_that_does_not_say_what_auto_takes_is_no_trouble(best):
    catalog = catalogOf([*best, *ENTRIES[1:]])
    assert [method.name for method in catalog.methods].count("auto") == 1
    assert catalog.methods[0].name == "auto"
    assert catalog.taken("auto", 3) is None
    assert not catalog.hasNetwork("auto", 3)


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "[]", "[1, null, {}]"])
def test_what_is_no_list_changes_nothing(text):
    catalog = MethodCatalog()
    before = catalog.methods
    catalog._onAnswer(text)
    assert catalog.methods is before


def test_the_librarys_own_list_is_understood():
    from DeepRegistrationLib.models.methods import methods, methods_as_json

    catalog = catalogOf(methods_as_json())
    names = [method.name for method in catalog.methods]
    assert len(names) == len(set(names))  # in the box bundles are called as their methods are
    for method in methods():
        found = catalog.find(method.name)
        assert found.trained == method.trained
        assert found.hasNetwork == (method.network is not None)
