"""What a model is worth: read from a header that may be anybody's, said in words, and what "auto" makes of it."""

from dataclasses import asdict

import pytest

from DeepRegistrationLib.models.worth import WORTH_KEY, Worth, as_scores, helps, sentence, worths

LUNGS = Worth("chest X-rays", 1, "dice", 8, 0.86, 0.91, 0.932, 0.940)
SLICES = Worth("T1 with T2 slices", 2, "end_point", 6, 9.2, 1.52, 1.30, 0.95)
BRAINS = Worth("T1 brains", 1, "dice", 4, 0.57, 0.70, 0.811, 0.8105)
TUMORS = Worth("brains with a tumor", 0, "tre", 4, 2.33, 1.86, 1.39, 1.46)


def scores(*rows):
    return {WORTH_KEY: as_scores(rows, "abc")}


def test_five_percent_of_an_error_count_as_much_as_half_a_point_of_dice():
    assert LUNGS.gain == pytest.approx(0.008)
    assert SLICES.gain == pytest.approx(0.35 / 1.30 / 10)
    assert TUMORS.gain < -0.002
    assert LUNGS.gain_alone == pytest.approx(-0.022)


def test_the_sentence_says_where_a_network_helps_where_not_and_where_it_harms():
    text = sentence(scores(LUNGS, SLICES, BRAINS, TUMORS))
    assert text == (
        "Measured as a start: better than no network on chest X-rays (Dice +0.008) and T1 with T2 slices "
        "(27 % less error); no better than no network on T1 brains; worse than no network on brains with a tumor "
        "(5 % more error)."
    )
    alone = Worth("hearts", 1, "dice", 2, 0.4, 0.75, 0.70, 0.70)
    assert sentence(scores(alone)).endswith(
        "Its field alone, not refined, is better than refinement alone on hearts (Dice +0.050)."
    )
    assert sentence({}) == ""


def test_a_default_helps_on_average_and_harms_no_kind():
    assert helps(scores(LUNGS, SLICES))
    assert not helps(scores(BRAINS))
    assert not helps(scores(LUNGS, SLICES, TUMORS))  # however much it helps on the others
    assert helps({})  # not measured
    assert not helps({"start_gain": -0.01483})  # measured before there were kinds
    assert helps({"start_gain": 0.012}, 2)


def test_a_default_for_one_contrast_is_judged_by_images_of_one_contrast():
    assert helps(scores(LUNGS, BRAINS, SLICES))
    assert not helps(scores(BRAINS, SLICES), 1)
    assert helps(scores(BRAINS, SLICES), 2)
    assert not helps(scores(SLICES), 1)  # it was not measured on such images


@pytest.mark.parametrize(
    "table",
    [
        None,
        [],
        "much",
        {"kinds": 3},
        {"kinds": [None, 3, {}, {"images": "x"}]},
        {"kinds": [{**asdict(LUNGS), "figure": "beauty"}]},
        {"kinds": [{**asdict(LUNGS), "start": float("nan")}]},
        {"kinds": [{**asdict(LUNGS), "pairs": "many"}]},
        {"kinds": [{**asdict(LUNGS), "start": 1e300}]},
        {"kinds": [{**asdict(LUNGS), "figure": "tre", "none": 1e-308, "start": 1e5}]},
        {"kinds": [{**asdict(LUNGS), "before": None}]},
    ],
)
def test_a_table_that_cannot_be_understood_says_nothing(table):
    assert worths({WORTH_KEY: table}) == []
    assert sentence({WORTH_KEY: table}) == ""


def test_rows_are_read_back():
    assert worths(scores(LUNGS, TUMORS)) == [LUNGS, TUMORS]
