"""The peer of ``cohort-atlas``, in a Python that has antspyx: ``python ants_template.py LIST.csv FOLDER ITERATIONS``.

antspyx' ``build_template`` at its defaults, each subject registered to the result by the same SyN, the labels of all
others fused there by majority and brought back to each. Nothing of this package is imported.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np


def main(list_path: str, out: str, iterations: str) -> None:
    import ants

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with Path(list_path).open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    images = [ants.image_read(row["image"]) for row in rows]
    labels = [ants.image_read(row["labels"]) for row in rows]
    template = ants.build_template(image_list=images, iterations=int(iterations))
    ants.image_write(template, str(folder / "template.nii.gz"))
    found = [ants.registration(template, image, type_of_transform="SyN") for image in images]
    there = [
        ants.apply_transforms(template, own, maps["fwdtransforms"], interpolator="nearestNeighbor").numpy().astype(int)
        for own, maps in zip(labels, found, strict=True)
    ]
    most = max(int(array.max()) for array in there)
    for k, (row, image, maps) in enumerate(zip(rows, images, found, strict=True)):
        votes = [sum(array == label for j, array in enumerate(there) if j != k) for label in range(most + 1)]
        fused = ants.from_numpy(
            np.argmax(votes, axis=0).astype(np.float32), template.origin, template.spacing, template.direction
        )
        back = ants.apply_transforms(
            *(image, fused, maps["invtransforms"]),
            interpolator="nearestNeighbor",
            whichtoinvert=[name.endswith(".mat") for name in maps["invtransforms"]],
        )
        ants.image_write(back, str(folder / f"{row['name']}.nii.gz"))


if __name__ == "__main__":
    main(*sys.argv[1:4])
