"""Text made safe to show, tables, sizes, and the streams."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.cli.terminal import output


@given(st.text())
def test_printable_is_printable_and_leaves_the_rest(text):
    shown = output.printable(text)
    assert shown.isprintable()
    assert "\n" not in shown
    if text.isprintable():
        assert shown == text


@given(st.binary())
def test_names_of_any_bytes_are_shown(name):
    shown = output.printable(os.fsdecode(name))
    shown.encode("utf-8")
    if name.isascii() and name.decode().isprintable():
        assert shown == name.decode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udce9", "\\xe9"),
        ("\ud800", "\\ud800"),
        ("流水线", "流水线"),
    ],
)
def test_printable(text, shown):
    assert output.printable(text) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (63_326_304, "63.3 MB"),
        (1.5e12, "1.5 TB"),
        (2e18, "2000.0 PB"),
    ],
)
def test_human_size(count, text):
    assert output.human_size(count) == text


@given(st.integers(0, 10**15 - 10**12))
def test_human_size_has_at_most_three_digits_before_the_point(count):
    number, _, unit = output.human_size(count).partition(" ")
    assert unit in {"B", "kB", "MB", "GB", "TB"}
    assert float(number) < 1000
    factor = 1000 ** ("B", "kB", "MB", "GB", "TB").index(unit)
    assert abs(float(number) * factor - count) <= 0.051 * factor


def test_a_table_is_aligned(capsys):
    output.write_table(("NAME", "SIZE>"), [("a", "1"), ("流水", "1000"), ("e\u0301", "20"), ("x\ny", "3")])
    assert capsys.readouterr().out.splitlines() == [
        "NAME  SIZE",
        "a        1",
        "流水  1000",
        "e\u0301       20" if "\u0301".isprintable() else "e\\u0301    20",
        "x\\ny     3",
    ]


def test_an_empty_table_has_its_head(capsys):
    output.write_table(("A", "B>"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_json_is_ascii_and_one_line(capsys):
    output.write_json({"name": "流\n", "bytes": "\udce9", "pair": "\U0001f600", "text": "\\udce9"})
    line = capsys.readouterr().out
    assert line == '{"name": "\\u6d41\\n", "bytes": "\\\\xe9", "pair": "\\ud83d\\ude00", "text": "\\\\udce9"}\n'


def test_a_path_is_exact_for_programs(capfdbinary):
    output.write_path(os.fsdecode(b"/a\xe9\nb"))
    assert capfdbinary.readouterr().out == b"/a\xe9\nb\n"


def test_a_path_is_safe_for_people(capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.write_path(os.fsdecode(b"/a\xe9\nb"))
    assert capsys.readouterr().out == "/a\\xe9\\nb\n"


def test_what_others_write_to_stdout_goes_to_stderr_meanwhile(capfd):
    with output.stdout_as_stderr():
        os.write(1, b"inside")
    os.write(1, b"outside")
    assert capfd.readouterr() == ("outside", "inside")


@pytest.mark.parametrize(
    ("text", "shown"), [("2024-01-02T03:04:05.678Z", "2024-01-02 03:04"), ("", "-"), ("x", "x"), ("\n" * 50, "\n" * 16)]
)
def test_short_time(text, shown):
    assert output.short_time(text) == shown


def test_utc_time():
    assert output.utc_time(1_700_000_000.9) == "2023-11-14T22:13:20Z"
