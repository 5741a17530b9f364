"""``index.html``: a cohort at a glance, without a network: what to look at first, pictures, and everything sortable."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from ..files.writing import write_text

PAIRS_A_PAGE = 500
SHOWN = {
    "similarity_after": "similarity",
    "label_dice": "Dice of the labels",
    "estimated_error_mm": "estimated error, mm",
    "doubt_percent": "in doubt, %",
    "folding_percent": "folding, %",
    "log_jacobian_sd": "SD log J",
    "mean_displacement_mm": "mean move, mm",
    "max_displacement_mm": "largest move, mm",
    "inverse_error_mm": "inverse error, mm",
    "total_seconds": "s",
}
LESS_IS_ODD = ("similarity_after", "label_dice")
_VERDICTS = {"bad": 0, "check": 1, "good": 2}
BINS, CLIP = 20, 4.0

_STYLE = """body{font:14px sans-serif;margin:1.5em;color:#222}table{border-collapse:collapse}
td,th{border-bottom:1px solid #ddd;padding:.3em .6em;text-align:right;vertical-align:top}
th{cursor:pointer;background:#f3f5f7;position:sticky;top:0}
td.w,th.w{text-align:left;max-width:24em;overflow-wrap:anywhere}td.why{min-width:14em}
img{display:block;image-rendering:pixelated}.failed,.bad{color:#cf222e}
.check{color:#9a6700}.good{color:#1a7f37}figure{display:inline-block;margin:0 1em 1em 0}figcaption{font-size:12px}"""

_SCRIPT = """const body=document.querySelector('tbody');let last=null,up=true;
document.querySelectorAll('th').forEach((head,column)=>head.addEventListener('click',()=>{
up=last===column?!up:true;last=column;
const value=row=>{const v=row.cells[column].dataset.v;return v===''?null:isNaN(v)?v:Number(v)};
const rows=[...body.rows];rows.sort((a,b)=>{const x=value(a),y=value(b);
if(x===null||y===null)return (x===null)-(y===null);
const c=typeof x==='number'&&typeof y==='number'?x-y:String(x).localeCompare(String(y));return up?c:-c});
rows.forEach(row=>body.append(row));}));
document.querySelector('#find').addEventListener('input',event=>{
for(const row of body.rows)row.hidden=!row.textContent.toLowerCase().includes(event.target.value.toLowerCase())});"""


def write_pages(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """One file for every 500 pairs, those to be looked at first on the first; what a longer list left is removed."""
    odd = oddness(rows)
    order = sorted(range(len(rows)), key=lambda k: (_rank(rows[k]), -odd[k], k))
    count = max(1, math.ceil(len(rows) / PAIRS_A_PAGE))
    pages = [folder / page_name(number) for number in range(count)]
    measured = [name for name in SHOWN if any(_is_number(row["report"].get(name)) for row in rows)]
    pictures = "".join(_histogram(name, SHOWN[name], rows) for name in measured)
    for number, path in enumerate(pages):
        some = order[number * PAIRS_A_PAGE : (number + 1) * PAIRS_A_PAGE]
        links = " ".join(
            f"<b>{k + 1}</b>" if k == number else f'<a href="{page_name(k)}">{k + 1}</a>' for k in range(count)
        )
        body = "\n".join(_line(rows[k], odd[k], measured) for k in some)
        write_text(path, _page(_counts(rows), pictures, links if count > 1 else "", body, measured))
    for path in folder.glob("index-*.html"):
        if path not in pages and path.stem[6:].isdigit():
            path.unlink()
    return pages


def page_name(number: int) -> str:
    return "index.html" if number == 0 else f"index-{number + 1}.html"


def oddness(rows: Sequence[dict[str, Any]]) -> list[float]:
    """How far a pair lies from the others in its oddest measure, in robust standard deviations; 0 where few are."""
    found = [0.0] * len(rows)
    for name in SHOWN:
        values = {k: float(row["report"][name]) for k, row in enumerate(rows) if _is_number(row["report"].get(name))}
        if len(values) < 5 or name == "total_seconds":
            continue
        middle = median(values.values())
        spread = 1.4826 * median(abs(v - middle) for v in values.values())
        if spread <= 0:
            continue
        for k, value in values.items():
            away = (middle - value) if name in LESS_IS_ODD else (value - middle)
            found[k] = max(found[k], away / spread)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rank(row: dict[str, Any]) -> int:
    """Failed ones first, then as judged."""
    return -1 if row["status"] == "failed" else _VERDICTS.get(row["report"].get("verdict") or "", 3)


def _counts(rows: Sequence[dict[str, Any]]) -> str:
    failed = sum(row["status"] == "failed" for row in rows)
    words = [f"{len(rows)} pairs"] + ([f'<b class="failed">{failed} failed</b>'] if failed else [])
    for verdict in ("bad", "check", "good"):
        count = sum(row["report"].get("verdict") == verdict for row in rows)
        words.append(f'<b class="{verdict}">{count} {verdict}</b>')
    waiting = sum(not row["report"] and row["status"] != "failed" for row in rows)
    return ", ".join(words + ([f"{waiting} not done"] if waiting else []))


def _line(row: dict[str, Any], odd: float, measured: Sequence[str]) -> str:
    report, name = row["report"], html.escape(str(row["name"]))
    words = row["sentence"] or " ".join(report.get("reasons") or [])
    verdict = report.get("verdict") or row["status"]
    link, picture = name, ""
    if report:
        here = quote(str(row["name"]))
        link = f'<a href="{here}/report.html">{name}</a>'
        picture = f'<img loading="lazy" src="{here}/overlay.png" alt="before, after and checkerboard of {name}">'
    cells = [
        f'<td class="w" data-v="{name}">{link}{picture}</td>',
        f'<td class="{html.escape(str(verdict))}" data-v="{_rank(row)}">{html.escape(str(verdict))}</td>',
        f'<td data-v="{odd:.4g}">{odd:.1f}</td>' if report else '<td data-v=""></td>',
    ]
    for measure in measured:
        value = report.get(measure)
        cells.append(f'<td data-v="{value:.9g}">{value:.3g}</td>' if _is_number(value) else '<td data-v=""></td>')
    cells.append(f'<td class="w why" data-v="{html.escape(words)}">{html.escape(words)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _histogram(name: str, title: str, rows: Sequence[dict[str, Any]]) -> str:
    """As SVG, over the middle of the values and no farther than the others reach."""
    values = sorted(float(row["report"][name]) for row in rows if _is_number(row["report"].get(name)))
    if len(values) < 2 or values[0] == values[-1]:
        return ""
    quarter = len(values) // 4
    reach = CLIP * max(values[-1 - quarter] - values[quarter], (values[-1] - values[0]) / 100)
    low, high = max(values[0], values[quarter] - reach), min(values[-1], values[-1 - quarter] + reach)
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int((value - low) / (high - low) * BINS)))] += 1
    bars = "".join(
        f'<rect x="{8 * k}" y="{50 - 50 * n / max(counts):.1f}" width="7" height="{50 * n / max(counts):.1f}"/>'
        for k, n in enumerate(counts)
    )
    return (
        f'<figure><svg width="{8 * BINS}" height="50" fill="#5b8db8">{bars}</svg>'
        f"<figcaption>{html.escape(title)}: {low:.3g} to {high:.3g}</figcaption></figure>"
    )


def _page(counts: str, pictures: str, links: str, body: str, measured: Sequence[str]) -> str:
    heads = ["pair", "verdict", "oddness", *(SHOWN[name] for name in measured), "why"]
    titles = "".join(f"<th{' class=w' if k in (0, len(heads) - 1) else ''}>{h}</th>" for k, h in enumerate(heads))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Registrations</title><style>{_STYLE}</style></head>
<body><h1>Registrations</h1><p>{counts}. Those to look at come first: failed, bad, then what differs most from the
others (oddness, in robust standard deviations). A click on a column sorts by it.
The pictures show before, after and both in a checkerboard, fixed in magenta and moving in green. {links}</p>
<p><input id="find" placeholder="find"></p>{pictures}
<table><thead><tr>{titles}</tr></thead><tbody>
{body}
</tbody></table><script>{_SCRIPT}</script></body></html>
"""
