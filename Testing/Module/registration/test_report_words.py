"""The report in words: in the panel, as a table, as a web page."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.host import interact

from ..cases import OBLIQUE, PLAIN, addVolume, blobs

import slicer  # isort: skip
from DeepRegistrationSlicer.scene import derived, display, nodes  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip
from DeepRegistrationSlicer.viewing import report_page  # isort: skip
from DeepRegistrationLib.quality.verdict import VERDICT_COLORS  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError, RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
REPORT = {
    "method": "none",
    "refine": "fast",
    "similarity": "NMI",
    "similarity_before": 0.1,
    "similarity_after": 0.5,
    "folding_percent": 0.0,
    "mean_displacement_mm": 3.2,
    "max_displacement_mm": 11.0,
    "inverse_error_mm": None,
    "estimated_error_mm": 1.23,
    "error_bound_mm": 2.6,
    "total_seconds": 12.34,
    "verdict": "good",
    "reasons": ["The field is smooth."],
}


@pytest.fixture
def transformNode():
    fixed, moving = addVolume(blobs(), OBLIQUE, "T1"), addVolume(blobs(), OBLIQUE, "T2")
    field = sitk.GetImageFromArray(np.zeros((32, 32, 32, 3), np.float32), isVector=True)
    field.CopyInformation(nodes.imageOf(fixed))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "T2 to T1")
    nodes.setField(node, field)
    nodes.setRoles(node, fixed, moving)
    results.setReport(node, REPORT)
    return node


def test_the_verdict_says_why():
    assert report_words.verdict(REPORT) == ("good", "Good. The field is smooth.")
    assert report_words.verdict({}) == ("", "No registration yet.")
    assert report_words.verdict({**REPORT, "verdict": "bad", "reasons": ["It folds."]})[1].startswith("Do not use")


def test_what_was_not_measured_is_said_and_what_is_not_known_is_left_out():
    names = [name for name, _ in report_words.rows(REPORT)]
    assert "Inverse error" in names
    assert dict(report_words.rows(REPORT))["Inverse error"] == "not measured"
    assert "Anatomy in doubt" not in names  # this report does not know of it
    assert ("Displacement", "3.2 mm mean, 11.0 mm largest") in report_words.rows(REPORT)
    expected = "about 1.2 mm on average, less than 2.6 mm in 9 of 10 such results"
    assert ("Estimated error", expected) in report_words.rows(REPORT)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_report_of_the_library_in_which_nothing_was_measured_can_be_read(nothing):
    from DeepRegistrationLib.quality.report import Report

    def emptied(value):
        if isinstance(value, dict):
            return {k: emptied(v) for k, v in value.items()}
        return nothing if isinstance(value, float) else value

    report = emptied(Report("none", "fast", "auto", "cpu", "1").as_dict())
    report |= {"dice": [["a", nothing, nothing], ["b", nothing, 0.5]], "dice_before": nothing, "dice_after": nothing}
    report |= {"tre": [["p", 1.0, nothing], ["q", nothing, 0.004]]}
    shown = dict(report_words.rows(report))
    for name in ("Likeness", "Displacement", "Beyond the affine part", "Anatomy bent", "Anatomy in doubt"):
        assert shown[name] == "not measured", name
    assert shown["Inverse error"] == shown["Folded"] == shown["Volume change"] == shown["Mean Dice"] == "not measured"
    assert shown["Dice of b"] == "not measured → 0.500"
    assert shown["Landmark p"] == "1.00 mm → not measured"
    assert shown["Landmark q"] == "not measured → 0.0040 mm"
    assert "nan" not in report_words.toHtml(report) + report_words.summary(report)
    assert report_words.verdict(report_words.withScores(report, {"dice": {"1": {"before": None, "after": None}}}, {}))


def test_a_refinement_that_ended_coarser_than_the_image_says_where():
    assert ("Refinement", "fast") in report_words.rows({"refine": "fast", "refined_spacing_mm": []})
    coarse = {"refine": "fast", "refined_spacing_mm": [5.0, 2.576, 2.576]}
    assert ("Refinement", "fast, at 2.58 x 2.58 x 5 mm") in report_words.rows(coarse)


def test_lengths_have_the_digits_of_the_library():
    report = {"inverse_error_mm": 0.00012, "max_inverse_error_mm": 0.0345, "max_deformation_mm": 0.031}
    shown = dict(report_words.rows(report))
    assert shown["Inverse error"] == "0.00012 mm mean, 0.035 mm largest"
    assert shown["Beyond the affine part"] == "0.031 mm largest"


def test_the_model_is_named_and_its_long_number_does_not_widen_the_panel():
    report = {**REPORT, "model": "universal", "model_hash": "0123456789abcdef" * 4, "fine_tune": True}
    assert ("Model", "universal " + "0123456789abcdef" * 4) in report_words.rows(report)
    assert "universal 0123456789ab<" in report_words.toHtml(report)
    assert dict(report_words.rows(report))["Method"].endswith("(fine-tuned)")
    assert ("Model", "no network") in report_words.rows(REPORT)


def test_scores_join_the_report_under_the_users_names():
    scores = {
        "mean_dice_before": 0.4,
        "mean_dice_after": 0.8,
        "dice": {"1": {"before": 0.4, "after": 0.8}, "2": {"before": float("nan"), "after": float("nan")}},
        "mean_tre_before_mm": 8.0,
        "mean_tre_after_mm": 2.0,
        "tre_mm": {"1": {"before": 8.0, "after": 2.0}},
    }
    report = report_words.withScores(REPORT, scores, {"liver": 1, "spleen": 2})
    assert report["verdict"] == "good"
    assert ("Dice of liver", "0.400 → 0.800") in report_words.rows(report)
    assert not [name for name, _ in report_words.rows(report) if "spleen" in name]
    assert ("Mean landmark distance", "8.00 mm before, 2.00 mm after") in report_words.rows(report)


def test_the_volume_of_a_structure_joins_the_page_but_not_the_narrow_panel():
    measured = {"moving_volume_ml": 12.345, "moved_volume_ml": 13.5, "volume_change_percent": 9.356}
    unknown = {**measured, "volume_change_percent": None}
    structures = {"1": measured, "2": {"dice": 0.5}, "3": dict.fromkeys(measured), "4": unknown}
    structures |= {"5": {**unknown, "moving_volume_ml": 0.0}, "6": {**unknown, "moved_volume_ml": 0.0}}
    scores = {"tg132": {"figures": [], "structures": structures}}
    report = report_words.withScores(REPORT, scores, {"liver": 1, "spleen": 2})
    said = [row for row in report_words.rows(report) if row[0].startswith("Volume of")]
    assert said == [
        ("Volume of liver", "12.35 ml → 13.5 ml as moved (+9.4 %)"),
        ("Volume of label 4", "12.35 ml; as moved it goes on beyond the fixed image"),
        ("Volume of label 5", "not in the moving image"),
        ("Volume of label 6", "12.35 ml; as moved nothing of it lies in the fixed image"),
    ]
    assert "Volume of" not in report_words.toHtml(report)
    assert "volumes" not in report_words.withScores(report, {}, {})


def test_worse_scores_turn_the_verdict():
    scores = {"mean_tre_before_mm": 2.0, "mean_tre_after_mm": 8.0, "tre_mm": {}}
    kind, words = report_words.verdict(report_words.withScores(REPORT, scores, {}))
    assert kind == "bad"
    assert "Your landmarks are farther apart than before." in words


def test_corrected_labels_take_a_bad_verdict_back():
    wrong = {"mean_dice_before": 0.8, "mean_dice_after": 0.4, "dice": {"1": {"before": 0.8, "after": 0.4}}}
    right = {"mean_dice_before": 0.4, "mean_dice_after": 0.8, "dice": {"1": {"before": 0.4, "after": 0.8}}}
    bad = report_words.withScores(REPORT, wrong, {"liver": 1})
    assert bad["verdict"] == "bad"
    good = report_words.withScores(bad, right, {"liver": 1})
    assert report_words.verdict(good) == report_words.verdict(REPORT)
    again = report_words.withScores(report_words.withScores(good, wrong, {"liver": 1}), wrong, {"liver": 1})
    assert again["reasons"] == ["Your labels overlap less than before."]


def test_scores_of_an_earlier_scoring_do_not_stay():
    labels = {"mean_dice_before": 0.8, "mean_dice_after": 0.4, "dice": {"1": {"before": 0.8, "after": 0.4}}}
    points = {"mean_tre_before_mm": 8.0, "mean_tre_after_mm": 2.0, "tre_mm": {}}
    report = report_words.withScores(report_words.withScores(REPORT, labels, {"liver": 1}), points, {})
    assert report["verdict"] == "good"
    assert not [name for name, _ in report_words.rows(report) if "Dice" in name]
    own = {**REPORT, "verdict": "check", "reasons": ["Much in doubt."], "tre_after_mm": 3.0}
    assert report_words.withScores(report_words.withScores(own, labels, {}), {}, {})["verdict"] == "check"
    assert report_words.withScores(report_words.withScores(own, labels, {}), {}, {})["tre_after_mm"] == 3.0


def test_of_many_labels_the_panel_shows_the_worst():
    report = {**REPORT, "dice": [[f"L{i}", 0.1, i / 100] for i in range(50)]}
    shown = report_words.toHtml(report)
    assert "Lowest Dice: L0&nbsp;" in shown
    assert "L49&nbsp;" not in shown
    assert len([r for r in report_words.rows(report) if r[0].startswith("Dice")]) == 50


def test_in_the_panel_a_number_and_its_unit_stay_on_one_line_and_names_leave_room():
    report = {**REPORT, "tre": [[f"right occipital horn {i}", 8.0, 2.0] for i in range(9)]}
    shown = report_words.toHtml(report)
    assert "3.2&nbsp;mm mean, 11.0&nbsp;mm largest" in shown
    assert "Farthest: right occipital horn 0&nbsp;" in shown


def test_the_table_node_holds_every_row():
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    for _ in range(2):  # again, not twice
        report_words.fillTable(table, REPORT)
    assert table.GetNumberOfColumns() == 2
    assert table.GetNumberOfRows() == len(report_words.rows(REPORT)) + 1
    assert table.GetCellText(0, 1) == "Good. The field is smooth."


def test_the_page_stands_alone(transformNode, tmp_path):
    path = tmp_path / "report.html"
    report_page.write(transformNode, path)
    text = path.read_text(encoding="utf-8")
    assert "Good. The field is smooth." in text
    assert "12.3 s" in text
    assert text.count("data:image/png;base64,") == 2 + 3 * 3  # before, after; three planes of three images to scroll
    assert text.count("<canvas") == 3
    assert "Signature" in text
    assert "http" not in text


def test_the_pages_pictures_are_gray_where_the_images_agree(transformNode):
    picture = report_page.overlays(nodes.fixedOf(transformNode), nodes.movingOf(transformNode), transformNode)
    assert picture.shape[0] >= 200
    assert np.abs(picture[..., 0].astype(int) - picture[..., 1]).max() < 3
    assert picture.max() > 200


def test_the_pages_pictures_hang_with_the_patients_right_on_the_left():
    """Bright at the patient's left and front, in a volume whose axes lead to the right and to the front."""
    array = np.zeros((20, 20, 20), np.float32)
    array[2:14, 12:18, 2:9] = 100
    fixed = addVolume(array, np.eye(4), "x")
    shown = display.makeReadable(fixed)
    shown.SetAutoWindowLevel(False)
    shown.SetWindowLevelMinMax(0, 100)
    picture = report_page.overlays(fixed, fixed, None)[..., 1]
    tile = picture[:, : picture.shape[1] // 3 - 8]  # axial
    rows, columns = np.nonzero(tile > 100)
    assert rows.mean() < tile.shape[0] / 2  # the front is up
    assert columns.mean() > tile.shape[1] / 2  # the patient's left is on the right


def test_a_single_slice_has_one_picture(tmp_path):
    fixed = addVolume(blobs((3, 40, 30))[1:2], PLAIN, "x")
    picture = report_page.overlays(fixed, fixed, None)
    assert picture.shape[:2] == (320, 240 + 8)


def test_a_page_that_cannot_be_written_is_one_sentence(transformNode, tmp_path):
    with pytest.raises(RegistrationError, match="cannot be written to"):
        report_page.write(transformNode, tmp_path / "nowhere" / "report.html")
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "other")
    with pytest.raises(SceneInputError, match="other has no report"):
        report_page.write(other, tmp_path / "report.html")


def test_another_kind_of_transform_is_one_sentence():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "linear")
    with pytest.raises(SceneInputError, match="linear is not a displacement field"):
        derived.fieldOf(node)


def test_the_field_of_a_node_is_the_field_it_was_made_of(transformNode):
    from ..cases import smoothField

    field = smoothField(nodes.imageOf(nodes.fixedOf(transformNode)))
    nodes.setField(transformNode, field)
    again = derived.fieldOf(transformNode)
    assert np.allclose(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(field))
    assert np.allclose(again.GetDirection(), field.GetDirection())
    assert np.allclose(again.GetOrigin(), field.GetOrigin())


def test_the_panel_shows_the_report_of_the_chosen_transform_also_after_loading(panel, transformNode, tmp_path):
    ui = panel.ui
    assert "No registration yet" in ui.verdictLabel.text
    panel.panel.parameters.outputTransform = transformNode
    assert "Good. The field is smooth." in ui.verdictLabel.text
    assert VERDICT_COLORS["good"] in ui.verdictLabel.text
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    interact.process_events()
    assert "No registration yet" in ui.verdictLabel.text
    slicer.util.loadScene(str(path))
    interact.process_events()
    assert "Good. The field is smooth." in ui.verdictLabel.text
    panel.panel.sections["judgment"].export(tmp_path / "r.html")
    assert (tmp_path / "r.html").is_file()
    assert "Written to" in ui.verdictLabel.text


def test_scoring_without_labels_says_what_to_choose(panel, transformNode):
    ui = panel.ui
    panel.panel.parameters.outputTransform = transformNode
    ui.judgmentButton.collapsed = False
    interact.process_events()
    interact.click(ui.scoreButton)
    assert "Choose labels or landmarks of both volumes" in ui.verdictLabel.text


def test_scores_of_what_was_changed_meanwhile_are_not_kept(faked, ui):
    """Such as those of a transform whose node has got another result."""
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "targets")
    points.AddControlPoint(0.0, 0.0, 0.0)
    scorer, node = faked.panel.sections["judgment"].scorer, ui.outputTransformSelector.currentNode()
    scorer.score(node, None, None, points, points)
    node.GetTransformFromParent().GetDisplacementGrid().Modified()
    interact.wait_until(lambda: not scorer.answer.isRunning, 60)
    assert f"Changed while this was measured: {node.GetName()}; score the result again." in ui.verdictLabel.text
    assert "tre" not in results.reportOf(node)
    scorer.score(node, None, None, points, points)
    interact.wait_until(lambda: not scorer.answer.isRunning, 60)
    assert "tre" in results.reportOf(node)


def test_tg132s_figures_join_the_page_and_the_table_with_their_tolerances():
    figures = [
        {"name": "Dice, worst structure", "value": 0.7, "unit": "", "tolerance": "at least 0.80", "within": False},
        {"name": "Largest", "value": 1.25, "unit": "mm", "tolerance": "here 2 mm", "within": True},
        {"name": "Above 2", "value": 3.0, "unit": "%", "tolerance": "as expected", "within": None},
        {"name": "Hausdorff", "value": 4.5, "unit": "mm", "tolerance": "", "within": None},
        {"name": "There and back", "value": None, "unit": "mm", "tolerance": "here 2 mm", "within": None},
    ]
    report = report_words.withScores(REPORT, {"tg132": {"figures": figures}}, {})
    said = {name: value for name, value in report_words.rows(report) if name.startswith("TG-132")}
    assert said == {
        "TG-132: Dice, worst structure": "0.7: OUTSIDE (at least 0.80)",
        "TG-132: Largest": "1.25 mm: within (here 2 mm)",
        "TG-132: Above 2": "3 %: to be judged (as expected)",
        "TG-132: Hausdorff": "4.5 mm",
    }
    assert "TG-132" not in report_words.toHtml(report)  # the panel is narrow
    assert "tg132" not in report_words.withScores(report, {}, {})
