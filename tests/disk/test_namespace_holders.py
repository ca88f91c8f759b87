"""One user namespace per store, as long as a process lives in it."""

from __future__ import annotations

import os
import signal

import pytest

from arstore.disk.namespace_holders import FILE, enter_shared, hold
from arstore.linux import kernel
from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.namespace import CLONE_NEWUSER, identity, unshare

pytestmark = pytest.mark.skipif(not kernel.user_namespaces(), reason="this host permits no user namespaces")


def make():
    unshare(CLONE_NEWUSER)
    user_namespace.is_initial.cache_clear()
    user_namespace.current.cache_clear()
    user_namespace.map_own_ids(user_namespace.maps_for(0, 0, (), ()))
    return "made"


class Process:
    """A child that has done *work*, and lives until it is ended; *said* is the result."""

    def __init__(self, work):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            try:
                os.write(writing, repr(work()).encode())
                os.close(writing)
                signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb") as file:
            self.said = eval(file.read() or b"None")  # what `repr` made above

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def entered(graph):
    made = enter_shared(str(graph), make)
    return made is None, identity("user")


@pytest.mark.root
def test_who_comes_later_joins(tmp_path):
    first = Process(lambda: entered(tmp_path))
    second = Process(lambda: entered(tmp_path))
    assert first.said[0] is False
    assert second.said == (True, first.said[1])
    assert first.said[1] != identity("user")
    # The second one keeps the namespace when the first is gone.
    first.end()
    third = Process(lambda: entered(tmp_path))
    assert third.said == (True, first.said[1])
    second.end()
    third.end()
    last = Process(lambda: entered(tmp_path))
    assert last.said[0] is False
    last.end()
    assert len((tmp_path / FILE).read_text().splitlines()) == 1


@pytest.mark.root
def test_a_launcher_holds_the_namespace_that_it_is_in(tmp_path):
    def inside():
        make()
        hold(str(tmp_path))
        return identity("user")

    holder = Process(inside)
    later = Process(lambda: entered(tmp_path))
    assert later.said == (True, holder.said)
    for process in (holder, later):
        process.end()


@pytest.mark.root
@pytest.mark.parametrize(
    "text", [b"", b"garbage\n", b"1 2\n\xff\xff 3 4\n", b"99999999999999999999 1 x\n", b"\0" * 5000]
)
def test_a_damaged_file_is_written_anew(tmp_path, text):
    (tmp_path / FILE).write_bytes(text)
    found = Process(lambda: entered(tmp_path))
    assert found.said[0] is False
    found.end()
    assert (tmp_path / FILE).read_text().split()[0] == str(found.pid)


@pytest.mark.root
def test_without_a_store_nothing_is_recorded(tmp_path):
    found = Process(lambda: entered(tmp_path / "none"))
    assert found.said[0] is False
    found.end()
    assert os.listdir(tmp_path) == []


def test_root_of_the_host_holds_nothing(tmp_path):
    if not user_namespace.is_initial():
        pytest.skip("these tests run in a user namespace")
    hold(str(tmp_path))
    assert os.listdir(tmp_path) == []
