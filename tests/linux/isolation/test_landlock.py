import os

import pytest

from arstore.linux.isolation import landlock
from arstore.linux.process import set_no_new_privileges

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="no Landlock")


def in_child(work):
    """Fork a child that runs *work*; return its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def code_of(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0


def test_an_older_version_knows_less():
    assert landlock.known(-1, 1) == landlock.MAKE_SYM * 2 - 1
    assert landlock.known(landlock.REFER, 1) == 0
    assert landlock.known(landlock.REFER, 2) == landlock.REFER
    assert landlock.known(landlock.TRUNCATE, 2) == 0
    assert landlock.known(-1, 99) == landlock.known(-1, 6) == landlock.IOCTL_DEV * 2 - 1


@needs_landlock
@pytest.mark.parametrize("newest", range(1, 8))
def test_only_what_a_rule_allows_can_be_reached(tmp_path, newest):
    if newest > landlock.version():
        pytest.skip(f"this kernel has version {landlock.version()}")
    (tmp_path / "open").mkdir()
    (tmp_path / "open/file").write_text("x")
    (tmp_path / "closed").write_text("x")

    def work():
        set_no_new_privileges()
        ruleset = landlock.create_ruleset(newest)
        landlock.allow_path(ruleset, str(tmp_path / "open"), landlock.READ_FILE)
        landlock.restrict_self(ruleset)
        assert (tmp_path / "open/file").read_text() == "x"
        assert code_of((tmp_path / "closed").read_text) == 13
        assert code_of(lambda: (tmp_path / "open/file").write_text("")) == 13
        assert code_of(lambda: (tmp_path / "open/new").touch()) == 13
        return 0

    assert in_child(work) == 0


@needs_landlock
def test_what_is_open_stays_open(tmp_path):
    (tmp_path / "file").write_text("abc")
    fd = os.open(tmp_path / "file", os.O_RDWR)

    def work():
        set_no_new_privileges()
        landlock.restrict_self(landlock.create_ruleset(landlock.version()))
        os.ftruncate(fd, 2)
        return len(os.pread(fd, 10, 0))

    assert in_child(work) == 2
    os.close(fd)
