"""What a worker does with one pair: leave it if it is done, claim it, ask its child, say how it went. Without torch."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files.writing import NO_ROOM
from .child import answer_to
from .children import Child, Died, Limits
from .claims import Claim
from .finished import DONE, REPORT, Hashes, Task, finished_report

DONE_NOW, SKIPPED, FAILED, DIED, BUSY = "done", "skipped", "failed", "died", "busy"
ROW_MEASURES = (
    "similarity_before",
    "similarity_after",
    "label_dice",
    "estimated_error_mm",
    "error_bound_mm",
    "lost_percent",
    "doubt_percent",
    "folding_percent",
    "log_jacobian_sd",
    "mean_displacement_mm",
    "max_displacement_mm",
    "inverse_error_mm",
    "total_seconds",
    "method",
    "refine",
    "affine",
    "device",
    "model_hash",
)
MADE = (REPORT, "report.html", "overlay.png")

Row = dict[str, Any]
_hashes = Hashes()
_own = threading.local()
_children: list[Child] = []


def do_pair(task: Task, child: Child) -> Row:
    """One row: the pair's name, its status, the sentence if there is none to be proud of, and what was measured."""
    answer = answer_to(lambda: {"row": _do(task, child)})
    row: Row = answer["report"]["row"] if "report" in answer else row_of(task, FAILED, answer["sentence"])
    return row


def _do(task: Task, child: Child) -> Row:
    folder = Path(task.folder)
    report = finished_report(task, _hashes)
    if report:
        return row_of(task, SKIPPED, report=report)
    try:
        for place in {folder, *(Path(path).parent for path in task.outputs.values())}:
            place.mkdir(parents=True, exist_ok=True)
        claim = Claim(folder)
        if not claim.take():
            return row_of(task, BUSY)
    except OSError as error:
        sentence = f"The folder {folder} cannot be written: {error.strerror}."
        return row_of(task, FAILED, sentence) | {"full": error.errno in NO_ROOM}
    try:
        report = finished_report(task, _hashes)  # by another one, between the first look and the claim
        if report:
            return row_of(task, SKIPPED, report=report)
        (folder / DONE).unlink(missing_ok=True)
        for unfinished in folder.glob(".partial-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        try:
            answer = child.ask(task.as_dict(), 0 if task.alone else None)
        except Died as error:
            return row_of(task, DIED, str(error))
        if answer["status"] == DONE_NOW:
            return row_of(task, DONE_NOW, report=answer["report"])
        if not answer.get("unchanged"):  # as its sentence says where the disk is full
            for path in (*map(Path, task.outputs.values()), *(folder / name for name in MADE)):
                path.unlink(missing_ok=True)  # of an earlier run: no longer what the row says
        return row_of(task, FAILED, answer["sentence"]) | {"full": answer.get("full", False)}
    finally:
        claim.release()


def row_of(task: Task, status: str, sentence: str = "", report: Row | None = None) -> Row:
    """What is kept of a pair in the table."""
    report = report or {}
    return {
        "name": task.name,
        "status": status,
        "sentence": sentence,
        "fixed": task.inputs["fixed"],
        "moving": task.inputs["moving"],
        "report": {key: report.get(key) for key in ("verdict", "reasons", *ROW_MEASURES)} if report else {},
        "time": time.time(),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }


def do_on_any_worker(task: str, limits: Limits, command: Sequence[str]) -> Row:
    """``do_pair`` with the child that belongs to this thread: what Dask sends to its workers."""
    child = getattr(_own, "child", None)
    if child is None or _own.limits != limits:
        if child is not None:
            child.stop()
        child = _own.child = Child(limits, command)
        _own.limits = limits
        _children.append(child)
    return do_pair(Task(**json.loads(task)), child)


def stop_children() -> None:
    """End those of ``do_on_any_worker`` in this process."""
    while _children:
        _children.pop().stop()
    _own.__dict__.clear()
