"""The model files: those in the box, and those in the user's folder. Nothing is downloaded, nothing is sent.

Only the headers are read here, as the library reads them; the weights are for the worker.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.header import BOX, ENDING, USER_FOLDER_VARIABLE, Header, beside, read_header

from ..errors import RegistrationError, SceneInputError
from ..texts import tr as _

SETTING = "DeepRegistration/ModelsFolder"


@dataclass(frozen=True)
class ModelFile:
    """A bundle: its file, whether it came with the module, and what its header says."""

    path: Path
    isInTheBox: bool
    header: Header

    @property
    def name(self) -> str:
        return self.path.stem

    def details(self) -> list[tuple[str, str]]:
        """(what, value) pairs for the user."""
        from DeepRegistrationLib.models.worth import WORTH_KEY, sentence

        header = self.header
        others = {name: value for name, value in header.scores.items() if name != WORTH_KEY}  # those have a sentence
        spoken = [
            (_("Method"), header.method),
            (_("Variant"), header.variant),
            (_("For"), header.modality),
            (_("Dimensions"), header.dimensions),
            (_("Trained on"), _trainedOn(header.training.get("data"))),
            (_("Worth"), sentence(header.scores)),
            (_("Scores"), _scores(others)),
            (_("License"), header.license),
            (_("Source"), header.source),
            (_("Size"), _("{size:.1f} MB").format(size=self.path.stat().st_size / 1e6)),
            (_("File"), str(self.path)),
        ]
        return [(name, _spoken(value)) for name, value in spoken if value]


def _trainedOn(data: Any) -> Any:
    isGenerated = isinstance(data, dict) and data.get("kind") == "synthetic"
    return _("generated images; no image of anybody") if isGenerated else data


def _scores(scores: dict[str, Any]) -> Any:
    """The few that mean something to a user; all of them where they are not those of this project's training."""
    parts = scores.get("identity"), scores.get("network")
    values = [part.get("dice") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(value, int | float) for value in values):
        return scores
    text = _("network alone: Dice {after:.2f}, {before:.2f} without it").format(before=values[0], after=values[1])
    pairs = scores.get("held_out_pairs")
    return _("{text}, on {count} pairs that it never saw").format(text=text, count=pairs) if pairs else text


def _spoken(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_spoken(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(_spoken(entry) for entry in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def userFolder() -> Path:
    """The user's folder: what the settings say, else one beside Slicer's own settings."""
    settings = slicer.app.userSettings()
    chosen = settings.value(SETTING)
    return Path(str(chosen)) if chosen else Path(settings.fileName()).parent / "DeepRegistrationModels"


def tellWorker() -> None:
    """Workers that are started from now on find the user's models."""
    os.environ[USER_FOLDER_VARIABLE] = str(userFolder())


def listModels() -> list[ModelFile]:
    """All models, those of the box first; files that are no models are left out."""
    found = []
    for folder, isInTheBox in ((BOX, True), (userFolder(), False)):
        for path in sorted(folder.glob(f"*{ENDING}")) if folder.is_dir() else []:
            try:
                found.append(ModelFile(path, isInTheBox, readHeader(path)))
            except SceneInputError:
                continue
    return found


def readHeader(path: Path) -> Header:
    """What the file says about itself, by the reader and the limits of the library.

    Raises:
        SceneInputError: if it is not a model of this module.
    """
    try:
        return read_header(path)
    except InputError as error:
        raise SceneInputError(str(error)) from error


def importModel(path: Path) -> ModelFile:
    """Copy a model into the user's folder.

    Raises:
        SceneInputError: if it is no model, or one of that name is there.
        RegistrationError: if it cannot be copied.
    """
    header = readHeader(path)
    target = userFolder() / path.name
    if target.exists():
        raise SceneInputError(_("There is a model named {name} already; remove it first.").format(name=path.stem))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    except OSError as error:
        raise RegistrationError(
            _("{name} could not be copied to {folder} ({reason}).").format(
                name=path.name, folder=target.parent, reason=error.strerror
            )
        ) from error
    with suppress(OSError):  # a model works without newer figures of what it is worth, but not with another's
        beside(target).unlink(missing_ok=True)
        if beside(path).is_file():
            shutil.copyfile(beside(path), beside(target))
    return ModelFile(target, False, header)


def removeModel(model: ModelFile) -> None:
    """Delete a model of the user's folder.

    Raises:
        SceneInputError: if it came with the module.
        RegistrationError: if it cannot be deleted.
    """
    if model.isInTheBox:
        raise SceneInputError(_("{name} came with the module and stays.").format(name=model.name))
    try:
        model.path.unlink()
    except OSError as error:
        raise RegistrationError(
            _("{name} could not be deleted ({reason}).").format(name=model.name, reason=error.strerror)
        ) from error
    with suppress(OSError):
        beside(model.path).unlink()
