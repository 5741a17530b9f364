"""``python -m Training``: everything about weights that is not using them."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from DeepRegistrationLib.errors import Cancelled, DeepRegistrationError, InputError
from DeepRegistrationLib.system import wait_briefly


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 done, 1 failed, 2 bad input, 130 cancelled. An error is one sentence on stderr."""
    wait_briefly()
    try:
        parser = _Parser(prog="python -m Training", description=__doc__)
        commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
        for add in _commands():
            add(commands)
        options = parser.parse_args(arguments)
        options.run(options)
    except (Cancelled, KeyboardInterrupt) as error:
        return _say(str(error) or "Cancelled.", 130)
    except DeepRegistrationError as error:
        return _say(error, 2 if isinstance(error, InputError) else 1)
    except OSError as error:
        return _say(f"A file could not be read or written: {error}; make room, or choose another folder.", 1)
    except MemoryError:
        return _say("There is not enough memory; make the images or the batch smaller.", 1)
    except Exception as error:  # a fault of this program: still one sentence
        text = (str(error).strip().splitlines() or ["no details"])[0]
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            return _say("There is not enough memory; make the images or the batch smaller.", 1)
        return _say(f"The work failed unexpectedly ({type(error).__name__}: {text}).", 1)
    return 0


def _say(message: object, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


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
    from .runs.train import add_train
    from .synthesis.contact_sheet import add_synthesize

    return (
        add_synthesize, add_train, add_evaluate, add_learn, add_rows, add_export, add_manifest, add_fields,
        add_import_keras,
    )  # fmt: skip


if __name__ == "__main__":
    from DeepRegistrationLib.command_line.interrupt import leave_at_once

    signal.signal(signal.SIGINT, leave_at_once)  # while PyTorch is loaded nothing has begun
    _commands()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
