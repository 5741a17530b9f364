"""BIDS: the anatomical images of a data set as pairs, and results under the names of a BIDS derivative.

Source: BIDS 1.9, and its extension proposal 14 on transforms, as fMRIPrep writes them:
``from-A_to-B_mode-image_xfm.h5`` brings an image from the space A to B, so that its points go from B to A, as ours do
(fixed to moving).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..files.writing import check_named, shown, write_text
from ..geometry.image import PathLike
from .finished import write_json
from .lists import ALL_PAIRS, BASELINE, TO, Job, Names, left_aside

_IMAGE = re.compile(r"(sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+)?(_[A-Za-z0-9_-]+)?_([A-Za-z0-9]+)\.nii(\.gz)?")


@dataclass(frozen=True)
class Scan:
    """One image: ``space`` is its name inside of ``from-`` and ``to-``, letters and digits alone."""

    path: Path
    subject: str
    session: str
    entities: str
    suffix: str

    @property
    def label(self) -> str:
        return f"{self.subject}{self.session}{self.entities}"

    @property
    def place(self) -> str:
        """Its folder in a data set."""
        return "/".join(part for part in (self.subject, self.session.strip("_"), "anat") if part)

    @property
    def space(self) -> str:
        return "".join(re.findall(r"[A-Za-z0-9]+", self.label.removeprefix("sub-")))


def read_folder(
    folder: PathLike, pairs: str | None, suffix: str = "T1w", note: Callable[[str], None] | None = None
) -> list[Job]:
    """The pairs of ``sub-*/[ses-*/]anat/*_SUFFIX.nii[.gz]``.

    Args:
        folder: the data set.
        pairs: "baseline" (None): of each subject, later sessions to the first; "all"; or "to:LABEL", such as
            to:sub-01 or to:sub-01_ses-1.
        suffix: T1w, T2w, ...
        note: called with a sentence about what was left aside.

    Raises:
        InputError: if there are no such images, or no pairs of them.
    """
    check_named(folder, "data set")
    if pairs == "":
        raise InputError("--pairs is baseline, all, or to:SUBJECT, not nothing.")
    source = Path(folder)
    scans = [*_scans(source, suffix)]
    if len(scans) < 2:
        raise InputError(
            f"The folder {source} has {len(scans)} images sub-*/anat/*_{suffix}.nii.gz, and pairs need two; give a "
            "BIDS data set, --suffix, or a list."
        )
    chosen = [*_chosen(scans, pairs or BASELINE)]
    if not chosen:
        raise InputError(f"No subject in {source} has two sessions; choose --pairs all or --pairs to:SUBJECT.")
    if note is not None and (pairs or BASELINE) == BASELINE:
        _note_others(source, scans, chosen, note)
    names = Names(source)
    return [_job(names, fixed, moving) for fixed, moving in chosen]


def _note_others(source: Path, scans: list[Scan], chosen: list[tuple[Scan, Scan]], note: Callable[[str], None]) -> None:
    """What is in no pair, though it was looked at."""
    used = {scan for pair in chosen for scan in pair}
    there = {scan.subject for scan in used}
    alone = [*dict.fromkeys(scan.subject for scan in scans if scan.subject not in there)]
    if alone:
        note(left_aside(source, "these subjects have one session, and a pair needs two", alone))
    others = [scan.label for scan in scans if scan.subject in there and scan not in used]
    if others:
        note(left_aside(source, "another image of the first session is the baseline", others))


def _scans(source: Path, suffix: str) -> Iterator[Scan]:
    found = {*source.glob("sub-*/anat/*.nii*"), *source.glob("sub-*/ses-*/anat/*.nii*")}
    for path in sorted(found, key=_as_counted):
        parts = _IMAGE.fullmatch(path.name)
        if parts and parts[4] == suffix:
            yield Scan(path, parts[1], parts[2] or "", parts[3] or "", suffix)


def _as_counted(path: Path) -> list[tuple[int, str]]:
    """A key that puts ses-9 before ses-10."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _chosen(scans: list[Scan], pairs: str) -> Iterator[tuple[Scan, Scan]]:
    if pairs == ALL_PAIRS:
        yield from permutations(scans, 2)
    elif pairs == BASELINE:
        subjects = defaultdict[str, list[Scan]](list)
        for scan in scans:
            subjects[scan.subject].append(scan)
        for mine in subjects.values():
            yield from ((mine[0], later) for later in mine[1:] if later.session != mine[0].session)
    else:
        wanted = pairs.removeprefix(TO)
        fixed = [scan for scan in scans if wanted in (scan.subject, scan.subject + scan.session, scan.label)]
        if not pairs.startswith(TO) or not fixed:
            raise InputError(f"--pairs is baseline, all, or to:SUBJECT that is there, not {pairs!r}.")
        if len(fixed) > 1:
            raise InputError(f"{wanted} has {len(fixed)} images; name one of {', '.join(s.label for s in fixed[:5])}.")
        yield from ((fixed[0], scan) for scan in scans if scan != fixed[0])


def _job(names: Names, fixed: Scan, moving: Scan) -> Job:
    stem, still = f"{moving.place}/{moving.label}", f"{fixed.place}/{fixed.label}"
    way = f"from-{moving.space}_to-{fixed.space}_mode-image_xfm.h5"
    back = f"from-{fixed.space}_to-{moving.space}_mode-image_xfm.h5"
    space = f"{stem}_space-{fixed.space}"
    middle = f"halfway{fixed.space}{moving.space}"
    files = {
        "transform": f"{stem}_{way}",
        "inverse": f"{stem}_{back}",
        "volume": f"{space}_{moving.suffix}.nii.gz",
        "jacobian": f"{space}_desc-jacobian_{moving.suffix}.nii.gz",
        "doubt": f"{space}_desc-doubt_{moving.suffix}.nii.gz",
        "halfway_fixed": f"{still}_space-{middle}_{fixed.suffix}.nii.gz",
        "halfway_moving": f"{stem}_space-{middle}_{moving.suffix}.nii.gz",
        "halfway_to_fixed": f"{still}_from-{middle}_to-{fixed.space}_mode-image_xfm.h5",
        "halfway_to_moving": f"{stem}_from-{middle}_to-{moving.space}_mode-image_xfm.h5",
    }
    return Job(names.take(f"{moving.label}_to_{fixed.label}"), fixed.path, moving.path, files=files)


def describe(folder: Path) -> None:
    """``dataset_description.json`` of a derivative, and that the reports' folders are not BIDS.

    Raises:
        InputError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: NUL
        why = getattr(error, "strerror", None) or "its name holds a character no name can have"
        raise InputError(f"The folder {shown(folder)} cannot be written: {why}; choose another one.") from error
    write_text(folder / ".bidsignore", "*_to_*/\n.batch/\nindex*.html\nreports.csv\n")
    tool = {"Name": "SlicerDeepRegistration", "Version": __version__}
    about = {"Name": "Registrations", "BIDSVersion": "1.9.0", "DatasetType": "derivative", "GeneratedBy": [tool]}
    write_json(folder / "dataset_description.json", about)
