"""File systems in memory: their syntax, and those that a read-only container gets."""

import pytest

from arstore.errors import UsageError
from arstore.runtime.spec.mounts.filesystems import Tmpfs, memory_filesystem, owned, parse_tmpfs, writable_places
from arstore.runtime.spec.mounts.mount_option import parse_mount

USUAL = ("rw", "nosuid", "nodev", "tmpcopyup")


def test_defaults_are_podmans():
    assert parse_tmpfs("/tmp") == Tmpfs("/tmp", USUAL)


def test_an_option_replaces_its_opposite():
    assert parse_tmpfs("/a/../tmp:size=1g,exec,ro,suid,mode=1777") == Tmpfs(
        "/tmp", ("nodev", "tmpcopyup", "size=1g", "exec", "ro", "suid", "mode=1777")
    )
    assert parse_tmpfs("/x:notmpcopyup") == Tmpfs("/x", ("rw", "nosuid", "nodev"))


@pytest.mark.parametrize("text", ["", "tmp", "/", "/tmp:bind", "/tmp:size=x", "/tmp:size=1,lowerdir=/etc"])
def test_no_file_systems(text):
    with pytest.raises(UsageError):
        parse_tmpfs(text)


@pytest.mark.parametrize(("kind", "words"), [("ramfs", ["size=1m"]), ("devpts", ["noexec"]), ("tmpfs", ["max=3"])])
def test_each_kind_has_its_own_options(kind, words):
    with pytest.raises(UsageError, match=f"not an option of a {kind}"):
        memory_filesystem(kind, "/x", words, "text")


def test_a_read_only_container_can_write_where_nothing_else_is():
    assert [one.destination for one in writable_places({"/tmp", "/data"})] == ["/run", "/var/tmp"]


def test_a_file_system_of_the_containers_user():
    """`U` is podman's word for it, and no runtime knows it."""
    found = parse_tmpfs("/mnt:U,size=1m")
    assert owned(found, 1000, 50).options == (*USUAL, "size=1m", "uid=1000", "gid=50")
    (mounted,) = parse_mount("type=tmpfs,dst=/mnt,chown=true").filesystems
    assert owned(mounted, 0, 0).options == (*USUAL, "uid=0", "gid=0")
    assert owned(parse_tmpfs("/mnt"), 1000, 50).options == USUAL
