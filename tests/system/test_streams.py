"""Standard streams that are closed, full, or without a reader: errors report what was not printed and what was done."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import images

WAYS = {
    "closed": ('"$@" >&-', "is closed"),
    "full": ('"$@" >/dev/full', "no space left on device"),
    # The status of a command in a pipeline is passed on a separate descriptor.
    "gone": ('{ "$@"; echo $? >&3; } 3>status | :', "its reader has gone"),
}
"""Ways in which stdout fails: a script of sh, and why nothing was written."""

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


class Failing:
    """A store, for commands whose stdout fails in one way."""

    def __init__(self, store, place, way):
        self.store = store
        self.way = way
        self.script, self.why = WAYS[way]
        self._place = place

    def __call__(self, *words):
        """Status and stderr of a command."""
        line = ["sh", "-c", self.script, "sh", *self.store.words("--quiet", *words)]
        environment = self.store.environment()
        done = subprocess.run(line, capture_output=True, check=False, cwd=self._place, env=environment, timeout=120)
        assert done.stdout == b""
        told = self._place / "status"
        return int(told.read_text()) if told.exists() else done.returncode, done.stderr.decode()


@pytest.fixture(params=list(WAYS))
def failing(request, filled, tmp_path):
    return Failing(filled, tmp_path, request.param)


LOOKS = [
    ("images",), ("images", "--json"), ("layers",), ("inspect", "example:1"), ("inspect", "--raw", "example:1"),
    ("history", "example:1"), ("mounts",), ("ps",), ("du",), ("gc", "--dry-run"), ("check", "--json"), ("--help",),
    ("--version",), ("import", "--help"),
]  # fmt: skip


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_who_only_looks(failing, words):
    status, err = failing(*words)
    if failing.way == "gone":
        # As if SIGPIPE had ended it.
        assert (status, err) == (141, "")
    else:
        assert (status, err) == (40, f"arstore: standard output: {failing.why}\n") or "--json" in words
        if "--json" in words:
            assert json.loads(err)["error"]["why"] == failing.why


def test_what_an_import_has_done_is_said(failing, tmp_path):
    other = images.image(images.layer([images.file("other", b"x")]), names=["other:1"])
    status, err = failing("import", images.write_oci_archive(tmp_path / "other.tar", other))
    assert status == 40
    assert err == f"arstore: standard output: {failing.why}; the image {other.digest} is in the store\n"
    assert failing.store.json("inspect", "other:1")["digest"] == other.digest


@pytest.mark.parametrize(
    ("words", "done"),
    [
        (("tag", "--json", "example:1", "new:1"), "the image is named localhost/new:1"),
        (("untag", "--json", "example:1"), "the name example:1 is removed"),
        (("rm", "--json", "example:1"), "the images are removed"),
        (("gc", "--json"), "freed "),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)
def test_what_else_was_done_is_said(failing, words, done):
    status, err = failing(*words)
    error = json.loads(err)["error"]
    assert (status, error["exit_code"], error["what"]) == (40, 40, "standard output")
    assert done.replace("localhost/", "") in error["hint"].replace("localhost/", "")


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.parametrize("words", [(), ("--json",), ("--rw",), ("--rw", "--name", "box"), ("--json", "--rw")])
def test_a_mount_that_nobody_is_told_of_is_undone(failing, words):
    status, err = failing("mount", *words, "example:1")
    assert status == 40
    assert failing.why in err
    assert "the mount was undone" in err
    assert len(err.splitlines()) == 1
    assert failing.store.json("mounts") == []
    assert failing.store.json("ps", "--all") == []
    assert str(failing.store.runroot) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.root
@pytest.mark.mounts
def test_a_container_that_was_there_stays(failing):
    path = failing.store.ok("mount", "--rw", "--name", "box", "example:1").text.strip()
    Path(path, "new").touch()
    failing.store.ok("umount", "box")
    assert failing("mount", "box")[0] == 40
    assert failing.store.json("mounts") == []
    assert failing.store.ok("diff", "box").text == "C /\nA /new\n"


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
@pytest.mark.parametrize("as_json", [False, True])
def test_a_detached_container_goes_on_and_its_id_is_told(store, tmp_path, busybox, as_json):
    members = [images.directory("bin"), images.file("bin/busybox", Path(busybox).read_bytes(), 0o755)]
    one = images.image(images.layer(members, "none"), names=["box:1"])
    store.ok("import", images.write_oci_archive(tmp_path / "box.tar", one))
    for way in WAYS:
        place = tmp_path / way
        place.mkdir()
        option = ["--json"] if as_json else []
        status, err = Failing(store, place, way)("run", "-d", *option, "box:1", "/bin/busybox", "sleep", "600")
        (running,) = store.json("ps")
        assert status == 40
        assert f"container {running['id']} was started and is running" in err
        store.ok("container", "rm", "--force", "-t", "0", running["id"])


def test_streams_that_are_closed_never_become_a_file_of_the_store(store, archive, tmp_path):
    for closed in ("<&-", "2>&-", "<&- >&- 2>&-", "<&- 2>&-"):
        line = ["sh", "-c", f'"$@" {closed}', "sh", *store.words("import", archive)]
        done = subprocess.run(line, capture_output=True, check=False, env=store.environment(), timeout=120)
        assert done.returncode == (40 if ">&- " in closed else 0)
        line = ["sh", "-c", f'"$@" {closed}', "sh", *store.words("import", tmp_path / "nowhere")]
        done = subprocess.run(line, capture_output=True, check=False, env=store.environment(), timeout=120)
        assert done.returncode == 3
    store.ok("check")
    for path in store.root.rglob("*"):
        if path.is_file():
            assert b"arstore: " not in path.read_bytes()


def test_progress_that_nobody_can_see_stops_nothing(store, archive, tmp_path):
    for kind in ("lines", "json", "bar"):
        for way in ("2>&-", "2>/dev/full"):
            words = store.words("import", "--progress", kind, archive)
            line = ["sh", "-c", f'"$@" {way}', "sh", *words]
            done = subprocess.run(line, capture_output=True, check=False, env=store.environment(), timeout=120)
            assert done.returncode == 0
            assert done.stdout.startswith(b"sha256:")
