"""``manifest``: a Learn2Reg JSON for a folder of images, so that nobody has to write it by hand."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from DeepRegistrationLib.errors import InputError

from ..safe_files import keep_inputs, replace_file
from .cohort import check_folder
from .manifest import read_manifest


def add_manifest(commands: argparse._SubParsersAction) -> None:
    """``manifest FOLDER OUT.json --images "*_img.nii.gz" --labels "*_lab.nii.gz"``."""
    parser = commands.add_parser("manifest", help="list a folder's images (and their label maps) for training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT.json")
    parser.add_argument("--images", default="*.nii.gz", metavar="PATTERN", help="one *, the name of the case")
    parser.add_argument("--labels", metavar="PATTERN", help="one *, the name of the case")

    def run(options: argparse.Namespace) -> None:
        count = make_manifest(options.folder, options.output, options.images, options.labels)
        print(f"wrote {options.output}: {count} images")

    parser.set_defaults(run=run)


def make_manifest(folder: Path, output: Path, images: str, labels: str | None = None) -> int:
    """Write the manifest; the number of images.

    Raises:
        InputError: a pattern without exactly one ``*``, no image found, a label map missing, or files that do not fit.
    """
    for pattern in (images, labels):
        if pattern is not None and pattern.count("*") != 1:
            raise InputError(f"The pattern {pattern!r} needs one *, which stands for the name of the case.")
        if pattern is not None and (Path(pattern).is_absolute() or ".." in Path(pattern).parts):
            raise InputError(f"The pattern {pattern!r} must be of names within the folder {folder}.")
    check_folder(folder)
    before, after = images.split("*")
    found = sorted(folder.glob(images))
    if labels is not None:  # a pattern of images such as *.png may also fit the label maps
        found = [path for path in found if not path.match(labels)]
    if not found:
        raise InputError(f"There is no image {images} in {folder}; check --images.")
    entries = []
    for path in found:
        name = path.relative_to(folder).as_posix()
        case = name[len(before) : len(name) - len(after)]
        entry = {"image": str(path.resolve()), "patient": case}
        if labels is not None:
            label = folder / labels.replace("*", case)
            if not label.exists():
                raise InputError(f"The image {path} has no label map {label}; check --labels.")
            entry["label"] = str(label.resolve())
        entries.append(entry)
    text = json.dumps({"name": folder.resolve().name, "training": entries}, indent=1)
    keep_inputs(output, [Path(path) for entry in entries for key, path in entry.items() if key != "patient"])

    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")
        read_manifest(partial, 0.0)  # what does not fit replaces nothing

    replace_file(output, write)
    return len(entries)
