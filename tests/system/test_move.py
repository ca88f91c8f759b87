"""A store that was copied while unused: the copy works on another machine, with every tool for copying."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import images, treelist
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

CAPABILITY = {"security.capability": bytes.fromhex("0100000200040000") + bytes(12), "user.note": b"x"}
LOWER = images.layer(
    [
        images.directory("d", 0o750, uid=7, gid=8),
        images.file("d/hidden", b"below"),
        images.file("d/old", b"below"),
        images.file("able", b"program", 0o4755, xattrs=CAPABILITY, mtime_ns=1_600_000_000_123_456_789),
        images.hardlink("able2", "able"),
        images.device("null", "c", 1, 3),
        images.fifo("pipe"),
        images.symlink("link", "d/old"),
    ]
)
UPPER = images.layer(
    [images.directory("d", 0o711), images.opaque("d"), images.file("d/new", b"above"), images.whiteout("link")]
)
PICTURE = images.image(LOWER, UPPER, names=["moved:1", "moved:latest"])

TOOLS = {
    "cp -a": ["cp", "-a", "{source}", "{target}"],
    "cp -r": ["cp", "-r", "{source}", "{target}"],
    "cp sparse": ["cp", "-a", "--sparse=always", "{source}", "{target}"],
    "tar": ["sh", "-c", "tar -C {source} -cf - . | (mkdir {target}; tar -C {target} -xpf -)"],
    "tar xattrs": [
        "sh",
        "-c",
        "tar -C {source} --xattrs --xattrs-include='*' --format=posix -cf - . |"
        " (mkdir {target}; tar -C {target} --xattrs --xattrs-include='*' -xpf -)",
    ],
    "rsync -aHAX": ["rsync", "-aHAX", "--modify-window=-1", "{source}/", "{target}"],
    "rsync -a": ["rsync", "-a", "{source}/", "{target}"],
    "rsync no lock": [
        "rsync",
        "-aHAXS",
        "--modify-window=-1",
        "--exclude=lock.mdb",
        "--exclude=spare",
        "{source}/",
        "{target}",
    ],
}
WHOLE = {"cp -a", "cp sparse", "tar xattrs", "rsync -aHAX", "rsync no lock"}
"""Tools that keep a container's files as they were."""


SHORT = {("tar", "another"), ("rsync -aHAX", "another"), ("cp -a", "same")}
"""Cases of the short suite."""


def cases():
    """Every tool, and whether the copy is opened on the same machine or on another one."""
    for name, words in TOOLS.items():
        for machine in ("same", "another"):
            marks = [pytest.mark.tools(words[0], "tar")]
            if (name, machine) not in SHORT:
                marks.append(pytest.mark.long)
            yield pytest.param(name, machine, id=f"{name} {machine}".replace(" ", "_"), marks=marks)


def copy(name, source, target):
    words = [word.format(source=source, target=target) for word in TOOLS[name]]
    subprocess.run(words, check=True, capture_output=True)


class Elsewhere(Arstore):
    """A store on another machine: its commands see another boot."""

    def __init__(self, root, runroot, scratch):
        super().__init__(root, runroot)
        (scratch / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (scratch / "sitecustomize.py").write_text(
            f"from arstore.linux import process\nprocess._BOOT_ID = {str(scratch / 'boot_id')!r}\n"
        )
        self._scratch = scratch

    def environment(self, **variables):
        """The environment, in which Python searches *scratch* first."""
        found = super().environment(**variables)
        return {**found, "PYTHONPATH": f"{self._scratch}:{found['PYTHONPATH']}"}


@contextmanager
def shown(store, *words):
    """The content of a mount of the store, for the length of the context."""
    view = store.ok("mount", *words).text.strip()
    try:
        yield treelist.listing(view)
    finally:
        store.ok("umount", view)


@dataclass
class Original:
    """A store to copy, and the content of its image and its container."""

    store: Arstore
    image: treelist.Listing
    container: treelist.Listing

    @property
    def root(self):
        return self.store.root


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A store with an image, whose trees are of the directory form, and a container; everything settled."""
    place = tmp_path_factory.mktemp("original")
    store = Arstore(place / "root", place / "run")
    return filled(store, images.write_oci_archive(place / "moved.tar", PICTURE))


def filled(store, archive, *forms):
    """Fill *store* for `Original`; the forms are imported one after the other."""
    for form in forms or ("directory",):
        store.ok("import", "--tree", form, archive)
    box = Path(store.ok("mount", "--rw", "--name", "box", "moved:1").text.strip())
    (box / "mine").write_text("mine")
    os.setxattr(box / "mine", "user.kept", b"1")
    shutil.rmtree(box / "d")
    (box / "d").mkdir()
    store.ok("umount", "--all")
    store.ok("gc")
    with shown(store, "moved:1") as image, shown(store, "box") as container:
        return Original(store, image, container)


def verify(store, expected, container=None):
    """The store works: image, container, check, collection and removal."""
    assert {tuple(one["names"]) for one in store.json("images")} == {("moved:1", "moved:latest")}
    assert store.json("mounts") == []
    with shown(store, "moved:1") as found:
        assert treelist.differences(found, expected) == []
    if container is not None:
        with shown(store, "box") as found:
            assert treelist.differences(found, container) == []
    else:
        assert "attributes" in store.fails("StoreDamaged", "mount", "box")
        store.fails("StoreDamaged", "commit", "box", "saved:1")
        store.fails("StoreDamaged", "diff", "box")
        assert "container-attributes: box" in store.run("check").text
    store.ok("gc")
    store.ok("container", "rm", "box")
    store.ok("check")
    store.ok("rm", "moved:1", "moved:latest")
    assert store.json("images") == []


@pytest.mark.parametrize(("name", "machine"), cases())
def test_a_copy_works(original, tmp_path, name, machine):
    copy(name, original.root, tmp_path / "copy")
    kind, more = (Arstore, ()) if machine == "same" else (Elsewhere, (tmp_path,))
    copied = kind(tmp_path / "copy", tmp_path / "copyrun", *more)
    verify(copied, original.image, original.container if name in WHOLE else None)


@pytest.mark.tools("cp")
def test_a_store_that_was_only_renamed_keeps_its_trees(original, tmp_path):
    copy("cp -a", original.root, tmp_path / "first")
    with shown(Arstore(tmp_path / "first", tmp_path / "firstrun"), "moved:1"):
        pass
    os.rename(tmp_path / "first", tmp_path / "second")
    renamed = Arstore(tmp_path / "second", tmp_path / "secondrun")
    before = inodes(renamed)
    with shown(renamed, "moved:1"):
        pass
    assert inodes(renamed) == before


def inodes(store):
    """The inode numbers of all trees."""
    return [path.stat().st_ino for path in sorted(store.root.glob("trees/*"))]


def test_blobs_and_index_alone_can_be_imported(original, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    for name in ("oci-layout", "index.json", "blobs"):
        subprocess.run(["cp", "-r", original.root / name, part], check=True)
    other = Arstore(tmp_path / "other", tmp_path / "otherrun")
    other.ok("import", part)
    with shown(other, "moved:1") as found:
        assert treelist.differences(found, original.image) == []
    assert {name for one in other.json("images") for name in one["names"]} == {"moved:1", "moved:latest"}
    other.ok("check")


@contextmanager
def filesystem(kind, place, name):
    """A fresh file system of this kind in a file, mounted."""
    image = place / f"{name}.image"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    point = place / name
    point.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{kind} cannot be mounted from a file here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
        image.unlink()


@pytest.mark.tools("mkfs.ext4", "mkfs.xfs", "rsync")
@pytest.mark.parametrize(
    ("here", "there"), [("ext4", "xfs"), pytest.param("xfs", "ext4", marks=pytest.mark.long)], ids=["to_xfs", "to_ext4"]
)
def test_a_copy_on_another_file_system(tmp_path, here, there):
    path = images.write_oci_archive(tmp_path / "moved.tar", PICTURE)
    with filesystem(here, tmp_path, "here") as one, filesystem(there, tmp_path, "there") as other:
        original = filled(Arstore(one / "root", tmp_path / "run"), path, "directory", "auto")
        copy("rsync -aHAX", original.root, other / "root")
        verify(Elsewhere(other / "root", tmp_path / "otherrun", tmp_path), original.image, original.container)
