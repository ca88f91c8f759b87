"""As an ordinary user: import, images, unpack, du and check work; mount reports what is missing and names unpack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import images, programs, treelist
from support.cli import Arstore, exit_status

EXAMPLE = images.example()
NOBODY = 65534


@pytest.fixture
def user():
    """A store of an ordinary user: the present one, or `nobody` if this is root."""
    place = Path(tempfile.mkdtemp(prefix="arstore-user-", dir="/var/tmp"))
    store = Arstore(place / "root", place / "run")
    try:
        if programs.is_root():
            os.chown(place, NOBODY, NOBODY)
            store.prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            probe = [*store.prefix, sys.executable, "-c", "import click, lmdb, arstore"]
            done = subprocess.run(probe, env=store.environment(), capture_output=True, text=True, check=False, cwd="/")
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                pytest.skip(f"an ordinary user cannot run this Python or read this checkout: {said}")
        yield store
    finally:
        for directory, _, _ in os.walk(place):
            os.chmod(directory, 0o700)
        shutil.rmtree(place)


@pytest.fixture
def archive(user):
    path = images.write_oci_archive(user.root.parent / "example.tar.gz", EXAMPLE, compression="gzip")
    path.chmod(0o644)
    return path


def test_import_images_du_and_check(user, archive):
    (image,) = user.json("import", archive)["images"]
    assert (image["digest"], image["names"]) == (EXAMPLE.digest, ["example:1"])
    assert [one["names"] for one in user.json("images")] == [["example:1"]]
    assert user.json("inspect", "example:1")["digest"] == EXAMPLE.digest
    measured = subprocess.run(["du", "-sB1", user.root], capture_output=True, text=True, check=True).stdout
    assert user.json("du")["total"] == int(measured.split()[0])
    user.ok("check")
    user.ok("gc")
    user.ok("rm", "example:1")
    assert user.json("images") == []


def test_unpack_makes_all_that_a_user_may_make(user, archive):
    user.ok("import", archive)
    target = user.root.parent / "copy"
    outcome = user.ok("unpack", "example:1", target)
    tree = treelist.listing(target)
    assert tree[b"bin/tool"].linked == b"bin/tool"
    assert tree[b"data/old"].size == 3
    assert tree[b"etc"].mode == 0o750
    assert tree[b"data/nano"].mtime == 1_650_000_000_000_000_001
    assert set(dict(tree[b"data/big"].xattrs)) <= {"user.note"}
    assert len({item.uid for item in tree.values()}) == 1
    assert "owner" in outcome.err


@pytest.mark.root
def test_mount_names_unpack(user, archive):
    user.ok("import", archive)
    outcome = user.run("-q", "mount", "example:1")
    assert outcome.status == exit_status("MountForbidden")
    assert len(outcome.err.splitlines()) == 1
    assert "arstore unshare" in outcome.err
    assert "unpack" in outcome.err
    assert user.json("mounts") == []


@pytest.mark.root
def test_a_file_that_may_not_be_read(user, archive):
    archive.chmod(0o600)
    os.chown(archive, 0, 0)
    assert str(archive) in user.fails("PermissionDenied", "import", archive)
    user.fails("NoStore", "images")


@pytest.mark.root
def test_a_root_that_may_not_be_written(user, archive):
    blocked = Arstore(Path("/proc/arstore-root"), user.runroot, user.prefix)
    outcome = blocked.run("import", archive)
    assert outcome.status in {3, 40, 42}
    # A warning may come before: this user has one id.
    assert outcome.err.splitlines()[-1].startswith("arstore: /proc/arstore-root")


def test_default_directories_are_the_users_own(user, archive):
    home = user.root.parent / "home"
    home.mkdir()
    if user.prefix:
        os.chown(home, NOBODY, NOBODY)
    words = user.words("import", archive)
    at = words.index("--root")
    del words[at : at + 4]
    environment = {**user.environment(), "HOME": str(home)}
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        environment.pop(name, None)
    subprocess.run(words, env=environment, check=True, capture_output=True, cwd="/")
    if user.prefix or not programs.is_root():
        assert list(home.glob(".local/share/*/index.json"))
