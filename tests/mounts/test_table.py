import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arstore.disk.paths import Directories
from arstore.errors import AmbiguousError, ConflictError, InUseError, InvalidReferenceError, MountError, NotFoundError
from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_at
from arstore.mounts import overlay
from arstore.mounts import table as module
from arstore.mounts.overlay import Overlay
from arstore.mounts.source import store_mark
from arstore.mounts.table import MountState, MountTable
from arstore.trees.format import LowerDirectory

pytestmark = pytest.mark.mounts

IMAGE = "sha256:" + "a" * 64


@pytest.fixture
def description(tmp_path):
    fds = []
    lowers = []
    for name in ("top", "bottom"):
        path = tmp_path / "layers" / name
        path.mkdir(parents=True)
        (path / name).touch()
        fds.append(os.open(path, os.O_PATH))
        lowers.append(LowerDirectory(fds[-1], str(path)))
    yield Overlay(tuple(lowers))
    for fd in fds:
        os.close(fd)


@pytest.fixture
def directories(tmp_path, runroot):
    root = tmp_path / "root"
    root.mkdir()
    return Directories(str(root), str(runroot))


@pytest.fixture
def table(directories):
    table = MountTable(directories)
    yield table
    for entry in table.list():
        for _ in entry.places:
            with contextlib.suppress(MountError, InUseError, NotFoundError):
                table.umount(entry.record.id, lazy=True)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    return path


def left_in(table):
    """Names in the two directories of mounts."""
    places = [path for path in (table.directory, table.targets) if os.path.exists(path)]
    return sorted(name for path in places for name in os.listdir(path))


def states(table):
    return {entry.record.id: entry.state for entry in table.list()}


def test_a_mount_is_recorded_shown_and_ended(table, description, directories):
    record = table.mount(description, image=IMAGE)
    assert len(record.id) == 12
    assert set(record.id) <= set("0123456789abcdef")
    assert record.target == f"{directories.runroot}/mounts/{record.id}"
    assert sorted(os.listdir(record.target)) == ["bottom", "top"]
    assert mount_at(record.target).source == f"arstore:{record.id}@{store_mark(directories.root)}"
    (entry,) = table.list()
    assert entry == module.MountEntry(record, MountState.MOUNTED, (record.target,))
    assert (entry.record.image, entry.record.read_only) == (IMAGE, True)
    table.umount(record.id)
    assert table.list() == ()
    assert left_in(table) == []
    with pytest.raises(NotFoundError):
        table.umount(record.id)


def test_everything_is_closed_to_others(table, description, directories):
    before = os.umask(0)
    try:
        record = table.mount(description)
    finally:
        os.umask(before)
    assert os.stat(table.directory).st_mode & 0o777 == 0o700
    assert os.stat(f"{table.directory}/{record.id}.json").st_mode & 0o777 == 0o600
    table.umount(record.id)


def test_a_target_of_the_users_stays(table, description, target):
    record = table.mount(description, str(target))
    assert not record.own_target
    assert (target / "top").exists()
    table.umount(record.id)
    assert target.is_dir()
    assert os.listdir(target) == []


def test_a_writable_mount_names_its_container(table, description, tmp_path):
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    writable = description._replace(upper=str(tmp_path / "upper"), work=str(tmp_path / "work"))
    record = table.mount(writable, mount_id="web", container="web", image=IMAGE)
    Path(record.target, "new").touch()
    assert not record.read_only
    assert record.source.startswith("arstore:web.")
    assert table.find("web") == record
    table.umount("web")
    assert (tmp_path / "upper" / "new").exists()


def test_targets_through_links_relative_and_of_any_name(table, description, tmp_path, monkeypatch):
    place = tmp_path / "两 words\n"
    place.mkdir()
    (tmp_path / "link").symlink_to(place)
    monkeypatch.chdir(tmp_path)
    record = table.mount(description, "link")
    assert record.target == str(place)
    for name in ("link", str(place), "./link/", record.id):
        assert table.find(name) == record
    table.umount(record.id)
    odd = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(odd)
    record = table.mount(description, os.fsdecode(odd))
    assert states(table) == {record.id: MountState.MOUNTED}
    table.umount(table.find(os.fsdecode(odd)).id)


def test_find(table, description, target):
    first = table.mount(description, mount_id="abc1")
    second = table.mount(description, mount_id="abc2", container="db")
    third = table.mount(description, str(target), mount_id="abc")
    assert table.find("abc") == third
    assert table.find("abc1") == first
    assert table.find("db") == second
    assert table.find(first.target) == first
    table.umount("abc")
    with pytest.raises(AmbiguousError, match="abc1, abc2"):
        table.find("abc")
    for unknown in ("", "a", "zz", "/nowhere", str(target), "abc1x"):
        with pytest.raises(NotFoundError):
            table.find(unknown)
    for record in (first, second):
        table.umount(record.id)


@pytest.mark.parametrize("bad", ["", "../x", "a/b", ".hidden", "x.json", "a\n", "ü", "x" * 200, "-x"])
def test_ids_that_would_be_other_files_are_refused(table, description, bad):
    with pytest.raises(InvalidReferenceError):
        table.mount(description, mount_id=bad)
    with pytest.raises((InvalidReferenceError, NotFoundError)):
        table.umount(bad)
    assert left_in(table) == []


def test_an_id_is_taken_once(table, description):
    table.mount(description, mount_id="web")
    with pytest.raises(ConflictError):
        table.mount(description, mount_id="web")
    assert states(table) == {"web": MountState.MOUNTED}
    table.umount("web")


def test_a_target_that_shows_an_image_is_not_covered(table, description, target):
    record = table.mount(description, str(target))
    with pytest.raises(ConflictError, match="an image is mounted there"):
        table.mount(description, str(target))
    assert states(table) == {record.id: MountState.MOUNTED}
    table.umount(record.id)


def test_a_target_must_be_a_directory(table, description, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match="no such directory"):
        table.mount(description, str(tmp_path / "none"))
    with pytest.raises(NotFoundError, match="is not a directory"):
        table.mount(description, str(tmp_path / "file"))
    assert table.list() == ()


def test_a_failed_mount_leaves_nothing(table, description):
    with pytest.raises(MountError):
        table.mount(description._replace(lowers=description.lowers * 2))
    assert left_in(table) == []


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_leaves_nothing(table, description, target, monkeypatch, after):
    real = overlay.perform

    def interrupted(*arguments):
        if after:
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(overlay, "perform", interrupted)
    for place in (None, str(target)):
        with pytest.raises(KeyboardInterrupt):
            table.mount(description, place)
    assert left_in(table) == []
    assert mount_at(str(target)) is None


def test_what_is_in_use_stays_until_it_is_forced(table, description):
    record = table.mount(description)
    with open(f"{record.target}/top") as file:
        with pytest.raises(InUseError, match="--force") as caught:
            table.umount(record.id)
        assert caught.value.what == record.target
        assert states(table) == {record.id: MountState.MOUNTED}
        table.umount(record.id, lazy=True)
        assert states(table) == {record.id: MountState.DETACHED}
        file.read()
    assert states(table) == {}
    assert left_in(table) == []


def test_umount_8_makes_a_record_stale_and_umount_cleans_it(table, description, target):
    for place in (None, str(target)):
        record = table.mount(description, place)
        subprocess.run(["umount", record.target], check=True)
        assert states(table) == {record.id: MountState.STALE}
        table.umount(record.id)
        assert left_in(table) == []


def test_prune_removes_what_is_stale_only(table, description):
    kept, gone = table.mount(description), table.mount(description)
    mount.umount(gone.target)
    assert table.prune() == (gone.id,)
    assert states(table) == {kept.id: MountState.MOUNTED}
    table.umount(kept.id)


def test_a_foreign_mount_in_the_same_place_is_not_taken_for_ours(table, description, target):
    record = table.mount(description, str(target))
    mount.umount(str(target))
    overlay.perform(description._replace(source="foreign"), str(target))
    try:
        assert states(table) == {record.id: MountState.STALE}
        table.umount(record.id)
        assert mount_at(str(target)).source == "foreign"
    finally:
        mount.umount(str(target))


def test_a_mount_that_lies_over_ours_is_not_unmounted(table, description, target):
    record = table.mount(description, str(target))
    mount.mount("over", str(target), "tmpfs")
    with pytest.raises(InUseError, match="on top"):
        table.umount(record.id)
    assert mount_at(str(target)).source == "over"
    mount.umount(str(target))
    table.umount(record.id)


def test_mounts_below_ours_keep_it_busy(table, description, target, tmp_path):
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "upper" / "proc").mkdir()
    writable = description._replace(upper=str(tmp_path / "upper"), work=str(tmp_path / "work"))
    record = table.mount(writable, str(target))
    mount.mount("below", str(target / "proc"), "tmpfs")
    with pytest.raises(InUseError):
        table.umount(record.id)
    table.umount(record.id, lazy=True)
    assert mount_at(str(target)) is None


def test_bound_and_moved_mounts_are_found_and_ended(table, description, target, tmp_path):
    record = table.mount(description)
    mount.mount(record.target, str(target), "", mount.MS_BIND)
    assert table.find(str(target)) == record
    assert len(table.list()[0].places) == 2
    mount.umount(record.target)
    assert states(table) == {record.id: MountState.MOUNTED}
    table.umount(record.id)
    assert mount_at(str(target)) is None


def test_files_put_into_an_unmounted_directory_are_kept(table, description):
    record = table.mount(description)
    mount.umount(record.target)
    Path(record.target, "mine").write_text("mine")
    table.umount(record.id)
    assert table.list() == ()
    assert Path(record.target, "mine").read_text() == "mine"


def test_records_of_another_boot_are_dropped(table, description, target):
    record = table.mount(description)
    table.umount(record.id)
    os.mkdir(record.target)
    table.add(record._replace(boot="another"))
    table.add(record._replace(id="users", target=str(target), own_target=False, boot="another"))
    assert table.list() == ()
    assert left_in(table) == []
    assert target.is_dir()


def test_add_and_remove(table, description):
    record = table.mount(description)
    table.umount(record.id)
    table.add(record)
    assert states(table) == {record.id: MountState.STALE}
    with pytest.raises(ConflictError):
        table.add(record)
    table.remove(record.id)
    with pytest.raises(NotFoundError):
        table.remove(record.id)


def test_without_a_runroot_nothing_is_mounted(tmp_path):
    table = MountTable(Directories(str(tmp_path / "none"), str(tmp_path / "none")))
    assert table.list() == ()
    assert table.prune() == ()
    with pytest.raises(NotFoundError):
        table.find("abcd")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"id": 1}', "\xff", "[" * 100_000, "OTHER", "TYPES", "MORE"],
    ids=["empty", "cut", "list", "null", "blank", "fields", "bytes", "deep", "other", "types", "more"],
)
def test_a_record_that_cannot_be_read_hides_no_mount(table, description, content):
    record = table.mount(description)
    fields = json.loads(Path(table.directory, f"{record.id}.json").read_text())
    content = {
        "OTHER": json.dumps(fields | {"id": "other", "target": "/"}),
        "TYPES": json.dumps(fields | {"target": 7}),
        "MORE": json.dumps(fields | {"more": 7}),
    }.get(content, content)
    Path(table.directory, f"{record.id}.json").write_text(content, encoding="latin-1")
    assert states(table) == {record.id: MountState.MOUNTED}
    table.umount(record.id)
    assert left_in(table) == []


def test_on_a_file_system_without_nameless_files(table, description, monkeypatch):
    real = os.open

    def without(path, flags, *rest, **named):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", without)
    record = table.mount(description, mount_id="web")
    with pytest.raises(ConflictError):
        table.mount(description, mount_id="web")
    assert left_in(table) == ["web", "web.json"]
    assert states(table) == {record.id: MountState.MOUNTED}
    table.umount("web")
    assert left_in(table) == []


IN_A_PRIVATE_NAMESPACE = """
import os, sys
from arstore.linux.mounting import mount
from arstore.linux.isolation import namespace
from arstore.disk.paths import Directories
from arstore.mounts.table import MountTable
from arstore.mounts.overlay import Overlay
from arstore.trees.format import LowerDirectory
namespace.unshare(namespace.CLONE_NEWNS)
mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
lowers = tuple(LowerDirectory(os.open(path, os.O_PATH), path) for path in sys.argv[4:])
made = MountTable(Directories(*sys.argv[1:3])).mount(Overlay(lowers)).id
os.chroot(sys.argv[3])
print(made, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def mounted_elsewhere(description, directories, root="/"):
    """The id of a mount in a new mount namespace, for the length of the context; its process has *root*."""
    paths = [lower.path for lower in description.lowers]
    command = [sys.executable, "-c", IN_A_PRIVATE_NAMESPACE, *directories, root, *paths]
    where = Path(module.__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=where) as child:
        yield child.stdout.readline().decode().strip()
        child.stdin.close()
        child.wait()


def test_a_mount_in_another_namespace_is_seen_until_that_ends(table, description, directories):
    with mounted_elsewhere(description, directories) as mount_id:
        assert states(table) == {mount_id: MountState.MOUNTED}
        assert mount_at(f"{table.targets}/{mount_id}") is None
        with pytest.raises(MountError, match="another mount namespace"):
            table.umount(mount_id)
    assert states(table) == {mount_id: MountState.STALE}
    table.umount(mount_id)
    assert left_in(table) == []


def test_a_mount_that_only_processes_in_a_chroot_have_is_left_alone(table, description, directories, tmp_path):
    with mounted_elsewhere(description, directories, str(tmp_path)) as mount_id:
        assert states(table) == {mount_id: MountState.PENDING}
        assert table.prune() == ()
    assert table.prune() == (mount_id,)
    assert left_in(table) == []


def in_child(action):
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    return pid


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen in 5 s")


@pytest.mark.parametrize("after", [False, True])
def test_killed_while_mounting(table, description, monkeypatch, after):
    """While the process lives, its record is pending and must not be removed; afterwards the record must be correct."""
    real = overlay.perform

    def stopped(*arguments):
        if after:
            real(*arguments)
        os.kill(os.getpid(), signal.SIGSTOP)

    monkeypatch.setattr(overlay, "perform", stopped)
    pid = in_child(lambda: table.mount(description, mount_id="web"))
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    assert states(table) == {"web": MountState.MOUNTED if after else MountState.PENDING}
    assert table.prune() == ()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert states(table) == {"web": MountState.MOUNTED if after else MountState.STALE}
    table.umount("web")
    assert left_in(table) == []


def test_umount_waits_for_the_one_who_mounts(table, description, monkeypatch):
    real = overlay.perform

    def slow(*arguments):
        os.kill(os.getpid(), signal.SIGSTOP)
        real(*arguments)

    monkeypatch.setattr(overlay, "perform", slow)
    pid = in_child(lambda: table.mount(description, mount_id="web"))
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    other = in_child(lambda: table.umount("web"))
    wait_for(lambda: any("->" in lock and f" {other} " in lock for lock in Path("/proc/locks").read_text().split("\n")))
    assert states(table) == {"web": MountState.PENDING}
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    os.waitpid(other, 0)
    assert table.list() == ()
    assert left_in(table) == []


def _work(directories, paths, rounds, errors):
    table = MountTable(directories)
    lowers = tuple(LowerDirectory(os.open(path, os.O_PATH), path) for path in paths)
    try:
        for _ in range(rounds):
            record = table.mount(Overlay(lowers))
            own = [entry for entry in table.list() if entry.record.id == record.id]
            if [entry.state for entry in own] != [MountState.MOUNTED]:
                errors.put(f"{record.id}: {own}")
            if any(entry.state is MountState.STALE for entry in table.list()):
                errors.put("stale while all is well")
            table.umount(record.id)
    except BaseException as error:
        errors.put(repr(error))
        raise


def test_several_processes_at_once(table, description, directories):
    context = multiprocessing.get_context("fork")
    errors = context.SimpleQueue()
    paths = [lower.path for lower in description.lowers]
    workers = [context.Process(target=_work, args=(directories, paths, 12, errors)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert errors.empty(), errors.get()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert left_in(table) == []


def test_of_several_who_want_one_id_one_gets_it(table, description, directories):
    pids = [in_child(lambda: table.mount(description, mount_id="web")) for _ in range(4)]
    for pid in pids:
        os.waitpid(pid, 0)
    assert states(table) == {"web": MountState.MOUNTED}
    assert len(table.list()[0].places) == 1
    table.umount("web")
    assert mount_at(f"{table.directory}") is None
    assert left_in(table) == []


def test_of_several_who_unmount_one_does(table, description):
    table.mount(description, mount_id="web")
    reader, writer = os.pipe()

    def action():
        try:
            table.umount("web")
            os.write(writer, b"1")
        except NotFoundError:
            os.write(writer, b"0")

    for pid in [in_child(action) for _ in range(4)]:
        os.waitpid(pid, 0)
    assert sorted(os.read(reader, 9)) == sorted(b"1000")
    assert left_in(table) == []
    os.close(reader)
    os.close(writer)
