"""How a command ends: an exit code, and at most one sentence on standard error. Without torch."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..errors import NO_MEMORY, Cancelled, DeepRegistrationError, InputError
from ..files.writing import FULL, shown
from .interrupt import SENTENCE
from .protocol import EXIT_BAD_INPUT, EXIT_CANCELLED, EXIT_DONE, EXIT_FAILED

_BAD_NAME = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM)


def any_text(text: str) -> str:
    """The type of an argument that may be empty."""
    return text


def _not_empty(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty (is a variable not set?), so give it a value or leave it out")
    return text


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


class CommandParser(Parser):
    """Of one command: paths and texts without a type of their own are not empty. Else that were the current folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", None, _not_empty)
        self.register("type", Path, lambda text: Path(_not_empty(text)))


def guarded(work: Callable[[], None], cancelled: str = SENTENCE) -> int:
    """Do ``work``; what goes wrong becomes one sentence on standard error and an exit code.

    ``cancelled``: what is said where the work was cancelled and does not say more itself.
    """
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")  # those of libraries; what a user should know is in the report
            work()
            sys.stdout.flush()
    except InputError as error:
        return _say(error, EXIT_BAD_INPUT)
    except (Cancelled, KeyboardInterrupt) as error:
        return _say(str(error) or cancelled, EXIT_CANCELLED)
    except DeepRegistrationError as error:
        return _say(error, EXIT_FAILED)
    except MemoryError:
        return _say("There is not enough memory; close other programs, or crop or resample the images.", EXIT_FAILED)
    except BrokenPipeError:
        return EXIT_FAILED
    except OSError as error:
        return _say(_about_file(error), EXIT_BAD_INPUT if error.errno in _BAD_NAME else EXIT_FAILED)
    except Exception as error:
        if isinstance(error, ValueError) and "null byte" in str(error):
            return _say("A path cannot contain a NUL character; correct it.", EXIT_BAD_INPUT)
        if any(words in str(error).lower() for words in NO_MEMORY):
            return _say("There is not enough memory; close other programs, or use the device cpu.", EXIT_FAILED)
        return _say(f"The work failed unexpectedly ({type(error).__name__}: {_first_line(error)}).", EXIT_FAILED)
    return EXIT_DONE


def end_process(code: int) -> NoReturn:
    """End now, with this code: libraries that could not write a file may crash while they are unloaded."""
    import atexit

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(code)


def _about_file(error: OSError) -> str:
    what = f"The file {shown(error.filename)}" if error.filename else "A file"
    why = error.strerror or _first_line(error)
    do = "make room, or choose another folder" if error.errno in FULL or not error.filename else "check the path"
    return f"{what} cannot be used ({why}); {do}."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0]


def _say(message: object, code: int) -> int:
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    return code
