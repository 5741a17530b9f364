"""How every command of this package ends."""

from __future__ import annotations

import argparse
import sys

from DeepRegistrationLib.errors import InputError


def run_command(parser: argparse.ArgumentParser) -> int:
    """Call the ``run`` of the chosen command with its options: 0, or 2 and one sentence for bad input."""
    options = parser.parse_args()
    try:
        options.run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
