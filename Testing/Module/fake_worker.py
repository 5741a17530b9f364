"""Speaks the worker's protocol without registering anything. The method's name says what to do wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from array import array
from collections.abc import Callable
from pathlib import Path


def value(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def say(fraction: float, message: str, **more: object) -> None:
    print(json.dumps({"stage": "refine", "fraction": fraction, "message": message, **more}), flush=True)


CODES = {
    "float": "f",
    "double": "d",
    "short": "h",
    "unsigned short": "H",
    "unsigned char": "B",
    "signed char": "b",
    "int": "i",
}
"""What NRRD and ``array`` call numbers."""


def write(path: str, source: str, vectors: bool, size: float = 2.0) -> None:
    if path.endswith(".nrrd") and write_nrrd(Path(path), Path(source), vectors, size):
        return
    import SimpleITK as sitk

    if path.endswith(".h5"):
        sitk.WriteTransform(sitk.TranslationTransform(3, (2.0, 0.0, 0.0)), path)
        return
    assert not vectors
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(source), sitk.sitkFloat32), path)


def write_nrrd(path: Path, source: Path, vectors: bool, size: float) -> bool:
    """The image, or a shift by ``size`` on its grid; False if it is none that we can read.

    By hand: this process starts hundreds of times, and the imports would take longer than all else it does.
    """
    head, _, data = source.read_bytes().partition(b"\n\n")
    lines = head.decode().splitlines()
    about = dict(line.split(": ", 1) for line in lines if ": " in line)
    if about["encoding"] != "raw" or about["dimension"] != "3" or about["type"] not in CODES:
        return False
    numbers = array(CODES[about["type"]], data)
    about |= {"type": "float", "endian": "little"}
    if vectors:
        about |= {"dimension": "4", "sizes": f"3 {about['sizes']}", "kinds": f"vector {about['kinds']}"}
        about |= {"space directions": f"none {about['space directions']}"}
        numbers = array("f", [size, 0.0, 0.0]) * len(numbers)
    written = [line for line in lines if ": " not in line] + [": ".join(each) for each in about.items()]
    path.write_bytes("\n".join(written).encode() + b"\n\n" + array("f", numbers).tobytes())
    return True


def template(method: str) -> int:
    """As the library's command ``template``: all is one image, 2 mm from everybody."""
    folder, out = Path(sys.argv[2]).parent, Path(value("--output"))
    names = [line.split(",")[0] for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()[1:]]
    if method == "bad-input":
        print("The list names something else.", file=sys.stderr)
        return 2
    for name in ("template", "mean_jacobian"):
        source = str(folder / f"{names[0]}.nrrd")
        out.mkdir(exist_ok=True)
        write(str(out / f"{name}.nii.gz"), source, vectors=False)
    import SimpleITK as sitk

    ones = sitk.ReadImage(str(out / "mean_jacobian.nii.gz")) * 0 + 1
    sitk.WriteImage(ones, str(out / "mean_jacobian.nii.gz"))
    rounds = int(value("--rounds"))
    for number in range(1, rounds + 2):
        for k, name in enumerate(names, 1):
            own = out / "subjects" / name
            own.mkdir(parents=True, exist_ok=True)
            write(str(own / "transform.h5"), "", vectors=True)
            (own / "report.json").write_text('{"verdict": "good"}', encoding="utf-8")
            print(json.dumps({"stage": "batch", "fraction": k / len(names), "message": name}), flush=True)
            if method == "hang":
                time.sleep(600)
        if number <= rounds:
            print(json.dumps({"stage": "template", "fraction": number / rounds, "message": "moved"}), flush=True)
    return 0


def wait_for_stop(stop: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not stop() and time.monotonic() < end:
        time.sleep(0.01)


def main(stop: Callable[[], bool] = lambda: True) -> int:
    method = value("--method")
    if sys.argv[1:2] == ["template"]:
        return template(method)
    Path("arguments.json").write_text(json.dumps(sys.argv[1:]), encoding="utf-8")
    say(0.1, "reading")
    if method == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        say(0.3, f"child {child.pid}")
        time.sleep(600)
    if method.startswith("hang-in-"):
        print(json.dumps({"stage": method[8:], "fraction": 0.5, "message": "now"}), flush=True)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(600)
    if method == "garbage-and-hang":
        os.write(1, b"\xff\xfe\x00" * 400_000 + b"\n")
        say(0.2, "still here")
        time.sleep(600)
    if method == "garbage":
        os.write(1, b"\xff\xfe\x00 not json\n{\n[1, 2]\nnull\n" + b'{"stage": "x", "fraction": "high"}\n' * 3)
        os.write(1, b'{"stage": "done"}\n')
        return 0
    if method == "previews":
        for number, size in enumerate((2.0, 4.0)):
            write(f"preview-{number}.nrrd", "fixed.nrrd", vectors=True, size=size)
            say(0.2 + 0.2 * number, f"level {number}", preview=f"preview-{number}.nrrd")
            if number == 0:
                wait_for_stop(stop)
    if method == "bad-input":
        print("The fixed image has 3 voxels without a number; replace them.", file=sys.stderr)
        return 2
    if method == "traceback":
        raise RuntimeError("secret details")
    if method == "memory":
        print("RuntimeError: [enforce fail] can't allocate memory: you tried to allocate 9 bytes", file=sys.stderr)
        return 1
    if method == "no-torch":
        print("Traceback\nModuleNotFoundError: No module named 'torch'", file=sys.stderr)
        return 1
    if method == "suicide":
        os.kill(os.getpid(), 9)
    if method == "slow":
        for step in range(20):
            say(0.2 + step / 40, f"step {step}")
            time.sleep(0.1)
    if method != "no-files":
        write(value("--output-transform"), "fixed.nrrd", vectors=True)
        for kind in ("inverse", "volume", "jacobian", "doubt"):
            if value(f"--output-{kind}"):
                write(value(f"--output-{kind}"), "fixed.nrrd", vectors=kind == "inverse")
    if method == "broken-files":
        Path(value("--output-volume")).write_text("nonsense", encoding="utf-8")
    say(0.9, "almost")
    report = {"similarity_before": 0.1, "similarity_after": 0.8, "verdict": "good", "reasons": ["Fine."]}
    if method == "folds":
        report |= {"verdict": "check", "reasons": ["The field folds in 0.0100 % of the image."]}
    print(json.dumps({"stage": "done", "fraction": 1.0, "message": "done", "report": report}), flush=True)
    return 0


def served(arguments: list[str], stop: Callable[[], bool]) -> int:
    sys.argv[1:] = arguments
    try:
        return main(stop)
    except RuntimeError:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        from DeepRegistrationLib.command_line.serve import serve

        sys.exit(serve(served, sys.argv[2:]))
    sys.exit(main())
