"""Exports: the tar, unpacked by GNU tar, shows the same as a mount of the container."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from support import images, stores, treelist
from support.scrambling import scramble, socket_at

from arstore.errors import NotFoundError
from arstore.mounts.table import MountTable
from arstore.oci.platform import Platform
from arstore.rootfs import mount as rootfs
from arstore.rootfs.export import Export
from arstore.rootfs.sparse import data_runs
from arstore.transport.root_tar import RootTarOptions, import_root_tar

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


@pytest.fixture
def box(store):
    stores.bring(store, images.example())
    return rootfs.create_container(store, store.find("example:1"), "box")


def exported(store, container=None, name="example:1"):
    export = Export(store, store.find(name), container)
    out = io.BytesIO()
    export.write(out.write)
    out.write(bytes(1024))
    return out.getvalue(), export


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def unpacked(data, directory):
    directory.mkdir()
    packed = directory.parent / f"{directory.name}.tar"
    packed.write_bytes(data)
    words = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "--same-owner", "-C", directory]
    subprocess.run([*words, "-xf", packed], check=True)
    return treelist.listing(directory)


def mounted(store, container):
    return Path(rootfs.mount_container(store, container).target)


def test_a_scrambled_container_comes_out_as_its_mount_shows_it(store, box, tmp_path):
    root = mounted(store, box)
    scramble(root)
    wanted = treelist.listing(root)
    data, export = exported(store, box)
    assert unpacked(data, tmp_path / "out") == wanted
    assert export.members == len(wanted)
    assert (tmp_path / "out/sparse").stat().st_blocks * 512 < 1 << 20
    stores.umount_all(store)
    assert exported(store, box)[0] == data


def test_an_image_comes_out_as_its_mount_shows_it_and_back_in(store, box, tmp_path):
    record = rootfs.mount_image(store, store.find("example:1"))
    wanted = treelist.listing(record.target)
    MountTable(store.directories).umount(record.id)
    data, _ = exported(store)
    assert unpacked(data, tmp_path / "out") == wanted
    path = tmp_path / "again.tar"
    path.write_bytes(data)
    import_root_tar(store, str(path), RootTarOptions("flat:1", Platform("linux", "amd64"), 0))
    record = rootfs.mount_image(store, store.find("flat:1"))
    try:
        assert treelist.listing(record.target) == wanted
    finally:
        MountTable(store.directories).umount(record.id)
    assert exported(store, None, "flat:1")[0] == data


def test_the_order_is_by_name_and_the_root_comes_first(store, box):
    root = mounted(store, box)
    for name in ("b", "a", "c"):
        (root / "dir" / name).mkdir(parents=True)
        (root / "dir" / f"{name}.txt").touch()
    names = names_in(exported(store, box)[0])
    assert names[0] == "."
    here = [name for name in names if name.startswith("dir/")]
    assert here == ["dir/a.txt", "dir/b.txt", "dir/c.txt", "dir/a", "dir/b", "dir/c"]


def test_sockets_are_counted_and_removals_of_layers_are_plain_names(store, box):
    root = mounted(store, box)
    socket_at(root / "listening")
    (root / ".wh.name").touch()
    data, export = exported(store, box)
    names = names_in(data)
    assert (export.sockets.paths, export.marks.paths) == ([b"listening"], [b".wh.name"])
    assert "listening" not in names
    assert ".wh.name" in names


def test_a_container_that_is_removed_meanwhile_is_no_export(store, box):
    export = Export(store, store.find("example:1"), box)
    rootfs.remove_container(store, "box")
    with pytest.raises((NotFoundError, FileNotFoundError)):
        export.write(lambda _data: None)


def test_nothing_is_left_of_the_mount(store, box):
    exported(store, box)
    assert store.directories.root not in Path("/proc/self/mountinfo").read_text()
    stores.verify_clean(store)


def test_a_file_with_a_huge_hole_takes_no_time(store, box):
    root = mounted(store, box)
    with open(root / "huge", "wb") as file:
        file.truncate(1 << 40)
    data, _ = exported(store, box)
    assert len(data) < 1 << 21


@pytest.mark.parametrize("most", [4, 1000])
def test_runs_of_data(tmp_path, most):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        for place in range(0, 100, 7):
            file.seek(place << 16)
            file.write(b"x" * 5000)
        file.truncate(200 << 16)
    fd = os.open(path, os.O_RDONLY)
    try:
        runs = data_runs(fd, 200 << 16, most)
    finally:
        os.close(fd)
    if runs is None or len(runs) == 1:
        pytest.skip("this file system has no holes")
    assert len(runs) <= most
    data = path.read_bytes()
    seen = bytearray(len(data))
    for start, length in runs:
        seen[start : start + length] = data[start : start + length]
        assert not start % 512
    assert seen == data


def test_a_file_without_a_hole_is_not_sparse(tmp_path):
    (tmp_path / "full").write_bytes(b"x" * 10000)
    with open(tmp_path / "full", "rb") as file:
        assert data_runs(file.fileno(), 10000) is None
