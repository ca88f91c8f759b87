"""`export`: to a file or to stdout, of a container or an image, also while the container runs."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.mounts]


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_of_an_image_to_stdout_and_to_a_file(filled, tmp_path):
    out = filled.ok("export", "example:1").out
    assert "./bin/tool".removeprefix("./") in names_in(out)
    assert filled.ok("export", "example:1", "-o", tmp_path / "x.tar").out == b""
    assert (tmp_path / "x.tar").read_bytes() == out
    done = filled.ok("export", "example:1", "-o", tmp_path / "x.tar", "--json").json
    assert (done["container"], done["members"]) == (None, len(names_in(out)))


def test_of_a_container_with_what_it_wrote(filled, tmp_path):
    mounted = Path(filled.ok("mount", "example:1", "--rw", "--name", "box").text.strip())
    (mounted / "written").write_text("here")
    os.unlink(mounted / "bin/tool")
    names = names_in(filled.ok("export", "box").out)
    assert "written" in names
    assert "bin/tool" not in names


def test_a_file_that_was_there_stays_when_it_fails(filled, tmp_path):
    target = tmp_path / "kept.tar"
    target.write_text("kept")
    assert filled("export", "missing", "-o", target, "--json").error["kind"] == "NotFound"
    assert target.read_text() == "kept"
    assert [one for one in os.listdir(tmp_path) if one.startswith(".partial")] == []


def test_no_terminal_and_no_place_in_the_store(filled, monkeypatch):
    assert filled("export", "example:1", "-o", filled.root / "x.tar", "--json").error["kind"] == "Conflict"
    assert filled("export", "example:1", "-o", filled.root, "--json").error["kind"] == "Conflict"
    monkeypatch.setattr(os, "isatty", lambda fd: fd == 1)
    assert filled("export", "example:1", "--json").error["kind"] == "Usage"


@pytest.mark.runtime
def test_of_a_running_container(filled, busybox, tmp_path):
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(busybox, "bin/busybox")
    filled.ok("-q", "import", "--rootfs", tmp_path / "root.tar", "bb:1")
    script = "/bin/busybox touch /there; exec /bin/busybox sleep 60"
    filled.ok("run", "-d", "--name", "live", "bb:1", "/bin/busybox", "sh", "-c", script)
    try:
        for _ in range(100):
            if "there" in names_in(filled.ok("export", "live").out):
                break
        else:
            raise AssertionError("the file never came")
        assert [one["id"] for one in filled.ok("ps", "--json").json] == ["live"]
    finally:
        filled("container", "rm", "-f", "live")
        filled("kill", "live")
