"""What was tried without gain stands in the code that writes docs/attempts.md, and there."""

from benchmarks.attempts import WITHOUT_GAIN
from Testing.data import ROOT


def test_the_page_says_what_the_next_run_of_the_command_would_say():
    text = (ROOT / "docs" / "attempts.md").read_text(encoding="utf-8")
    (_, listed) = text.split("## Tried without gain\n\n")
    assert listed.splitlines() == [f"* {each}" for each in WITHOUT_GAIN]
