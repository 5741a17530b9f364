"""A page renewed block by block, so that what was measured elsewhere stays where this machine has measured less."""

from __future__ import annotations

import re

OPENINGS = (
    "",
    "Network alone,",
    "Real pairs",
    "On real pairs",
    "| model | image |",
    "universal, one brain pair",
    "Large motion:",
)
"""How the first line of each block of a section begins; the first block begins with the section."""
Blocks = dict[str, dict[str, list[str]]]
"""section -> opening -> lines."""


def renew(new: str, old: str) -> tuple[str, list[str]]:
    """The page ``new`` with those blocks of ``old`` that hold more rows of tables, and the sections they are of."""
    ours, theirs = _blocks(new), _blocks(old)
    lines, kept = [], []
    for section, blocks in ours.items():
        before = theirs.get(section, {})
        more = {opening: text for opening, text in before.items() if _rows(text) > _rows(blocks.get(opening, []))}
        if more:
            kept.append(section.removeprefix("## "))
            more[""] = before[""]
        for opening in OPENINGS:
            lines += [*(more.get(opening) or blocks.get(opening, [])), ""]
    return tidy(lines), kept


def tidy(lines: list[str]) -> str:
    """The lines with no more than one empty one between two others."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _blocks(page: str) -> Blocks:
    blocks: Blocks = {}
    section, opening = "", ""
    for line in page.splitlines():
        if line.startswith("## "):
            section, opening = line, ""
        opening = next((o for o in OPENINGS[1:] if line.startswith(o)), opening)
        blocks.setdefault(section, {}).setdefault(opening, []).append(line)
    return blocks


def _rows(lines: list[str]) -> int:
    return sum(line.startswith("|") for line in lines)
