"""The command line: ``python -m DeepRegistrationLib register|batch|apply|evaluate|methods``.

Exit codes: 0 done, 1 failed, 2 bad input, 130 cancelled. An error is one sentence on stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .errors import Cancelled, InputError, RegistrationFailed
from .system import wait_briefly

FAILED, BAD_INPUT, CANCELLED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    wait_briefly()
    from .command_line.commands import add_commands  # loads PyTorch

    parser = _Parser(prog="python -m DeepRegistrationLib", description="Deformable registration of two images.")
    add_commands(parser.add_subparsers(dest="command", required=True, parser_class=_Parser))
    try:
        options = parser.parse_args(arguments)
        options.run(options)
    except InputError as error:
        return _say(error, BAD_INPUT)
    except (Cancelled, KeyboardInterrupt) as error:
        return _say(error if str(error) else "The registration was cancelled; nothing was changed.", CANCELLED)
    except RegistrationFailed as error:
        return _say(error, FAILED)
    except MemoryError:
        return _say("There is not enough memory; close other programs, or crop or resample the images.", FAILED)
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            return _say("There is not enough memory; close other programs, or use the device cpu.", FAILED)
        return _say(f"The work failed unexpectedly ({type(error).__name__}: {_first_line(error)}).", FAILED)
    return 0


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0]


def _say(message: object, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
