"""The command line: ``python -m DeepRegistrationLib register|sequence|batch|apply|evaluate|...``.

Exit codes: 0 done, 1 failed, 2 bad input, 130 cancelled. An error is one sentence on stderr.
"""

from __future__ import annotations

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None, stop: Callable[[], bool] | None = None) -> int:
    """Run one command and return its exit code; ``stop`` tells whether a refinement should end with what it has."""
    from .command_line.exit import guarded
    from .system import wait_briefly

    wait_briefly()
    return guarded(lambda: _run(arguments, stop))


def _run(arguments: Sequence[str] | None, stop: Callable[[], bool] | None = None) -> None:
    from .command_line.exit import CommandParser, Parser
    from .command_line.interrupt import PATIENCE, SENTENCE, on_interrupt
    from .command_line.parsers import add_commands
    from .progress import CancelToken

    parser = Parser(prog="python -m DeepRegistrationLib", description="Deformable registration of two images.")
    add_commands(parser.add_subparsers(dest="command", required=True, parser_class=CommandParser))
    options = parser.parse_args(arguments)
    options.cancel, options.stop = CancelToken(), stop
    # A command that looks at the token ends by itself; batch needs a moment to end its workers.
    watches, patience = getattr(options, "watches_cancel", False), getattr(options, "patience", PATIENCE)
    said = getattr(options, "cancelled", SENTENCE)
    with on_interrupt(options.cancel, patience, not watches, said):
        options.run(options)


if __name__ == "__main__":
    from .command_line.interrupt import leave_at_once

    for number in (signal.SIGINT, signal.SIGTERM):  # loading takes a second, and Ctrl+C may come in it
        signal.signal(number, leave_at_once)
    from .command_line.exit import end_process

    if sys.argv[1:2] == ["serve"]:  # not a command for users: Slicer's worker that stays
        from .command_line.serve import load, serve

        load()
        end_process(serve(main, sys.argv[2:]))
    end_process(main())
