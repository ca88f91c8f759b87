"""The output of images and containers, on a terminal and elsewhere: bytes are exact, and a terminal is not steered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore

from arstore import cli
from arstore.cli.terminal import output
from arstore.runtime.stdio.logs import LogWriter

HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\u202ee\x7f\rf\tg\nh"
SAFE = b"a\\x1b]0;title\\x07b\\x1b[2Jc\\x9b31md\\u202ee\\x7f\\rf\tg\nh"


@contextmanager
def terminal():
    """The two ends of a terminal that does not change what is written to it."""
    master, slave = os.openpty()
    import termios

    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def seen(words, environment, errors=False):
    """The output of a command on a terminal: its stdout, or with *errors* its stderr."""
    with terminal() as (master, slave):
        streams = {"stdout": slave, "stderr": subprocess.PIPE}
        if errors:
            streams = {"stdout": subprocess.PIPE, "stderr": slave}
        done = subprocess.run(words, env=environment, check=True, timeout=60, stdin=subprocess.DEVNULL, **streams)
        assert not done.stdout
        os.set_blocking(master, False)
        found = b""
        with suppress(BlockingIOError):
            while data := os.read(master, 1 << 16):
                found += data
        return found


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize(
    ("data", "colours", "shown"),
    [
        (HOSTILE.encode(), False, SAFE),
        (HOSTILE.encode(), True, SAFE),
        (b"\xff\xfe\0", False, b"\\xff\\xfe\\x00"),
        ("plain 流\n".encode(), False, "plain 流\n".encode()),
        (b"\x1b[31mred\x1b[0m\r\nnext", False, b"\\x1b[31mred\\x1b[0m\\r\nnext"),
        (b"\x1b[1;31mred\r\nnext", True, b"\x1b[1;31mred\x1b[0m\nnext"),
        (b"\x1b[31", True, b"\\x1b[31"),
    ],
)
def test_write_shown(data, colours, shown, errors):
    code = "import sys; from arstore.cli.terminal.output import write_shown\n"
    code += f"write_shown({data!r}, to_stderr={errors}, colours={colours})"
    words = [sys.executable, "-c", code]
    assert seen(words, {**os.environ, "PYTHONIOENCODING": "utf-8"}, errors) == shown
    exact = subprocess.run(words, capture_output=True, check=True)
    assert (exact.stderr if errors else exact.stdout) == data


@pytest.fixture
def store(tmp_path):
    return Arstore(tmp_path / "root", tmp_path / "run")


@pytest.mark.parametrize("option", ["--raw", "--config"])
def test_documents_of_an_image(store, tmp_path, option):
    # JSON takes these as they are; only those below U+0020 have to be escaped in it.
    odd = "\x7f\x9b31m\u202e流"
    made = images.image(
        images.layer([images.file("f")]),
        names=["odd:1"],
        config={"Labels": {"l": odd}},
        edit_manifest=lambda document: document.update(annotations={"a": odd}),
    )
    store.ok("import", images.write_oci_archive(tmp_path / "odd.tar", made))
    words = store.words("inspect", option, "odd:1")
    expected = made.config if option == "--config" else made.manifest
    assert odd.encode() in expected
    assert store.ok("inspect", option, "odd:1").out == expected
    shown = seen(words, store.environment(PYTHONIOENCODING="utf-8"))
    assert shown == expected.replace(odd.encode(), "\\x7f\\x9b31m\\u202e流".encode())


@pytest.mark.parametrize("words", [(), ("--timestamps",)])
def test_logs(store, tmp_path, words, monkeypatch):
    store.ok("import", images.write_oci_archive(tmp_path / "a.tar", images.example()))
    container = store.ok("mount", "example:1", "--rw", "--name", "box")
    assert container.out
    store.ok("umount", "box")
    written: list[bytes] = []
    LogWriter(written.extend, "stdout").write(HOSTILE.encode() + b"\n\x1b[32mgreen\n")
    (store.root / "containers/box/log").write_bytes(b"".join(written))
    exact = store.ok("logs", *words, "box").out
    assert HOSTILE.encode().split(b"\n")[0] in exact
    shown = seen(store.words("logs", *words, "box"), store.environment(PYTHONIOENCODING="utf-8"))
    assert SAFE.split(b"\n")[0] in shown
    assert b"\x1b[32mgreen\x1b[0m\n" in shown


def test_nothing_else_writes_bytes():
    """All commands write through `output`, the only module that may write bytes that steer a terminal."""
    top = Path(cli.__file__).parent
    found = [path for path in top.rglob("*.py") if re.search(r"write_bytes\(|stdout\.buffer", path.read_text())]
    assert found == [Path(output.__file__)]
