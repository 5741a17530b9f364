"""Small plans and data that the training tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib.geometry.image import Grid, Image
from Training.plan import TrainingPlan, plan_of
from Training.synthesis import PRESETS, draw, generate


def tiny_plan(
    method: str = "universal", steps: int = 4, batch: int = 2, folder: Path = Path(), **tables: Any
) -> TrainingPlan:
    """A synthetic 2-D plan that takes a second."""
    table: dict[str, Any] = {
        "method": method,
        "synthesis": {"shape": [32, 32], "families": {"shapes": 1.0}, "count": [4, 6]},
        "schedule": {
            "steps": steps,
            "batch": batch,
            "validate_every": 0,
            "checkpoint_every": 0,
            "log_every": 1,
        },
    }
    for name, values in tables.items():
        table[name] = {**table.get(name, {}), **values} if isinstance(values, dict) else values
    return plan_of(table, folder)


def write_data(folder: Path, count: int = 5, shape: tuple[int, ...] = (32, 40), modalities: int = 1) -> Path:
    """A Learn2Reg folder of generated images; the path of its manifest."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    entries = []
    for patient in range(count):
        made = generate([draw(PRESETS["sar-net"].__class__(shape=shape, families={"shapes": 1.0}), patient)])
        for modality in range(modalities):
            name = f"Toy_{patient:04d}_{modality:04d}.nii.gz"
            picture = (made.fixed if modality == 0 else made.moving)[0, 0].numpy()
            grid = Grid.from_shape(shape, 1.5)
            Image(picture.astype(np.float32), grid).save(folder / "imagesTr" / name)
            Image(made.fixed_labels[0, 0].numpy(), grid).save(folder / "labelsTr" / name)
            entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    manifest = folder / "dataset.json"
    manifest.write_text(json.dumps({"name": "Toy", "modality": {"0": "MR"}, "training": entries}), encoding="utf-8")
    return manifest
