"""The cases of ``python -m Training``: plans, manifests, checkpoints and arguments that cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Testing.Campaign.commands import TEXTS, TRAINING
from Testing.Campaign.materials import PLAN
from Testing.Campaign.outcomes import Case

CHANGES = [
    ('method = "voxelmorph-1"', 'method = "zzz"'),
    ('method = "voxelmorph-1"', "method = 5"),
    ('method = "voxelmorph-1"', 'method = ["voxelmorph-1"]'),
    ('method = "voxelmorph-1"', ""),
    ("seed = 1", "seed = -1"),
    ("seed = 1", "seed = 1.5"),
    ("seed = 1", 'seed = "one"'),
    ("seed = 1", "seed = 99999999999999999999"),
    ("seed = 1", "sead = 1"),
    ("seed = 1", "seed = 1\nvariant = 3"),
    ("seed = 1", 'seed = 1\npreset = "zzz"'),
    ("shape = [32, 32]", "shape = 32"),
    ("shape = [32, 32]", "shape = []"),
    ("shape = [32, 32]", "shape = [32]"),
    ("shape = [32, 32]", "shape = [32, 32, 32, 32]"),
    ("shape = [32, 32]", "shape = [0, 32]"),
    ("shape = [32, 32]", "shape = [-32, 32]"),
    ("shape = [32, 32]", "shape = [1000000000, 32]"),
    ("shape = [32, 32]", "shape = [4096, 4096, 4096]"),
    ("shape = [32, 32]", 'shape = ["a", 32]'),
    ("families = { shapes = 1.0 }", "families = 5"),
    ("families = { shapes = 1.0 }", "families = { zzz = 1.0 }"),
    ("families = { shapes = 1.0 }", "families = { shapes = nan }"),
    ("families = { shapes = 1.0 }", "families = { shapes = 0.0 }"),
    ("families = { shapes = 1.0 }", "count = [9, 2]"),
    ("families = { shapes = 1.0 }", "deform = 5"),
    ("families = { shapes = 1.0 }", "contrast = [1]"),
    ("[synthesis]", "[synthesis.deform]\nsd = [nan]\n[synthesis]"),
    ("steps = 1", "steps = 0"),
    ("steps = 1", "steps = 1.5"),
    ("steps = 1", 'steps = "many"'),
    ("batch = 1", "batch = 0"),
    ("batch = 1", "batch = 900000000"),
    ("batch = 1", 'precision = "float8"'),
    ("batch = 1", "average = 1.5"),
    ("batch = 1", "clip = -1.0"),
    ("batch = 1", 'decay = "linear"'),
    ("batch = 1", "warm_up = -4"),
    ("validate_every = 0", "validate_every = -1"),
    ("[schedule]", "[network]\nzzz = 1\n[schedule]"),
    ("[schedule]", '[network]\nfilters = "wide"\n[schedule]'),
    ("[schedule]", "[optimizer]\nlearning_rate = -1.0\n[schedule]"),
    ("[schedule]", '[optimizer]\nname = "magic"\n[schedule]'),
    ("[schedule]", '[loss]\nsimilarity = "magic"\n[schedule]'),
    ("[schedule]", "[loss]\nweight = inf\n[schedule]"),
    ("[schedule]", "[options]\nzzz = 1\n[schedule]"),
    ("[schedule]", "schedule = 5\n[other]"),
    ("[synthesis]", "[data]\nmanifest = 5\n[synthesis]"),
    ("[synthesis]", '[data]\nmanifest = "nowhere.json"\n[synthesis]'),
    ("[synthesis]", '[data]\nmanifest = "."\n[synthesis]'),
]
MANIFESTS: dict[str, Any] = {
    "a number": 5,
    "a list": [],
    "nothing": {},
    "training is a number": {"training": 5},
    "training is empty": {"training": []},
    "an entry is a number": {"training": [5]},
    "an image is a number": {"training": [{"image": 5}]},
    "an image is nowhere": {"training": [{"image": "nowhere.nii.gz"}, {"image": "nowhere2.nii.gz"}]},
    "an image is NUL": {"training": [{"image": "a\0b"}]},
    "a label is a list": {"training": [{"image": "a.nii", "label": []}]},
    "pairs are a number": {"training": [{"image": "a.nii"}], "registration_val": 7},
}


def training_cases(good: Path, bad: dict[str, Path], folder: Path) -> Iterator[Case]:
    """Every command; what they read besides the good things is made in ``folder``."""
    folder.mkdir(parents=True)
    plans, manifests = _plans(folder), _manifests(folder)
    plan, run, bundle = str(good / "plan.toml"), str(good / "run"), str(good / "model.safetensors")
    data = str(good / "data" / "dataset.json")
    quick = ("--output", "run", "--device", "cpu", "--quiet")

    def case(about: str, *arguments: str, refused: bool | None = True) -> Case:
        return Case(TRAINING, [*arguments], about, refused)

    for name, path in plans.items():
        yield case(f"train {name}", "train", str(path), *quick)
        yield case(f"export {name}", "export", str(path), run, "m.safetensors")
        yield case(f"synthesize {name}", "synthesize", str(path), "s.png", refused=None)
    for name, path in manifests.items():
        yield case(f"train --data {name}", "train", "voxelmorph-smoke", *quick, "--data", str(path))
        yield case(f"fields {name}", "fields", str(path), "f.json", "--output", "f")
        yield case(f"evaluate {name}", "evaluate", bundle, "--output", "e", "--data", str(path))
    for option in ("--steps", "--threads", "--device", "--start"):
        for text in TEXTS:
            yield case(f"train {option} {text[:20]!r}", "train", plan, *quick, option, text)
    for command in ("evaluate", "export", "fields", "manifest", "synthesize", "learn", "rows", "import-keras", "zzz"):
        yield case(f"{command} alone", command)
    for name, path in bad.items():
        yield case(f"evaluate of {name}", "evaluate", str(path), "--output", "e", "--pairs", "1")
        yield case(f"train --start {name}", "train", plan, *quick, "--start", str(path))
        yield case(f"import-keras {name}", "import-keras", str(path), "m.safetensors")
        yield case(f"learn {name}", "learn", str(path), "--output", "l", "--runs", "r")
        yield case(f"rows {name}", "rows", str(path), "--output", "l", "--runs", "r")
        yield case(f"export onto {name}", "export", plan, str(path), "m.safetensors")
    for option, values in {"--pairs": ["0", "-1", "zzz", "99999999999"], "--held-out": ["nan", "-1", "2"],
                           "--labels": ["zzz", "-1"], "--mask-threshold": ["nan", "zzz"]}.items():  # fmt: skip
        for text in values:
            yield case(f"evaluate {option} {text}", "evaluate", bundle, "--output", "e", "--data", data, option, text)
    for pattern in ("", "*", "**", "/tmp/*", "../*", "a", "*\0", "[*", "n" * 300 + "*", "*" * 50):
        arguments = "manifest", str(good), "m.json", "--images", pattern
        yield case(f"manifest --images {pattern[:20]!r}", *arguments, refused=None)
    for target in (plan, f"{run}/checkpoint.pt", f"{run}/plan.json"):
        yield case(f"export onto {Path(target).name}", "export", plan, run, target)
    yield case("fields onto the manifest", "fields", data, data, "--output", "f")
    yield case("manifest onto an image", "manifest", str(good), str(good / "fixed.nii.gz"), "--images", "*.nii.gz")
    for target in ("nowhere/m.safetensors", "kept.txt/m", "a\0b", "n" * 300, "folder.nii.gz"):
        yield case(f"export to {target[:20]!r}", "export", plan, run, target)
        yield case(f"synthesize to {target[:20]!r}", "synthesize", plan, target)
        yield case(f"train to {target[:20]!r}", "train", plan, *quick[2:], "--output", target, refused=None)


def _plans(folder: Path) -> dict[str, Path]:
    texts = {f"{old.split()[0]} -> {new[:40]!r}": PLAN.replace(old, new) for old, new in CHANGES}
    texts |= {"empty": "", "broken": "[[[", "deep": "a = " + "[" * 5000, "words": "hello"}
    found = {}
    for number, (name, text) in enumerate(texts.items()):
        found[f"plan {name}"] = path = folder / f"plan{number}.toml"
        path.write_text(text, encoding="utf-8")
    binary = found["plan of bytes"] = folder / "binary.toml"
    binary.write_bytes(bytes(range(256)))
    return found


def _manifests(folder: Path) -> dict[str, Path]:
    found = {}
    for number, (name, content) in enumerate(MANIFESTS.items()):
        found[f"manifest {name}"] = path = folder / f"manifest{number}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
    deep = found["manifest deep"] = folder / "deep.json"
    deep.write_text("[" * 100_000, encoding="utf-8")
    return found
