"""Bars on terminals of all sizes: real terminals, whose output is drawn on a screen here."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from support import budget, images
from support.cli import REPOSITORY, Arstore

_CONTROL = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])")

WORK = """
import sys, time
from arstore.cli.terminal.progress import BarProgress
count, failing = int(sys.argv[1]), len(sys.argv) > 2
bars = BarProgress(sys.stderr)
for n in range(count):
    bars.start(f"k{n}", f"{n:012x}", (n % 7 + 1) * 1_000_000)
for n in range(count):
    for _ in range(4):
        bars.advance(f"k{n}", (n % 7 + 1) * 250_000)
        time.sleep(0.0025)
    if failing and n == count // 2:
        break
    bars.finish(f"k{n}")
bars.close()
print("after", file=sys.stderr)
"""


class Screen:
    """The picture on a terminal of so many rows and columns; it knows only the controls that bars use."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines = [""] * rows
        self.row = self.column = 0
        self.scrolled = []
        self.cursor = True
        self.up = 0
        """The most rows that the cursor moved up at once; one more row was drawn."""

    def feed(self, data):
        place = moved = 0
        while place < len(data):
            found = _CONTROL.match(data, place)
            if found is not None:
                moved = moved + 1 if found[2] == b"A" else moved if found[2] == b"K" else 0
                self.up = max(self.up, moved)
                self._control(found[1], found[2])
                place = found.end()
                continue
            end = place + 1
            while end < len(data) and data[end] & 0xC0 == 0x80:
                end += 1
            self._put(data[place:end].decode())
            place = end

    def _control(self, numbers, kind):
        if kind == b"A":
            self.row = max(self.row - int(numbers or 1), 0)
        elif kind == b"K":
            self.lines[self.row] = ""
        elif kind in b"hl" and numbers == b"?25":
            self.cursor = kind == b"h"
        elif kind != b"m":
            raise AssertionError(f"an unknown control: {kind!r}")

    def _put(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        else:
            if self.column == self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self):
        if self.row == self.rows - 1:
            self.scrolled.append(self.lines.pop(0))
            self.lines.append("")
        else:
            self.row += 1


def on_terminal(words, rows, columns, meanwhile=None, **variables):
    """Run *words* with stderr on a terminal, and return the screen; a size of 0 is unknown."""
    chief, terminal = pty.openpty()
    resize(terminal, rows, columns)
    screen = Screen(rows or 25, columns or 80)
    environment = {name: value for name, value in os.environ.items() if name not in {"LINES", "COLUMNS"}}
    environment |= {"TERM": "xterm", "PYTHONPATH": str(REPOSITORY), **variables}
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal, env=environment, cwd="/"
    )
    read = []

    def follow():
        try:
            while data := os.read(chief, 65536):
                read.append(data)
        except OSError:
            return  # the terminal's other side is closed

    reader = threading.Thread(target=follow)
    reader.start()
    if meanwhile is not None:
        meanwhile(terminal)
    assert process.wait(120) == 0
    os.close(terminal)
    reader.join(30)
    os.close(chief)
    data = b"".join(read)
    screen.feed(data)
    return screen, data


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def work(count, *more):
    return [sys.executable, "-c", WORK, str(count), *more]


def drawn(screen):
    """The last lines of the bars, before the line that was written after them."""
    lines = [line.rstrip() for line in [*screen.scrolled, *screen.lines]]
    assert lines.count("after") == 1
    return [line for line in lines[: lines.index("after")] if line]


SIZES = [(24, 80), (1, 80), (24, 12), (10, 80), (4, 120), (24, 40), (3, 80), (2, 80), (50, 200), (24, 30), (0, 0)]


@pytest.mark.parametrize(("rows", "columns"), budget.one_of(3, SIZES))
def test_more_layers_than_rows(rows, columns):
    screen, _ = on_terminal(work(101), rows, columns)
    left = drawn(screen)
    assert screen.up + 1 < max(rows or 25, 3)
    # Every row is one line, and no row of an earlier picture is left.
    assert len(left) == min(10, max((rows or 25) - 1, 1))
    assert len([line for line in left if line.startswith("101")]) == 1
    assert screen.cursor
    if len(left) == 10 and (columns or 80) >= 40:
        assert left[0].startswith("101 layers")
        assert left[-1] == "and 93 more, 93 done"
        assert "398.0/398.0" in left[0] or columns == 40
    assert all("7.0/7.0" in line for line in left[1:-1] if columns in {80, 120, 200})


@pytest.mark.parametrize("count", [1, 5, 23])
def test_a_bar_a_layer_as_long_as_they_fit(count):
    screen, _ = on_terminal(work(count), 24, 80)
    left = drawn(screen)
    assert [line.split()[1] for line in left] == [f"{n:012x}" for n in range(count)]
    assert not any("more" in line for line in left)


def test_work_that_fails_leaves_the_terminal_as_it_was():
    screen, _ = on_terminal(work(101, "failing"), 24, 80)
    left = drawn(screen)
    assert screen.cursor
    assert left[0].startswith("101 layers")
    assert left[-1].startswith("and 93 more, ")


def test_a_terminal_that_changes_its_size():
    """Rows that a smaller terminal no longer has are lost; what is drawn after that fits."""

    def shrink(terminal):
        time.sleep(1.0)
        resize(terminal, 8, 60)

    _, data = on_terminal(work(101), 24, 100, shrink)
    late = data[len(data) // 2 :]
    small = Screen(8, 60)
    small.feed(late[late.index(b"\r") :])
    assert small.up + 1 <= 7 + 3
    last = data.rsplit(b"\x1b[2K", 1)[1]
    assert len(last.split(b"\r\n")) <= 9


def test_lines_and_columns_in_the_environment_do_not_count():
    screen, _ = on_terminal(work(101), 12, 60, LINES="200", COLUMNS="300")
    assert len(drawn(screen)) == 10
    assert screen.up + 1 < 12


def test_an_import_of_a_hundred_layers(tmp_path):
    layers = [images.layer([images.file(f"f{n}", os.urandom(20_000))], "none") for n in range(101)]
    archive = images.write_oci_archive(tmp_path / "many.tar", images.image(*layers, names=["many:1"]))
    arstore = Arstore(tmp_path / "root", tmp_path / "run")
    screen, _ = on_terminal(arstore.words("import", archive), 24, 80)
    left = [line for line in screen.lines if line.strip()]
    assert left[0].startswith("101 layers")
    assert left[-1].startswith("and 93 more, 93 done")
    assert screen.scrolled == []
    again, _ = on_terminal(arstore.words("import", archive), 24, 80)
    assert len([line for line in again.lines if line.strip()]) == 10
    lines = arstore.ok("import", archive).err.splitlines()
    assert len([line for line in lines if line.startswith("layer ")]) == 101
