"""A model that was trained here is imported in the panel, found in its list of methods, and registers there."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from Testing.host import interact
from Testing.Module import cases
from Testing.Module.conftest import application, host, load_module, panel  # noqa: F401 - fixtures
from Training.plan import PLANS, read_plan
from Training.runs.export import export
from Training.runs.train import source_of, start

import slicer  # isort: skip
from DeepRegistrationSlicer.worker import models  # isort: skip
from DeepRegistrationSlicer.registration import results  # isort: skip

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("host")]


@pytest.mark.parametrize("path", sorted(PLANS.glob("*-smoke.toml")), ids=lambda p: p.stem)
def test_a_trained_model_registers_in_the_panel(path: Path, panel: Any, tmp_path: Path) -> None:  # noqa: F811
    plan = read_plan(path)
    plan = replace(plan, schedule=replace(plan.schedule, steps=1, validate_every=0, pictures_every=0))
    start(plan, tmp_path / "run", "cpu", tensorboard=False, quiet=True)
    export(plan, tmp_path / "run", tmp_path / "mine.safetensors", last=True)
    cases.setModelsFolder(tmp_path / "models")
    try:
        models.importModel(tmp_path / "mine.safetensors")
        catalog, ui, parameters = panel.panel.catalog, panel.ui, panel.panel.parameters
        interact.wait_until(lambda: not catalog.answer.isRunning, 120)
        catalog.refresh()
        interact.wait_until(lambda: not catalog.answer.isRunning, 120)
        interact.choose(ui.methodComboBox, f"{plan.method.title}: mine")
        pair = source_of(plan, torch.device("cpu")).batch([0], 1.0)
        for name, image in (("T1", pair.fixed), ("T2", pair.moving)):
            array = image[0, 0].numpy()
            cases.addVolume(array if array.ndim == 3 else array[np.newaxis], cases.PLAIN, name)
        interact.choose(ui.fixedSelector, "T1")
        interact.choose(ui.movingSelector, "T2")
        parameters.useAffine = parameters.useRefinement = False
        interact.click(ui.applyButton)
        interact.wait_until(lambda: not panel.logic.registration.isRunning, 300)
        assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text
        assert results.reportOf(ui.outputTransformSelector.currentNode())["model"] == "mine"
        assert slicer.util.getNode("T2 registered") is not None
    finally:
        os.environ.pop(models.USER_FOLDER_VARIABLE, None)
