"""Where the tests find real cases, which are never part of the project."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def real(*parts: str) -> Path:
    """A file of the shared cases; skips the test, saying so, where they are absent."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real case {'/'.join(parts)} beside this checkout")
    return path
