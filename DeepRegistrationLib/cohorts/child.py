"""The process that does the pairs: one task a line comes in, one answer a line goes out; it ends when nobody asks more.

python -m DeepRegistrationLib.cohorts.child
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import DeepRegistrationError
from ..files.writing import remove_unfinished
from .finished import Hashes, Task

IDLE = 600.0
"""Seconds after which it frees its memory if no task came; the next one starts another."""


def main() -> None:
    """Answer until standard input ends. If that is while a pair is done, the one that asked has died: so ends this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    tasks: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    hashes = Hashes()
    while True:
        try:
            line = tasks.get(timeout=IDLE)
        except queue.Empty:
            return
        answer = answer_to(partial(_register, Task(**json.loads(line)), hashes))
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _listen(tasks: queue.Queue[bytes]) -> None:
    for line in sys.stdin.buffer:
        tasks.put(line)
    remove_unfinished()
    os._exit(0)


def _register(task: Task, hashes: Hashes) -> dict[str, Any]:
    from .one_pair import register_pair

    return register_pair(task, hashes)


def answer_to(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The report, or the sentence that says why there is none; the same sentences as the command line's."""
    from ..errors import InputError, NotWritten

    try:
        return {"status": "done", "report": work()}
    except DeepRegistrationError as error:
        kinds = {"input": isinstance(error, InputError), "unchanged": isinstance(error, NotWritten)}
        kinds["full"] = isinstance(error, NotWritten) and error.full
        return {"status": "failed", "sentence": str(error), **kinds}
    except MemoryError:
        sentence = "There is not enough memory; take fewer workers, or crop or resample the images."
    except OSError as error:
        sentence = f"The file {error.filename} cannot be used ({error.strerror or error})."
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no details"])[0]
        sentence = f"The work failed unexpectedly ({type(error).__name__}: {first})."
    return {"status": "failed", "sentence": sentence, "input": False}


if __name__ == "__main__":
    main()
