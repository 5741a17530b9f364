"""What ``sequence`` has made already: a frame of the same images and settings is taken as it is, as ``batch`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cohorts.finished import DONE, REPORT, Hashes, Task, finished_report, mark_done, write_json
from ..errors import InputError
from ..files.writing import together
from ..geometry.transform import read_transform
from ..settings import Settings
from .batch_command import weights_for

if TYPE_CHECKING:
    from ..motion.frames import FrameDone
    from ..result import Result

FOLDER = "frames"
"""Beside the results: a folder of each frame, with its report and what it was made of."""


class FramesDone:
    """The frames of one folder.

    Args:
        folder: where the results go.
        fixed, frames: paths.
        settings: of all of them.
        outputs: the files of a frame by what they are ("transform", "volume"), from its number.
    """

    def __init__(
        self,
        folder: Path,
        fixed: str,
        frames: Sequence[str],
        settings: Settings,
        outputs: Callable[[int], dict[str, Path]],
    ) -> None:
        self._folder, self._fixed, self._frames, self._settings = folder, fixed, frames, settings
        self._outputs, self._hashes = outputs, Hashes()
        self._weights = {} if settings.is_linear else weights_for(settings)
        self._inputs: dict[str, Any] = {}

    def known(self, index: int, begins_at_neighbor: bool) -> FrameDone | None:
        """What is there of a frame, if it is whole and was made of the same."""
        from ..motion.frames import FrameDone

        task = self._task(index, begins_at_neighbor)
        report = finished_report(task, self._hashes)
        if report:
            return FrameDone(read_transform(task.outputs["transform"]), report)
        (Path(task.folder) / DONE).unlink(missing_ok=True)
        self._inputs = {what: self._hashes.of(path) for what, path in task.inputs.items()}
        return None

    def save(self, index: int, result: Result) -> None:
        """Write a frame's files, all of them or none.

        Raises:
            InputError: if an image was replaced meanwhile.
        """
        task = self._task(index, "start" in self._inputs)
        for what, path in task.inputs.items():
            if self._hashes.of(path)["sha256"] != self._inputs[what]["sha256"]:
                raise InputError(f"The file {path} was changed while the frames were registered; run again.")
        Path(task.folder).mkdir(parents=True, exist_ok=True)
        with together():
            result.transform.save(task.outputs["transform"])
            if "volume" in task.outputs:
                result.warped.save(task.outputs["volume"])
            write_json(Path(task.folder) / REPORT, result.report.as_dict())
        mark_done(task, self._inputs)

    def _task(self, index: int, begins_at_neighbor: bool) -> Task:
        inputs = {"fixed": self._fixed, "moving": self._frames[index]}
        if begins_at_neighbor:
            inputs["start"] = str(self._outputs(index - 1)["transform"])
        outputs = {what: str(path) for what, path in self._outputs(index).items()}
        where = str(self._folder / FOLDER / f"{index:03d}")
        return Task(f"frame {index + 1}", where, inputs, outputs, asdict(self._settings), self._weights)
