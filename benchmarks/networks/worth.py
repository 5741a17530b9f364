"""What each model is worth on each kind of real images, for its header: gains over refinement alone."""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib.models.worth import Worth

from ..kinds import HISTOLOGY, SLICES
from .real import HALF, KNOWN, main_figure

LIBRARY = Path(__file__).resolve().parents[2] / "DeepRegistrationLib"
ENGINE = ("affine", "fields", "inputs", "refinement", "similarity", "pipeline.py", "models/predict.py")
"""What decides which transform a registration gives, besides a network's weights; what only judges it does not."""
KINDS = {
    "chest (X-ray, 2-D)": ("chest X-rays", 1),
    SLICES: ("brain slices", 1),
    KNOWN: ("T1 with T2 slices", 2),
    HISTOLOGY: ("stained sections", 2),
    "brain (T1)": ("T1 brains", 1),
    "brain (pseudo-T2 <- T1)": ("T2-like with T1 brains", 2),
    "brain with tumor (landmarks)": ("brains with a tumor", 0),
    "hippocampus (MR)": ("hippocampi", 1),
    "heart (cine MR)": ("hearts", 1),
}
"""Group of real pairs -> its name for people, and ``Worth.contrasts``."""
RUNS = ("before", "network alone", "no start + fast", "network + fast")


def engine(library: Path = LIBRARY) -> str:
    """A short name of the engine's code: figures of another one are old. Comments and docstrings do not count."""
    digest = hashlib.sha256()
    for part in ENGINE:
        place = library / part
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{path.name} {_code_of(path.read_text(encoding='utf-8'))}".encode())
    return digest.hexdigest()[:8]


def _code_of(text: str) -> str:
    """What Python runs, without sentences that stand alone."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_sentence(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_sentence(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def worth_of(values: dict[str, Any]) -> list[Worth]:
    """Of what ``models measure`` kept of a model: a row for each group of real pairs that was gone through."""
    groups: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for key, value in values.items():
        if key.count("|") == 2:
            group, pair, run = key.split("|")
            groups[group][pair][run] = value
    rows = []
    for group, pairs in groups.items():
        whole = [found for found in pairs.values() if all(run in found for run in RUNS)]
        if whole:
            images, contrasts = KINDS.get(group.removesuffix(HALF), (group, 0))
            figure, _, _ = main_figure(whole[0]["before"])
            means = [round(float(np.mean([main_figure(found[run])[1] for found in whole])), 5) for run in RUNS]
            rows.append(Worth(images, contrasts, figure, len(whole), *means))
    order = [images for images, _ in KINDS.values()]
    return sorted(rows, key=lambda row: order.index(row.images) if row.images in order else len(order))
