"""``fields``: displacement fields by the refinement engine, as targets of supervised training.

Any other program's fields do as well: name them in the manifest, ``{"fixed": ..., "moving": ..., "displacement": ...}``
in ``training_paired_images`` (a displacement image in LPS mm on the fixed image, or a transform file).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib import register
from DeepRegistrationLib.command_line.options import add_settings, settings_from
from DeepRegistrationLib.errors import InputError, RegistrationFailed
from DeepRegistrationLib.files.writing import write_text

from ..limits import check_pair_count, set_threads
from ..safe_files import keep_inputs
from .manifest import Case, read_manifest

HOW = ("refine", "affine", "similarity", "smoothness", "device", "seed")


def add_fields(commands: argparse._SubParsersAction) -> None:
    """``fields MANIFEST.json OUT.json --output FOLDER``."""
    parser = commands.add_parser("fields", help="fields by the refinement engine, for supervised training")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST.json")
    parser.add_argument("target", type=Path, metavar="OUT.json", help="the manifest with the fields, to train on")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="gets the fields")
    parser.add_argument("--pairs", type=int, default=100, help="drawn where the manifest lists none (default 100)")
    add_settings(parser, HOW)
    parser.set_defaults(affine="none")  # a network learns from images as they lie in its grid: so does the target
    parser.add_argument("--threads", type=int, help="of the CPU")

    def run(options: argparse.Namespace) -> None:
        set_threads(options.threads)
        check_pair_count(options.pairs)
        chosen = settings_from(options).as_dict()
        how = {name: chosen[name] for name in HOW}
        if how["refine"] == "none":
            raise InputError("Fields need a refinement; choose --refine fast or accurate.")
        count = make_fields(options.manifest, options.target, options.output, options.pairs, how)
        print(f"wrote {options.target}: {count} pairs with fields")

    parser.set_defaults(run=run)


def make_fields(manifest: Path, target: Path, folder: Path, pairs: int, how: dict[str, Any]) -> int:
    """Register the pairs (those done before are kept) and write the manifest that names the fields; how many.

    Args:
        manifest: its ``training_paired_images``, else ``pairs`` drawn of different patients.
        how: keywords of ``register``.

    Raises:
        InputError: if the manifest cannot be used, or nothing can be written there.
    """
    split = read_manifest(manifest, 0.0)
    cases = [
        *split.training,
        *split.validation,
        *(c for p in (*split.training_pairs, *split.validation_pairs) for c in p),
    ]
    inputs = [manifest, *(path for case in cases for path in (case.image, case.label, case.landmarks))]
    keep_inputs(target, [*inputs, *split.fields.values()])
    stems = _stems(cases)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write to {folder} ({error.strerror}); choose another folder.") from error
    entries = []
    for number, (fixed, moving) in enumerate(split.training_pairs or drawn(split.training, pairs)):
        path = folder / f"{stems[fixed.image]}--{stems[moving.image]}.mha"
        keep_inputs(path, inputs)
        print(f"{number + 1}: {fixed.image.name} <- {moving.image.name}", flush=True)
        if not path.exists():
            try:
                result = register(fixed.image, moving.image, method="none", **how)
            except RegistrationFailed as error:
                print(f"left out: {error}")
                continue
            result.transform.save(path)
        entries.append(
            {
                "fixed": str(fixed.image.resolve()),
                "moving": str(moving.image.resolve()),
                "displacement": str(path.resolve()),
            }
        )
    table = {
        "name": split.name,
        "modality": split.modality,
        "training": [_entry(case) for case in split.training],
        "validation": [_entry(case) for case in split.validation],
        "training_paired_images": entries,
        "registration_val": [
            {"fixed": str(a.image.resolve()), "moving": str(b.image.resolve())} for a, b in split.validation_pairs
        ],
    }
    write_text(target, json.dumps(table, indent=1))
    return len(entries)


def drawn(cases: Sequence[Case], count: int) -> list[tuple[Case, Case]]:
    """Pairs of different patients, always the same ones, none twice.

    Raises:
        InputError: if there is no such pair.
    """
    found = [(a, b) for a in cases for b in cases if a.patient != b.patient]
    if not found:
        raise InputError("Fields need images of at least two patients; list more in the manifest.")
    order = np.random.default_rng(0).permutation(len(found))[:count]
    return [found[int(k)] for k in order]


def _stems(cases: Sequence[Case]) -> dict[Path, str]:
    """What each image is called in the names of fields; two of one name in two folders get a number each."""
    found: dict[Path, str] = {}
    for path in dict.fromkeys(case.image for case in cases):
        stem = path.name.split(".")[0]
        others = list(found.values())
        number = next(k for k in range(1, len(others) + 2) if (stem if k == 1 else f"{stem}-{k}") not in others)
        found[path] = stem if number == 1 else f"{stem}-{number}"
    return found


def _entry(case: Case) -> dict[str, str]:
    entry = {"image": str(case.image.resolve()), "patient": case.patient}
    for name, path in (("label", case.label), ("landmarks", case.landmarks)):
        if path is not None:
            entry[name] = str(path.resolve())
    return entry
