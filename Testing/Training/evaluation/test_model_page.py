"""The page of the models says what was found, whatever the papers say, and who trained on what."""

import pytest

from benchmarks.networks import page, page_blocks, worth
from benchmarks.networks.papers import PAPERS
from benchmarks.networks.real import GROUPS
from DeepRegistrationLib.models.methods import find_method
from DeepRegistrationLib.models.worth import WORTH_KEY, as_scores


def model(variant, dice, method="dual-branch", **more):
    rows = [{"dice": d, "asd": 1.0, "end_point": 2.0, "folds": 0.0, "seconds": 0.1} for d in dice]
    before = [{"dice": 0.3, "asd": 2.0, "end_point": 4.0, "folds": 0.0} for _ in dice]
    plan = {"synthesis": {"shape": [96, 96], "families": {"head": 1.0}}, "seed": 0, "schedule": {"batch": 4}}
    training = {"plan": plan, "plan_sha256": "abc", "steps": 500, "seconds": 90}
    header = {
        "method": method,
        "variant": variant,
        "dimensions": 2,
        "training": training,
        "network": "DualBranch",
        "license": "Apache-2.0",
        "scores": {},
        "grid": {"longest": 96},
    }
    described = {"name": f"dual-{variant}", "bytes": 400_000, "parameters": 200_000, "header": header, "box": True}
    return {"model": described, "own": {"identity": before, "network": rows}, **more}


@pytest.mark.parametrize(
    ("gated", "said"),
    [
        ([0.60, 0.61, 0.63, 0.64], "the same order"),
        ([0.40, 0.41, 0.43, 0.44], "the paper's is NOT repeated"),
        ([0.40, 0.61, 0.43, 0.61], "no difference beyond chance"),
    ],
)
def test_the_page_says_which_order_was_found(gated, said):
    models = [model("gated", gated), model("average", [0.5, 0.52, 0.52, 0.54])]
    text = page.page(models)
    assert said in text
    assert "Not compared here: vm was not trained" in text
    assert text.index("| Average |") < text.index("| Gated fusion |")


def test_no_difference_agrees_with_a_paper_that_says_at_least_as_good():
    models = [
        model(None, [0.40, 0.61, 0.43, 0.61], "voxelmorph-2"),
        model(None, [0.50, 0.52, 0.52, 0.54], "voxelmorph-1"),
    ]
    assert "which agrees" in page.page(models)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"same_contrast": 1.0, "modalities": 3}, "all of one contrast"),
        ({"modalities": 3}, "all moving ones of another"),
        ({"same_contrast": 1.0}, "of one random contrast"),
        ({}, "random contrasts"),
    ],
)
def test_a_card_says_whose_contrasts_were_seen(settings, said):
    m = model("gated", [0.6, 0.7])
    m["model"]["header"]["training"]["plan"]["synthesis"].update(settings)
    assert said in page.card(m)


REAL = {
    "chest (X-ray, 2-D)|a|before": {"dice": 0.80},
    "chest (X-ray, 2-D)|a|network alone": {"dice": 0.88},
    "chest (X-ray, 2-D)|a|no start + fast": {"dice": 0.90},
    "chest (X-ray, 2-D)|a|network + fast": {"dice": 0.94},
    "brain (T1), half resolution|b|before": {"dice": 0.5},
    "brain (T1), half resolution|b|network alone": {"dice": 0.6},
    "brain (T1), half resolution|b|no start + fast": {"dice": 0.7},
    "brain (T1), half resolution|b|network + fast": {"dice": 0.6},
    "brain (T1), half resolution|c|before": {"dice": 0.5},
}


def test_what_a_model_is_worth_is_a_row_for_each_group_that_was_gone_through():
    lungs, brains = worth.worth_of(REAL)
    assert (lungs.images, lungs.contrasts, lungs.pairs) == ("chest X-rays", 1, 1)
    assert lungs.gain == pytest.approx(0.04)
    assert (brains.images, brains.pairs) == ("T1 brains", 1)  # the second pair has no runs yet
    assert worth.worth_of({}) == []


def test_the_page_and_the_card_say_the_worth_that_the_header_holds_and_of_which_engine():
    scores = as_scores(worth.worth_of(REAL), "abc12345")
    m = model("gated", [0.6, 0.7], **REAL, engine="abc12345")
    m["model"]["header"]["scores"] = {WORTH_KEY: scores}
    text = page.page([m])
    assert "| dual-gated | chest X-rays | 1 | Dice +0.040 | Dice -0.020 | abc12345 |" in text
    assert "Real pairs (engine abc12345):" in text
    assert '"auto" for 3-D any images: refinement alone.' in text
    assert "worse than no network on T1 brains (Dice -0.100)" in page.card(m)


def test_every_group_of_real_pairs_has_a_name_for_people():
    assert {group for groups in GROUPS.values() for group in groups} == set(worth.KINDS)


def test_a_card_names_data_plan_steps_time_and_limits():
    text = page.card(model("gated", [0.6, 0.7]))
    for part in ("no image of anybody", "sha256 of the plan abc", "500 steps", "2 minutes", "Apache-2.0", "## Limits"):
        assert part in text


def test_every_row_that_a_paper_claims_something_about_is_a_variant():
    for paper in PAPERS:
        rows = {v.name for m in paper.methods for v in find_method(m).variants} | set(paper.methods)
        assert {r for claim in paper.claims for r in (claim.better, claim.worse)} <= rows
        assert {c.metric for c in paper.claims} <= set(paper.columns)


def test_a_renewed_page_keeps_tables_that_say_more_and_renews_the_others():
    old = page.page([model("gated", [0.6, 0.7]), model("average", [0.5, 0.6])])
    real = {"G|a|before": {"end_point": 9.0}, "G|a|network alone": {"end_point": 3.0}}
    new = page.page([model("gated", [0.8, 0.9], **real)])
    text, kept = page_blocks.renew(new, old)
    (section,) = (paper.title for paper in PAPERS if "dual-branch" in paper.methods)
    assert section in kept
    assert "| Gated fusion | 0.650" in text
    assert "| Average | 0.550" in text
    assert "the same order" in text
    assert "| dual-gated | G | 1 | error of the field, pixels | 9.000 | 3.000 |" in text
    assert text.count("Real pairs") == 1


def test_a_renewed_page_is_the_new_one_where_nothing_was_lost():
    one, two = (page.page([model("gated", dice)]) for dice in ([0.6, 0.7], [0.8, 0.9]))
    assert page_blocks.renew(two, one) == (two, [])
    assert page_blocks.renew(two, "") == (two, [])


def test_figures_grow_old_with_the_engines_code_and_not_with_its_comments(tmp_path):
    file = tmp_path / "pipeline.py"
    for part in ("models", *(part for part in worth.ENGINE if "." not in part)):
        (tmp_path / part).mkdir()
    (tmp_path / "models" / "predict.py").write_text("", encoding="utf-8")

    def named(text: str) -> str:
        file.write_text(text, encoding="utf-8")
        return worth.engine(tmp_path)

    first = named('def steps():\n    """How many."""\n    return 15  # few\n')
    assert named('def steps():\n    """How many steps."""\n\n    # enough\n    return 15\n') == first
    assert named('def steps():\n    """How many."""\n    return 16  # few\n') != first
