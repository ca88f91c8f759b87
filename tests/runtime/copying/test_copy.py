"""Copies between a root and the host, with and without openat2(2): nothing leaves the root, nothing outside changes."""

from __future__ import annotations

import errno
import os
import socket
import stat

import pytest

from arstore.errors import ArstoreError, ConflictError, LimitError, NotFoundError
from arstore.rootfs import upper
from arstore.runtime.copying.copy import Place, Source, copy, destination
from arstore.runtime.copying.target import Owners, Target
from arstore.runtime.copying.tree import Tree
from arstore.runtime.spec import image_files
from arstore.tar.entry import Kind
from arstore.trees.metadata import SkippedEntries


@pytest.fixture(params=["openat2", "walk"])
def kernel(request, monkeypatch):
    """A kernel with openat2(2), and one without."""
    if request.param == "walk":

        def missing(*_args, **_words):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(upper, "openat2", missing)
        monkeypatch.setattr(image_files, "openat2", missing)
    return request.param


class World:
    """A container's root and the host's files next to it."""

    def __init__(self, path):
        self.host = path / "host"
        self.inside = path / "root"
        self.victim = path / "victim"
        for each in (self.host, self.inside / "etc", self.inside / "d/sub", self.victim):
            each.mkdir(parents=True)
        (self.victim / "precious").write_text("precious")
        (self.inside / "d/f").write_text("own")
        self.root = os.open(self.inside, os.O_PATH | os.O_DIRECTORY)
        self.skipped = SkippedEntries()

    def place(self, text):
        """`c:PATH` is in the root, anything else on the host."""
        if text.startswith("c:"):
            return Place(text[2:], self.root, text)
        return Place(os.path.join(self.host, text), -1, text)

    def copy(self, source, target, *, trusted=True, overwrite=False):
        """Copy, and return the number of entries."""
        opened = Source(self.place(source))
        where = destination(opened, self.place(target))
        try:
            sink = Target(where, target, Owners(None, trusted), self.skipped, overwrite=overwrite)
            copy(opened.tree(where.name, self.skipped), sink)
            return sink.count
        finally:
            os.close(where.fd)
            opened.close()


@pytest.fixture
def world(tmp_path, kernel):
    """See World; the victim must stay as it is."""
    made = World(tmp_path)
    yield made
    os.close(made.root)
    assert os.listdir(made.victim) == ["precious"]
    assert (made.victim / "precious").read_text() == "precious"


def test_links_lead_nowhere_out_of_the_root(world):
    for name, target in (("abs", "/victim/precious"), ("up", "../../../victim/precious"), ("dir", str(world.victim))):
        (world.inside / "d" / name).symlink_to(target)
        with pytest.raises(NotFoundError):
            world.copy(f"c:/d/{name}", "x")
    for path in (
        "c:/../victim/precious",
        "c:/d/../../victim/precious",
        "c:/d/dir/precious",
        "c:/d/sub/../../../victim",
    ):
        with pytest.raises(NotFoundError):
            world.copy(path, "x")
    (world.host / "n").write_text("new")
    with pytest.raises(NotFoundError):
        world.copy("n", "c:/d/dir/new")
    (world.inside / "d/loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"(?i)too many"):
        world.copy("c:/d/loop", "x")
    assert os.listdir(world.host) == ["n"]


def test_links_are_copied_as_they_are(world):
    (world.inside / "d/abs").symlink_to("/etc/shadow")
    assert world.copy("c:/d", "new") == 4
    assert os.readlink(world.host / "new/abs") == "/etc/shadow"
    assert world.copy("c:/d", "new") == 4
    assert (world.host / "new/d/f").read_text() == "own"


def test_a_link_on_the_host_is_not_gone_through(world):
    (world.host / "out").mkdir()
    (world.host / "out/sub").symlink_to(world.victim)
    (world.host / "out/f").symlink_to(world.victim / "precious")
    (world.inside / "d/sub/precious").write_text("overwritten")
    with pytest.raises(ConflictError):
        world.copy("c:/d/.", "out")
    world.copy("c:/d/.", "out", overwrite=True)
    assert (world.host / "out/sub/precious").read_text() == "overwritten"
    assert not (world.host / "out/f").is_symlink()


def test_a_link_to_a_directory_in_the_root_is_gone_through(world):
    (world.inside / "lib").symlink_to("d/sub")
    (world.inside / "bad").symlink_to(world.victim)
    (world.host / "up/lib/x").mkdir(parents=True)
    (world.host / "up/lib/x/n").write_text("n")
    world.copy("up/.", "c:/")
    assert (world.inside / "d/sub/x/n").read_text() == "n"
    (world.host / "more/bad").mkdir(parents=True)
    (world.host / "more/bad/n").write_text("n")
    with pytest.raises(ConflictError):
        world.copy("more/.", "c:/")


def test_a_new_file_through_a_link_that_leads_nowhere(world):
    (world.inside / "etc/new").symlink_to("/etc/made")
    (world.host / "n").write_text("n")
    world.copy("n", "c:/etc/new")
    assert (world.inside / "etc/made").read_text() == "n"


def test_kinds(world):
    directory = world.inside / "k"
    directory.mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "su").write_text("s")
    (directory / "su").chmod(0o6755)
    os.link(directory / "su", directory / "hard")
    with open(directory / "holes", "wb") as file:
        file.truncate(1 << 32)
        file.seek(1 << 20)
        file.write(b"x")
    here = os.getcwd()
    os.chdir(directory)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("sock")
    os.chdir(here)
    assert world.copy("c:/k", "k", trusted=False) == 5
    found = world.host / "k"
    assert sorted(os.listdir(found)) == ["fifo", "hard", "holes", "su"]
    assert world.skipped.paths == [b"k/sock"]
    assert stat.S_IMODE((found / "su").stat().st_mode) == 0o755
    assert (found / "su").stat().st_ino == (found / "hard").stat().st_ino
    assert (found / "holes").stat().st_size == 1 << 32
    assert (found / "holes").stat().st_blocks < 100
    with pytest.raises(ArstoreError, match="is a socket"):
        world.copy("c:/k/sock", "x")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_directory_becomes_a_link_while_it_is_read(world, count):
    """At whatever moment, it is the directory, the link itself, or nothing; what the link leads to is never read."""
    (world.inside / "d/sub/own").write_text("own")
    opened = Source(world.place("c:/d"))
    entries = iter(opened.tree(b"d", world.skipped))
    found = [next(entries).entry for _ in range(count)]
    os.rename(world.inside / "d/sub", world.inside / "moved")
    (world.inside / "d/sub").symlink_to(world.victim)
    found += [one.entry for one in entries]
    opened.close()
    kinds = {one.path: one.kind for one in found}
    assert kinds.keys() <= {b"d", b"d/f", b"d/sub", b"d/sub/own"}
    assert (b"d/sub/own" not in kinds) or kinds[b"d/sub"] is Kind.DIRECTORY


def test_the_number_of_entries_is_bounded(world):
    for number in range(10):
        (world.inside / f"d/{number}").touch()
    fd = os.open(world.inside, os.O_PATH)
    try:
        with pytest.raises(LimitError, match="more than 5 entries"):
            list(Tree(fd, b"", world.skipped, most=5))
    finally:
        os.close(fd)


def test_an_error_leaves_no_temporary_file(world):
    class Failing:
        def copy_to(self, _fd):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (world.host / "n").write_text("n")
    opened = Source(world.place("n"))
    where = destination(opened, world.place("c:/etc/n"))
    (one,) = opened.tree(where.name, world.skipped)
    sink = Target(where, "c:/etc/n", Owners(None, True), world.skipped, overwrite=False)
    with pytest.raises(OSError, match="No space") as caught:
        sink.add(one._replace(content=Failing()))
    assert caught.value.filename == "c:/etc/n/n"
    assert os.listdir(world.inside / "etc") == []
    opened.close()
    os.close(where.fd)
