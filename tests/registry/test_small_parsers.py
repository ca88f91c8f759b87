"""Headers: Content-Range, the Range of uploads, Link, Retry-After, Warning; and URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import RegistryAnswerError
from arstore.registry.http.patience import retry_after
from arstore.registry.http.url import Url
from arstore.registry.link import next_link
from arstore.registry.ranges import content_range, uploaded
from arstore.registry.warnings import Warnings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-9/10", (0, 9, 10)),
        ("bytes 5-9/*", (5, 9, None)),
        ("bytes */10", (None, None, 10)),
        ("BYTES 1-2/3", (1, 2, 3)),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("5-9", None),
        ("items 0-9/10", None),
        ("bytes 0-9999999999999999999999/10", None),
        ("", None),
    ],
)
def test_content_ranges(text, expected):
    found = content_range(text)
    assert (None if found is None else tuple(found)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("0-0", 1), ("0-99", 100), ("bytes=0-99", 100), ("5-9", None), ("", None), ("0-", None)]
)
def test_how_far_an_upload_is(text, expected):
    assert uploaded(text) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['</v2/a/tags/list?n=1&last=x>; rel="next"'], "/v2/a/tags/list?n=1&last=x"),
        (["<https://host/x?next_page=y>;rel=next"], "https://host/x?next_page=y"),
        (['<a>; rel="prev", <b>; title="x, y"; rel="next"'], "b"),
        (['<a>; rel="prev first"', '<b>; REL="Next last"'], "b"),
        (['<a>; rel="prev"'], ""),
        (["<a>"], ""),
        (["rel=next"], ""),
        (["<a; rel=next"], ""),
        (["<x>; rel=next" + " " * 20_000], ""),
        ([], ""),
    ],
)
def test_links(lines, expected):
    assert next_link(lines) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 30, None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_how_long_to_wait(text, expected):
    assert retry_after(text, lambda: 1000) == expected


@pytest.mark.parametrize(
    ("base", "location", "expected"),
    [
        (
            "http://h:5000/v2/a/blobs/uploads/",
            "/v2/a/blobs/uploads/1?_state=x%3D",
            "http://h:5000/v2/a/blobs/uploads/1?_state=x%3D",
        ),
        ("http://h/v2/", "https://other/x", "https://other/x"),
        ("https://h/v2/a/", "b?c", "https://h/v2/a/b?c"),
        ("https://h/v2/a/", "//other:1/x", "https://other:1/x"),
        ("https://h/v2/", "https://H:443/x#fragment", "https://h/x"),
        ("https://h/v2/", "/ü", "https://h/%C3%BC"),
        ("http://[::1]:5000/", "/x", "http://[::1]:5000/x"),
    ],
)
def test_locations(base, location, expected):
    assert str(Url.parse(base).resolve(location)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host/x",
        "ftp://h/",
        "http://",
        "http://u:p@h/",
        "http://h:99999/",
        "http://h/\r\nX: y",
        "http://h/ x",
        "file:///etc",
        "http://[::1/",
        "http://h/" + "x" * 20_000,
    ],
)
def test_urls_that_are_none(text):
    with pytest.raises(RegistryAnswerError):
        Url.parse(text)


def test_a_parameter_is_appended_and_nothing_else_is_touched():
    assert Url.parse("http://h/x?a=b%2Fc").with_query("digest", "sha256:ab").target == "/x?a=b%2Fc&digest=sha256:ab"
    assert Url.parse("http://h/x").with_query("digest", "sha256:ab").target == "/x?digest=sha256:ab"


def test_warnings_are_told_once_and_escaped():
    told = []
    warnings = Warnings(told.append)
    warnings.learn(['299 - "gone \\"soon\\""', '299 - "gone \\"soon\\""', '199 - "no"', '299 - "a\x1b[31m"', "299 - x"])
    assert told == ['the registry warns: gone "soon"', "the registry warns: a\\x1b[31m"]


@given(st.text(max_size=300))
def test_anything_can_be_read(text):
    content_range(text)
    uploaded(text)
    next_link([text])
    retry_after(text)
    Warnings(lambda _: None).learn([text])
    for read in (Url.parse, Url.parse("http://h/x").resolve):
        said = ""
        try:
            read(text)
        except RegistryAnswerError as error:
            said = str(error)
        assert said.isprintable()
