"""What each command of the command line takes. Nothing is loaded for it: PyTorch comes with what a command does."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

from ..atlas.weightings import WEIGHTINGS
from ..cohorts.names import EXTRAS, TABLE, named_outputs
from ..errors import Cancelled
from ..settings import SMOOTH_IN_TIME
from .exit import any_text
from .interrupt import GOES_ON
from .options import add_settings

Commands = Any  # argparse's own class for sub-parsers is private
PROGRESS = ("lines", "json", "none")
"""How a command on many pairs can say how far it is."""


def _later(module: str, name: str) -> Callable[[argparse.Namespace], None]:
    """A function of this folder, loaded when it is called; cancelled, it says the command's own sentence."""

    def run(options: argparse.Namespace) -> None:
        work = getattr(importlib.import_module(f".{module}", __package__), name)
        try:
            work(options)
        except (Cancelled, KeyboardInterrupt):
            if not hasattr(options, "cancelled"):
                raise
            raise Cancelled(options.cancelled) from None

    return run


def add_commands(commands: Commands) -> None:
    """Add every command's parser; each sets ``run``, a function of the parsed options."""
    _add_register(commands)
    add_batch(commands, _add_how)
    add_template(commands, _add_how)
    add_motion(commands, _add_how)
    add_apply(commands)
    _add_evaluate(commands)
    _add_methods(commands)


def _add_register(commands: Commands) -> None:
    parser = commands.add_parser("register", help="align a moving image to a fixed image")
    parser.add_argument("fixed", metavar="FIXED", help="the image that stays")
    parser.add_argument("moving", metavar="MOVING", help="the image that is aligned to it")
    out = parser.add_argument_group("results (paths)")
    out.add_argument("--output-transform", metavar="T.h5", help="fixed to moving; .h5 .tfm .nrrd .nii.gz .mha .dcm")
    out.add_argument("--output-inverse", metavar="I.h5", help="moving to fixed")
    out.add_argument("--output-volume", metavar="W.nii.gz", help="the moving image on the fixed grid")
    out.add_argument("--output-jacobian", metavar="J.nii.gz", help="local volume change, the affine part's included")
    out.add_argument("--output-doubt", metavar="D.nii.gz", help="where not to trust the result, 0 to 1")
    out.add_argument("--no-compression", action="store_true", help="larger files, written faster (.nrrd, .mha)")
    out.add_argument("--report", metavar="DIR", help="report.html, report.json and overlay.png")
    add_note(out)
    add_different_patients(parser)
    how = _add_how(parser)
    how.add_argument("--initial-transform", metavar="T0.h5", help="where to begin, instead of the affine stage")
    how.add_argument("--fixed-mask", metavar="F")
    how.add_argument("--moving-mask", metavar="M")
    how.add_argument(
        "--fixed-points",
        metavar="P",
        help="landmarks by name, else by row: three or more start the alignment",
    )
    how.add_argument("--moving-points", metavar="P")
    how.add_argument("--fixed-labels", metavar="L", help="label maps that the field is drawn to join")
    how.add_argument("--moving-labels", metavar="L")
    how.add_argument("--rigid-labels", metavar="R", help="label map of parts of the fixed image that must not bend")
    _add_progress(parser, ("bar", "json", "none"))
    parser.add_argument("--previews", action="store_true", help=argparse.SUPPRESS)  # for Slicer, with --progress json
    parser.set_defaults(run=_later("commands", "run_register"), watches_cancel=True)


def _add_how(parser: argparse.ArgumentParser) -> Any:
    """The settings, which are the same for one pair and for many; returns their group."""
    how = parser.add_argument_group("how")
    add_settings(how)
    return how


def _add_progress(parser: argparse.ArgumentParser, kinds: tuple[str, ...]) -> None:
    """``kinds``: the first is the default."""
    about = "how far it is (default: %(default)s); none: only a verdict that is not good is said, on standard error"
    parser.add_argument("--progress", choices=kinds, default=kinds[0], help=about)


def _add_evaluate(commands: Commands) -> None:
    parser = commands.add_parser("evaluate", help="score a transform with label maps or landmarks")
    parser.add_argument("--transform", metavar="T.h5", required=True)
    parser.add_argument("--fixed-labels", metavar="L")
    parser.add_argument("--moving-labels", metavar="L")
    parser.add_argument(
        "--more-labels",
        metavar=("L", "L"),
        nargs=2,
        action="append",
        default=[],
        help="of the fixed and the moving image: structures that overlap those, with other numbers; may be repeated",
    )
    parser.add_argument("--labels", metavar="1-17,20-33", help="only these labels (default: all but 0)")
    parser.add_argument(
        "--fixed-points", metavar="P", help="LPS mm; those of the two files belong together by name, else by row"
    )
    parser.add_argument("--moving-points", metavar="P")
    add_evaluation(parser)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_later("commands", "run_evaluate"))


def _add_methods(commands: Commands) -> None:
    parser = commands.add_parser("methods", help="list what --method can be")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_later("commands", "run_methods"))


def add_batch(commands: Any, add_how: Callable[[argparse.ArgumentParser], Any]) -> None:
    """Add the parsers; ``add_how`` adds the options that ``batch`` shares with ``register``."""
    parser = commands.add_parser(
        "batch",
        help="register many pairs; a second run goes on where the first stopped",
        description="LIST is a table (CSV, TSV) with the columns fixed and moving, a .json list of such entries, or a "
        f"BIDS folder. Each entry may also have name, {', '.join(EXTRAS)}. Paths are relative to the list.",
    )
    parser.add_argument("list", metavar="LIST")
    parser.add_argument("--output", metavar="DIR", required=True, help=f"a folder for each pair, {TABLE}, index.html")
    parser.add_argument("--outputs", default="transform,volume", help=f"of {','.join(named_outputs())}")
    parser.add_argument(
        "--pairs",
        metavar="HOW",
        type=any_text,
        help="of a list with the column image, or a BIDS folder: all (both ways), to:NAME, or baseline, each to the "
        "subject's first (of a list: by the column subject)",
    )
    parser.add_argument("--suffix", default="T1w", help="of a BIDS folder: which images (default: %(default)s)")
    where = add_where(parser, "pairs")
    where.add_argument("--shard", metavar="I/N", default="1/1", help="every N-th pair, from the I-th on")
    add_how(parser)
    _add_progress(parser, PROGRESS)
    parser.set_defaults(run=_later("batch_command", "run_command"), patience=10.0, cancelled=GOES_ON)
    gather = commands.add_parser("collect", help=f"make {TABLE} and index.html of all runs of batch on a folder")
    gather.add_argument("folder", metavar="DIR")
    gather.set_defaults(run=_later("batch_command", "run_collect"))


def add_where(parser: argparse.ArgumentParser, what: str) -> Any:
    """Add the options on who does the work; returns their group. ``what``: is done, so many at a time."""
    where = parser.add_argument_group("where")
    where.add_argument("--workers", type=int, default=1, help=f"so many {what} at a time (default: %(default)s)")
    where.add_argument("--threads", type=int, default=0, help="of each worker (default: the cores, shared out)")
    about = "that a worker may take, such as 4GB (Linux)"
    where.add_argument("--memory", metavar="SIZE", type=any_text, default="", help=about)
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler, or its scheduler file")
    return where


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
    _add_progress(parser, PROGRESS)
    parser.set_defaults(run=_later("template_command", "run_template"), patience=10.0, cancelled=GOES_ON)
    parser = commands.add_parser("propagate", help="label an image with the subjects of a template that has labels")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--template", metavar="DIR", required=True, help="the output of the command template")
    parser.add_argument("--output", metavar="L.nii.gz", required=True)
    parser.add_argument("--weighting", choices=WEIGHTINGS, default="local", help="of labels (default: %(default)s)")
    add_how(parser)
    parser.set_defaults(run=_later("template_command", "run_propagate"))


def add_motion(commands: Commands, add_how: Callable[[argparse.ArgumentParser], Any]) -> None:
    """Add the parsers of ``sequence`` and ``motion``."""
    parser = commands.add_parser(
        "sequence",
        help="align frames, one file each, to one fixed image",
        description="Writes a transform of each frame, smoothed ones if asked for, motion.csv (how far the body, its "
        "parts and points go) and sequence.json into DIR.",
    )
    _add_frames(parser, "FRAME", "an image; in the order of time")
    parser.add_argument("--independent", action="store_true", help="no frame begins at its neighbor's field")
    parser.add_argument("--volumes", action="store_true", help="write the moved frames too")
    add_how(parser)
    _add_progress(parser, PROGRESS)
    parser.set_defaults(run=_later("motion_command", "run_sequence"), watches_cancel=True, cancelled=GOES_ON)
    parser = commands.add_parser("motion", help="curves of the motion in transforms from one fixed image to its frames")
    _add_frames(parser, "TRANSFORM", "fixed to frame; in the order of time")
    parser.set_defaults(run=_later("motion_command", "run_motion"))


def _add_frames(parser: argparse.ArgumentParser, what: str, about: str) -> None:
    parser.add_argument("fixed", metavar="FIXED", help="the image that stays, such as one of the frames")
    parser.add_argument("frames", metavar=what, nargs="+", help=about)
    parser.add_argument("--output", metavar="DIR", required=True)
    parser.add_argument("--cyclic", action="store_true", help="the last frame comes before the first, as in a breath")
    parser.add_argument(
        "--smooth-in-time",
        metavar="S",
        type=float,
        default=SMOOTH_IN_TIME.low,
        help=f"frames, up to {SMOOTH_IN_TIME.high:g}; 1 evens out what jumps; default: not at all",
    )
    parser.add_argument("--labels", metavar="L", help="label map of the fixed image: the curves of each label")
    parser.add_argument("--points", metavar="P", help="points in the fixed image: their paths")


def add_apply(commands: Any) -> None:
    """Add the parser of ``apply``."""
    parser = commands.add_parser(
        "apply",
        help="carry an image, a label map or points from the moving to the fixed side",
        description="Carry data of the moving image to the fixed image. With an inverse transform (register's "
        "--output-inverse) and the moving image as reference, the other way round.",
    )
    parser.add_argument("transform", metavar="T.h5")
    parser.add_argument(
        "input", metavar="INPUT", help="an image, a label map, or points (.csv .fcsv .mrk.json, LPS mm)"
    )
    parser.add_argument("--reference", metavar="FIXED", help="the image whose grid the result gets (not for points)")
    parser.add_argument("--output", metavar="OUT", required=True)
    parser.add_argument(
        "--interpolation", choices=("linear", "nearest"), help="default: nearest if the input looks like a label map"
    )
    parser.add_argument(
        "--fill", type=float, metavar="VALUE", help="outside the input (default: its background, of a label map 0)"
    )
    add_different_patients(parser)
    parser.set_defaults(run=_later("apply_command", "run_apply"))


def add_different_patients(parser: Any) -> None:
    """Add the option by which two patients are meant."""
    parser.add_argument(
        "--different-patients", action="store_true", help="take a DICOM registration of two patients all the same"
    )


def add_note(parser: Any) -> None:
    """Add the option for words of the user's own."""
    parser.add_argument("--note", metavar="TEXT", type=any_text, default="", help="words of your own for the report")


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """Add what ``evaluate`` needs for its report."""
    parser.add_argument("--inverse", metavar="I.h5", help="moving to fixed, for there and back")
    parser.add_argument("--fixed", metavar="FIXED", help="the images, for their voxels and for pictures in the report")
    parser.add_argument("--moving", metavar="MOVING")
    parser.add_argument("--report", metavar="DIR", help="report.html and report.json, with a line to sign")
    add_note(parser)
