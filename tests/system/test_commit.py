"""`commit` and `diff` as a black box: other tools read the result, a running container is refused, kills do no harm."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support import cli, images, peers, treelist
from support.scrambling import scramble
from support.waiting import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def box(filled):
    """A store with a container `box` that has changed everything that can be changed."""
    root = Path(filled.ok("mount", "example:1", "--rw", "--name", "box").text.strip())
    scramble(root)
    filled.ok("umount", "box")
    return filled


def shown(store, what):
    path = store.ok("mount", what).text.strip()
    try:
        return treelist.listing(path)
    finally:
        store.ok("umount", path)


def test_the_image_is_the_container(box, tmp_path):
    box.ok("commit", "box", "new:1")
    expected = shown(box, "box")
    assert treelist.differences(expected, shown(box, "new:1")) == []
    box.ok("unpack", "new:1", tmp_path / "copy")
    assert treelist.differences(expected, treelist.listing(tmp_path / "copy")) == []
    box.ok("check")


def test_the_image_outlives_the_container(box):
    expected = shown(box, "box")
    box.ok("commit", "box", "new:1")
    box.ok("container", "rm", "box")
    box.ok("untag", "example:1")
    box.ok("gc")
    assert treelist.differences(expected, shown(box, "new:1")) == []


@pytest.mark.tools("umoci", "skopeo")
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_umoci_unpacks_what_the_container_showed(box, tmp_path, compression):
    box.ok("commit", "box", "new:1", "--compression", compression)
    unpacked = peers.umoci_unpack(f"oci:{box.root}:new:1", tmp_path / "umoci")
    assert treelist.differences(shown(box, "box"), treelist.listing(unpacked)) == []


@pytest.mark.tools("skopeo", "buildah")
def test_buildah_mounts_what_the_container_showed(box, tmp_path):
    box.ok("commit", "box", "new:1")
    peers.skopeo_copy(f"oci:{box.root}:new:1", f"oci-archive:{tmp_path}/new.tar:new:1")
    with peers.buildah_mounted(f"oci-archive:{tmp_path}/new.tar", tmp_path / "storage") as path:
        theirs = treelist.listing(path)
    ours = shown(box, "box")
    # buildah's storage knows no root entry and no times before 1970
    for path in (b"data/before-the-epoch", b"new", b"made/linked"):
        assert ours[path].mtime < 0
        del ours[path], theirs[path]
    assert treelist.differences(ours, theirs, root=False) == []


@pytest.mark.tools("skopeo")
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_skopeo_copies_it_and_it_comes_back_the_same(box, tmp_path, compression):
    digest, _ = box.ok("commit", "box", "new:1", "--compression", compression).text.split()
    peers.skopeo_copy(f"oci:{box.root}:new:1", f"dir:{tmp_path}/dir")
    other = cli.Arstore(tmp_path / "other", tmp_path / "other-run")
    assert [image["digest"] for image in other.json("import", tmp_path / "dir")["images"]] == [digest]


# --- containers that ran --------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(store, tmp_path, busybox):
    """A store with an image, tiny:1, that has only busybox: none of the directories that a runtime needs."""
    members = [images.directory("bin"), images.file("bin/busybox", Path(busybox).read_bytes(), 0o755)]
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "sleep", "true")]
    config = {"Env": ["PATH=/bin"], "Cmd": ["true"], "Volumes": {"/var/data": {}}}
    one = images.image(images.layer(members, "none"), names=["tiny:1"], config=config)
    store.ok("import", images.write_oci_archive(tmp_path / "tiny.tar", one))
    return store


@pytest.mark.runtime
def test_what_the_runtime_made_is_not_what_the_container_changed(tiny):
    tiny.ok("run", "--keep", "--name", "idle", "tiny:1")
    assert set(os.listdir(tiny.root / "containers/idle/upper")) > {"proc", "etc"}
    assert tiny.ok("diff", "idle").text in {"", "C /\n"}
    script = "echo made >/made; echo more >/var/data/in-a-volume; echo x >/etc/written"
    tiny.ok("run", "--keep", "--name", "busy", "tiny:1", "sh", "-c", script)
    assert tiny.ok("diff", "busy").text.splitlines() == ["C /", "A /etc", "A /etc/written", "A /made"]
    tiny.ok("commit", "busy", "new:1", "-c", 'CMD ["sh", "-c", "echo $A"]', "-c", "ENV A=changed")
    assert set(shown(tiny, "new:1")) - set(shown(tiny, "tiny:1")) == {b"etc", b"etc/written", b"made"}
    assert tiny.ok("run", "new:1").out == b"changed\n"


@pytest.mark.runtime
def test_a_running_container_is_refused(tiny):
    tiny.ok("run", "-d", "--name", "runs", "tiny:1", "sleep", "60")
    try:
        tiny.fails("InUse", "commit", "runs", "new:1")
        tiny.ok("diff", "runs")
    finally:
        tiny.ok("kill", "--signal", "KILL", "runs")
    deadline = time.monotonic() + PATIENCE
    while tiny.run("commit", "runs", "new:1").status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- interruptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.2, 0.35])
def test_a_kill_leaves_nothing(filled, delay):
    root = Path(filled.ok("mount", "example:1", "--rw", "--name", "box").text.strip())
    (root / "big").write_bytes(os.urandom(12 << 20))
    filled.ok("umount", "box")
    files = filled.files()
    process = filled.start("commit", "box", "new:1")
    time.sleep(delay)
    finished = process.poll() is not None
    cli.kill(process)
    # The children of a killed importer die with it, a moment later.
    time.sleep(0.2)
    filled.ok("gc")
    filled.ok("check")
    names = {name for one in filled.json("images") for name in one["names"]}
    if finished or "new:1" in names:
        assert names == {"example:1", "new:1"}
    else:
        assert filled.files() == files
    filled.ok("commit", "box", "new:1")
    assert filled.ok("diff", "box", "new:1").out == b""
