"""Places of a store: each kind of file system, a whole one as its root, overlays, mounts below it, strays."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack

import pytest
from support import disks, images, runnable, stores, treelist
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.tools("mount", "du")]

EXAMPLE = images.example()
CANNOT_BE_UPPER = tuple(disks.OVERLAYS)
WITH_CONTAINERS = [pytest.param(kind, marks=[pytest.mark.long] * (kind in disks.ON_DISK)) for kind in disks.KINDS]


def du(path):
    """The bytes that du(1) finds at *path*, with everything mounted below it."""
    return int(subprocess.run(["du", "-sB1", f"{path}/"], capture_output=True, text=True, check=True).stdout.split()[0])


@pytest.fixture
def place(request, tmp_path):
    """A fresh file system of the requested kind."""
    with disks.mounted(request.param, tmp_path / "disk") as found:
        yield found


def opened(place, tmp_path):
    return Arstore(place / "root", tmp_path / "run")


def shown(store, name):
    """The content of a mount of the image."""
    view = store.ok("mount", name).text.strip()
    try:
        return treelist.listing(view)
    finally:
        store.ok("umount", view)


def clean(store):
    found = store.json("check")["findings"]
    assert [f"{one['kind']}: {one['what']}: {one['why']}" for one in found] == []


@pytest.mark.parametrize("form", ["auto", pytest.param("directory", marks=pytest.mark.long)])
@pytest.mark.parametrize("place", disks.KINDS, indirect=True)
def test_a_store_works_on_every_kind_of_file_system(place, tmp_path, archive, form):
    store = opened(place, tmp_path)
    elsewhere = Arstore(tmp_path / "elsewhere", tmp_path / "otherrun")
    elsewhere.ok("import", "--tree", form, archive)
    store.ok("import", "--tree", form, archive)
    assert treelist.differences(shown(store, "example:1"), shown(elsewhere, "example:1")) == []
    bill = store.json("du")
    assert bill["total"] == du(store.root)
    assert bill["blobs"] >= sum(path.stat().st_blocks * 512 for path in store.root.glob("blobs/*/*")) > 0
    assert bill["trees"] > 0
    (store.root / "blobs/sha256/orphan").write_bytes(b"x" * 100_000)
    assert store.json("gc", "-n")["bytes"] >= 100_000
    assert store.json("gc")["bytes"] >= 100_000
    assert not (store.root / "blobs/sha256/orphan").exists()
    clean(store)
    store.ok("rm", "example:1")
    assert os.listdir(store.root / "trees") == os.listdir(store.root / "ingest") == []
    assert store.json("du")["total"] == du(store.root)
    clean(store)


@pytest.mark.runtime
@pytest.mark.parametrize("place", WITH_CONTAINERS, indirect=True)
def test_containers_work_where_an_upper_directory_can_be(request, place, tmp_path):
    store = opened(place, tmp_path)
    store.ok("import", runnable.write_runnable(tmp_path)["box"])
    if request.node.callspec.params["place"] in CANNOT_BE_UPPER:
        assert "store on overlay" in store.fails("Mount", "mount", "--rw", "box:1")
        outcome = store.run("run", "--rm", "box:1", "true")
        assert outcome.status == 125
        assert "store on overlay" in outcome.err
    else:
        store.ok("run", "--rm", "box:1", "sh", "-c", "echo hello > /new")
    assert store.json("ps", "--all") == []
    clean(store)


@pytest.mark.parametrize("kind", disks.OVERLAYS)
def test_a_store_in_a_lower_layer_can_be_changed(kind, tmp_path, archive):
    """As in a container whose image has a store in it: an overlay cannot rename directories of its lower layers."""
    lower = tmp_path / "lower"
    lower.mkdir()
    first = Arstore(lower / "root", tmp_path / "run")
    first.ok("import", archive)
    first.ok("mount", "--rw", "--name", "box", "example:1")
    first.ok("umount", "--all")
    first.ok("import", "--tree", "directory", images.write_oci_archive(tmp_path / "2.tar", images.example(["other:1"])))
    with disks.overlaid(kind, lower, tmp_path / "disk") as place:
        store = opened(place, tmp_path / "other")
        assert store.json("du")["total"] == du(store.root)
        clean(store)
        store.ok("container", "rm", "box")
        store.ok("rm", "example:1", "other:1")
        assert [os.listdir(store.root / name) for name in ("trees", "containers", "ingest")] == [[], [], []]
        assert list(store.root.glob("blobs/*/*")) == []
        store.ok("gc")
        store.ok("import", archive)
        shown(store, "example:1")
        assert store.json("du")["total"] == du(store.root)
        clean(store)


def test_trees_in_a_lower_layer_can_be_replaced(tmp_path):
    """An overlay accepts no whiteouts from above: layers that have some keep the index form there."""
    lower = tmp_path / "lower"
    lower.mkdir()
    plain = images.image(images.layer([images.directory("d"), images.file("d/f", b"f")]), names=["example:1"])
    Arstore(lower / "root", tmp_path / "run").ok("import", images.write_oci_archive(tmp_path / "plain.tar", plain))
    with disks.overlaid("overlay", lower, tmp_path / "disk") as place:
        store = opened(place, tmp_path / "other")
        before = shown(store, "example:1")
        store.ok("convert", "--tree", "directory", "--all")
        assert treelist.differences(shown(store, "example:1"), before) == []
        assert {layer["form"] for layer in store.json("layers")} == {"directory"}
        clean(store)


def test_a_whole_disk_can_be_the_root(tmp_path, archive):
    """mkfs.ext4 leaves `lost+found` there, with the mode 0755 of the directory above it."""
    with disks.mounted("ext4", tmp_path / "disk") as place:
        assert (place / "lost+found").is_dir()
        store = Arstore(place, tmp_path / "run")
        store.ok("import", archive)
        clean(store)
        bill = store.json("du")
        assert (bill["total"], bill["orphans"], bill["strays"]) == (du(place), 0, [])
        store.ok("gc")
        assert (place / "lost+found").is_dir()
    with disks.mounted("ext4", tmp_path / "backup") as place:
        store = Arstore(tmp_path / "root", tmp_path / "run2")
        store.ok("import", archive)
        store.ok("backup", place)
        assert (place / "index.json").is_file()


def test_a_symlink_can_be_the_root(tmp_path, archive):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = Arstore(tmp_path / "link", tmp_path / "run")
    store.ok("import", archive)
    assert store.json("du")["total"] == du(tmp_path / "real") > 0
    assert store.json("du")["blobs"] > 0
    (tmp_path / "real/blobs/sha256/orphan").write_bytes(b"x" * 100_000)
    assert store.json("gc")["bytes"] >= 100_000
    clean(store)
    store.ok("rm", "example:1")
    assert os.listdir(tmp_path / "real/trees") == []


@pytest.mark.parametrize("name", ["blobs", "trees", "containers", "stray"])
def test_what_is_mounted_below_the_root_counts(tmp_path, archive, name):
    store = opened(tmp_path, tmp_path)
    store.ok("import", archive)
    with disks.attached(store.root / name, "-t", "tmpfs", "tmpfs") as point:
        (point / "file").write_bytes(b"x" * 300_000)
        assert store.json("du")["total"] == du(store.root)


@pytest.mark.parametrize("name", ["blobs", "trees"])
def test_a_part_on_another_mount_is_refused_by_name(tmp_path, archive, name):
    store = opened(tmp_path, tmp_path)
    stores.made(store.root, store.runroot).close()
    with disks.attached(store.root / name, "--bind", store.root / name):
        line = store.fails("Host", "import", archive)
        assert f"{store.root}/{name}" in line
        assert "separate mount or subvolume" in line
    assert store.json("images") == []
    clean(store)


def test_subvolumes_count(tmp_path, archive):
    with disks.mounted("btrfs", tmp_path / "disk") as place:
        if why := disks.said(["btrfs", "subvolume", "create", place / "root"]):
            pytest.skip(f"no subvolumes: {why}")
        store = opened(place, tmp_path)
        store.ok("import", archive)
        subprocess.run(["btrfs", "-q", "subvolume", "create", store.root / "pipelines"], check=True)
        (store.root / "pipelines/file").write_bytes(b"x" * 300_000)
        subprocess.run(["sync", "-f", place], check=True)
        bill = store.json("du")
        assert bill["total"] == du(store.root)
        assert bill["containers"] >= 300_000


@pytest.mark.runtime
def test_a_pipeline_leaves_its_images_on_an_overlay(tmp_path):
    """There, files have another device number than their directory."""
    with ExitStack() as stack:
        images_place = stack.enter_context(disks.mounted("overlay-xino-off", tmp_path / "disk"))
        store = opened(tmp_path, tmp_path)
        stores.made(store.root, store.runroot).close()
        (store.root / "pipeline").mkdir()
        stack.enter_context(disks.attached(store.root / "pipeline", "--bind", images_place))
        store.ok("load", "-i", runnable.write_runnable(tmp_path)["pipeline"])
        assert {name for one in store.json("images") for name in one["names"]} == set(runnable.PIPELINE_NAMES)


def test_strays_are_named(tmp_path, archive):
    store = opened(tmp_path, tmp_path)
    store.ok("import", archive)
    (store.root / "notes\n.txt").write_bytes(b"x" * 5000)
    (store.root / "index.json.bak").write_bytes(b"x")
    (store.root / "old/things").mkdir(parents=True)
    (store.root / "registry.example.org/team/app/images").mkdir(parents=True)
    os.mkdir(os.fsencode(store.root) + b"/\xff")
    names = {"notes\n.txt", "index.json.bak", "old", "\\xff"}
    assert {one["what"] for one in store.json("check")["findings"] if one["kind"] == "stray"} == names
    assert all(one["harmless"] for one in store.json("check", "--quick")["findings"])
    bill = store.json("du")
    assert {one["name"] for one in bill["strays"]} == names
    assert bill["orphans"] == sum(one["size"] for one in bill["strays"]) > 0
    assert bill["total"] == du(store.root)
    for command in ("du", "check"):
        lines = store.ok(command).text.splitlines()
        assert any("notes\\n.txt" in line for line in lines)
        assert any("\\xff" in line for line in lines)
    store.ok("gc")
    assert (store.root / "index.json.bak").exists()
    assert (store.root / "old/things").exists()


def test_a_runroot_below_the_root_is_no_stray(tmp_path, archive):
    store = Arstore(tmp_path / "root", tmp_path / "root/run")
    store.ok("import", archive)
    shown(store, "example:1")
    clean(store)
    assert store.json("du")["total"] == du(store.root)
