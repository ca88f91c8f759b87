"""Rights that a confined worker has lost, tried for real; and it can still do its work."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import sys
import threading

import pytest
from support import images, stores

from arstore.errors import HostError
from arstore.linux.isolation import capability, landlock, seccomp
from arstore.linux.mounting import mount
from arstore.linux.syscall import libc, syscall
from arstore.rootfs import unpack as unpacking
from arstore.store.ingest import layer_pass as layer
from arstore.store.progress import NoProgress
from arstore.trees.directory.unpacker import Unpacker
from arstore.workers import confinement
from arstore.workers.pool import run_jobs

needs_seccomp = pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters for this machine")
needs_landlock = pytest.mark.skipif(not landlock.version(), reason="no Landlock")
KINDS = [pytest.param("writing", id="writing"), pytest.param("making", id="making", marks=pytest.mark.root)]


@pytest.fixture
def place(tmp_path):
    made = tmp_path / "ingest"
    made.mkdir(mode=0o700)
    return str(made)


def confined(kind, place, action):
    """The result of *action* in a confined worker; the action gets the confinement."""

    def job(_report):
        entered = getattr(confinement, kind)(place)
        entered.shed()
        entered.enter()
        try:
            return action(entered)
        except OSError as error:
            return errno.errorcode[error.errno]

    (outcome,) = run_jobs([job])
    return outcome.value


# --- what ends the worker -------------------------------------------------------------------------------------------

FORBIDDEN = {
    "execve": lambda _: os.execv("/bin/true", ["true"]),
    "fork": lambda _: os.fork(),
    "socket": lambda _: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "unix socket": lambda _: socket.socket(socket.AF_UNIX),
    "mount": lambda _: mount.mount("none", "/tmp", "tmpfs"),
    "umount": lambda _: mount.umount("/proc"),
    "chroot": lambda _: os.chroot("/"),
    "kill the parent": lambda _: os.kill(os.getppid(), 0),
    "kill": lambda _: os.kill(1, signal.SIGTERM),
    "ptrace": lambda _: libc("ptrace", 16, os.getppid(), None, None),
    "unshare": lambda _: libc("unshare", 0x10000000),
    "setuid": lambda _: os.setuid(0),
    "sethostname": lambda _: libc("sethostname", b"other", 5),
    "push into a terminal": lambda _: libc("ioctl", 0, 0x5412, b"x"),
    "limits of another process": lambda _: libc("prlimit", os.getppid(), 7, None, None),
}


@needs_seccomp
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_call_that_no_worker_needs_ends_it(place, kind, name):
    with pytest.raises(HostError, match="never needs") as caught:
        confined(kind, place, FORBIDDEN[name])
    assert len(str(caught.value).splitlines()) == 1


@needs_seccomp
@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.chmod(path, 0o777),
        lambda path: os.chown(path, 0, 0),
        lambda path: os.setxattr(path, "user.a", b"1"),
        lambda path: os.utime(path, (0, 0)),
        lambda path: os.unlink(path),
        lambda path: os.rename(path, f"{path}2"),
        lambda path: os.link(path, f"{path}2"),
        lambda path: os.symlink("x", f"{path}2"),
        lambda path: os.mkdir(f"{path}2"),
        lambda path: os.mkfifo(f"{path}2"),
        lambda path: os.truncate(path, 0),
    ],
)
def test_work_that_only_writes_changes_nothing_else(place, change):
    path = f"{place}/file"
    with open(path, "w") as file:
        file.write("x")
    before = os.stat(path)
    with pytest.raises(HostError, match="never needs"):
        confined("writing", place, lambda _: change(path))
    after = os.stat(path)
    assert os.listdir(place) == ["file"]
    assert (before.st_mode, before.st_uid, before.st_mtime_ns, before.st_size) == (
        after.st_mode,
        after.st_uid,
        after.st_mtime_ns,
        after.st_size,
    )


@needs_seccomp
def test_io_uring_is_not_there(place):
    assert confined("writing", place, lambda _: syscall(425, 1, bytes(120))) == "ENOSYS"


# --- what fetches ---------------------------------------------------------------------------------------------------


def fetching(action):
    """The result of *action* in a fetching process."""
    return confined("fetching", "/nonexistent", lambda _: action())


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_work_that_fetches_connects(listening):
    def connect():
        with socket.create_connection(("localhost", listening), 5) as connection:
            return connection.getpeername()[1]

    assert fetching(connect) == listening


@needs_landlock
def test_work_that_fetches_reaches_no_files(tmp_path, listening):
    (tmp_path / "secret").write_text("x")
    left_open = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / "secret", os.O_RDWR)

    def attempts():
        found = []
        for path, flags, at in [
            (str(tmp_path / "secret"), os.O_RDONLY, None),
            (str(tmp_path / "new"), os.O_WRONLY | os.O_CREAT, None),
            ("secret", os.O_RDONLY, left_open[0]),
            ("/etc/shadow", os.O_RDONLY, None),
            ("/etc/hosts", os.O_WRONLY, None),
            ("/proc/self/environ", os.O_RDONLY, None),
        ]:
            try:
                os.close(os.open(path, flags, dir_fd=at))
                found.append(path)
            except OSError as error:
                found.append(errno.errorcode[error.errno])
        for fd in left_open:
            try:
                os.fstat(fd)
                found.append("open")
            except OSError as error:
                found.append(errno.errorcode[error.errno])
        return found

    assert fetching(attempts) == ["EACCES", "EACCES", "EBADF", "EACCES", "EACCES", "EACCES", "EBADF", "EBADF"]
    for fd in left_open:
        os.close(fd)


@needs_seccomp
@pytest.mark.parametrize("name", [name for name in FORBIDDEN if "socket" not in name])
def test_work_that_fetches_does_nothing_else(name):
    with pytest.raises(HostError, match="never needs"):
        fetching(lambda: FORBIDDEN[name](None))


@needs_landlock
@needs_seccomp
def test_work_that_fetches_takes_no_calls():
    def bind():
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))

    def listen():
        with socket.socket() as server:
            server.listen()

    if landlock.version() >= 4:
        assert fetching(bind) == "EACCES"
    with pytest.raises(HostError, match="never needs"):
        fetching(listen)


# --- what fails -----------------------------------------------------------------------------------------------------


@needs_landlock
@pytest.mark.parametrize("kind", KINDS)
def test_files_outside_are_out_of_reach(place, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_text("x")
    fd = os.open(tmp_path, os.O_RDONLY)

    def attempts(_confinement):
        found = []
        for path, flags, at in [
            (str(secret), os.O_RDONLY, None),
            (str(secret), os.O_WRONLY, None),
            (f"{tmp_path}/new", os.O_WRONLY | os.O_CREAT, None),
            ("/etc/passwd", os.O_RDONLY, None),
            ("/proc/self/environ", os.O_RDONLY, None),
            ("secret", os.O_RDONLY, fd),
            ("../secret", os.O_RDONLY, None),
        ]:
            try:
                os.close(os.open(path, flags, dir_fd=at))
            except OSError as error:
                found.append(error.errno)
            else:
                found.append(0)
        return found

    found = confined(kind, place, attempts)
    os.close(fd)
    assert set(found) <= {errno.EACCES, errno.ENOENT, errno.EBADF}
    assert secret.read_text() == "x"
    assert sorted(os.listdir(tmp_path)) == ["ingest", "secret"]


@pytest.mark.root
def test_capabilities_are_gone(place):
    assert confined("writing", place, lambda _: capability._permitted()) == 0
    assert confined("making", place, lambda _: capability._permitted()) & ~confinement.MAKING == 0


@pytest.mark.root
def test_a_device_that_was_made_cannot_be_opened(place):
    """A process that may make nodes could otherwise reach the host's disks."""
    if not confinement.making(place).change_root:
        pytest.skip("the root directory cannot be changed here (Linux 6.13)")

    def make(entered):
        path = entered.inside(f"{place}/null")
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        return os.open(path, os.O_RDWR)

    assert confined("making", place, make) == "EACCES"
    assert stat.S_ISCHR(os.stat(f"{place}/null").st_mode)
    with open(f"{place}/null", "rb") as file:
        assert file.read() == b""


@pytest.mark.root
def test_owners_outside_cannot_be_changed(place, tmp_path):
    """Landlock does not check chown(2); the changed root directory confines it."""
    if not confinement.making(place).change_root:
        pytest.skip("the root directory cannot be changed here (Linux 6.13)")
    victim = tmp_path / "victim"
    victim.touch()
    fd = os.open(tmp_path, os.O_RDONLY)

    def attempts(_confinement):
        failed = 0
        for path, at in [(str(victim), None), ("../victim", None), ("victim", fd), ("../../../etc/passwd", None)]:
            try:
                os.chown(path, 1234, 1234, dir_fd=at)
            except OSError:
                failed += 1
        return failed

    assert confined("making", place, attempts) == 4
    os.close(fd)
    assert victim.stat().st_uid == 0


# --- what still works -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_files(place, kind):
    def work(entered):
        path = entered.inside(f"{place}/file")
        done = []
        threads = [threading.Thread(target=done.append, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with open(path, "wb") as file:
            file.write(b"abc")
            file.flush()
            os.fdatasync(file.fileno())
        with open(path, "rb") as file:
            return sorted(done), file.read()

    assert confined(kind, place, work) == ([0, 1, 2, 3], b"abc")


def test_work_that_only_writes_can_import_from_the_standard_library(place, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)

    def work(_confinement):
        import colorsys

        return colorsys.rgb_to_hsv(0, 0, 0)

    assert confined("writing", place, work) == (0, 0, 0)


def test_what_is_to_be_readable_need_not_exist(place, tmp_path):
    (tmp_path / "file").write_text("x")

    def job(_report):
        confinement.writing(place, str(tmp_path / "no"), str(tmp_path / "file/no"), str(tmp_path / "file")).enter()
        return (tmp_path / "file").read_text()

    (outcome,) = run_jobs([job])
    assert outcome.value == "x"


@pytest.mark.root
def test_the_way_to_the_directory_need_not_be_open(place, tmp_path):
    """Without capabilities, root is like any other user: a store may be below another user's private directory."""
    os.chown(tmp_path, 65534, 65534)
    os.chmod(tmp_path, 0o700)

    def work(entered):
        with open(entered.inside(f"{place}/file"), "wb") as file:
            return file.write(b"x")

    assert confined("writing", place, work) == 1
    assert os.listdir(place) == ["file"]


@pytest.mark.root
def test_making_makes_everything(place):
    def work(entered):
        at = entered.inside(place)
        os.mkdir(f"{at}/d", 0o700)
        os.symlink("x", f"{at}/d/l")
        os.chown(f"{at}/d/l", 5, 6, follow_symlinks=False)
        os.mkfifo(f"{at}/d/p")
        os.mknod(f"{at}/d/w", stat.S_IFCHR, os.makedev(0, 0))
        os.setxattr(f"{at}/d", "trusted.overlay.opaque", b"y")
        with open(f"{at}/f", "wb"):
            os.chown(f"{at}/f", 1000, 1000)
            os.chmod(f"{at}/f", 0o4755)
            os.setxattr(f"{at}/f", "security.capability", bytes.fromhex("0100000200040000") + bytes(12))
        os.rename(f"{at}/f", f"{at}/d/f")
        os.link(f"{at}/d/f", f"{at}/g")
        os.unlink(f"{at}/g")
        return sorted(os.listdir(f"{at}/d"))

    assert confined("making", place, work) == ["f", "l", "p", "w"]
    assert os.stat(f"{place}/d/f").st_mode & 0o7777 == 0o4755


def test_means_are_told_for_people():
    told = confinement.means()
    assert ("seccomp" in told) == seccomp.supported()
    assert ("Landlock" in told) == bool(landlock.version())


# --- imports --------------------------------------------------------------------------------------------------------


@needs_seccomp
@pytest.mark.root
@pytest.mark.parametrize("form", ["erofs", "directory"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "xz", "bzip2"])
def test_a_layers_pass_runs_confined(tmp_path, monkeypatch, form, compression):
    """The confined pass itself tries what is forbidden, and the result shows its rights."""
    real = layer._pass

    def curious(*words):
        if os.environ.get("ARSTORE_TEST_CURIOUS"):
            os.execv("/bin/true", ["true"])
        return real(*words)

    monkeypatch.setattr(layer, "_pass", curious)
    picture = images.image(images.layer([images.file("a", b"x" * 70000)], compression), names=["one:1"])
    with stores.opened(tmp_path) as store:
        monkeypatch.setattr(store, "tree_forms", lambda name="auto", real=store.tree_forms: real(form))
        before = stores.State(store)
        monkeypatch.setenv("ARSTORE_TEST_CURIOUS", "1")
        with pytest.raises(HostError, match="never needs"):
            stores.bring(store, picture)
        before.verify()
        monkeypatch.delenv("ARSTORE_TEST_CURIOUS")
        stores.bring(store, picture)
        stores.verify_clean(store)


@needs_seccomp
@pytest.mark.root
@pytest.mark.parametrize("most_open", [200, 0])
def test_unpacking_runs_confined(tmp_path, monkeypatch, most_open):
    real = Unpacker.layer

    def curious(*words):
        if os.environ.get("ARSTORE_TEST_CURIOUS"):
            os.execv("/bin/true", ["true"])
        return real(*words)

    monkeypatch.setattr(Unpacker, "layer", curious)
    monkeypatch.setattr(unpacking, "_MOST_OPEN", most_open)
    with stores.opened(tmp_path) as store:
        stores.bring(store, images.example())
        image = store.find("example:1")
        monkeypatch.setenv("ARSTORE_TEST_CURIOUS", "1")
        with pytest.raises(HostError, match="never needs"):
            unpacking.unpack_image(store, image, str(tmp_path / "copy"), NoProgress())
        assert not (tmp_path / "copy").exists()
        monkeypatch.delenv("ARSTORE_TEST_CURIOUS")
        assert unpacking.unpack_image(store, image, str(tmp_path / "copy"), NoProgress()).is_exact
    assert (tmp_path / "copy/etc/passwd").exists()


# --- older kernels and smaller hosts --------------------------------------------------------------------------------


def without_landlock(monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)


def without_seccomp(monkeypatch):
    monkeypatch.setattr(seccomp, "supported", lambda: False)


def without_another_root(monkeypatch):
    monkeypatch.setattr(confinement, "_may_change_root", lambda: False)


def forbidding(name, code):
    """Forbid a call, as a filter around a container would."""

    def forbid(monkeypatch):
        def refused(*_words, **_more):
            raise OSError(code, os.strerror(code))

        module, _, function = name.partition(".")
        monkeypatch.setattr(MODULES[module], function, refused)

    return forbid


MODULES = {"mount": mount, "landlock": landlock, "seccomp": seccomp, "os": os}
SMALLER = {
    "no Landlock": [without_landlock],
    "no seccomp": [without_seccomp],
    "no other root": [without_another_root],
    "nothing": [without_landlock, without_seccomp, without_another_root],
    "clones forbidden": [forbidding("mount.open_tree", errno.EPERM)],
    "attributes forbidden": [forbidding("mount.mount_setattr", errno.ENOSYS)],
    "chroot forbidden": [forbidding("os.chroot", errno.EPERM)],
    "Landlock off": [forbidding("landlock.create_ruleset", errno.EOPNOTSUPP)],
    "filters forbidden": [forbidding("seccomp.install", errno.EACCES)],
}


@pytest.mark.root
@pytest.mark.parametrize("what", SMALLER)
@pytest.mark.parametrize("form", ["erofs", "directory"])
def test_a_host_that_lacks_something_imports_as_well(tmp_path, monkeypatch, what, form):
    for change in SMALLER[what]:
        change(monkeypatch)
    picture = images.example()
    with stores.opened(tmp_path) as store:
        monkeypatch.setattr(store, "tree_forms", lambda name="auto", real=store.tree_forms: real(form))
        stores.bring(store, picture)
        stores.verify_clean(store)
        assert set(picture.diff_ids) <= stores.trees(store)


@pytest.mark.root
def test_means_are_told_when_there_are_none(monkeypatch):
    for change in SMALLER["nothing"]:
        change(monkeypatch)
    monkeypatch.setattr(capability, "effective", lambda: 0)
    assert confinement.means() == ""
