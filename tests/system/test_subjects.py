"""Errors name something that the user can look up, whichever system call fails; and hints fit the case."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from support import images
from support.cli import Arstore

from arstore.errors import as_root

LONG = pytest.mark.long

CASES = [
    (("import", "OTHER"), ("fsync", "fdatasync", "write", "pipe2", "unlinkat")),
    (("unpack", "example:1", "TARGET"), ("openat2", "fchown", "utimensat", "mount_setattr", "symlinkat", "fsetxattr")),
    (("tag", "example:1", "other:1"), ("write", "fdatasync", "rename")),
    (("mount", "example:1"), ("linkat", "flock", "write", "fsopen", "mkdir")),
    (("backup", "TARGET"), ("fdatasync", "copy_file_range", "renameat", "mkdir", "fsync", "flock")),
    (("commit", "box", "new:1"), ("fdatasync", "write", "memfd_create")),
]  # fmt: skip


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.tools("strace")
@pytest.mark.parametrize(("words", "calls"), CASES, ids=[case[0][0] for case in CASES])
@pytest.mark.parametrize(
    "moments", [("ENOSPC", "1"), pytest.param(("EIO", "2"), marks=LONG), pytest.param(("EIO", "3+4"), marks=LONG)]
)
def test_every_call_that_fails_is_told_with_a_name(filled, tmp_path, words, calls, moments):
    filled.ok("mount", "--rw", "--name", "box", "example:1")
    filled.ok("umount", "box")
    target = tmp_path / "target"
    places = {"OTHER": str(tmp_path / "other.tar"), "TARGET": str(target)}
    line = [places.get(word, word) for word in words]
    if words[0] == "import":
        other = images.image(images.layer([images.file("other", b"x")]), names=["other:1"])
        images.write_oci_archive(tmp_path / "other.tar", other)
    for call in calls:
        shutil.rmtree(target, ignore_errors=True)
        verify(filled, Arstore(tmp_path / "copy", tmp_path / "copy-run"), line, (call, *moments))


def verify(filled, store, line, fault):
    """Run a command on a copy of the store with one failing call: its name, the error, and its number."""
    call, error, when = fault
    shutil.rmtree(store.root, ignore_errors=True)
    subprocess.run(["cp", "-a", filled.root, store.root], check=True)
    traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace=?{call}"]
    traced += ["-e", f"inject=?{call}:error={error}:when={when}", *store.words("-q", *line)]
    done = subprocess.run(
        traced, capture_output=True, text=True, check=False, env=store.environment(), timeout=120, cwd=store.root
    )
    store.run("umount", "--all", "--force")
    said = done.stderr.splitlines()
    # The interpreter's start may meet the fault too, and so may the writing of the error.
    if not done.returncode or re.search("frozen|ModuleNotFound", done.stderr) or (not said and call == "write"):
        return
    assert len(said) == 1, said
    subject = said[0].removeprefix("arstore: ").partition(": ")[0]
    assert re.match(r"/(?!proc/self)|standard |sha256:|container |worker|example", subject), said
    assert "Errno" not in said[0]
    if "`arstore gc`" in said[0]:
        assert str(store.root) in said[0] or "sha256:" in said[0]


NEED_NO_PROC = [("images",), ("images", "--json"), ("inspect", "example:1"), ("history", "example:1"), ("layers",)]
NEED_NO_PROC += [("mounts",)]
NEED_PROC = [("check",), ("du",), ("mount", "example:1"), ("gc",), ("tag", "example:1", "other:1")]


@pytest.mark.root
@pytest.mark.tools("unshare")
@pytest.mark.parametrize("words", [*NEED_NO_PROC, *NEED_PROC], ids=" ".join)
def test_without_proc(filled, words):
    before = filled.files()
    script = 'umount -l /proc && exec "$@"'
    line = ["unshare", "-m", "sh", "-c", script, "sh", *filled.words("-q", *words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=filled.environment(), timeout=120)
    if words in NEED_NO_PROC:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        told = "arstore: /proc: is not mounted; mount it with `mount -t proc proc /proc`\n"
        assert (done.returncode, done.stderr) == (40, told)
    assert filled.files() == before


@pytest.mark.root
@pytest.mark.tools("mkfs.ext4", "mount", "umount")
def test_an_attribute_that_does_not_fit_is_no_full_disk(store, tmp_path):
    image, mounted = tmp_path / "disk.img", tmp_path / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, mounted], check=False, capture_output=True).returncode:
        pytest.skip("no ext4 can be mounted here")
    try:
        entry = images.file("large", b"x", xattrs={"user.large": b"v" * 30_000})
        one = images.image(images.layer([entry]), names=["large:1"])
        store.ok("-q", "import", images.write_oci_archive(tmp_path / "large.tar", one))
        outcome = store.run("-q", "unpack", "large:1", mounted / "target")
        if outcome.status:
            assert outcome.status != 41
            assert "user.large" in outcome.err
            assert "space left" not in outcome.err
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)


def test_root_is_not_told_to_become_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert as_root() == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert as_root() == "run as root, or in `arstore unshare`"
