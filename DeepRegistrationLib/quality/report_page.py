"""A report as one web page that needs nothing else: words, numbers, figures after TG-132, pictures, a line to sign."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.writing import check_named, together, write_bytes, write_text
from ..geometry.image import PathLike
from .record import Record
from .tg132 import CITATION, HEADS, in_words, said
from .verdict import VERDICT_COLORS

_NO_VERDICT = "#57606a"
_STYLE = """body{font:15px sans-serif;max-width:66em;margin:2em auto;padding:0 1em;color:#222}
th{text-align:left;padding-right:1.5em;vertical-align:top;font-weight:600}table{border-collapse:collapse}
td,th{border-bottom:1px solid #ddd;padding:.3em 1em .3em 0}
p,td{overflow-wrap:anywhere}img{max-width:100%}.OUTSIDE{color:#cf222e;font-weight:600}
.within{color:#1a7f37}small,.quiet{color:#57606a}code{overflow-wrap:anywhere}
.sign span{display:inline-block;border-bottom:1px solid #222;min-width:13em;margin:2em 2em 0 .5em}
@media print{.viewer{display:none}}"""


def write_page(
    folder: PathLike,
    title: str,
    verdict: str,
    rows: Sequence[tuple[str, str]],
    values: dict[str, Any],
    picture: bytes | None,
    viewer: str,
    record: Record | None,
) -> Path:
    """Write ``report.json`` (``values``), ``report.html`` and, if there is one, ``overlay.png``; returns the page.

    Raises:
        InputError: if the folder cannot be made.
        NotWritten: if the disk is full.
    """
    check_named(folder, "report's folder")
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The report cannot be written to {target}: {error.strerror}; choose another one.") from error
    page = target / "report.html"
    with together():
        write_text(target / "report.json", json.dumps(values, indent=2))
        if picture:
            write_bytes(target / "overlay.png", picture)
        write_text(page, page_html(title, verdict, rows, picture, viewer, record))
    return page


def page_html(
    title: str,
    verdict: str,
    rows: Sequence[tuple[str, str]],
    picture: bytes | None,
    viewer: str,
    record: Record | None,
) -> str:
    """The page's text."""
    table = "\n".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows)
    image = ""
    if picture:
        data = base64.b64encode(picture).decode("ascii")
        image = (
            "<p>Fixed in magenta, moving in green; gray where they agree.</p>"
            f'<img alt="Overlay before and after" src="data:image/png;base64,{data}">'
        )
    head = f"h1{{border-left:.5em solid {VERDICT_COLORS.get(verdict, _NO_VERDICT)};padding-left:.5em}}"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>{_STYLE}{head}</style></head>
<body><h1>{html.escape(title)}</h1><table>{table}</table>{viewer}{_figures(record)}{image}{_signed(record)}</body></html>
"""


def _figures(record: Record | None) -> str:
    if record is None or not record.figures:
        return ""
    lines = "\n".join(
        f"<tr><th>{html.escape(f.name)}</th><td>{html.escape(said(f))}</td>"
        f'<td class="{in_words(f)}">{in_words(f)}</td>'
        f"<td>{html.escape(f.tolerance)}</td><td><small>{html.escape(f.source)}</small></td></tr>"
        for f in record.figures
    )
    heads = "<th>Figure</th><th>Value</th><th></th><th>Tolerance</th><th>Source</th>"
    parts = [f"<h2>After AAPM TG-132</h2><table><tr>{heads}</tr>{lines}</table>"]
    if record.structures:
        rows = "\n".join(
            f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{_short(v)}</td>' for v in values.values())}</tr>"
            for name, values in record.structures.items()
        )
        known = next(iter(record.structures.values()))
        heads = "".join(f"<th>{html.escape(HEADS[key])}</th>" for key in known)
        parts.append(f"<table><tr><th>Structure</th>{heads}</tr>{rows}</table>")
    parts += [f"<p>{html.escape(remark)}</p>" for remark in (*record.remarks, f"{CITATION}.")]
    return "".join(parts)


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _signed(record: Record | None) -> str:
    if record is None:
        return ""
    inputs = "".join(
        f"<tr><th>{html.escape(what)}</th><td>{html.escape(name)}<br><code>SHA-256 {sha}</code></td></tr>"
        for what, (name, sha) in record.inputs.items()
    )
    note = f"<h2>Note</h2><p>{html.escape(record.note)}</p>" if record.note else ""
    return (
        f"<h2>Made of</h2><table>{inputs}<tr><th>Time</th><td>{html.escape(record.made)}</td></tr></table>{note}"
        '<p class="sign">Reviewed by<span></span>Date<span></span>Signature<span></span></p>'
        "<p>Accepted for use: &#9744; yes &#9744; no &#9744; with limits, as noted</p>"
    )
