"""Text in markup and in scripts."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from support.pictures import EVIL

from arstore.cli.pictures.markup import data_script, iec_size, tag, text

NAMES = [name.decode("utf-8", "surrogateescape") for name in EVIL]


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.data = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data += data


@pytest.mark.parametrize("name", NAMES)
def test_text_and_attributes_stay_text(name):
    reader = Reader()
    reader.feed(tag("p", {"title": name}, text(name)))
    ((kind, attributes),) = reader.tags
    assert kind == "p"
    assert reader.data == attributes["title"]
    assert reader.data.isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_data_cannot_end_its_script(name):
    written = data_script({"n": name})
    assert written.isascii()
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"n": name}


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (10 << 10, "10.0 KiB"), (1048500, "1.00 MiB"),
     (1536 << 20, "1.50 GiB"), (5 << 60, "5120 PiB")],
)  # fmt: skip
def test_sizes_have_binary_units(size, shown):
    assert iec_size(size) == shown
