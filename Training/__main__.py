"""``python -m Training``: everything about weights that is not using them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from DeepRegistrationLib.errors import Cancelled, DeepRegistrationError, InputError
from DeepRegistrationLib.system import wait_briefly


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 done, 1 failed, 2 bad input, 130 cancelled."""
    wait_briefly()
    parser = argparse.ArgumentParser(prog="python -m Training", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in _commands():
        add(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (Cancelled, KeyboardInterrupt) as error:
        print(str(error) or "Cancelled.", file=sys.stderr)
        return 130
    except DeepRegistrationError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except OSError as error:
        print(f"A file could not be read or written: {error}; make room, or choose another folder.", file=sys.stderr)
        return 1
    return 0


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
    from .pairs.classical_fields import add_fields
    from .pairs.make_manifest import add_manifest
    from .runs.export import add_export
    from .runs.train import add_train
    from .synthesis.contact_sheet import add_synthesize

    return (add_synthesize, add_train, add_evaluate, add_learn, add_export, add_manifest, add_fields, add_import_keras)


if __name__ == "__main__":
    sys.exit(main())
