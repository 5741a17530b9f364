"""Slices before and after in a page, to scroll, fade and blink without a network or a program: drawn beforehand.

For each plane and image one gray PNG holds all its slices below each other; a few lines of JavaScript show them.
Slicer's page has it, too: no torch.
"""

from __future__ import annotations

import base64
import html

import numpy as np

from ..geometry.image import Grid, Image
from .slices import EDGES, content_center, gray_range, png, to_unit, upright, views

MOST_SLICES, MOST_PIXELS = 32, 192
"""Of a plane, and of a slice's longer side; so that a page has a few megabytes."""
SHOWN = 320
"""Pixels of the page for a slice's longer side."""

_SCRIPT = """
(() => {
const root = document.querySelector('.viewer'), at = name => root.querySelector(name);
const fade = at('#fade'), stage = at('#stage'), mix = at('#mix'), blink = at('#blink');
const planes = [...root.querySelectorAll('figure')].map(figure => ({
  canvas: figure.querySelector('canvas'), slider: figure.querySelector('input'), said: figure.querySelector('output'),
  numbers: figure.dataset.slices.split(' '), count: figure.dataset.count,
  images: Object.fromEntries([...figure.querySelectorAll('img')].map(image => [image.dataset.of, image]))}));
let shown = null;
const tinted = (image, row, width, height, color) => {
  const other = Object.assign(document.createElement('canvas'), {width, height}), pen = other.getContext('2d');
  pen.drawImage(image, 0, row, width, height, 0, 0, width, height);
  pen.globalCompositeOperation = 'multiply'; pen.fillStyle = color; pen.fillRect(0, 0, width, height);
  return other;
};
const draw = plane => {
  const {width, height} = plane.canvas, pen = plane.canvas.getContext('2d'), row = plane.slider.value * height;
  const fixed = plane.images.fixed, moved = plane.images[stage.value];
  const part = shown === null ? fade.value / 100 : shown;
  pen.globalCompositeOperation = 'source-over'; pen.globalAlpha = 1;
  if (mix.value === 'colors' && shown === null) {
    pen.drawImage(tinted(fixed, row, width, height, '#f0f'), 0, 0);
    pen.globalCompositeOperation = 'lighter';
    pen.drawImage(tinted(moved, row, width, height, '#0f0'), 0, 0);
  } else {
    pen.drawImage(fixed, 0, row, width, height, 0, 0, width, height);
    pen.globalAlpha = part;
    pen.drawImage(moved, 0, row, width, height, 0, 0, width, height);
  }
  plane.said.textContent = `${plane.numbers[plane.slider.value]} of ${plane.count}`;
};
const all = () => planes.forEach(draw);
planes.forEach(plane => {
  plane.slider.addEventListener('input', () => draw(plane));
  plane.canvas.addEventListener('wheel', event => {
    event.preventDefault(); plane.slider.value = +plane.slider.value + Math.sign(event.deltaY); draw(plane);
  }, {passive: false});
});
[fade, stage, mix].forEach(control => control.addEventListener('input', all));
let timer = 0;
blink.addEventListener('input', () => {
  clearInterval(timer); shown = null;
  if (blink.checked) { shown = 1; timer = setInterval(() => { shown = 1 - shown; all(); }, 600); }
  all();
});
Promise.all([...root.querySelectorAll('img')].map(image => image.decode())).then(() => {
  all(); root.dataset.ready = 'yes';
});
})();
"""


def viewer_html(fixed: Image, before: Image, after: Image) -> str:
    """A part of a page: each plane of three images on one grid, the moving one before and after."""
    images = {"fixed": fixed, "before": before, "after": after}
    gray = {
        name: (255 * np.nan_to_num(to_unit(i.array, *gray_range(i.array)))).astype(np.uint8)
        for name, i in images.items()
    }
    middle = content_center(fixed.array)
    figures = "\n".join(_figure(name, axis, gray, fixed.grid, middle) for name, axis in views(fixed.grid))
    return f"""<div class="viewer"><h2>Look</h2>
<p><label>Moving image <select id="stage"><option value="after">after</option><option value="before">before</option>
</select></label>
<label>as <select id="mix"><option value="fade">fade</option><option value="colors">colors</option></select></label>
<label>fixed <input id="fade" type="range" min="0" max="100" value="50" aria-label="fade from fixed to moving">
moving</label>
<label><input id="blink" type="checkbox"> blink</label> <small>The wheel over a picture scrolls.</small></p>
<div style="display:flex;flex-wrap:wrap;gap:1em">{figures}</div><script>{_SCRIPT}</script></div>
"""


def _figure(name: str, axis: int | None, gray: dict[str, np.ndarray], grid: Grid, middle: list[int]) -> str:
    count = 1 if axis is None else grid.shape[axis]
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(int))
    start = 0 if axis is None else int(np.abs(chosen - middle[axis]).argmin())
    tags, width, height = [], 0, 0
    for which, volume in gray.items():
        stack = [_sized(volume if axis is None else np.take(volume, k, axis=axis), grid, axis) for k in chosen]
        height, width = stack[0].shape
        data = base64.b64encode(png(np.concatenate(stack))).decode("ascii")
        tags.append(f'<img hidden data-of="{which}" alt="" src="data:image/png;base64,{data}">')
    numbers = " ".join(str(k + 1) for k in chosen)
    label, wide = html.escape(name), f"{SHOWN * width / max(width, height):.0f}px"
    return (
        f'<figure style="margin:0" data-slices="{numbers}" data-count="{count}">'
        f'<div style="position:relative;width:{wide}">'
        f'<canvas width="{width}" height="{height}" style="width:{wide};background:#000" aria-label="{label} slices">'
        f"</canvas>{_sides(name)}</div>"
        f'<figcaption>{label} <output></output><br><input type="range" min="0" max="{len(chosen) - 1}" value="{start}" '
        f'style="width:{wide}" aria-label="{label} slice"></figcaption>{"".join(tags)}</figure>'
    )


def _sides(name: str) -> str:
    """The letters of the patient's sides at the picture's edges; none for a picture that is of no plane of a body."""
    at = ("left:3px;top:45%", "right:3px;top:45%", "left:49%;top:2px", "left:49%;bottom:6px")
    style = "position:absolute;color:#ff0;text-shadow:0 0 3px #000;font-weight:600"
    return "".join(f'<b style="{style};{a}">{side}</b>' for side, a in zip(EDGES.get(name, ""), at, strict=False))


def _sized(picture: np.ndarray, grid: Grid, axis: int | None) -> np.ndarray:
    """Upright, with square pixels, the longer side ``MOST_PIXELS`` or less."""
    hung, aspect = upright(picture, grid, axis)
    size = np.array([hung.shape[0] * aspect, float(hung.shape[1])])  # in columns
    scale = min(MOST_PIXELS / size.max(), max(1.0, 96 / size.max()))
    rows, columns = (np.maximum(1, np.round(size * scale))).astype(int)
    r = np.minimum((np.arange(rows) + 0.5) * hung.shape[0] / rows, hung.shape[0] - 1).astype(int)
    c = np.minimum((np.arange(columns) + 0.5) * hung.shape[1] / columns, hung.shape[1] - 1).astype(int)
    return np.ascontiguousarray(hung[np.ix_(r, c)])
