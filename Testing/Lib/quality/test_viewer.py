"""The slices in a report's page: fade, blink, scroll and before/after, clicked in a real browser without a network."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.quality.record import Record
from DeepRegistrationLib.quality.report_page import page_html
from DeepRegistrationLib.quality.viewer import MOST_SLICES, viewer_html
from Testing import browser

SCRIPT = """<script>
const said = {}, get = id => document.getElementById(id), figures = [...document.querySelectorAll('figure')];
const set = (control, value) => { control.value = value; control.dispatchEvent(new Event('input')); };
const gray = (figure, x, y) => { const c = figure.querySelector('canvas');
  return [...c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data.slice(0, 3)]; };
const wait = ms => new Promise(done => setTimeout(done, ms));
(async () => {
  while (document.querySelector('.viewer').dataset.ready !== 'yes') await wait(20);
  const axial = figures.find(f => f.querySelector('canvas').ariaLabel.startsWith('axial'));
  const slider = axial.querySelector('input'), look = () => [0.25, 0.75].map(x => gray(axial, x, 0.5)[0]);
  said.planes = figures.map(f => f.querySelector('canvas').ariaLabel);
  set(slider, 10); set(get('fade'), 0); said.fixed = look();
  set(get('fade'), 100); said.after = look();
  set(get('stage'), 'before'); said.before = look();
  set(get('fade'), 50); said.half = look();
  set(slider, 0); said.first = look(); said.label = axial.querySelector('output').textContent;
  said.sides = [...axial.querySelectorAll('b')].map(b => b.textContent).join('');
  slider.value = 10;
  axial.querySelector('canvas').dispatchEvent(new WheelEvent('wheel', {deltaY: 1, cancelable: true}));
  said.wheel = +slider.value;
  set(slider, 10); set(get('mix'), 'colors'); said.colors = gray(axial, 0.25, 0.5);
  set(get('mix'), 'fade');
  get('blink').click(); const seen = new Set();
  for (let k = 0; k < 20; k++) { await wait(100); seen.add(look().join()); }
  get('blink').click(); said.blink = [...seen].sort(); said.still = look();
  document.title = JSON.stringify(said);
})();</script>"""


def images():
    """Fixed bright on the left, before on the right, after on the left but darker; only slices 8 to 12 of 20."""
    grid = Grid.from_shape((20, 40, 40), (2.0, 1.0, 1.0))
    found = []
    for columns, value in ((slice(0, 20), 200), (slice(20, 40), 200), (slice(0, 20), 100)):
        array = np.zeros(grid.shape, np.float32)
        array[8:13, :, columns] = value
        array[8:13, 30:] = 200  # the same range for all
        found.append(Image(array, grid))
    return found


def test_a_page_carries_all_it_shows():
    text = page_html("A page", "good", [("a", "b < c")], None, viewer_html(*images()), None)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(addresses) == 9  # three planes of three images
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "http" not in text


def test_a_large_volume_becomes_no_larger_page():
    grid = Grid.from_shape((300, 30, 280))
    volume = np.random.default_rng(0).integers(0, 255, grid.shape).astype(np.float32)
    text = viewer_html(*[Image(volume, grid)] * 3)
    assert max(int(n) for n in re.findall(r'type="range" min="0" max="(\d+)" value="\d+" style', text)) < MOST_SLICES
    assert len(text) < 20e6  # of noise, which cannot be packed


def test_slices_have_the_numbers_that_they_have_in_the_volume():
    grid = Grid.from_shape((101, 8, 9))
    text = viewer_html(*[Image(np.zeros(grid.shape, np.float32), grid)] * 3)
    numbers, count = re.findall(r'data-slices="([^"]+)" data-count="(\d+)"', text)[0]
    found = [int(n) for n in numbers.split()]
    assert (len(found), found[0], found[-1], count) == (MOST_SLICES, 1, 101, "101")


@pytest.mark.parametrize("grid", [Grid.from_shape((30, 20)), Grid.from_shape((1, 30, 20))], ids=["2-D", "one slice"])
def test_a_single_slice_has_one_picture(grid):
    image = Image(np.arange(600, dtype=np.float32).reshape(grid.shape), grid)
    assert viewer_html(image, image, image).count("<canvas") == 1


def test_slicers_process_gets_it_without_torch():
    code = "import sys, DeepRegistrationLib.quality.viewer\nprint({'torch', 'matplotlib'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
def test_a_browser_fades_blinks_and_scrolls(tmp_path):
    page = tmp_path / "page.html"
    text = page_html("A page", "good", [], None, viewer_html(*images()), None)
    page.write_text(text.replace("</body>", SCRIPT + "</body>"), encoding="utf-8")
    # In real time: a page's virtual time runs out while a slow machine still decodes its pictures.
    with browser.Page(page, tmp_path / "profile") as opened:
        opened.wait_for("document.title.startsWith('{')")
        said = json.loads(opened.ask("document.title"))
    assert sorted(said["planes"]) == ["axial slices", "coronal slices", "sagittal slices"]
    assert said["fixed"] == [255, 0]
    assert said["after"] == pytest.approx([127, 0], abs=1)
    assert said["before"] == [0, 255]
    assert said["half"] == pytest.approx([127, 127], abs=2)
    assert said["first"] == [0, 0]
    assert said["label"] == "1 of 20"
    assert said["sides"] == "RLAP"
    assert said["wheel"] == 11
    assert said["colors"] == [255, 0, 255]
    assert said["blink"] == ["0,255", "255,0"]
    assert said["still"] == pytest.approx([127, 127], abs=2)


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
def test_a_note_of_one_long_word_stays_on_the_page(tmp_path):
    page = tmp_path / "page.html"
    record = Record(note="x" * 1900, inputs={"fixed image": ("n" * 200, "0" * 64)})
    page.write_text(page_html("A page", "good", [("a", "b" * 300)], None, "", record), encoding="utf-8")
    with browser.Page(page, tmp_path / "profile") as opened:
        opened.wait_for("document.readyState === 'complete' && document.title === 'A page'")
        assert opened.ask("document.documentElement.scrollWidth <= window.innerWidth")
