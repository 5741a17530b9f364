"""What to synthesize: ranges and probabilities, from which each recipe is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from DeepRegistrationLib.errors import InputError

from ..limits import LARGEST_SIDE
from ..setting_types import check_known, check_setting

Range = tuple[float, float]
LATER = {"later": True}
"""Marks a setting that came after runs had been made: a plan that does not use it keeps its hash (``plan.hash``)."""


@dataclass(frozen=True)
class ContrastPlan:
    """How one image is made from its label map. Probabilities are of an artifact being there at all.

    Attributes:
        mean, sd: intensity and texture of each tissue, of a brightest tissue of 1.
        black_background: probability that label 0 is 0.
        blur: SD in voxels.
        bias: SD of the logarithm of the bias field; ``bias_spacing`` as a part of the grid.
        gamma: SD of the logarithm of the exponent.
        noise: SD, of a largest intensity of 1; ``rician``: probability that it is a magnitude's.
        thick, thickness: probability of thick slices along one axis, and their size in voxels.
        crop, crop_share: probability of a cropped field of view, and the largest share lost on a side.
    """

    mean: Range = (0.0, 1.0)
    sd: Range = (0.0, 0.07)
    black_background: float = 0.75
    blur: Range = (0.3, 1.1)
    bias: float = 0.25
    bias_spacing: float = 0.4
    gamma: float = 0.2
    noise: Range = (0.0, 0.06)
    rician: float = 0.5
    thick: float = 0.2
    thickness: Range = (1.5, 5.0)
    crop: float = 0.15
    crop_share: float = 0.2


@dataclass(frozen=True)
class DeformPlan:
    """How the two images of a pair differ in shape.

    Attributes:
        fixed: whether the fixed image is deformed, too (otherwise it is the label map as drawn).
        spacing: of the control points of each level of the velocity, parts of the grid.
        sd: largest SD of a level, voxels at half resolution of a grid of 64; drawn between 0 and this.
        largest: if not 0, the velocity's largest length in voxels is drawn between 1 and this instead.
        rotation, scale, translation: SDs in degrees, of the logarithm, and in parts of the grid.
    """

    fixed: bool = True
    spacing: tuple[float, ...] = (1 / 2, 1 / 4, 1 / 8)
    sd: tuple[float, ...] = (1.5, 1.3, 0.7)
    largest: float = 0.0
    rotation: float = 3.0
    scale: float = 0.03
    translation: float = 0.02


@dataclass(frozen=True)
class SynthesisPlan:
    """All of synthesis.

    Attributes:
        shape: voxels, 2-D or 3-D.
        families: kind of label map (``FAMILIES``) -> weight.
        count: number of labels of "shapes".
        envelope: probability that "shapes" lie in a body with background around it.
        orient: probability that a body lies in the array in any order and direction of axes.
        lesion: probability of a lesion in one of the two images.
        same_contrast: probability that both images have one contrast (Deform-GAN's and SAR-Net's aligned images: see
            presets); noise and artifacts are always drawn for each.
        modalities: if given, a seed of two fixed contrasts: every fixed image shows the one, every moving image the
            other, as T1 and T2 do. The methods for two given modalities learn from this. Where a pair has one contrast
            (``same_contrast``), both images show the first.
        exchange: probability that the two ``modalities`` change places, for a network that meets both orders.
    """

    shape: tuple[int, ...] = (64, 64, 64)
    families: Mapping[str, float] = field(
        default_factory=lambda: {"shapes": 0.5, "head": 0.25, "abdomen": 0.13, "chest": 0.12}
    )
    count: tuple[int, int] = (6, 26)
    envelope: float = 0.7
    orient: float = 0.5
    lesion: float = 0.15
    same_contrast: float = 0.0
    contrast: ContrastPlan = ContrastPlan()
    deform: DeformPlan = DeformPlan()
    modalities: int | None = field(default=None, metadata=LATER)
    exchange: float = field(default=0.0, metadata=LATER)


FAMILIES = ("shapes", "head", "abdomen", "chest", "radiograph", "given")

_MILD = ContrastPlan(blur=(0.3, 0.6), bias=0.1, gamma=0.1, noise=(0.0, 0.03), thick=0.0, crop=0.0)

PRESETS = {
    # METHODS 6.
    "universal": SynthesisPlan(),
    # Aligned images of two contrasts; shift, rotation, scale and an elastic field of up to 40 voxels on one of them.
    "deform-gan": SynthesisPlan(
        families={"head": 1.0},
        orient=0.0,
        lesion=0.5,
        contrast=_MILD,
        deform=DeformPlan(
            fixed=False, spacing=(1 / 2, 1 / 4), sd=(1.0, 1.0), largest=40.0, rotation=8.0, scale=0.06, translation=0.05
        ),
    ),
    # Affinely aligned images of one kind; an elastic field of 1 to 20 pixels.
    "sar-net": SynthesisPlan(
        shape=(128, 128),
        families={"radiograph": 1.0},
        orient=0.0,
        lesion=0.0,
        same_contrast=1.0,
        contrast=_MILD,
        deform=DeformPlan(
            fixed=False,
            spacing=(1 / 4, 1 / 8),
            sd=(1.0, 0.5),
            largest=20.0,
            rotation=0.0,
            scale=0.0,
            translation=0.0,
        ),
    ),
}
"""The universal model's data, and the papers' protocols."""


def plan_from(table: Mapping[str, Any]) -> SynthesisPlan:
    """A plan from a table (of a TOML file): ``preset`` and whatever differs from it.

    Raises:
        InputError: an unknown preset, key or family, or a shape that cannot be used.
    """
    rest = dict(table)
    preset = rest.pop("preset", "universal")
    if preset not in PRESETS:
        raise InputError(f"There is no synthesis preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    plan = PRESETS[preset]
    for part in ("contrast", "deform"):
        if part in rest:
            rest[part] = _changed(getattr(plan, part), rest[part], f"synthesis.{part}")
    plan = _changed(plan, rest, "synthesis")
    if len(plan.shape) not in (2, 3) or min(plan.shape) < 16:
        raise InputError(f"synthesis.shape must be 2 or 3 numbers of at least 16, not {list(plan.shape)}.")
    unknown = set(plan.families) - set(FAMILIES)
    if unknown or not sum(plan.families.values()) > 0:
        raise InputError(f"synthesis.families gives weights to {', '.join(FAMILIES)}, not {dict(plan.families)}.")
    if plan.families.get("radiograph") and len(plan.shape) != 2:
        raise InputError("Radiographs are 2-D: give synthesis.shape two numbers, or choose the family chest.")
    _check_ranges(plan)
    check_deform(plan.deform, "synthesis.deform")
    return plan


def _check_ranges(plan: SynthesisPlan) -> None:
    """What would be beyond memory, never end or mean nothing."""
    c = plan.contrast
    if max(plan.shape) > LARGEST_SIDE:
        raise InputError(f"synthesis.shape can be up to {LARGEST_SIDE} voxels along an axis, not {list(plan.shape)}.")
    if any(weight < 0 for weight in plan.families.values()):
        raise InputError(f"synthesis.families must not have negative weights: {dict(plan.families)}.")
    if not 1 <= plan.count[0] <= plan.count[1] <= 254:
        raise InputError(
            f"synthesis.count must be two numbers from 1 to 254, the smaller first, not {list(plan.count)}."
        )
    for name in ("mean", "sd", "blur", "noise", "thickness"):
        low, high = getattr(c, name)
        if not 0 <= low <= high <= 1000:
            raise InputError(
                f"synthesis.contrast.{name} must be two numbers from 0 on, the smaller first, not [{low}, {high}]."
            )
    shares = [
        (f"synthesis.contrast.{name}", getattr(c, name)) for name in ("black_background", "rician", "thick", "crop")
    ]
    shares += [
        (f"synthesis.{name}", getattr(plan, name))
        for name in ("envelope", "orient", "lesion", "same_contrast", "exchange")
    ]
    for name, value in shares:
        if not 0 <= value <= 1:
            raise InputError(f"{name} is a probability from 0 to 1, not {value}.")
    if not 0 <= c.crop_share < 0.5 or not 0.01 <= c.bias_spacing <= 1:
        raise InputError("synthesis.contrast.crop_share is from 0 to below 0.5, bias_spacing from 0.01 to 1.")
    if c.bias < 0 or c.gamma < 0 or c.mean[1] <= 0:
        raise InputError(
            "synthesis.contrast.bias and gamma must not be negative, and the largest mean must be above 0."
        )
    if plan.modalities is not None and not 0 <= plan.modalities < 1 << 63:
        raise InputError(f"synthesis.modalities must be a whole number from 0 on, not {plan.modalities}.")


def check_deform(plan: DeformPlan, name: str) -> None:
    """Refuse a deformation that cannot be made.

    Raises:
        InputError: levels without a size, spacings beyond the grid or finer than a hundredth of it, negative sizes.
    """
    if len(plan.sd) != len(plan.spacing):
        raise InputError(f"{name}.sd needs one number for each of {name}.spacing.")
    if not all(0.01 <= part <= 1 for part in plan.spacing):
        raise InputError(f"{name}.spacing needs parts of the grid from 0.01 to 1, not {list(plan.spacing)}.")
    for key in ("largest", "rotation", "scale", "translation"):
        if not 0 <= getattr(plan, key) <= 1000:
            raise InputError(f"{name}.{key} must be from 0 to 1000, not {getattr(plan, key)}.")
    if not all(0 <= sd <= 1000 for sd in plan.sd):
        raise InputError(f"{name}.sd needs numbers from 0 to 1000, not {list(plan.sd)}.")


def _changed(plan: Any, table: Any, name: str) -> Any:
    check_known(name, table, {f.name for f in fields(plan)})
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    for key, value in values.items():
        check_setting(type(plan), key, value, f"{name}.{key}")
    return replace(plan, **values)
