"""The commands ``template``, the mean image of a cohort, and ``propagate``, its labels carried to a new image."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from ..cohorts.lists import read_subjects
from ..cohorts.others import alone_in
from ..errors import InputError
from ..files.endings import image_endings
from ..settings import Settings
from .batch_command import TOLD, resources_from, weights_for
from .options import settings_from
from .outputs import Output, check_folder, check_outputs


def run_template(options: argparse.Namespace) -> None:
    """Make the template; says after each round how far it still moved."""
    settings = settings_from(options)
    resources = resources_from(options)
    weights = weights_for(settings)
    check_folder("--output", options.output)

    def tell(sentence: str) -> None:
        print(sentence, file=sys.stderr)

    subjects = read_subjects(options.list, tell)
    for subject in subjects:
        missing = next((p for p in (subject.image, subject.labels, subject.mask) if p and not p.exists()), None)
        if missing is not None:
            raise InputError(f"The list {options.list} names {missing}, which is not there; correct the path.")
    labeled = sum(subject.labels is not None for subject in subjects)
    if labeled == 1:
        tell(f"The labels in {options.list} are left aside, as they are of one subject; give those of two or more.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the workers are ended too
    from ..atlas.labeling import label_template
    from ..atlas.template import Step, build_template

    def noted(step: Step) -> None:
        said = f"round {step.number} of {step.count}: the template moved by {step.drift_mm:.3g} mm"
        if options.progress == "json":
            said = json.dumps({"stage": "template", "fraction": step.number / step.count, "message": said})
        if options.progress != "none":
            print(said, flush=True)

    with alone_in(Path(options.output).absolute(), "template"):
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
            note=tell,
        )
        if labeled > 1:
            scores = label_template(subjects, options.output, options.weighting)
            if options.progress == "lines":
                print(
                    f"labels of all others: Dice {sum(scores) / len(scores):.3f} on average, {min(scores):.3f} at worst"
                )


def run_propagate(options: argparse.Namespace) -> None:
    """Label one image."""
    settings: Settings = settings_from(options)
    inputs = {"the image": options.image}
    if not Path(options.template).is_dir():
        raise InputError(f"There is no folder {options.template}; give the one that the command template made.")
    from ..atlas.labeling import files_of_template, propagate

    inputs |= files_of_template(options.template)
    check_outputs([Output("--output", options.output, "A volume", image_endings(False))], inputs)
    labels, report = propagate(options.image, options.template, settings, options.weighting)
    labels.save(options.output)
    verdict, reasons = report.judge()
    print(f"{verdict}: {' '.join(reasons)}" if reasons else verdict)
