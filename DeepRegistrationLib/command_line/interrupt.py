"""Ctrl+C: at once where nothing has begun, and within a second wherever the work is. Without torch.

Python runs a signal's handler between two of its own steps, which on a busy machine can be seconds apart. So a thread
of its own hears of the signal, too, and ends the process where the work has not ended by itself.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress

from .protocol import EXIT_CANCELLED

TYPE_CHECKING = False  # as little as possible is loaded before the first handler is there
if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Iterator
    from typing import Any, NoReturn

SENTENCE = "The work was cancelled; nothing was changed."
GOES_ON = "The work was cancelled; what was finished stays, and the same command goes on."
"""Of a command that keeps each of many results."""
PATIENCE = 0.5
"""Seconds that the work has to end by itself."""


def leave_at_once(*_: Any) -> NoReturn:
    """A signal handler while nothing has been begun, as in the second in which PyTorch is loaded."""
    _end()


@contextmanager
def on_interrupt(
    token: Any, patience: float | None = PATIENCE, raises: bool = False, sentence: str = SENTENCE
) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM cancel ``token`` (``progress.CancelToken``); afterwards all is as before.

    Args:
        token: what the work looks at.
        patience: seconds after which a process whose handler was ``leave_at_once`` is ended; None: never. A process
            that is not ours, such as a notebook, is never ended.
        raises: also raise KeyboardInterrupt, for work that does not look at ``token``.
        sentence: said where the process is ended.
    """
    import socket
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(*_: Any) -> None:
        token.cancel()
        if raises:
            raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is leave_at_once
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    done = threading.Event()
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    if ours and patience is not None:
        threading.Thread(target=_watch, args=(reading, token, done, patience, sentence), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():  # what is done is done: no word of "nothing was changed" any more
            signal.signal(number, signal.SIG_IGN if ours else handler)
        writing.close()


def _watch(reading: socket.socket, token: Any, done: threading.Event, patience: float, sentence: str) -> None:
    with reading:
        while heard := reading.recv(1):
            if heard[0] in (signal.SIGINT, signal.SIGTERM):
                token.cancel()
                if not done.wait(patience):
                    _end(sentence)
                return


def _end(sentence: str = SENTENCE) -> NoReturn:
    writing = sys.modules.get(f"{__name__.partition('.')[0]}.files.writing")
    if writing is not None:  # else nothing has been written
        with suppress(Exception):
            writing.remove_unfinished()
    with suppress(OSError):
        os.write(_errors(), f"{sentence}\n".encode())
    os._exit(EXIT_CANCELLED)


def _errors() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return 2
