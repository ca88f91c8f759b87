"""`commit` and `diff`: their output, their arguments, and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import images
from support.scrambling import socket_at

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def box(filled):
    """The program, with a container `box` over the example image, with a few changes."""
    root = Path(filled.ok("mount", "example:1", "--rw", "--name", "box").text.strip())
    (root / os.fsdecode(b"new\n\xff")).write_text("new")
    (root / "etc/issue").unlink()
    os.chmod(root / "data/old", 0o600)
    filled.ok("umount", "box")
    return filled


def config_of(arstore, name):
    return arstore.ok("inspect", name, "--config").json


# --- commit ---------------------------------------------------------------------------------------------------------


def test_a_line(box):
    digest, name = box.ok("commit", "box", "new").text.split()
    assert name == "new:latest"
    assert box.ok("inspect", "new").json["digest"] == digest


def test_json(box, picture):
    result = box.ok("-q", "commit", "--json", "box", "new:1")
    assert result.err == ""
    [image] = result.json["images"]
    assert image["names"] == ["new:1"]
    assert [layer["digest"] for layer in image["layers"][:-1]] == [layer.digest for layer in picture.layers]
    assert [layer["reused"] for layer in image["layers"]] == [True, True, True, False]


def test_options(box, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    options = ["--author", "me", "-m", "why", "-c", "ENV A=1", "-c", 'CMD ["/x"]', "--compression", "zstd"]
    box.ok("commit", *options, "--level", "19", "box", "new:1")
    config = config_of(box, "new:1")
    assert (config["created"], config["author"]) == ("1970-01-02T00:00:00Z", "me")
    assert config["history"][-1] == {
        "author": "me",
        "comment": "why",
        "created": "1970-01-02T00:00:00Z",
        "created_by": "arstore commit box",
    }
    assert config["config"]["Env"] == ["PATH=/usr/bin:/bin", "A=1"]
    assert config["config"]["Cmd"] == ["/x"]
    manifest = box.ok("inspect", "--raw", "new:1").json
    assert manifest["layers"][-1]["mediaType"] == images.OCI_LAYER + "+zstd"


def test_the_time_of_creation(box, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    digests = {box.ok("commit", "box", f"new:{number}").text.split()[0] for number in range(2)}
    assert len(digests) == 1
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    box.ok("commit", "box", "now:1")
    assert config_of(box, "now:1")["created"] > "2024"
    for wrong in ("yesterday", "-1", "1.5", "9" * 40, "999999999999", "\u0664"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        assert box("commit", "box", "wrong:1").status == 2


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["nobody", "new:1"], 3),
        (["example:1", "new:1"], 3),
        (["box", "NEW:1"], 5),
        (["box"], 2),
        (["box", "new:1", "-c", "RUN x"], 2),
        (["box", "new:1", "--level", "10"], 2),
        (["box", "new:1", "--level", "1", "--compression", "none"], 2),
        (["box", "new:1", "--compression", "xz"], 2),
    ],
)
def test_what_is_refused(box, words, status):
    result = box("commit", *words)
    assert (result.status, result.out) == (status, b"")
    assert len(result.err.splitlines()) == 1
    assert "new:1" not in box.ok("images").text


def test_a_mounted_container(box):
    root = Path(box.ok("mount", "box").text.strip())
    (root / "later").touch()
    box.ok("commit", "box", "new:1")
    assert box.ok("diff", "--json", "box", "new:1").json == []
    box.ok("umount", "box")


def test_sockets_are_told_of(box):
    root = Path(box.ok("mount", "box").text.strip())
    for number in range(7):
        socket_at(root / f"socket{number}")
    box.ok("umount", "box")
    result = box.ok("commit", "box", "new:1", "--progress", "none")
    assert result.err == "arstore: sockets left out, because an image cannot hold them: 7: " + (
        ", ".join(f"/socket{number}" for number in range(5)) + ", ...\n"
    )
    assert box.ok("-q", "commit", "box", "new:2").err == ""


# --- diff -----------------------------------------------------------------------------------------------------------

LINES = ["C /", "C /data/old", "C /etc", "D /etc/issue", "A /new\\n\\xff"]


def test_a_container(box):
    assert box.ok("diff", "box").text.splitlines() == LINES


def test_a_container_as_json(box):
    assert box.ok("diff", "--json", "box").json == [
        {"path": "/", "kind": "C", "what": ["mtime"]},
        {"path": "/data/old", "kind": "C", "what": ["mode"]},
        {"path": "/etc", "kind": "C", "what": ["mtime"]},
        {"path": "/etc/issue", "kind": "D", "what": []},
        {"path": "/new\n\\xff", "kind": "A", "what": []},
    ]


def test_an_image_and_two(box):
    box.ok("commit", "box", "new:1")
    assert box.ok("diff", "new:1").text.splitlines() == LINES
    assert box.ok("diff", "example:1", "new:1").text.splitlines() == LINES
    back = {"A": "D", "D": "A", "C": "C"}
    assert box.ok("diff", "new:1", "example:1").text.splitlines() == [back[line[0]] + line[1:] for line in LINES]
    assert box.ok("diff", "box", "new:1").out == b""
    assert box.ok("diff", "--json", "example:1", "example:latest").json == []


def test_a_word_that_is_both(box):
    box.ok("tag", "example:1", "box")
    assert box.ok("diff", "example:1", "box").text.splitlines() == LINES
    assert box.ok("diff", "example:1", "box:latest").out == b""


@pytest.mark.parametrize("words", [["nobody"], ["example:1", "nobody"]])
def test_unknown_things(box, words):
    assert box("diff", *words).status == 3
