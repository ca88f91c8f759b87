"""Everything that commands make is private to the owner, and nothing is written through a symlink: as strace sees it.

The umask is 0 here, so modes are those that the commands ask for. The commands are traced, because files that were
renamed or deleted count too.
"""

from __future__ import annotations

import os
import re
import stat

import pytest
from support import images, runnable
from support.cli import Arstore
from support.syscalls import traced

pytestmark = pytest.mark.tools("strace")

OTHERS = re.compile(
    # Modes decided by images and runtimes, and files shown to a container.
    r"/(rootfs|run|upper|fs)/|/bundle/(rootfs|run)$|/(container|containers/[^/]+)/upper$|/bundle/[a-z.]+$|/trees/[0-9a-f]+/fs$"
    # Shared with containers: `load` makes it for them.
    r"|/root/pipelines?(/|$)"
)
WIDER = re.compile(r"/(places|probe/layer\.tar)$|/runroot/shared$|/runroot/blank(/\d)?$")
"""Made with the umask of commands, in directories that are private to the owner."""

FOLLOWED = re.compile(r"/graph/(claims|data\.mdb|lock\.mdb|spare)$|/(places|probe/layer\.tar)$")
"""Files that are opened, or made if missing, by a name that only the owner could replace by a symlink."""

NEW = re.compile(r"/ingest/[^/]+/.*(?<!\.new)$|/backup[^/]*/blobs/")
"""Places where every file is new, except for those that replace another."""

NEVER = re.compile(
    r"/trees/[0-9a-f]{64}/(layer\.tar|layer\.erofs|merged\.erofs|listing)$"
    r"|/containers/[^/]+/(record|whole|log)$|/graph/(owners|home)$|/store\.json$"
)
"""Files that are never read through a symlink either: a copy of a store may have one there."""


def verify(traces, *directories):
    """Check modes and flags of all files that these commands opened and made below the directories."""
    made = 0
    for trace in traces:
        for one in trace.opened:
            if not one.path.startswith(tuple(f"{place}" for place in directories)) or OTHERS.search(one.path):
                continue
            if one.is_made:
                made += 1
                assert WIDER.search(one.path) or not one.mode & 0o077, one
            if "O_CREAT" in one.flags:
                assert FOLLOWED.search(one.path) or one.flags & {"O_EXCL", "O_NOFOLLOW"}, one
            if "O_CREAT" in one.flags and NEW.search(one.path):
                assert FOLLOWED.search(one.path) or "O_EXCL" in one.flags, one
            if NEVER.search(one.path):
                assert one.flags & {"O_EXCL", "O_NOFOLLOW"}, one
    return made


def private(place):
    """Check that everything is private in the end."""
    for directory, names, files in os.walk(place):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            if not os.path.islink(path) and not OTHERS.search(path) and not WIDER.search(path):
                assert not stat.S_IMODE(os.stat(path).st_mode) & 0o077, path


@pytest.fixture
def open_to_all():
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.root
@pytest.mark.mounts
def test_stores_and_backups(tmp_path, open_to_all):
    store = Arstore(tmp_path / "root", tmp_path / "runroot")
    archive = images.write_oci_archive(tmp_path / "example.tar", images.example())
    # As many as are mounted by an index over all of them.
    small = [images.layer([images.file(f"f{number}", b"x")]) for number in range(12)]
    other = images.write_oci_archive(tmp_path / "other.tar", images.image(*small, names=["other:1"]))
    (tmp_path / "backup").mkdir(mode=0o755)
    traces = [
        traced(store, tmp_path, *words)
        for words in (
            ["import", archive],
            ["import", other],
            ["mount", "--rw", "--name", "c", "example:1"],
            ["commit", "c", "committed:1"],
            ["umount", "--all"],
            ["backup", tmp_path / "backup"],
            ["backup", tmp_path / "backup that is new"],
            ["backup", "--verify", tmp_path / "backup"],
            ["container", "rm", "c"],
            ["convert", "--tree", "directory", "example:1"],
            ["gc"],
            ["check", "--repair", "--from", archive],
        )
    ]
    assert verify(traces, store.root, store.runroot, tmp_path / "backup") > 50
    assert any(one.path.endswith("/merged.erofs") for trace in traces for one in trace.opened)
    for place in (store.root, store.runroot, tmp_path / "backup"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        private(place)


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
def test_containers(tmp_path, open_to_all):
    store = Arstore(tmp_path / "root", tmp_path / "runroot")
    box = runnable.write_runnable(tmp_path)
    store.ok("import", box["box"])
    traces = [
        traced(store, tmp_path, *words)
        for words in (
            ["run", "--name", "kept", "--keep", "box:1", "/bin/sh", "-c", "echo said"],
            ["run", "--name", "left", "--detach", "box:1", "/bin/sh", "-c", "echo said"],
            ["logs", "left"],
            ["ps", "--all"],
        )
    ]
    assert verify(traces, store.root, store.runroot) > 20
    # Containers are assembled in memory, where set-ID programs and devices are disabled.
    mounts = [call for trace in traces for path, call in trace.mounts if path == "/proc" or path.endswith("/bundle")]
    assert len(mounts) >= 4
    for call in mounts:
        assert "MS_NOSUID" in call
        assert "MS_NODEV" in call
        assert "MS_NOEXEC" in call or '"proc"' not in call
    private(store.root)
    private(store.runroot)
