"""Metadata that a host refuses: omissions are counted, and real errors stay errors."""

from __future__ import annotations

import errno
import os

import pytest

from arstore.trees import metadata
from arstore.trees.metadata import SkippedEntries


def test_of_skipped_entries_the_first_few_are_named():
    skipped = SkippedEntries()
    for number in range(1000):
        skipped.note(b"%d" % number)
    assert skipped.count == 1000
    assert skipped.paths == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(("free", "inodes", "is_full"), [(1 << 30, 5, False), (100, 5, True), (1 << 30, 0, True)])
def test_a_full_disk_is_not_an_attribute_that_is_too_large(tmp_path, monkeypatch, free, inodes, is_full):
    """File systems return ENOSPC for both."""

    def refuse(*_arguments, **_more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def status(_fd):
        return os.statvfs_result((4096, 4096, 1 << 20, free >> 12, free >> 12, 10, inodes, inodes, 0, 255))

    fd = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "fstatvfs", status)
    try:
        if is_full:
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                metadata._set_attribute(fd, b"", b"user.a", b"value")
        else:
            assert "too large" in metadata._set_attribute(fd, b"", b"user.a", b"value")
    finally:
        os.close(fd)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_the_umask_is_found_without_proc_and_left_as_it_is(monkeypatch, umask):
    old = os.umask(umask)

    def none(*_arguments):
        raise FileNotFoundError

    monkeypatch.setattr(metadata, "open", none, raising=False)
    try:
        assert metadata._umask() == umask
        assert os.umask(umask) == umask
    finally:
        os.umask(old)
