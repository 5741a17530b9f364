"""The commands ``template``, the mean image of a cohort, and ``propagate``, its labels carried to a new image."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..atlas.weightings import WEIGHTINGS
from ..cohorts.lists import read_subjects
from ..errors import InputError
from ..files.endings import image_endings
from ..settings import Settings
from .batch_command import TOLD, add_where, resources_from, weights_for
from .options import settings_from
from .outputs import Output, check_folder, check_outputs


def add_template(commands: Any, add_how: Callable[[argparse.ArgumentParser], Any]) -> None:
    """Add the parsers of ``template`` and ``propagate``."""
    parser = commands.add_parser(
        "template",
        help="make the mean image of a cohort, that leans to no subject, with maps to each",
        description="LIST names two or more images, as for batch --pairs all: the column image, and name, mask and "
        "labels where there are such. With labels the template gets labels, too, and leave_one_out.csv says how well "
        "those of all others fit each subject.",
    )
    parser.add_argument("list", metavar="LIST", help="a table or JSON with the column image")
    parser.add_argument("--output", metavar="DIR", required=True, help="what is there of an earlier run is used")
    parser.add_argument("--rounds", type=int, default=4, help="how often it is made anew (default: %(default)s)")
    parser.add_argument("--start", metavar="NAME", help="subject whose grid and pose it gets (default: the first)")
    parser.add_argument("--weighting", choices=WEIGHTINGS, default="local", help="of labels (default: %(default)s)")
    add_where(parser, "subjects")
    add_how(parser)
    parser.add_argument("--progress", choices=[*TOLD], default="lines")
    parser.set_defaults(run=run_template, patience=10.0)
    parser = commands.add_parser("propagate", help="label an image with the subjects of a template that has labels")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--template", metavar="DIR", required=True, help="the output of the command template")
    parser.add_argument("--output", metavar="L.nii.gz", required=True)
    parser.add_argument("--weighting", choices=WEIGHTINGS, default="local", help="of labels (default: %(default)s)")
    add_how(parser)
    parser.set_defaults(run=run_propagate)


def run_template(options: argparse.Namespace) -> None:
    """Make the template; says after each round how far it still moved."""
    settings = settings_from(options)
    resources = resources_from(options)
    weights = weights_for(settings)
    check_folder("--output", options.output)
    subjects = read_subjects(options.list, lambda sentence: print(sentence, file=sys.stderr))
    for subject in subjects:
        missing = next((p for p in (subject.image, subject.labels, subject.mask) if p and not p.exists()), None)
        if missing is not None:
            raise InputError(f"The list {options.list} names {missing}, which is not there; correct the path.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the workers are ended too
    from ..atlas.labeling import label_template
    from ..atlas.template import Step, build_template

    def noted(step: Step) -> None:
        if options.progress == "lines":
            print(f"round {step.number} of {step.count}: the template moved by {step.drift_mm:.3g} mm", flush=True)

    build_template(
        subjects,
        options.output,
        settings,
        options.rounds,
        options.start,
        resources,
        weights=weights,
        told=TOLD[options.progress],
        noted=noted,
    )
    if sum(subject.labels is not None for subject in subjects) > 1:
        scores = label_template(subjects, options.output, options.weighting)
        if options.progress != "none":
            print(f"labels of all others: Dice {sum(scores) / len(scores):.3f} on average, {min(scores):.3f} at worst")


def run_propagate(options: argparse.Namespace) -> None:
    """Label one image."""
    settings: Settings = settings_from(options)
    inputs = {"the image": options.image}
    if not Path(options.template).is_dir():
        raise InputError(f"There is no folder {options.template}; give the one that the command template made.")
    check_outputs([Output("--output", options.output, "A volume", image_endings(False))], inputs)
    from ..atlas.labeling import propagate

    labels, report = propagate(options.image, options.template, settings, options.weighting)
    labels.save(options.output)
    verdict, reasons = report.judge()
    print(f"{verdict}: {' '.join(reasons)}" if reasons else verdict)
