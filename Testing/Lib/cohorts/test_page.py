"""The page of a cohort: what it shows, and that it sorts and finds in a real browser."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from DeepRegistrationLib.cohorts.page import PAIRS_A_PAGE, oddness, write_pages
from Testing import browser


def rows(count=20):
    found = []
    for k in range(count):
        values = {"similarity_after": 0.8 + 0.01 * (k % 5), "doubt_percent": 5.0 + k % 4, "folding_percent": 0.0}
        report = {"verdict": "good", "reasons": ["Fine."], **values}
        found.append({"name": f"p{k}", "status": "done", "sentence": "", "report": report})
    found[7]["report"]["similarity_after"] = 0.2
    found[9]["report"]["verdict"] = "bad"
    found[11] = {"name": "<b>&x", "status": "failed", "sentence": "The <fixed> image & co.", "report": {}}
    return found


class Cells(HTMLParser):
    """Names, sources and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.names, self.addresses, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [found[k] for k in ("src", "href") if k in found]
        if tag not in ("img", "input", "meta", "rect"):
            self.open.append(tag)
        if tag == "td" and self.open[-2:] == ["tr", "td"] and found.get("class", "").startswith("w"):
            self.names.append(found["data-v"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag or tag in ("rect",)


def test_what_to_look_at_comes_first_and_nothing_comes_from_elsewhere(tmp_path):
    (page,) = write_pages(rows(), tmp_path)
    text = page.read_text(encoding="utf-8")
    found = Cells(text.replace("/></svg>", "></svg>").replace("/><rect", "><rect"))
    assert found.names[::2][:3] == ["<b>&x", "p9", "p7"]
    assert "The &lt;fixed&gt; image &amp; co." in text
    assert "1 failed" in text
    assert {"p7/report.html", "p7/overlay.png"} <= {*found.addresses}
    assert not [a for a in found.addresses if re.match(r"\w+:|//", a)]
    assert text.count("<svg") == 2  # of the measures that differ


def test_what_nobody_measured_has_no_column_and_what_failed_no_oddness(tmp_path):
    some = rows()
    (page,) = write_pages(some, tmp_path)
    assert "Dice of the labels" not in page.read_text(encoding="utf-8")
    for k, row in enumerate(some):
        row["report"] |= {"label_dice": 0.8 + 0.01 * (k % 3)} if row["report"] else {}
    some[4]["report"]["label_dice"] = 0.1
    (page,) = write_pages(some, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "<th>Dice of the labels</th>" in text
    assert int(np.argmax(oddness(some))) == 4  # little of it is odd
    assert re.search(r'>failed</td><td data-v=""></td>', text)


def test_oddness_is_of_the_pair_that_is_odd():
    values = oddness(rows())
    assert int(np.argmax(values)) == 7
    assert values[7] > 10
    assert values[11] == 0


def test_one_file_for_every_500_pairs_and_none_left_of_a_longer_list(tmp_path):
    pages = write_pages(rows(2 * PAIRS_A_PAGE + 1), tmp_path)
    assert [p.name for p in pages] == ["index.html", "index-2.html", "index-3.html"]
    assert [p.read_text(encoding="utf-8").count("<tr><td") for p in pages] == [PAIRS_A_PAGE, PAIRS_A_PAGE, 1]
    assert 'href="index-3.html"' in pages[0].read_text(encoding="utf-8")
    write_pages(rows(20), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.html"]


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
def test_a_browser_sorts_and_finds(tmp_path):
    (page,) = write_pages(rows(), tmp_path)
    click = """
<script>const names=()=>[...body.rows].filter(r=>!r.hidden).map(r=>r.cells[0].dataset.v);const said=[];
const heads=document.querySelectorAll('th');
heads[3].click();said.push(names()[0],names().at(-1));heads[3].click();said.push(names()[0],names().at(-1));
const find=document.querySelector('#find');find.value='P12';find.dispatchEvent(new Event('input'));
said.push(names().join());document.title=JSON.stringify(said);</script>"""
    page.write_text(page.read_text(encoding="utf-8") + click, encoding="utf-8")
    with browser.Page(page, tmp_path / "profile") as opened:
        opened.wait_for("document.title.startsWith('[')")
        said = json.loads(opened.ask("document.title"))
    # Up: the least similar first, those without a value last; down: the most similar first, those without still last.
    assert said == ["p7", "<b>&x", "p9", "<b>&x", "p12"]
