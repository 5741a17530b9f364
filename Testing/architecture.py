"""The plan of the house: which room may use which; and its picture, docs/architecture.png.

A room is a folder of a package; a file beside the rooms is a room of its own.

    python -m Testing.architecture
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "DeepRegistrationLib": ROOT / "DeepRegistrationLib",
    "DeepRegistrationSlicer": ROOT / "DeepRegistration" / "DeepRegistrationSlicer",
    "Training": ROOT / "Training",
    "benchmarks": ROOT / "benchmarks",
}
ARROWS = {
    "DeepRegistrationLib": {
        "errors": "",
        "progress": "errors",
        "settings": "errors",
        "device": "errors settings system",
        "system": "errors",
        "files": "errors system",
        "fields": "errors progress",
        "similarity": "errors fields",
        "dicom": "errors files __init__",
        "geometry": "errors files fields dicom",
        "inputs": "errors device fields geometry affine",
        "quality": "errors settings progress files fields similarity geometry inputs affine refinement",
        "affine": "errors progress geometry",
        "refinement": "errors settings progress fields similarity",
        "losses": "errors fields similarity",
        "networks": "errors fields similarity",
        "models": "errors settings progress files fields similarity geometry losses networks",
        "phantom": "errors fields geometry",
        "result": "geometry quality",
        "preview": "progress fields geometry inputs",
        "pipeline": "errors settings progress device fields geometry inputs quality affine refinement models result "
        "preview __init__",
        "cohorts": "errors settings system files geometry quality result pipeline __init__",
        "motion": "errors progress settings system files geometry inputs result pipeline",
        "atlas": "errors settings files fields geometry inputs quality pipeline cohorts",
        "command_line": "errors settings progress system files dicom geometry inputs quality models pipeline cohorts "
        "atlas motion",
        "__main__": "progress system command_line",
        "__init__": "",
    },
    "DeepRegistrationSlicer": {
        "errors": "",
        "texts": "",
        "scene": "errors texts",
        "worker": "errors texts",
        "registration": "errors texts scene worker",
        "viewing": "errors texts scene worker registration",
        "panel": "errors texts scene worker registration viewing",
        "selftest": "worker",
        "__init__": "",
    },
    "Training": {
        "setting_types": "",
        "limits": "",
        "safe_files": "",
        "synthesis": "setting_types limits safe_files",
        "plan_checks": "limits synthesis",
        "plan": "setting_types limits safe_files synthesis plan_checks",
        "pairs": "limits safe_files plan synthesis",
        "steps": "setting_types plan pairs",
        "runs": "limits safe_files plan plan_checks synthesis pairs steps",
        "evaluation": "limits safe_files plan pairs runs",
        "__main__": "synthesis pairs runs evaluation",
        "__init__": "",
    },
}
"""Of each room, the rooms of its package that it may import from."""


def used(package: str, path: Path) -> set[tuple[str, ...]]:
    """The files of its own package that a file imports, lazily or not, as paths without ending; not those for types."""
    base = FLOORS[package]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    here = path.relative_to(base).parts[:-1]
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in typing:
            continue
        module = tuple(node.module.split(".")) if node.module else ()
        if node.level:
            source = here[: len(here) - node.level + 1] + module
        elif module[:1] == (package,):
            source = module[1:]
        else:
            continue
        for alias in node.names:
            for target in ((*source, alias.name), source):
                if (base.joinpath(*target).with_suffix(".py") if target else base / "__init__.py").is_file():
                    found.add(target or ("__init__",))
                    break
                if base.joinpath(*target, "__init__.py").is_file():
                    found.add((*target, "__init__"))
                    break
    return found


@functools.cache
def arrows(package: str) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    base = FLOORS[package]
    return {p.relative_to(base).with_suffix("").parts: used(package, p) for p in base.rglob("*.py")}


def heights(package: str) -> dict[str, int]:
    """How many rooms lie below each one: 0 for those that use none."""
    plan = {room: text.split() for room, text in ARROWS[package].items() if room != "__init__"}

    def height(room: str) -> int:
        below = [height(other) for other in plan[room] if other in plan]
        return 1 + max(below) if below else 0

    return {room: height(room) for room in plan}


def needed(package: str) -> list[tuple[str, str]]:
    """The arrows of the plan, without those that a longer way says already."""
    plan = {room: set(text.split()) - {"__init__"} for room, text in ARROWS[package].items() if room != "__init__"}

    def reached(room: str) -> set[str]:
        return plan[room].union(*(reached(other) for other in plan[room])) if plan[room] else set()

    return [
        (room, target)
        for room, targets in plan.items()
        for target in targets
        if not any(target in reached(other) for other in targets if other != target)
    ]


def draw(path: Path) -> None:
    """The rooms of every package, the lowest below, and the arrows between them, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(ARROWS), figsize=(17, 8.5), width_ratios=[6, 5, 4])
    for axis, package in zip(axes, ARROWS, strict=True):
        spots: dict[str, tuple[float, float]] = {}
        levels = heights(package)
        for level in range(max(levels.values()) + 1):
            row = sorted(room for room, height in levels.items() if height == level)
            for number, room in enumerate(row):
                spots[room] = (number - (len(row) - 1) / 2 + 0.22 * (-1) ** level, level)
        for room, target in needed(package):
            axis.annotate(
                "",
                spots[target],
                spots[room],
                arrowprops={"arrowstyle": "->", "color": "0.65", "shrinkA": 11, "shrinkB": 11},
            )
        for room, (x, y) in spots.items():
            is_room = (FLOORS[package] / room).is_dir()
            box = {"boxstyle": "round,pad=0.4", "fc": "#dceaf7" if is_room else "white", "ec": "0.4"}
            axis.text(x, y, room, ha="center", va="center", fontsize=9, bbox=box)
        axis.set_title(package, fontsize=13)
        axis.set_xlim(min(x for x, _ in spots.values()) - 0.8, max(x for x, _ in spots.values()) + 0.8)
        axis.set_ylim(-0.6, max(levels.values()) + 0.6)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    draw(ROOT / "docs" / "architecture.png")
