"""``python -m Training``: everything about weights that is not using them."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

KEPT = "The work was cancelled; what it wrote so far is kept, and the same command goes on where it can."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 done, 1 failed, 2 bad input, 130 cancelled. An error is one sentence on stderr."""
    from DeepRegistrationLib.command_line.exit import guarded
    from DeepRegistrationLib.system import wait_briefly

    wait_briefly()
    return guarded(lambda: _run(arguments), cancelled=KEPT)


def _run(arguments: Sequence[str] | None) -> None:
    from DeepRegistrationLib.command_line.exit import CommandParser, Parser
    from DeepRegistrationLib.command_line.interrupt import on_interrupt
    from DeepRegistrationLib.progress import CancelToken

    parser = Parser(prog="python -m Training", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
    for add in _commands():
        add(commands)
    options = parser.parse_args(arguments)
    with on_interrupt(CancelToken(), patience=None, raises=True):  # a step takes a while, then the run is saved
        options.run(options)


def add_import_keras(commands: argparse._SubParsersAction) -> None:
    """``import-keras SOURCE.h5 OUT.safetensors``."""

    def run(options: argparse.Namespace) -> None:
        from .runs.import_keras import import_keras

        import_keras(options.source, options.target)
        print(f"wrote {options.target}")

    parser = commands.add_parser("import-keras", help="published Keras weights of VoxelMorph-1/-2 as a model bundle")
    parser.add_argument("source", type=Path, metavar="SOURCE.h5")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    parser.set_defaults(run=run)


def _commands() -> tuple[Callable[[argparse._SubParsersAction], None], ...]:
    from .evaluation.evaluate import add_evaluate
    from .evaluation.learn import add_learn
    from .evaluation.paper_rows import add_rows
    from .pairs.classical_fields import add_fields
    from .pairs.make_manifest import add_manifest
    from .runs.export import add_export
    from .runs.fit import add_fit
    from .runs.train import add_train
    from .synthesis.contact_sheet import add_synthesize

    return (
        add_fit, add_synthesize, add_train, add_evaluate, add_learn, add_rows, add_export, add_manifest, add_fields,
        add_import_keras,
    )  # fmt: skip


if __name__ == "__main__":
    from DeepRegistrationLib.command_line.interrupt import leave_at_once

    for number in (signal.SIGINT, signal.SIGTERM):  # while PyTorch is loaded nothing has begun
        signal.signal(number, leave_at_once)
    from DeepRegistrationLib.command_line.exit import end_process

    end_process(main())
