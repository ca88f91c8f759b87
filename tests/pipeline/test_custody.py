"""Descriptors that outlive a container: the lock is held meanwhile, and a process outside can do no harm with them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from support import images, stores

from arstore.disk.paths import opened
from arstore.errors import InUseError, LimitError, PipelineTimeoutError, SubImageError
from arstore.pipeline import custody as module
from arstore.pipeline import load as loading
from arstore.pipeline.clock import Clock
from arstore.pipeline.custody import Custody, give_back
from arstore.pipeline.leavings import Seen, find_leavings, opened_leaving
from arstore.pipeline.load import Loaded, LoadOptions
from arstore.pipeline.place import ENDED, TAKEN, discard, failed_runs, is_empty, set_aside, write_last


@pytest.fixture
def place(tmp_path):
    """A pipeline's directory, whose images directory has a group, a layout and files."""
    left = tmp_path / "images"
    (left / "group/more").mkdir(parents=True)
    (left / "group").chmod(0o751)
    (left / "group/a.tar").write_bytes(b"a")
    (left / "group/more/b.tar").write_bytes(b"b")
    (left / "top.tar").write_bytes(b"top")
    (left / "link").symlink_to("/etc/passwd")
    images.write_layout(left / "layout", images.example())
    before = len(os.listdir("/proc/self/fd"))
    yield tmp_path
    assert len(os.listdir("/proc/self/fd")) == before


@contextmanager
def fds(place):
    """The pipeline's directory and its images directory, open."""
    with opened(str(place)) as place_fd, opened(str(place / "images")) as images_fd:
        yield place_fd, images_fd


@contextmanager
def descriptor(path):
    """A descriptor that a container has passed on."""
    fd = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def make(fd, name, content=b"late"):
    with open(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=fd), "wb") as file:
        file.write(content)


def tree(top):
    """Everything below, except the store's blobs in a layout."""
    return {
        os.path.relpath(os.path.join(at, name), top)
        for at, directories, files in os.walk(top)
        for name in (*files, *directories)
    }


def test_files_are_in_directories_of_the_host_alone(place):
    before = tree(place / "images")
    with fds(place) as both, Custody(*both) as held:
        taken = place / TAKEN
        assert tree(taken) == before
        for at, directories, _ in os.walk(taken):
            for name in (".", *directories):
                status = os.stat(os.path.join(at, name))
                assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, os.geteuid())
        assert not any((place / "images" / name).is_file() for name in tree(place / "images"))
        found = [(leaving.path, bool(leaving.refusal)) for leaving in held.leavings(Seen())]
        assert found == [
            (b"group/a.tar", False),
            (b"group/more/b.tar", False),
            (b"layout", False),
            (b"link", True),
            (b"top.tar", False),
        ]
    assert tree(place / "images") == before
    assert stat.S_IMODE((place / "images/group").stat().st_mode) == 0o751
    assert not (place / TAKEN).exists()


def test_names_that_are_made_meanwhile_are_neither_listed_nor_deleted(place):
    with ExitStack() as stack:
        names = ("images/group/more", "images/layout", "images")
        inner, layout, top = (stack.enter_context(descriptor(place / name)) for name in names)
        with fds(place) as both:
            with Custody(*both) as held:
                for fd in (inner, layout, top):
                    make(fd, "late.tar")
                # Existing files cannot be removed, renamed or replaced either.
                with pytest.raises(FileNotFoundError):
                    os.unlink("b.tar", dir_fd=inner)
                make(inner, "b.tar", b"another")
                seen = Seen()
                found = held.leavings(seen)
                assert [one.path for one in found if b"late" in one.path] == []
                for leaving in found:
                    if not leaving.refusal:
                        with opened_leaving(held.fd, leaving, seen) as fd:
                            if leaving.path == b"group/more/b.tar":
                                assert os.read(fd, 10) == b"b"
                make(top, "later.tar")
                make(inner, "later.tar")
                held.clear(seen)
            assert {name for name in tree(place / "images") if not (place / "images" / name).is_dir()} == {
                "late.tar",
                "later.tar",
                "layout/late.tar",
                "group/more/late.tar",
                "group/more/later.tar",
                "group/more/b.tar",
                "link",
            }


def test_a_file_that_is_written_to_meanwhile_is_given_back(place):
    with descriptor(place / "images/top.tar") as file, descriptor(place / "images/group/a.tar") as early:
        with fds(place) as both, Custody(*both) as held:
            os.pwrite(early, b"before it is opened", 0)
            seen = Seen()
            for leaving in held.leavings(seen):
                if not leaving.refusal:
                    with opened_leaving(held.fd, leaving, seen):
                        pass
            os.pwrite(file, b"more", 100)
            held.clear(seen)
        assert tree(place / "images") == {"top.tar", "link"}
        assert (place / "images/top.tar").stat().st_ino == os.fstat(file).st_ino


def test_what_a_killed_load_had_taken_is_given_back(place):
    before = tree(place / "images")
    with fds(place) as both:
        held = Custody(*both)
        held.__enter__()
        os.close(held.fd)
        # In the meantime something takes the place of a file, and of a directory.
        (place / "images/top.tar").write_bytes(b"another")
        (place / "images/group/more").rmdir()
        (place / "images/group/more").symlink_to("/etc")
        give_back(*both)
        assert (place / "images/top.tar").read_bytes() == b"another"
        assert tree(place / TAKEN) == {"top.tar", "group", "group/more", "group/more/b.tar"}
        assert not is_empty(both[0])
        # The next load takes both.
        (place / "images/group/more").unlink()
        (place / "images/top.tar").unlink()
        with Custody(*both):
            assert tree(place / TAKEN) == before
    assert tree(place / "images") == before


def test_what_cannot_be_given_back_is_set_aside_with_the_rest(place):
    with fds(place) as both:
        held = Custody(*both)
        held.__enter__()
        os.close(held.fd)
        (place / "images/top.tar").write_bytes(b"another")
        give_back(*both)
        aside = Path(set_aside(str(place), both[0]))
        assert is_empty(both[0])
    assert (aside / "top.tar").read_bytes() == b"another"
    runs = failed_runs(str(place))
    assert [Path(run.path).name for run in runs] == [aside.name, f"{aside.name}{TAKEN}"]
    assert (Path(runs[1].path) / "top.tar").read_bytes() == b"top"
    discard(runs)
    assert not (place / "failed").exists()


def test_a_failed_run_in_which_a_process_still_writes_is_not_discarded(place):
    with ExitStack() as stack:
        file, group = (stack.enter_context(descriptor(place / name)) for name in ("images/top.tar", "images/group"))
        with fds(place) as both:
            set_aside(str(place), both[0])
        stack.enter_context(writer("names", file, group, group))
        with suppress(InUseError):
            discard(failed_runs(str(place)))
    discard(failed_runs(str(place)))
    assert not (place / "failed").exists()


def test_too_many_entries_go_back(place, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 8)
    before = tree(place / "images")
    with fds(place) as both, pytest.raises(LimitError), Custody(*both):
        pass
    assert tree(place / "images") == before
    assert not (place / TAKEN).exists()


def test_what_lies_too_deep_stays_and_is_refused(place):
    deep = place / "images" / "/".join(["d"] * 70)
    deep.mkdir(parents=True)
    (deep / "x.tar").touch()
    with fds(place) as both, Custody(*both) as held:
        refused = [leaving for leaving in held.leavings(Seen()) if "deep" in leaving.refusal]
        assert [leaving.path for leaving in refused] == [b"/".join([b"d"] * 65)]
        assert (deep / "x.tar").exists()


@pytest.mark.root
@pytest.mark.mounts
def test_an_images_directory_of_another_file_system_is_taken_where_it_is(place):
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place / "images"], check=True)
    try:
        (place / "images/x.tar").touch()
        with fds(place) as both, Custody(*both) as held:
            seen = Seen()
            (leaving,) = held.leavings(seen)
            with opened_leaving(held.fd, leaving, seen):
                pass
            (place / "images/late.tar").touch()
            held.clear(seen)
        assert tree(place / "images") == {"late.tar"}
        assert not (place / TAKEN).exists()
    finally:
        subprocess.run(["umount", place / "images"], check=True)


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.tools("mkfs.btrfs")
def test_on_btrfs_with_a_subvolume_in_it(tmp_path):
    with open(tmp_path / "disk", "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", tmp_path / "disk"], check=True, capture_output=True)
    (tmp_path / "mounted").mkdir()
    done = subprocess.run(["mount", "-o", "loop", tmp_path / "disk", tmp_path / "mounted"], check=False)
    if done.returncode:
        pytest.skip("btrfs cannot be mounted here")
    try:
        place = tmp_path / "mounted/place"
        (place / "images/group").mkdir(parents=True)
        subprocess.run(["btrfs", "subvolume", "create", place / "images/sub"], check=True, capture_output=True)
        for name in ("top.tar", "group/a.tar", "sub/b.tar"):
            (place / "images" / name).write_bytes(b"x")
        before = tree(place / "images")
        with fds(place) as both:
            with Custody(*both):
                assert tree(place / TAKEN) == before
            assert tree(place / "images") == before
            with Custody(*both) as held:
                seen = Seen()
                found = held.leavings(seen)
                assert [leaving.path for leaving in found] == [b"group/a.tar", b"sub/b.tar", b"top.tar"]
                for leaving in found:
                    with opened_leaving(held.fd, leaving, seen):
                        pass
                (place / "images/late.tar").touch()
                held.clear(seen)
            assert [leaving.path for leaving in find_leavings(both[1])] == [b"late.tar"]
        assert tree(place) == {"images", "images/late.tar"}
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)


@pytest.mark.root
@pytest.mark.mounts
def test_what_is_mounted_in_it_stays(place):
    (place / "images/mounted").mkdir()
    (place / "elsewhere").mkdir()
    (place / "elsewhere/x.tar").touch()
    subprocess.run(["mount", "--bind", place / "elsewhere", place / "images/mounted"], check=True)
    try:
        with fds(place) as both, Custody(*both) as held:
            refused = [leaving.path for leaving in held.leavings(Seen()) if "file system" in leaving.refusal]
            assert refused == [b"mounted/x.tar"]
            assert (place / "elsewhere/x.tar").exists()
    finally:
        subprocess.run(["umount", place / "images/mounted"], check=True)


# --- a whole import while a process outside writes --------------------------------------------------------------------


WRITER = """
import os, sys, time
file, directory, top = map(int, sys.argv[1:4])
size = os.fstat(file).st_size
print("ready", flush=True)
number = 0
while True:
    number += 1
    if sys.argv[4] == "content":
        os.pwrite(file, os.urandom(512), number * 7919 % size)
    for fd in (directory, top):
        os.close(os.open(f"late-{number % 200}.tar", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
"""


@contextmanager
def writer(how, *descriptors):
    """A process that has these descriptors, and writes as fast as it can."""
    words = [sys.executable, "-c", WRITER, *map(str, descriptors), how]
    with subprocess.Popen(words, pass_fds=descriptors, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def work_in(store, place, loaded, clock=None):
    with opened(str(place)) as fd:
        write_last(fd, ENDED, "")
        work = loading._Work(store, str(place / "images"), fd, LoadOptions(), None, loaded, clock or Clock(None))
        work.take_leavings()


@pytest.mark.parametrize("how", ["names", "content"])
def test_an_import_while_another_process_writes(store, tmp_path, how):
    place = tmp_path / "place"
    group = place / "images/group"
    group.mkdir(parents=True)
    noise = images.image(images.layer([images.file("f", os.urandom(3 << 20))], "none"), names=["noise:1"])
    images.write_oci_archive(group / "noise.tar", noise)
    images.write_layout(group / "layout", images.example(["quiet:1"]))
    loaded = Loaded()
    with ExitStack() as stack:
        passed_on = [stack.enter_context(descriptor(path)) for path in (group / "noise.tar", group, place / "images")]
        stack.enter_context(writer(how, *passed_on))
        time.sleep(0.05)
        try:
            work_in(store, place, loaded)
        except SubImageError:
            assert loaded.failed
    # Names that came before the files were taken were empty archives; the rest was never examined.
    names = {name for image in loaded.imported for name in image.names}
    assert names <= {"noise:1", "quiet:1"}
    assert how == "content" or names == {"noise:1", "quiet:1"}
    if "noise:1" in names:
        assert {image.digest for image in loaded.imported if "noise:1" in image.names} == {noise.digest}
    stores.verify_clean(store)


def test_a_time_limit_names_what_was_under_way_and_gives_all_back(store, tmp_path, monkeypatch):
    place = tmp_path / "place"
    images.write_layout((place / "images").parent / "images/first", images.example(["first:1"]))
    images.write_layout(place / "images/second\n", images.example(["second:1"]))
    before = tree(place / "images")
    real = loading.import_opened

    def slow(*arguments):
        if os.path.exists(tmp_path / "once"):
            time.sleep(60)
        (tmp_path / "once").touch()
        return real(*arguments)

    monkeypatch.setattr(loading, "import_opened", slow)
    loaded = Loaded()
    with pytest.raises(PipelineTimeoutError) as caught:
        work_in(store, place, loaded, Clock(None, {"leavings": 2}))
    said = r"load: did not finish in 2 seconds (--timeout-part leavings=2), while importing second\n"
    assert str(caught.value) == said
    assert [image.names for image in loaded.imported] == [("first:1",)]
    assert tree(place / "images") == before
    assert not (place / TAKEN).exists()


def test_a_time_limit_on_clearing_says_so_and_the_next_load_goes_on(store, tmp_path, monkeypatch):
    place = tmp_path / "place"
    images.write_layout(place / "images/first", images.example(["first:1"]))
    real = Seen.remove
    monkeypatch.setattr(Seen, "remove", lambda *_: time.sleep(60))
    with pytest.raises(PipelineTimeoutError, match=r"2 seconds \(--timeout 2\), while clearing$"):
        work_in(store, place, Loaded(), Clock(2))
    assert "first/oci-layout" in tree(place / "images")
    monkeypatch.setattr(Seen, "remove", real)
    work_in(store, place, Loaded())
    assert tree(place) == {"images"}


@pytest.mark.parametrize(
    ("total", "part", "said"),
    [(0.2, 5, "--timeout 0.2)"), (5, 0.2, "--timeout-part run=0.2)"), (None, 0.2, "--timeout-part run=0.2)")],
)
def test_the_limit_that_ends_first_is_named(total, part, said):
    seconds = {}
    clock = Clock(total, {"run": part}, seconds)
    with pytest.raises(PipelineTimeoutError) as caught, clock.part("run", "running it"):
        time.sleep(10)
    assert str(caught.value) == f"load: did not finish in 0.2 seconds ({said}, while running it"
    assert 0.1 < seconds["run"] < 5


@pytest.mark.tools("strace")
def test_what_was_deleted_is_durable_before_the_last_run_is_forgotten(tmp_path):
    """After a power cut, restored images with an unknown run would count as those of a failed run."""
    place = tmp_path / "place"
    images.write_layout(place / "images/group/layout", images.example())
    script = (
        "import sys; from pathlib import Path\n"
        "from support import stores\n"
        "from pipeline.test_custody import work_in\n"
        "from arstore.pipeline.load import Loaded\n"
        "with stores.opened(Path(sys.argv[1])) as store: work_in(store, Path(sys.argv[1]) / 'place', Loaded())\n"
    )
    log = tmp_path / "trace"
    calls = "trace=fsync,unlink,unlinkat,rmdir,rename,renameat,renameat2"
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    words = ["strace", "-y", "-s", "200", "-o", log, "-e", calls, sys.executable, "-c", script, tmp_path]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": path})
    lines = [line for line in log.read_text().splitlines() if f"<{place}" in line]

    def last(text):
        return max(number for number, line in enumerate(lines) if text in line)

    (forgotten,) = [number for number, line in enumerate(lines) if '".last"' in line and "unlink" in line]
    removed = [
        number for number, line in enumerate(lines) if line.startswith(("unlink", "rmdir")) and number < forgotten
    ]
    assert last(f"<{place}/images") > 0
    assert max(removed) < last("fsync(") < forgotten
    assert {line.split("<")[1].split(">")[0] for line in lines[max(removed) :] if line.startswith("fsync")} == {
        str(place),
        str(place / "images"),
    }
    assert any('".taken"' in lines[number] for number in removed)
    assert not (place / TAKEN).exists()
