"""Pages in a real browser: nothing injected, nothing loaded, no label over another, keys, and a narrow screen."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from support import stores
from support.pictures import EVIL, fill, map_of, pages_of

TOP_TILES = "Array.from(document.querySelectorAll('#map > .tile'))"
OVERLAPS = """(() => {
  // Labels of the same tile, and of tiles next to each other: no two boxes with text may meet.
  const boxes = Array.from(document.querySelectorAll('#map .label, #map .size'), (one) => one.getBoundingClientRect())
    .filter((one) => one.width > 0 && one.height > 0);
  let count = 0;
  boxes.sort((a, b) => a.top - b.top);
  for (let i = 0; i < boxes.length; i += 1) {
    for (let j = i + 1; j < boxes.length && boxes[j].top < boxes[i].bottom - 1; j += 1) {
      if (boxes[j].left < boxes[i].right - 1 && boxes[j].right > boxes[i].left + 1) count += 1;
    }
  }
  return count;
})()"""
OUTSIDE = """(() => {
  const inner = document.getElementById('map').getBoundingClientRect();
  return Array.from(document.querySelectorAll('#map .tile'), (one) => one.getBoundingClientRect()).filter((one) =>
    one.left < inner.left - 1 || one.right > inner.right + 1 || one.top < inner.top - 1 || one.bottom > inner.bottom + 1
  ).length;
})()"""


def opened(page, path, width=1280, **more):
    page.resize(width, **more)
    page.open(path)
    page.settle()


@pytest.mark.parametrize("name", ["du.html", "layers.html", "layers.svg"])
def test_nothing_is_injected_or_loaded(page, drawn, name):
    opened(page, drawn / name)
    assert page.complaints() == []
    assert page.requests() == []
    assert "hit" not in page.value("document.title || ''")
    assert page.value("document.querySelectorAll('img, b[onmouseover], iframe, link').length") == 0
    assert page.value("document.querySelectorAll('script').length") == (0 if name.endswith("svg") else 2)
    text = (drawn / name).read_text()
    assert not any(character in text for character in "\u202e\x1b")
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_policy_stops_scripts_that_were_not_there(page, drawn, tmp_path):
    altered = tmp_path / "altered.html"
    added = "</main><script>document.title='hit'</script>"
    altered.write_text((drawn / "du.html").read_text().replace("</main>", added))
    page.resize(1280)
    page.open(altered)
    assert page.value("document.title") != "hit"
    assert any("Content Security Policy" in one for one in page.complaints())


def test_names_are_shown_as_text(page, drawn):
    opened(page, drawn / "du.html")
    page.value("document.querySelector('#images tbody button').click()")
    page.settle()
    shown = page.value("document.querySelector('#parts-of').textContent")
    assert "<script>document.title='hit'</script>" in shown
    assert "\\u202egnp.exe" in shown
    assert "line\\nbreak\\x1b[31m".replace("\\n", " ") in shown or "line break\\x1b[31m" in shown


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
@pytest.mark.parametrize("layers", [1, 20, pytest.param(500, marks=pytest.mark.long)])
def test_maps_of_any_size(page, tmp_path, layers, width, dark):
    with stores.opened(tmp_path) as store:
        fill(store, layers, seed=layers)
        content = map_of(store)
    (tmp_path / "du.html").write_bytes(content)
    opened(page, tmp_path / "du.html", width, dark=dark)
    assert page.complaints() == []
    assert page.value(OVERLAPS) == 0
    assert page.value(OUTSIDE) == 0
    assert page.value("document.documentElement.scrollWidth") <= width
    area = page.value(f"{TOP_TILES}.reduce((sum, one) => sum + one.offsetWidth * one.offsetHeight, 0)")
    whole = page.value(
        "(() => { const one = document.getElementById('map'); return one.clientWidth * one.clientHeight })()"
    )
    assert 0.85 < area / whole <= 1
    background = page.value("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 24, 29)") is dark


def test_areas_are_bytes(page, drawn):
    opened(page, drawn / "du.html")
    found = page.value(f"{TOP_TILES}.map((one) => [one.node.size, one.offsetWidth * one.offsetHeight])")
    whole, area = (sum(column) for column in zip(*found, strict=True))
    for size, taken in found:
        assert taken / area == pytest.approx(size / whole, rel=0.25, abs=0.01)


def test_keys_move_open_and_go_back(page, drawn):
    opened(page, drawn / "du.html")
    crumbs = "document.querySelectorAll('#crumbs button').length"
    focused = "document.activeElement.getAttribute('aria-label')"
    page.value("document.querySelector('#map > .tile').focus()")
    first = page.value(focused)
    assert "KiB" in first
    assert "of the store" in first
    page.press("ArrowRight")
    assert page.value(focused) != first
    page.press("ArrowLeft")
    assert page.value(focused) == first
    page.press("Home")
    page.value(f"{TOP_TILES}.find((one) => one.node.kind === 'image').focus()")
    name = page.value("document.activeElement.node.name")
    page.press("Enter")
    assert page.value(crumbs) == 2
    assert page.value("document.querySelector('#crumbs [aria-current]').textContent") == name
    assert page.value("document.activeElement.classList.contains('tile')")
    assert page.value("document.querySelectorAll('#map > .tile.shared').length") > 0, "an image shows what it shares"
    page.press("Enter")
    assert page.value(crumbs) == 3
    page.press("Escape")
    page.press("Escape")
    assert page.value(crumbs) == 1
    assert page.value("document.activeElement.node.name") == name, "the focus is where it came from"


def test_every_tile_has_a_name_and_one_is_in_the_order_of_tab(page, drawn):
    opened(page, drawn / "du.html")
    assert page.value(
        f"{TOP_TILES}.every((one) => one.tagName === 'BUTTON' && one.getAttribute('aria-label').length > 5)"
    )
    assert page.value(f"{TOP_TILES}.filter((one) => one.tabIndex === 0).length") == 1
    assert page.value("document.querySelectorAll('button:not([type=button])').length") == 0
    assert page.value("document.querySelectorAll('#images thead th[scope=col]').length") == 6


def test_an_address_opens_a_part_and_a_bad_one_the_whole(page, drawn):
    opened(page, drawn / "du.html")
    page.value("location.hash = '#0.0'")
    page.settle()
    assert page.value("document.querySelectorAll('#crumbs button').length") >= 2
    page.value("location.hash = '#99999.x<script>'")
    page.settle()
    assert page.value("document.querySelectorAll('#crumbs button').length") == 1


@pytest.mark.parametrize("width", [1280, 375])
def test_the_rows_of_layers(page, drawn, width):
    opened(page, drawn / "layers.html", width)
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("document.querySelectorAll('#graph li').length") == 20
    page.value("document.querySelector('#graph li').focus()")
    page.press("ArrowLeft")
    hidden = page.value("document.querySelectorAll('#graph li[hidden]').length")
    assert hidden > 0
    assert page.value("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.press("ArrowRight")
    assert page.value("document.querySelectorAll('#graph li[hidden]').length") == 0
    page.press("ArrowDown")
    assert page.value("document.activeElement.getAttribute('aria-level')") == "2"
    page.press("End")
    assert page.value("document.activeElement === document.querySelector('#graph li:last-child')")
    page.value("(() => { const one = document.getElementById('search'); one.value = 'long-name-0:1'; "
               "one.dispatchEvent(new Event('input')) })()")  # fmt: skip
    assert page.value("document.querySelectorAll('#graph li.found').length") == 1


def test_the_same_store_gives_the_same_bytes(tmp_path):
    with stores.opened(tmp_path) as store:
        fill(store, 6)
        assert pages_of(store) == pages_of(store)


def test_the_image_is_xml_with_a_row_for_each_layer(drawn):
    top = ElementTree.parse(drawn / "layers.svg").getroot()
    assert top.get("role") == "img"
    assert "20 layers" in top.get("aria-label")
    assert len(top.findall("{http://www.w3.org/2000/svg}g")) == 20


def test_without_a_script_there_are_tables(drawn):
    text = (drawn / "du.html").read_text()
    assert text.count("<tr data-row=") >= 9
    assert 'id="picture"' in text
    assert 'hidden="hidden"' in text
    assert EVIL[0].decode() not in text
