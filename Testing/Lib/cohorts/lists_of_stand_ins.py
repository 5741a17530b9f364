"""Lists and runs with the stand-in for the child that registers."""

from __future__ import annotations

import csv
import json
import sys

from DeepRegistrationLib.cohorts.lists import read_jobs
from DeepRegistrationLib.cohorts.run import Resources, run_batch

COMMAND = (sys.executable, "-m", "Testing.Lib.cohorts.stand_in")


def listed(folder, *names):
    """A list of pairs; of each fixed image there is a file with its name in it."""
    for name in (*names, "m"):
        (folder / f"{name}.nrrd").write_text(name, encoding="utf-8")
    path = folder / "list.json"
    path.write_text(json.dumps([{"fixed": f"{name}.nrrd", "moving": "m.nrrd"} for name in names]), encoding="utf-8")
    return path


def run(jobs, out, *, workers=1, memory=0, threads=0, **options):
    resources = Resources(workers, threads, memory, command=COMMAND)
    return run_batch(jobs, out, outputs=options.pop("outputs", ["transform"]), resources=resources, **options)


def run_list(folder, *names, **options):
    return run(read_jobs(listed(folder, *names)), folder / "out", **options)


def asked(folder):
    """(image, process, threads, alone) of each pair that a child was asked for."""
    return [line.split() for line in (folder / "calls").read_text(encoding="utf-8").splitlines()]


def calls(folder):
    return [line[0] for line in asked(folder)]


def table(folder):
    with (folder / "reports.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
