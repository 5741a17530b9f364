"""The process that tries cases, one a line, and tells how each ended; the one that asks watches its time and memory.

python -m Testing.Campaign.worker FOLDER
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = 4 << 30
"""Bytes beyond what the libraries themselves take; no input here is worth a tenth of it."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Loaded before the limit is set.
    import SimpleITK  # noqa: F401
    import torch

    import DeepRegistrationLib.__main__ as library
    import Training.__main__ as training
    from Testing.Campaign.calls import call

    torch.set_num_threads(1)
    status = Path("/proc/self/statm").read_text(encoding="ascii").split()
    resource.setrlimit(resource.RLIMIT_AS, (int(status[0]) * resource.getpagesize() + MEMORY,) * 2)
    mains: dict[str, Callable[[list[str]], int]] = {"DeepRegistrationLib": library.main, "Training": training.main}
    for line in sys.stdin:
        case = json.loads(line)
        os.chdir(case["folder"])
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with _printed_to(out.fileno(), err.fileno()):
                try:
                    code = call(case) if case["program"] == "register()" else mains[case["program"]](case["arguments"])
                except SystemExit as error:  # --help
                    code = int(error.code or 0)
                except BaseException:
                    traceback.print_exc()
                    code = 1
            out.seek(0)
            err.seek(0)
            answer = {
                "code": code,
                "out": out.read().decode(errors="replace"),
                "err": err.read().decode("utf-8", "replace"),
            }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


@contextmanager
def _printed_to(out: int, err: int) -> Iterator[None]:
    """What Python and the libraries under it print, into files."""
    kept = os.dup(1), os.dup(2)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, target in zip(kept, (1, 2), strict=True):
            os.dup2(number, target)
            os.close(number)


if __name__ == "__main__":
    main()
