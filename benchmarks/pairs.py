"""Pairs of images with something to score them by."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from DeepRegistrationLib.errors import InputError

CHOSEN_ON_GROUPS = ("brain (T1)", "brain with tumor (landmarks)", "heart (cine MR)", "hippocampus (MR)")
CHOSEN_ON_PAIRS = (
    "OAS1_0001*<-OAS1_0002",
    "fstrain02*<-fstrain01",
    "vxm_test<-OAS1_0001",
    "1-10-500-500-100<-10-19-500-500-100",
    "101-210-500-500-100<-102-111-500-500-100",
    "102-111-500-500-100<-106-115-500-500-100",
    "108-117-500-500-100<-109-118-500-500-100",
    "109-118-500-500-100<-11-20-500-500-100",
    "120-129-500-500-100<-122-131-500-500-100",
    "13-22-500-500-100<-131-140-500-500-100",
)
"""Pairs of the project's data at which the engine's settings were looked at: whole groups, and single ones."""
BRAIN_LABELS = tuple(v for v in range(1, 36) if v not in (18, 19, 34, 35))


@dataclass(frozen=True)
class Pair:
    """One registration to be done.

    Attributes:
        name, group: of the pair, and of the pairs it is averaged with.
        fixed, moving: images.
        fixed_labels, moving_labels: label maps to score Dice with; ``labels`` counts (all but 0 if empty).
        fixed_points, moving_points: landmarks, LPS mm.
        affine: whether the images still need the affine stage (before every method, and in its time).
        cross: whether the two differ in contrast: peers then use their measure for that.
        remap: change the fixed image's contrast into a pseudo-T2 first.
    """

    name: str
    group: str
    fixed: str
    moving: str
    fixed_labels: str = ""
    moving_labels: str = ""
    labels: tuple[int, ...] = ()
    fixed_points: str = ""
    moving_points: str = ""
    affine: bool = False
    cross: bool = False
    remap: bool = False


def held_out(name: str, group: str) -> bool:
    """Whether no setting of the engine was chosen on that pair of the project's data."""
    return group not in CHOSEN_ON_GROUPS and name not in CHOSEN_ON_PAIRS


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a list; ``training``-style keys of Learn2Reg are read as well.

    Raises:
        InputError: if the list is missing or not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content if isinstance(content, list) else content.get("pairs") or content["registration_val"]
        return [_pair(entry, path) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The pair list {path} cannot be used ({error}); see python -m benchmarks --help.") from error


def _pair(entry: dict[str, Any], origin: Path) -> Pair:
    values = dict(entry)
    for key in ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_points", "moving_points"):
        if values.get(key):
            found = (origin.parent / values[key]).resolve()
            if not found.exists():
                raise InputError(f"The pair list {origin.name} names {values[key]}, which does not exist.")
            values[key] = str(found)
    values["labels"] = tuple(values.get("labels", ()))
    values.setdefault("group", origin.stem)
    values.setdefault("name", f"{Path(values['fixed']).name} <- {Path(values['moving']).name}")
    return Pair(**values)


def write_pairs(pairs: list[Pair], path: Path) -> None:
    """The list, with absolute paths and nothing that is empty."""
    entries = [{k: v for k, v in asdict(pair).items() if v} for pair in pairs]
    path.write_text(json.dumps({"name": path.stem, "pairs": entries}, indent=1), encoding="utf-8")


def project_pairs(data: Path) -> list[Pair]:
    """Every labelled pair of the project's data folder: brains both ways, cardiac, hippocampi in sequence, X-rays."""
    data = data.resolve()
    pairs = [*_brains(data / "brain_t1"), *_brain_multimodal(data / "brain_multimodal")]
    heart = data / "cardiac_mr"
    if heart.is_dir():
        for a, b in (("ED", "ES"), ("ES", "ED")):
            images = (str(heart / f"sa_{a}.nii.gz"), str(heart / f"sa_{b}.nii.gz"))
            labels = (str(heart / f"sa_{a}_label.nii.gz"), str(heart / f"sa_{b}_label.nii.gz"))
            pairs.append(Pair(f"{a}<-{b}", "heart (cine MR)", *images, *labels))
    images = sorted((data / "hippocampus").glob("*_img.nii.gz"))
    for a, b in pairwise([*images, *images[:1]]):
        labels = tuple(str(p).replace("_img", "_lab") for p in (a, b))
        pairs.append(
            Pair(f"{a.name[12:15]}<-{b.name[12:15]}", "hippocampus (MR)", str(a), str(b), *labels, affine=True)
        )
    images = sorted((data / "chest_xray").glob("*.jpg"))
    for a, b in pairwise([*images, *images[:1]]):
        labels = tuple(str(p.with_name(f"{p.stem}_mask.png")) for p in (a, b))
        pairs.append(Pair(f"{a.stem}<-{b.stem}", "chest (X-ray, 2-D)", str(a), str(b), *labels, affine=True))
    return pairs


def _brains(folder: Path) -> list[Pair]:
    if not folder.is_dir():
        return []
    pairs = []
    for one, other in (("OAS1_0001", "OAS1_0002"), ("fstrain01", "fstrain02")):
        for a, b in ((one, other), (other, one)):
            images = tuple(str(folder / f"{name}_t1.nii.gz") for name in (a, b))
            labels = tuple(str(folder / f"{name}_labels.nii.gz") for name in (a, b))
            pairs.append(Pair(f"{a}<-{b}", "brain (T1)", *images, *labels, BRAIN_LABELS))
            remapped = Pair(
                f"{a}*<-{b}", "brain (pseudo-T2 <- T1)", *images, *labels, BRAIN_LABELS, cross=True, remap=True
            )
            pairs.append(remapped)
    for a, b in (
        ("OAS1_0001", "vxm_test"),
        ("vxm_test", "OAS1_0001"),
        ("OAS1_0002", "vxm_test"),
        ("vxm_test", "OAS1_0002"),
    ):
        images = tuple(str(folder / f"{name}_t1.nii.gz") for name in (a, b))
        labels = tuple(str(folder / f"{name}_labels.nii.gz") for name in (a, b))
        pairs.append(Pair(f"{a}<-{b}", "brain (T1, two label pipelines)", *images, *labels, BRAIN_LABELS))
    return pairs


def _brain_multimodal(folder: Path) -> list[Pair]:
    if not folder.is_dir():
        return []
    points = tuple(str(folder / f"{side}_landmarks.csv") for side in ("preop", "followup"))
    return [
        Pair(
            f"preop {a}<-follow-up {b}",
            "brain with tumor (landmarks)",
            str(folder / f"preop_{a.lower()}.nii.gz"),
            str(folder / f"followup_{b.lower()}.nii.gz"),
            fixed_points=points[0],
            moving_points=points[1],
            cross=a != b,
        )
        for a in ("T1", "T2")
        for b in ("T1", "T2")
    ]
