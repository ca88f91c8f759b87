import os

import pytest
from support import features

from arstore.linux.mounting import mount
from arstore.linux.mounting.mountid import unique_mount_id


@pytest.mark.mounts
def test_a_clone_has_another_number_and_no_number_comes_again():
    first = mount.open_tree("/")
    number = unique_mount_id(first)
    if not number:
        os.close(first)
        pytest.skip("this kernel has no unique numbers of mounts (before 6.8)")
    assert number == unique_mount_id(first)
    os.close(first)
    second = mount.open_tree("/")
    try:
        assert unique_mount_id(second) > number
        inner = os.open("etc", os.O_PATH | os.O_DIRECTORY, dir_fd=second)
        try:
            assert unique_mount_id(inner) == 0
        finally:
            os.close(inner)
    finally:
        os.close(second)


def test_what_is_not_open():
    with pytest.raises(OSError, match="Bad file descriptor"):
        unique_mount_id(1 << 20)


@pytest.mark.mounts
def test_what_the_kernel_says_of_clones_of_detached_mounts_is_so():
    first = mount.open_tree("/")
    try:
        if features.detached_clones():
            os.close(mount.open_tree("", first, mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH))
        else:
            with pytest.raises(OSError):  # noqa: PT011
                mount.open_tree("", first, mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
    finally:
        os.close(first)
