"""Progress of every kind."""

from __future__ import annotations

import io
import json
import os
import threading
import time

import pytest

from arstore.cli.terminal import progress as module
from arstore.cli.terminal.progress import BarProgress, JsonProgress, LineProgress, shown_progress
from arstore.store.progress import NoProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work(progress):
    progress.start("sha256:aa", "aaaa\x1b", 4_000_000)
    progress.advance("sha256:aa", 1_000_000)
    progress.advance("sha256:aa", 3_000_000)
    progress.finish("sha256:aa")
    progress.finish("sha256:bb", reused=True)
    progress.start("sha256:cc", "cccc", None)
    progress.finish("sha256:cc", reused=True)


@pytest.mark.parametrize(
    ("kind", "stream", "expected"),
    [
        ("auto", io.StringIO(), LineProgress),
        ("auto", Terminal(), BarProgress),
        ("bar", io.StringIO(), BarProgress),
        ("lines", Terminal(), LineProgress),
        ("json", Terminal(), JsonProgress),
        ("none", Terminal(), NoProgress),
    ],
)
def test_the_form_that_fits(kind, stream, expected):
    with shown_progress(kind, stream=stream) as progress:
        assert type(progress) is expected
        work(progress)


def test_lines():
    stream = io.StringIO()
    work(LineProgress(stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("layer aaaa\\x1b 4.0 MB: ")
    assert lines[0].endswith("/s")
    assert lines[1] == "layer cccc: reused"


def test_events(monkeypatch):
    times = iter([10.0, 10.05, 10.2, 10.3])
    monkeypatch.setattr(module, "monotonic", lambda: next(times))
    stream = io.StringIO()
    progress = JsonProgress(stream)
    progress.start("sha256:aa", "aaaa", 400)
    for _ in range(4):
        progress.advance("sha256:aa", 100)
    progress.finish("sha256:aa")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events == [
        {"event": "start", "layer": "sha256:aa", "label": "aaaa", "size": 400},
        {"event": "progress", "layer": "sha256:aa", "done": 100, "size": 400},
        {"event": "progress", "layer": "sha256:aa", "done": 300, "size": 400},
        {"event": "progress", "layer": "sha256:aa", "done": 400, "size": 400},
        {"event": "finish", "layer": "sha256:aa", "reused": False},
    ]


def test_work_is_told_beside_bytes(monkeypatch):
    times = iter([10.0, 10.05, 10.2])
    monkeypatch.setattr(module, "monotonic", lambda: next(times))
    stream = io.StringIO()
    progress = JsonProgress(stream)
    progress.start("sha256:aa", "aaaa", 400)
    progress.advance("sha256:aa", 100)
    for steps in (2_000_000, 5_000_000):
        progress.worked("sha256:aa", steps)
    assert [json.loads(line) for line in stream.getvalue().splitlines()][1:] == [
        {"event": "progress", "layer": "sha256:aa", "done": 100, "size": 400},
        {"event": "progress", "layer": "sha256:aa", "done": 100, "size": 400, "steps": 5_000_000},
    ]


def test_bars_tell_work():
    stream = Terminal()
    with shown_progress("bar", stream=stream) as progress:
        progress.worked("sha256:aa", 1)
        progress.start("sha256:aa", "aaaa", 4_000_000)
        progress.worked("sha256:aa", 12_345_678)
        progress.worked("sha256:bb", 1)
        progress.advance("sha256:aa", 4_000_000)
        time.sleep(module.INTERVAL)
        progress.worked("sha256:aa", 23_456_789)
        shown = stream.getvalue()
        progress.finish("sha256:aa")
    assert "layer aaaa, 23 M steps" in shown
    assert "steps" not in stream.getvalue()[len(shown) :]


def test_bars_show_bytes_and_are_drawn_without_a_thread():
    stream = Terminal()
    before = threading.active_count()
    with shown_progress("auto", stream=stream) as progress:
        progress.start("sha256:aa", "[bold]aaaa", 4_000_000)
        progress.advance("sha256:aa", 4_000_000)
        assert threading.active_count() == before
        progress.finish("sha256:aa")
    text = stream.getvalue()
    assert "[bold]aaaa" in text
    assert "4.0/4.0" in text


def test_bars_without_work_write_nothing():
    stream = Terminal()
    with shown_progress("bar", stream=stream):
        pass
    assert stream.getvalue() == ""


def test_the_noun_is_the_callers():
    stream = io.StringIO()
    with shown_progress("lines", "", stream) as progress:
        progress.start("blobs", "blobs", 1)
        progress.finish("blobs")
    assert stream.getvalue().startswith("blobs 1 B: ")


def test_a_stderr_that_fails_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        work(LineProgress(stream))
        work(JsonProgress(stream))
        # Output that could not be written must not be tried again when the file is closed.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
