"""Synthetic pairs: replayable, with the exact map, the right labels, and images that do not know of each other."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from Training.synthesis import PRESETS, SyntheticBatch, draw, generate, plan_from
from Training.synthesis.batch import synthetic_labels
from Training.synthesis.deform import maps, velocity
from Training.synthesis.recipe import Recipe

UNIVERSAL = PRESETS["universal"]
SMALL = {2: (48, 56), 3: (32, 40, 36)}
KINDS = [("shapes", 2), ("shapes", 3), ("head", 2), ("head", 3), ("abdomen", 3), ("chest", 2), ("chest", 3),
         ("radiograph", 2)]  # fmt: skip


def recipe(family: str, ndim: int, seed: int = 0, **changes: object) -> Recipe:
    return draw(replace(UNIVERSAL, shape=SMALL[ndim], families={family: 1.0}, **changes), seed)  # type: ignore[arg-type]


def agreement(batch: SyntheticBatch) -> float:
    """Share of voxels whose label the true map finds again in the moving image."""
    found = fields.warp(batch.moving_labels.float(), batch.displacement, mode="nearest")
    counted = batch.weight > 0
    return float((found == batch.fixed_labels)[counted].float().mean())


@pytest.mark.parametrize(("family", "ndim"), KINDS)
def test_a_recipe_is_plain_data_and_replays_to_the_same_batch(family: str, ndim: int) -> None:
    drawn = recipe(family, ndim, 5)
    assert drawn == recipe(family, ndim, 5)
    again = json.loads(json.dumps(drawn))
    assert again == drawn
    one, two = generate([drawn]), generate([again])
    for name in ("fixed", "moving", "fixed_labels", "moving_labels", "displacement", "weight"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert one.fixed.shape == (1, 1, *SMALL[ndim])
    assert one.displacement.shape == (1, ndim, *SMALL[ndim])
    assert torch.isfinite(one.fixed).all()
    assert float(one.fixed.std()) > 0.01


@pytest.mark.parametrize(("family", "ndim"), KINDS)
def test_labels_are_those_of_the_label_map(family: str, ndim: int) -> None:
    drawn = recipe(family, ndim, 1)
    source = set(synthetic_labels(drawn, torch.device("cpu")).unique().tolist())
    batch = generate([drawn])
    assert len(source) > 4
    assert set(batch.fixed_labels.unique().tolist()) <= source
    assert set(batch.moving_labels.unique().tolist()) <= source
    assert max(source) < len(drawn["labels"]["tissue"])


def body(shape: tuple[int, ...]) -> Tensor:
    """A large body of three parts, whose surface is small beside its volume: labels are rounded to whole voxels."""
    axes = [torch.linspace(-1, 1, n) for n in shape]
    r = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
    left = torch.linspace(-1, 1, shape[-1]) < 0
    return ((r < 0.85) * (1 + (left & (r < 0.85)).int())).to(torch.uint8)


@pytest.mark.parametrize("shape", [(192, 160), (72, 80, 64)])
def test_the_true_map_carries_the_moving_labels_onto_the_fixed_ones(shape: tuple[int, ...]) -> None:
    plan = replace(UNIVERSAL, shape=shape, families={"given": 1.0}, lesion=0.0)
    batch = generate([draw(plan, seed, given=1) for seed in range(2)], given=[body(shape)])
    found = fields.warp(batch.moving_labels.float(), batch.displacement, mode="nearest")
    counted = batch.weight > 0

    def dice(labels: Tensor) -> list[float]:
        pairs = [((labels == k)[counted], (batch.fixed_labels == k)[counted]) for k in (1, 2)]
        return [2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in pairs]

    assert max(dice(batch.moving_labels)) < 0.9
    assert min(dice(found)) > 0.97


def integrate(v: Tensor, start: Tensor, steps: int = 200) -> Tensor:
    """Follow the flow of ``v`` from points ``start``: many small steps, no squaring."""
    points = start.clone()
    for _ in range(steps):
        middle = points + fields.sample(v, points) / (2 * steps)
        points = points + fields.sample(v, middle) / steps
    return points


@pytest.mark.parametrize("name", ["universal", "deform-gan"])
def test_the_map_is_what_following_the_flows_gives(name: str) -> None:
    shape = (64, 48)
    largest = 12.0 if name == "deform-gan" else 0.0
    plan = PRESETS[name]
    plan = replace(plan, shape=shape, families={"shapes": 1.0}, deform=replace(plan.deform, largest=largest))
    deform = draw(plan, 3)["deform"]
    half = [n // 2 for n in shape]
    ratio = 2.0
    made = maps([deform], shape, torch.device("cpu"))
    grid = (fields.identity(shape) + 0.5) / ratio - 0.5
    start = grid
    if deform["fixed"] is not None:
        start = integrate(velocity([deform["fixed"]], half, torch.device("cpu")), start)
    affine = torch.tensor(deform["affine"])
    inverse = torch.linalg.inv(affine[:, :2])
    middle = (torch.tensor(half, dtype=torch.float32) - 1).div(2).view(1, 2, 1, 1)
    shift = affine[:, 2].view(1, 2, 1, 1) / ratio
    turned = torch.einsum("ij,njab->niab", inverse, start - middle - shift) + middle
    end = integrate(-velocity([deform["moving"]], half, torch.device("cpu")), turned)
    expected = (end - grid) * ratio
    error = (made.displacement - expected).norm(dim=1)[:, 8:-8, 8:-8]
    assert float(made.displacement.norm(dim=1).mean()) > 2
    assert float(error.mean()) < 0.15  # squarings on a half grid, against 200 steps along the flow


def test_both_images_look_at_the_same_place_of_the_label_map() -> None:
    shape = (56, 64, 60)
    made = maps(
        [draw(replace(UNIVERSAL, shape=shape), seed)["deform"] for seed in range(3)], shape, torch.device("cpu")
    )
    through = fields.warp(made.moving, made.displacement)
    end = fields.identity(shape) + made.displacement
    inside = torch.stack([(end[:, d] >= 1) & (end[:, d] <= n - 2) for d, n in enumerate(shape)]).all(0)
    inside &= made.error[:, 0] < 0.3
    error = (through - made.fixed).norm(dim=1)[inside]
    assert float(error.mean()) < 0.08
    assert float(error.quantile(0.99)) < 0.35


@pytest.mark.parametrize(("name", "shape"), [("universal", (48, 48, 48)), ("deform-gan", (64, 64, 64)),
                                             ("sar-net", (96, 96))])  # fmt: skip
def test_maps_do_not_fold(name: str, shape: tuple[int, ...]) -> None:
    plan = replace(PRESETS[name], shape=shape)
    made = maps([draw(plan, seed)["deform"] for seed in range(4)], shape, torch.device("cpu"))
    determinant = fields.jacobian_determinant(made.displacement)
    assert float((determinant <= 0).float().mean()) < 1e-5


def test_elastic_fields_of_the_papers_protocols_are_as_large_as_they_say() -> None:
    lengths = []
    for seed in range(12):
        plan = replace(PRESETS["sar-net"], shape=(96, 96))
        made = maps([draw(plan, seed)["deform"]], (96, 96), torch.device("cpu"))
        lengths.append(float(made.displacement.norm(dim=1).max()))
    assert max(lengths) <= 20.5
    assert max(lengths) > 10
    assert min(lengths) < 8
    fixed = draw(PRESETS["deform-gan"], 0)["deform"]["fixed"]
    assert fixed is None


def test_the_two_contrasts_are_independent() -> None:
    drawn = [recipe("shapes", 2, seed) for seed in range(200)]
    pairs = np.array([(r["fixed"]["mean"][3], r["moving"]["mean"][3]) for r in drawn])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.2
    one = drawn[0]
    changed = json.loads(json.dumps(one))
    changed["fixed"] = recipe("shapes", 2, 77)["fixed"]
    changed["fixed"]["mean"] = changed["fixed"]["mean"] + [0.5] * 40
    changed["fixed"]["sd"] = changed["fixed"]["sd"] + [0.0] * 40
    a, b = generate([one]), generate([changed])
    assert torch.equal(a.moving, b.moving)
    assert not torch.equal(a.fixed, b.fixed)
    assert torch.equal(a.displacement, b.displacement)


def test_the_aligned_protocols_may_share_one_contrast() -> None:
    drawn = draw(replace(PRESETS["sar-net"], shape=(64, 64)), 0)
    assert drawn["fixed"]["mean"] == drawn["moving"]["mean"]
    assert drawn["fixed"]["seed"] != drawn["moving"]["seed"]


def test_a_lesion_is_in_one_image_only_and_out_of_the_loss() -> None:
    drawn = recipe("shapes", 2, 4, lesion=0.0)
    clean = generate([drawn])
    sick = json.loads(json.dumps(drawn))
    sick["moving"]["lesion"] = {"center": [0.0, 0.0], "radii": [0.3, 0.3], "rough": 0.2, "mean": [1.0, 0.2], "sd": 0.0,
                                "seed": 8}  # fmt: skip
    with_lesion = generate([sick])
    assert torch.equal(clean.fixed, with_lesion.fixed)
    assert not torch.equal(clean.moving, with_lesion.moving)
    assert torch.equal(clean.fixed_labels, with_lesion.fixed_labels)
    assert float(with_lesion.weight.sum()) < float(clean.weight.sum())
    assert bool((with_lesion.weight <= clean.weight).all())


def test_a_cropped_view_is_black_outside_and_out_of_the_loss() -> None:
    drawn = recipe("shapes", 2, 4, lesion=0.0)
    drawn["fixed"]["crop"] = [[10, 48], [0, 56]]
    batch = generate([drawn])
    assert float(batch.fixed[:, :, :10].abs().max()) == 0
    assert float(batch.weight[:, :, :10].max()) == 0


def test_a_batch_is_made_of_what_each_recipe_makes_alone() -> None:
    drawn = [recipe("head", 3, 1), recipe("shapes", 3, 2), recipe("chest", 3, 3)]
    together = generate(drawn)
    for item, one in enumerate(drawn):
        alone = generate([one])
        assert torch.equal(together.fixed_labels[item], alone.fixed_labels[0])
        assert torch.allclose(together.displacement[item], alone.displacement[0], atol=1e-4)
        assert torch.allclose(together.moving[item], alone.moving[0], atol=1e-3)


def test_given_label_maps_are_used() -> None:
    labels = torch.zeros(SMALL[2], dtype=torch.uint8)
    labels[10:30, 12:40] = 7
    plan = replace(UNIVERSAL, shape=SMALL[2], families={"given": 1.0})
    batch = generate([draw(plan, 0, given=1)], given=[labels])
    assert set(batch.fixed_labels.unique().tolist()) == {0, 7}
    assert agreement(batch) > 0.9
    with pytest.raises(InputError, match="shape"):
        generate([draw(plan, 0, given=1)], given=[labels[:20]])


def test_a_gentle_start_fades_the_deformation() -> None:
    full, gentle = (draw(replace(UNIVERSAL, shape=SMALL[2]), 1, fade=fade)["deform"] for fade in (1.0, 0.1))
    sizes = [float(maps([d], SMALL[2], torch.device("cpu")).displacement.norm(dim=1).mean()) for d in (full, gentle)]
    assert sizes[1] < 0.25 * sizes[0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"shap": [64, 64]}, "synthesis.shap is not a setting"),
        ({"contrast": {"blurr": 1}}, "synthesis.contrast.blurr is not a setting"),
        ({"preset": "none"}, "no synthesis preset"),
        ({"families": {"knee": 1.0}}, "families"),
        ({"shape": [64]}, "shape"),
        ({"preset": "sar-net", "shape": [32, 32, 32]}, "2-D"),
        ({"deform": 3}, "must be a table"),
    ],
)
def test_a_plan_that_cannot_be_used_is_refused_in_one_sentence(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_from(table)


def test_a_plan_changes_what_it_names_and_keeps_the_rest() -> None:
    plan = plan_from({"preset": "deform-gan", "shape": [48, 48, 48], "deform": {"largest": 10.0}})
    assert plan.shape == (48, 48, 48)
    assert plan.deform.largest == 10.0
    assert not plan.deform.fixed
    assert math.isclose(sum(plan.families.values()), 1.0)


def test_two_modalities_look_the_same_in_every_pair() -> None:
    plan = replace(PRESETS["deform-gan"], shape=(32, 32), modalities=5)
    one, two = draw(plan, 1), draw(plan, 2)
    assert one["fixed"]["mean"] == two["fixed"]["mean"]
    assert one["moving"]["mean"] == two["moving"]["mean"]
    assert one["fixed"]["mean"] != one["moving"]["mean"]
    assert one["fixed"]["noise"] != two["fixed"]["noise"]
    free = draw(replace(plan, modalities=None), 1)
    assert free["deform"] == one["deform"]


def test_with_one_contrast_a_pair_and_given_modalities_all_images_look_alike() -> None:
    plan = replace(PRESETS["sar-net"], shape=(32, 32), modalities=5)
    one, two = draw(plan, 1), draw(plan, 2)
    assert one["fixed"]["mean"] == one["moving"]["mean"] == two["fixed"]["mean"] == two["moving"]["mean"]
    assert one["fixed"]["seed"] != one["moving"]["seed"]
