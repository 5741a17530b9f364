"""The cases of the campaign: every command with one thing wrong, and with two drawn at random."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from Testing.Campaign import calls
from Testing.Campaign.outcomes import Case

LIBRARY, TRAINING, CALL = "DeepRegistrationLib", "Training", "register()"
QUICK = ["--affine", "none", "--refine", "none", "--method", "none", "--device", "cpu", "--progress", "none"]
REFINED = ["--affine", "none", "--refine", "fast", "--method", "none", "--device", "cpu", "--progress", "none"]
TEXTS = [
    "",
    "nan",
    "-1",
    "1e400",
    "99999999999999999999",
    "zzz",
    "ü",
    "n" * 5000,
    "../x",
    "a\0b",
    "None",
    "\x01",
    "1,5",
]
SETTINGS = ("result", "method", "variant", "refine", "affine", "similarity", "smoothness", "device", "seed", "progress")
RIGHT = {
    "smoothness": ("1e0",), "method": ("None",), "seed": (), "refine": (), "affine": (), "similarity": (),
    "device": (), "variant": (), "progress": (), "result": (),
}  # fmt: skip

Things = dict[str, Path]


class Generator:
    """Makes the cases from the materials.

    Attributes:
        good: the folder of good inputs.
        bad, odd: images that must be refused, and that may be fine.
        points, transforms, lists: that must be refused.
    """

    def __init__(self, good: Path, bad: Things, odd: Things, points: Things, transforms: Things, lists: Things) -> None:
        self.good, self.bad, self.odd = good, bad, odd
        self.points, self.transforms, self.lists = points, transforms, lists

    def cases(self, pairs_of_faults: int, seed: int = 0) -> Iterator[Case]:
        """All with one fault, then so many with two."""
        single = [*self.register(), *self.apply(), *self.evaluate(), *self.batch(), *self.atlas()]
        single += [*self.motion(), *self.small(), *self.api()]
        yield from single
        yield from self.two_at_once(pairs_of_faults, seed)

    def _register(self, about: str, changes: dict[str, str], how: list[str] = QUICK, **more: bool | None) -> Case:
        """``register`` of the good pair; ``changes`` by "fixed", "moving" or an option."""
        places = {"fixed": str(self.good / "fixed.nii.gz"), "moving": str(self.good / "moving.nii.gz")}
        options = [t for name, value in changes.items() if name not in places for t in (f"--{name}", value)]
        images = [changes.get(name, place) for name, place in places.items()]
        if not any(name.startswith(("output-", "report")) for name in changes):
            options += ["--output-transform", "T.h5"]
        return Case(LIBRARY, ["register", *images, *how, *options], f"register {about}", **more)

    def register(self) -> Iterator[Case]:
        for side in ("fixed", "moving"):
            for name, path in self.bad.items():
                yield self._register(f"{side}: {name}", {side: str(path)})
            for name, path in self.odd.items():
                yield self._register(f"{side}: {name}", {side: str(path)}, refused=None)
        for name, path in self.odd.items():
            yield self._register(f"all stages, moving: {name}", {"moving": str(path)}, REFINED[2:], refused=None)
        kinds = {"mask": self.bad, "labels": self.bad, "points": self.points}
        for kind, things in kinds.items():
            for name, path in things.items():
                if kind != "points" and name == "constant":  # a mask of everything
                    continue
                other = self.good / ("fixed.csv" if kind == "points" else f"fixed_{kind}.nii.gz")
                both = {f"fixed-{kind}": str(other), f"moving-{kind}": str(path)}
                fine = name in ("tiny", "one voxel") or (kind == "mask" and name == "vectors") or name == "points.csv"
                yield self._register(f"moving-{kind}: {name}", both, REFINED, refused=None if fine else True)
        for name, path in self.bad.items():
            fine = None if name in ("constant", "tiny", "one voxel") else True
            yield self._register(f"rigid-labels: {name}", {"rigid-labels": str(path)}, REFINED, refused=fine)
        for text in TEXTS:
            yield self._register(f"--note {text[:20]!r}", {"note": text, "report": "r"}, refused=None)
        for name, path in self.transforms.items():
            yield self._register(f"initial-transform: {name}", {"initial-transform": str(path)})
        for name in SETTINGS:
            for text in TEXTS:
                yield self._register(
                    f"--{name} {text[:20]!r}", {name: text}, refused=self._setting_is_wrong(name, text)
                )
        for option in ("transform", "inverse", "volume", "jacobian", "doubt"):
            for about, value in self._outputs(option):
                yield self._register(f"--output-{option} {about}", {f"output-{option}": value})
        for about, value in (("a file", "kept.txt"), ("NUL", "a\0b"), ("long", "n" * 300), ("in a file", "kept.txt/r")):
            yield self._register(f"--report {about}", {"report": value})
        yield self._register("the same output twice", {"output-transform": "a.nii.gz", "output-volume": "a.nii.gz"})
        yield self._register("2-D with 3-D", {"moving": str(self.good / "moving2d.nii.gz")})

    @staticmethod
    def _setting_is_wrong(name: str, text: str) -> bool | None:
        return None if text in RIGHT.get(name, ()) or (name, text) == ("method", "none") else True

    def _outputs(self, option: str) -> Iterator[tuple[str, str]]:
        yield "nowhere", "nowhere/a.nii.gz"
        yield "without an ending", "result"
        yield "an unknown ending", "result.zzz"
        yield "FreeSurfer's", "result.mgz"
        yield "a folder", "folder.nii.gz"
        yield "in a file", "kept.txt/a.nii.gz"
        yield "NUL", "a\0b.nii.gz"
        yield "too long", "n" * 300 + ".nii.gz"
        yield "the fixed image", str(self.good / "fixed.nii.gz")
        yield "nothing", ""
        if option in ("transform", "inverse"):
            yield "a matrix", "result.mat"
            yield "MINC's", "result.xfm"
        else:
            yield "a picture", "result.png"

    def apply(self) -> Iterator[Case]:
        good, warp = self.good, str(self.good / "warp.h5")
        image, reference = str(good / "moving.nii.gz"), str(good / "fixed.nii.gz")

        def case(about: str, transform: str, source: str, out: str, *more: str, refused: bool | None = True) -> Case:
            return Case(LIBRARY, ["apply", transform, source, "--output", out, *more], f"apply {about}", refused)

        at = ("--reference", reference)
        for name, path in self.transforms.items():
            yield case(
                f"transform: {name}",
                str(path),
                image,
                "a.nii.gz",
                *at,
            )
            yield case(f"points through {name}", str(path), str(good / "fixed.csv"), "a.csv")
        for name, path in self.bad.items():
            fine = None if name in ("constant", "tiny", "one voxel", "nan", "vectors") else True
            yield case(f"image: {name}", warp, str(path), "a.nii.gz", *at, refused=fine)
            yield case(f"reference: {name}", warp, image, "a.nii.gz", "--reference", str(path), refused=fine)
        for name, path in self.odd.items():
            yield case(f"image: {name}", warp, str(path), "a.nii.gz", *at, refused=None)
        for name, path in self.points.items():
            fine = None if name in ("far.csv", "more.csv") else True
            yield case(f"points: {name}", warp, str(path), f"a{_ending(name)}", refused=fine)
        for about, value in self._outputs("volume"):
            yield case(f"--output {about}", warp, image, value, *at)
        for text in TEXTS:
            yield case(
                f"--fill {text[:20]!r}",
                warp,
                image,
                "a.nii.gz",
                *at,
                "--fill",
                text,
                refused=None if text in ("-1", "nan", TEXTS[4]) else True,
            )
        yield case("no reference", warp, image, "a.nii.gz")
        yield case("onto the points", warp, str(good / "fixed.csv"), str(good / "fixed.csv"))
        yield case("onto the transform", warp, str(good / "fixed.csv"), warp)

    def evaluate(self) -> Iterator[Case]:
        good, warp = self.good, str(self.good / "warp.h5")
        maps = [str(good / f"{side}_labels.nii.gz") for side in ("fixed", "moving")]

        def case(about: str, *arguments: str, refused: bool | None = True) -> Case:
            return Case(LIBRARY, ["evaluate", *arguments], f"evaluate {about}", refused)

        def labels(one: str, other: str) -> tuple[str, ...]:
            return "--fixed-labels", one, "--moving-labels", other

        for name, path in self.transforms.items():
            yield case(f"transform: {name}", "--transform", str(path), *labels(*maps))
        for name, path in self.bad.items():
            fine = None if name in ("constant", "tiny", "one voxel") else True
            yield case(f"labels: {name}", "--transform", warp, *labels(str(path), maps[1]), refused=fine)
        for name, path in self.points.items():
            both = "--fixed-points", str(path), "--moving-points", str(good / "fixed.csv")
            yield case(f"points: {name}", "--transform", warp, *both, refused=None if name == "far.csv" else True)
        for text in (*TEXTS, "1-400000000", "5-1", "1-", "-", "77"):
            fine = None if text == "1,5" else True  # labels 1 and 5
            more = "--labels", text
            yield case(f"--labels {text[:20]!r}", "--transform", warp, *labels(*maps), *more, refused=fine)
        yield case("nothing to score", "--transform", warp)
        yield case("half", "--transform", warp, "--fixed-labels", maps[0])

    def batch(self) -> Iterator[Case]:
        pairs = str(self.good / "pairs.csv")
        quiet = ["--output", "out", "--affine", "none", "--refine", "none", "--method", "none", "--device", "cpu"]
        for name, path in self.lists.items():
            yield Case(LIBRARY, ["batch", str(path), *quiet], f"batch {name}")
        wrong = {
            "outputs": ["", "zzz", "transform,zzz", "n" * 3000],
            "pairs": ["all", "zzz", "to:", "to:nobody", ""],
            "workers": ["0", "-5", "1e3", "99999999", "zzz"],
            "threads": ["-1", "99999999", "zzz"],
            "memory": ["zzz", "-4GB", "nan", "1e400", "4 elephants"],
            "shard": ["0/1", "2/1", "1/0", "1", "a/b", "-1/-1", "1/2/3"],
            "scheduler": ["", "nowhere.json", "zzz://x"],
        }
        for option, values in wrong.items():
            for value in values:
                yield Case(LIBRARY, ["batch", pairs, *quiet, f"--{option}={value}"], f"batch --{option} {value[:20]!r}")
        for name, path in self.odd.items():
            if "name" in name:
                listed = self.good / f"{name}.json"
                listed.write_text(json.dumps([{"fixed": str(path), "moving": "moving.nii.gz"}]), encoding="utf-8")
                yield Case(LIBRARY, ["batch", str(listed), *quiet], f"batch {name}", None)
        for output in ("kept.txt", "a\0b", "kept.txt/x", "n" * 300, str(self.good / "fixed.nii.gz")):
            yield Case(LIBRARY, ["batch", pairs, *quiet, "--output", output], f"batch --output {output[-20:]!r}")

    def atlas(self) -> Iterator[Case]:
        """``template`` and ``propagate``, as far as nothing is registered."""
        images = self.good / "images.csv"
        images.write_text("image\nfixed.nii.gz\nmoving.nii.gz\n", encoding="utf-8")
        quiet = ["--output", "t", "--method", "none", "--device", "cpu", "--progress", "none"]
        for name, path in self.lists.items():
            yield Case(LIBRARY, ["template", str(path), *quiet], f"template {name}")
        wrong = {
            "rounds": ["0", "-1", "51", "1e3", "zzz", "99999999999999999999"],
            "start": ["", "nobody", "a\0b", "n" * 5000],
            "weighting": ["", "zzz"],
            "workers": ["0", "-5", "zzz"],
            "memory": ["zzz", "-4GB"],
            "refine": ["none", "zzz"],
            "affine": ["none"],
            "output": ["kept.txt", "a\0b", "kept.txt/x", "n" * 300],
        }
        for option, values in wrong.items():
            for value in values:
                about = f"template --{option} {value[:20]!r}"
                yield Case(LIBRARY, ["template", str(images), *quiet, f"--{option}={value}"], about)
        for place in ("nowhere", "kept.txt", "a\0b", "n" * 300, "folder.nii.gz"):
            image = str(self.good / "fixed.nii.gz")
            arguments = ["propagate", image, "--template", place, "--output", "a.nii.gz"]
            yield Case(LIBRARY, arguments, f"propagate --template {place[:20]!r}")
        for about, value in self._outputs("volume"):
            arguments = ["propagate", "fixed.nii.gz", "--template", "folder.nii.gz", "--output", value]
            yield Case(LIBRARY, arguments, f"propagate --output {about}")

    def motion(self) -> Iterator[Case]:
        """``sequence`` and ``motion``, as far as nothing is registered."""
        quiet = ["--output", "t", "--method", "none", "--device", "cpu", "--progress", "none"]
        for name, path in self.bad.items():
            yield Case(LIBRARY, ["sequence", str(path), "moving.nii.gz", *quiet], f"sequence of {name}")
        for name, path in self.transforms.items():
            yield Case(LIBRARY, ["motion", "fixed.nii.gz", str(path), "--output", "t"], f"motion of {name}", None)
        wrong = {
            "smooth-in-time": ["-1", "11", "nan", "inf", "zzz", ""],
            "labels": ["nowhere", "a\0b", "kept.txt"],
            "points": ["nowhere", "a\0b", "kept.txt"],
            "output": ["kept.txt", "a\0b", "kept.txt/x", "n" * 300],
        }
        for command, tail in (("sequence", quiet), ("motion", quiet[:2])):
            for option, values in wrong.items():
                for value in values:
                    arguments = [command, "fixed.nii.gz", "moving.nii.gz", *tail, f"--{option}={value}"]
                    yield Case(LIBRARY, arguments, f"{command} --{option} {value[:20]!r}")

    def small(self) -> Iterator[Case]:
        """``collect``, ``methods``, and what is no command."""
        for name, place in {
            **self.lists,
            "nowhere": Path("nowhere"),
            "NUL": Path("a\0b"),
            "long": Path("n" * 300),
        }.items():
            yield Case(LIBRARY, ["collect", str(place)], f"collect {name}")
        for arguments in (
            [],
            ["zzz"],
            ["register"],
            ["methods", "zzz"],
            ["--zzz"],
            ["register", "--seed"],
            [""],
            ["a\0"],
        ):
            yield Case(LIBRARY, arguments, f"arguments {arguments}")
        yield Case(LIBRARY, ["methods", "--json"], "methods", False)

    def api(self) -> Iterator[Case]:
        for keyword, things in calls.KEYWORDS.items():
            for name, (_, refused) in things.items():
                yield Case(CALL, {keyword: name}, f"{keyword}: {name}", refused)
        names = (
            *calls.KEYWORDS,
            "moving_mask",
            "settings",
            *SETTINGS[:-1],
            "fine_tune",
            "untrained",
            "cancel",
            "progress",
        )
        for keyword in names:
            for name in calls.VALUES:
                yield Case(CALL, {keyword: name}, f"{keyword}: {name}", None)

    def two_at_once(self, count: int, seed: int) -> Iterator[Case]:
        draw = random.Random(seed)
        images, texts = {**self.bad, **self.odd}, dict(zip(SETTINGS, SETTINGS, strict=True))
        for number in range(count):
            changes, about = {}, []
            for _ in range(2):
                what = draw.choice(("fixed", "moving", "moving-mask", "initial-transform", *texts))
                things = self.transforms if what == "initial-transform" else images
                if what in texts:
                    changes[what] = draw.choice(TEXTS)
                    about.append(f"{what} {changes[what][:20]!r}")
                else:
                    name = draw.choice(sorted(things))
                    changes[what] = str(things[name])
                    about.append(f"{what}: {name}")
            yield self._register(f"#{number} " + ", ".join(about), changes, refused=None)


def _ending(name: str) -> str:
    return name[name.index(".") :]
