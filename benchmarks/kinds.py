"""Every kind of pair with a truth in the project's data folder; the robustness benchmark takes its pairs from here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from .pairs import Pair

BRAIN_LABELS = tuple(v for v in range(1, 36) if v not in (18, 19, 34, 35))
NATIVE_LABELS = (2, 3, 4, 5, 7, 8, *range(10, 19), 26, 28, *range(41, 45), 46, 47, *range(49, 55), 58, 60)
"""The same 31 structures in FreeSurfer's numbers."""
BRAIN, TWO_PIPELINES, REMAPPED = "brain (T1)", "brain (T1, two label pipelines)", "brain (pseudo-T2 <- T1)"
TUMOR = "brain with tumor (landmarks)"
HEART, PATIENTS = "heart (cine MR)", "heart (cine MR, 7 patients)"
HIPPOCAMPUS, CHEST = "hippocampus (MR)", "chest (X-ray, 2-D)"
SLICES, NATIVE = "brain slices (MR, 2-D)", "brain, not aligned (T1)"
LIVER, LUNG, SKULL, PROSTATE = "liver (MR, breathing)", "lung (CT, breathing)", "mouse skull (CT)", "prostate (MR)"
HISTOLOGY, HAND, RETINA = "stained sections (2-D, px)", "hand (X-ray, 2-D, px)", "retina (2-D)"
CHOSEN_ON_GROUPS = (BRAIN, TUMOR, HEART, HIPPOCAMPUS)
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


def held_out(name: str, group: str) -> bool:
    """Whether no setting of the engine was chosen on that pair of the project's data."""
    return group not in CHOSEN_ON_GROUPS and name not in CHOSEN_ON_PAIRS


def project_pairs(data: Path) -> list[Pair]:
    """Every pair of the project's data folder that has a truth; what is absent is left out."""
    data = data.resolve()
    found = [
        *_brains(data / "brain_t1"),
        *_tumor(data / "brain_multimodal"),
        *_hearts(data),
        *_round(HIPPOCAMPUS, data / "hippocampus", "*_img.nii.gz", ("_img", "_lab"), lambda name: name[12:15]),
        *_round(CHEST, data / "chest_xray", "*.jpg", (".jpg", "_mask.png"), lambda name: name.removesuffix(".jpg")),
        *_round(SLICES, data / "brain_slices", "OASIS-TRT-*_slice118.nii.gz", (".nii", "_labels.nii"), _before_line),
        *_native(data / "brain_native"),
        *_livers(data / "liver_mr4d"),
        *_lung(data / "lung_ct" / "plastimatch_4dct"),
        *_skulls(data / "mouse_skull_ct"),
        *_prostates(data / "prostate_mr"),
        *_pictures(data),
    ]
    return [pair for pair in found if all(Path(p).exists() for p in pair.files())]


def _labelled(name: str, group: str, paths: Sequence[Path], **more) -> Pair:  # type: ignore[no-untyped-def]
    """``paths``: fixed, moving, and the label maps of both."""
    return Pair(name, group, *map(str, paths), **more)


def _pointed(name: str, group: str, images: Sequence[Path], csv: Sequence[Path], **more) -> Pair:  # type: ignore[no-untyped-def]
    """``csv``: the landmarks of fixed and moving."""
    a, b = map(str, csv)
    return Pair(name, group, *map(str, images), fixed_points=a, moving_points=b, **more)


def _brains(folder: Path) -> list[Pair]:
    pairs = []
    for one, other in (("OAS1_0001", "OAS1_0002"), ("fstrain01", "fstrain02")):
        for a, b in ((one, other), (other, one)):
            paths = [folder / f"{name}_{what}.nii.gz" for what in ("t1", "labels") for name in (a, b)]
            pairs.append(_labelled(f"{a}<-{b}", BRAIN, paths, labels=BRAIN_LABELS))
            pairs.append(_labelled(f"{a}*<-{b}", REMAPPED, paths, labels=BRAIN_LABELS, cross=True, remap=True))
    for one in ("OAS1_0001", "OAS1_0002"):
        for a, b in ((one, "vxm_test"), ("vxm_test", one)):
            paths = [folder / f"{name}_{what}.nii.gz" for what in ("t1", "labels") for name in (a, b)]
            pairs.append(_labelled(f"{a}<-{b}", TWO_PIPELINES, paths, labels=BRAIN_LABELS))
    return pairs


def _tumor(folder: Path) -> list[Pair]:
    csv = [folder / f"{side}_landmarks.csv" for side in ("preop", "followup")]
    return [
        _pointed(
            f"preop {a}<-follow-up {b}",
            TUMOR,
            [folder / f"preop_{a.lower()}.nii.gz", folder / f"followup_{b.lower()}.nii.gz"],
            csv,
            cross=a != b,
        )
        for a in ("T1", "T2")
        for b in ("T1", "T2")
    ]


def _hearts(data: Path) -> list[Pair]:
    """One heart both ways, as they lie; patients at end-diastole from end-systole."""
    folder, pairs = data / "cardiac_mr", []
    for a, b in (("ED", "ES"), ("ES", "ED")):
        paths = [folder / f"sa_{phase}{what}.nii.gz" for what in ("", "_label") for phase in (a, b)]
        pairs.append(_labelled(f"{a}<-{b}", HEART, paths))
    for folder in sorted((data / "cardiac_acdc").glob("*")):
        paths = [folder / f"{phase}{what}.nii.gz" for what in ("", "_labels") for phase in ("ED", "ES")]
        pairs.append(_labelled(folder.name, PATIENTS, paths, affine=True))
    return pairs


def _round(group: str, folder: Path, files: str, labels: tuple[str, str], short: Callable[[str], str]) -> list[Pair]:
    """Each image with the next one, the last with the first; of the label map's name the second of ``labels`` is put
    for the first."""
    images = sorted(folder.glob(files))
    pairs = []
    for a, b in pairwise([*images, *images[:1]]):
        maps = [path.with_name(path.name.replace(*labels)) for path in (a, b)]
        pairs.append(_labelled(f"{short(a.name)}<-{short(b.name)}", group, [a, b, *maps], affine=True))
    return pairs


def _before_line(name: str) -> str:
    return name.split("_")[0]


def _native(folder: Path) -> list[Pair]:
    names = ("OAS1_0001", "OAS1_0002")
    paths = [folder / f"{name}_{what}.mgz" for what in ("norm", "aseg") for name in names]
    return [_labelled("<-".join(f"{name} native" for name in names), NATIVE, paths, labels=NATIVE_LABELS, affine=True)]


def _livers(data: Path) -> list[Pair]:
    """Landmarks in the liver; those of what slides along it count by themselves."""
    pairs = []
    for folder in sorted(data.glob("*")):
        for moving in sorted(folder.glob("cyc_*.nii.gz")):
            stem = moving.name.removesuffix(".nii.gz")
            inside, outside = (
                [folder / f"{name}_landmarks_{part}.csv" for name in ("fixed_exhale", stem)]
                for part in ("liver", "outside")
            )
            more = {"outside": tuple(map(str, outside))}
            images = [folder / "fixed_exhale.nii.gz", moving]
            pairs.append(_pointed(f"{folder.name} {stem}", LIVER, images, inside, more_points=more, affine=True))
    return pairs


def _lung(folder: Path) -> list[Pair]:
    images, lungs = ([folder / f"{side}{what}.nii.gz" for side in ("fixed", "moving")] for what in ("", "_lung"))
    csv = [folder / f"{side}_landmarks_silver.csv" for side in ("fixed", "moving")]
    a, b = map(str, lungs)
    return [_pointed("4dct", LUNG, images, csv, fixed_labels=a, moving_labels=b, affine=True)]


def _skulls(folder: Path) -> list[Pair]:
    pairs = []
    for name in ("C57BL_6NJ", "CBA_CAJ", "NOD_SHILTJ"):
        images, csv = ([folder / f"{n}{end}" for n in ("C57BL6_J", name)] for end in (".nii.gz", "_landmarks.csv"))
        pairs.append(_pointed(name, SKULL, images, csv, affine=True))
    return pairs


def _prostates(folder: Path) -> list[Pair]:
    pairs = []
    for name, sides in (("one", ("fixed", "moving")), ("one, the other way", ("moving", "fixed"))):
        paths = [folder / f"{side}{what}.nii.gz" for what in ("", "_labels") for side in sides]
        pairs.append(_labelled(name, PROSTATE, paths, affine=True))
    return pairs


def _pictures(data: Path) -> list[Pair]:
    pairs = []
    for folder in [*sorted((data / "histology").glob("*")), data / "hand_xray"]:
        stained = folder.name != "hand_xray"
        images, csv = ([folder / f"{side}{end}" for side in ("fixed", "moving")] for end in (".png", "_landmarks.csv"))
        pairs.append(_pointed(folder.name, HISTOLOGY if stained else HAND, images, csv, cross=stained, affine=True))
    folder = data / "retina"
    for name, sides in (("retina", ("fixed", "moving")), ("retina, the other way", ("moving", "fixed"))):
        paths = [folder / f"{side}{what}.png" for what in ("", "_vessels") for side in sides]
        pairs.append(_labelled(name, RETINA, paths, affine=True))
    return pairs
