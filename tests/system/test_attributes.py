"""Extended attributes that cannot be kept: left out, counted and reported in both forms, or refused on demand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import images

if TYPE_CHECKING:
    from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

FORMS = ["directory", "erofs"]
LEFT_OUT = "2 extended attributes were left out: user.a of l, because only files and directories can have it"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    members = [
        images.directory("./"),
        images.symlink("l", "f", xattrs={"user.a": b"1", "trusted.b": b"2"}),
        images.file("f", b"x", xattrs={"system.nfs4_acl": b"x", "user.kept": b"1"}),
    ]
    layers = [images.layer([images.file("below", b"y")]), images.layer(members)]
    return images.write_oci_archive(tmp_path / "odd.tar", images.image(*layers, names=["odd:1"]))


def attributes(path: str) -> dict[str, list[str]]:
    return {name: sorted(os.listxattr(f"{path}/{name}", follow_symlinks=False)) for name in ("l", "f", "below")}


@pytest.mark.parametrize("form", FORMS)
def test_left_out_counted_and_reported(store: Arstore, archive: Path, form: str) -> None:
    outcome = store.ok("import", "--json", "--tree", form, archive)
    assert outcome.json["images"][0]["dropped_xattrs"] == 2
    assert outcome.err.splitlines()[-1] == f"arstore: warning: {LEFT_OUT}"
    (path,) = store.ok("mount", "odd:1").text.splitlines()
    assert attributes(path) == {"l": ["trusted.b"], "f": ["user.kept"], "below": []}
    store.ok("umount", path)
    again = store.ok("import", archive)
    assert again.err.splitlines()[-1] == f"arstore: warning: {LEFT_OUT}"
    store.ok("check")


@pytest.mark.parametrize("form", FORMS)
def test_strict_refuses_and_leaves_the_store_as_it_was(store: Arstore, archive: Path, form: str) -> None:
    store.ok("images")
    before = store.files()
    said = store.fails("Tar", "import", "--strict-xattrs", "--tree", form, archive)
    assert said == (
        "arstore: l: cannot keep its extended attribute user.a, because only files and directories can have it; "
        "without --strict-xattrs it is left out"
    )
    assert store.files() == before
    store.ok("import", "--tree", form, archive)
    before = store.files()
    assert LEFT_OUT in store.fails("Tar", "import", "--strict-xattrs", archive)
    for tree in (store.root / "trees").iterdir():
        shutil.rmtree(tree)
    assert "cannot keep" in store.fails("Tar", "import", "--strict-xattrs", "--tree", form, archive)
    (path,) = store.ok("mount", "odd:1").text.splitlines()
    store.ok("umount", path)
    store.ok("import", "--strict-xattrs", images.write_oci_archive(archive.with_name("plain.tar"), images.example()))


def test_a_mount_that_builds_trees_again_reports_it(store: Arstore, archive: Path) -> None:
    store.ok("import", archive)
    for tree in (store.root / "trees").iterdir():
        shutil.rmtree(tree)
    outcome = store.ok("mount", "odd:1")
    assert outcome.err.splitlines()[-1] == f"arstore: warning: {LEFT_OUT}"
    store.ok("umount", outcome.text.strip())


def test_unpack(store: Arstore, archive: Path, tmp_path: Path) -> None:
    store.ok("import", archive)
    said = store.ok("unpack", "--json", "odd:1", tmp_path / "copy").json
    assert (said["exact"], said["left_out"]) == (False, {"owners": 0, "devices": 0, "attributes": 2})
    assert attributes(str(tmp_path / "copy")) == {"l": ["trusted.b"], "f": ["user.kept"], "below": []}
    assert LEFT_OUT in store.ok("unpack", "odd:1", tmp_path / "other").err
    store.fails("Tar", "unpack", "--strict-xattrs", "odd:1", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_what_is_too_large_for_the_file_system_is_never_a_full_disk(store: Arstore, tmp_path: Path) -> None:
    members = [images.file("f", b"x", xattrs={f"user.{n}": bytes([n]) * 60_000 for n in range(5)})]
    picture = images.image(images.layer(members), names=["large:1"])
    path = images.write_oci_archive(tmp_path / "large.tar", picture)
    outcome = store.ok("import", "--json", "--tree", "directory", path)
    dropped = outcome.json["images"][0]["dropped_xattrs"]
    if not dropped:
        pytest.skip("this file system keeps attributes of 300 kB")
    assert "because it is too large for this file system" in outcome.err
    store.ok("check")
    store.ok("rm", "large:1")
    store.ok("gc")
    said = store.fails("Tar", "import", "--strict-xattrs", "--tree", "directory", path)
    assert "because it is too large for this file system" in said
