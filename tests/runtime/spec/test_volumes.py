import os
import resource
import shutil
import stat
import subprocess

import pytest

from arstore.errors import ImageConfigError, LimitError, NoSpaceError
from arstore.runtime.spec import volume_copy
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.volumes import private_volumes, volume_places
from arstore.tar.limits import DEFAULT_LIMITS, Limits


def test_volume_is_an_exact_copy(tmp_path):
    data = tmp_path / "root/data"
    (data / "sub").mkdir(parents=True)
    (data / "sub/file").write_bytes(b"x" * 100000)
    os.utime(data / "sub/file", ns=(1, 1234567890123456789))
    os.link(data / "sub/file", data / "hard")
    (data / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "fifo")
    (data / "sub").chmod(0o2750)
    os.utime(data / "sub", ns=(1, 987654321))
    with RootDirectory(str(tmp_path / "root")) as root:
        (volume,) = private_volumes(str(tmp_path), ("/data",), root)
        assert private_volumes(str(tmp_path), ("/data",), root) == [volume]
        assert private_volumes(str(tmp_path), (), root) == []
    copy = volume.source
    assert sorted(os.listdir(copy)) == ["fifo", "hard", "link", "sub"]
    assert os.stat(f"{copy}/sub/file").st_mtime_ns == 1234567890123456789
    assert os.stat(f"{copy}/hard").st_ino == os.stat(f"{copy}/sub/file").st_ino
    assert os.readlink(f"{copy}/link") == "/etc/passwd"
    assert stat.S_ISFIFO(os.stat(f"{copy}/fifo").st_mode)
    assert (os.stat(f"{copy}/sub").st_mode & 0o7777, os.stat(f"{copy}/sub").st_mtime_ns) == (0o2750, 987654321)


def test_volume_behind_a_link_out_of_the_root_is_empty(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").touch()
    (tmp_path / "root/data").symlink_to("../secret")
    (tmp_path / "root/plain").touch()
    with RootDirectory(str(tmp_path / "root")) as root:
        (volume,) = private_volumes(str(tmp_path), ("/data",), root)
        assert os.listdir(volume.source) == []
        with pytest.raises(ImageConfigError):
            private_volumes(str(tmp_path), ("/plain",), root)


# --- what a copy keeps, and what it costs -----------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path):
    """A root file system to put things into."""
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def volumes_of(tmp_path, image):
    """Make the volumes of these places, as a container gets them; return the paths, by place."""

    def make(*declared, taken=(), limits=DEFAULT_LIMITS):
        with RootDirectory(str(image)) as root:
            places = volume_places(declared, taken, root)
            return {one.destination: one.source for one in private_volumes(str(tmp_path), places, root, limits)}

    before = len(os.listdir("/proc/self/fd"))
    yield make
    assert len(os.listdir("/proc/self/fd")) == before


def test_holes_stay_holes(image, volumes_of):
    (image / "data").mkdir()
    with open(image / "data/sparse", "wb") as file:
        file.truncate(64 << 30)
        os.pwrite(file.fileno(), b"middle", 5 << 30)
        os.pwrite(file.fileno(), b"end", (64 << 30) - 3)
    (image / "data/empty").touch()
    with open(image / "data/hole", "wb") as file:
        file.truncate(1 << 40)
    copy = volumes_of("/data")["/data"]
    status = os.stat(f"{copy}/sparse")
    assert (status.st_size, os.stat(f"{copy}/hole").st_size) == (64 << 30, 1 << 40)
    assert status.st_blocks * 512 <= 64 << 10
    with open(f"{copy}/sparse", "rb") as file:
        assert [os.pread(file.fileno(), 8, at) for at in (0, 5 << 30, (64 << 30) - 3)] == [
            b"\0" * 8,
            b"middle\0\0",
            b"end",
        ]


@pytest.mark.root
def test_extended_attributes_capabilities_and_acls_are_kept(image, volumes_of):
    data = image / "data"
    (data / "sub").mkdir(parents=True)
    (data / "program").write_bytes(b"x")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    acl = bytes.fromhex("0200000001000600ffffffff020004000100000004000400ffffffff10000600ffffffff")
    acl += bytes.fromhex("20000400ffffffff")
    expected = {
        "program": {"security.capability": capability, "user.note": b"\0x", "system.posix_acl_access": acl},
        "sub": {"user.note": b"y", "system.posix_acl_default": acl, "trusted.mark": b""},
        ".": {"user.note": b"z", "system.posix_acl_default": acl},
    }
    for name, attributes in expected.items():
        os.chown(data / name, 7, 8)
        for attribute, value in attributes.items():
            try:
                os.setxattr(data / name, attribute, value)
            except OSError as error:
                pytest.skip(f"no {attribute} on this file system: {error}")
    copy = volumes_of("/data")["/data"]
    for name, attributes in expected.items():
        found = {one: os.getxattr(f"{copy}/{name}", one) for one in os.listxattr(f"{copy}/{name}")}
        assert found == attributes
        assert (os.stat(f"{copy}/{name}").st_uid, os.stat(f"{copy}/{name}").st_mode) == (
            7,
            os.stat(data / name).st_mode,
        )


def test_each_place_is_copied_once_whatever_it_is_called(image, volumes_of, tmp_path):
    (image / "data").mkdir()
    (image / "data/file").write_bytes(b"x")
    (image / "way").symlink_to("data/../data")
    for number in range(100):
        (image / f"l{number}").symlink_to("/way" if number % 2 else "data")
    places = [*(f"/l{number}" for number in range(100)), "/data", "/way/."]
    made = volumes_of(*places)
    assert list(made) == ["/data"]
    assert os.listdir(tmp_path / "volumes") == [os.path.basename(made["/data"])]
    assert volumes_of(*places, taken=("/l7",)) == {}


def test_what_is_a_volume_of_its_own_is_not_copied_with_the_one_around_it(image, volumes_of):
    place = image
    for _ in range(20):
        place = place / "d"
        place.mkdir()
        (place / "file").write_bytes(b"x" * 5000)
    (image / "d/d").chmod(0o2710)
    made = volumes_of(*("/" + "/".join(["d"] * depth) for depth in range(20, 0, -1)))
    assert len(made) == 20
    files = [os.path.join(at, name) for top in made.values() for at, _, names in os.walk(top) for name in names]
    assert len(files) == 20
    assert os.stat(f"{made['/d']}/d").st_mode & 0o7777 == 0o2710


def test_an_inode_with_names_in_several_volumes_is_copied_once(image, volumes_of):
    for number in range(50):
        (image / f"v{number}").mkdir()
        if number:
            os.link(image / "v0/file", image / f"v{number}/file")
        else:
            (image / "v0/file").write_bytes(b"x" * 100_000)
    made = volumes_of(*(f"/v{number}" for number in range(50)))
    assert {os.stat(f"{path}/file").st_ino for path in made.values()} == {os.stat(f"{made['/v0']}/file").st_ino}
    assert os.stat(f"{made['/v0']}/file").st_nlink == 50


def test_depth_costs_neither_stack_nor_descriptors(image, volumes_of, tmp_path):
    depth = 2000
    fd = os.open(image, os.O_RDONLY)
    for name in ["data", *["d" * 50] * depth]:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as file:
        file.write(b"deep")
    os.link("last", "again", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Few more than other tests have left open.
    has = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (has + 48, limits[1]))
    try:
        fd = os.open(volumes_of("/data")["/data"], os.O_RDONLY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for _ in range(depth):
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert sorted(os.listdir(fd)) == ["again", "last"]
    os.close(fd)
    # Python's rmtree, and so pytest's cleanup, recurses and would overflow the stack.
    subprocess.run(["rm", "-rf", image, tmp_path / "volumes"], check=True)


def test_the_number_of_entries_has_a_limit(image, volumes_of, monkeypatch, tmp_path):
    monkeypatch.setattr(volume_copy, "MOST_ENTRIES", 50)
    for place in ("a", "b"):
        (image / place).mkdir()
        for number in range(25):
            (image / place / str(number)).touch()
    made = volumes_of("/a", "/b")
    shutil.rmtree(tmp_path / "volumes")
    (image / "b/more").touch()
    with pytest.raises(LimitError, match="more than 50 files"):
        volumes_of("/a", "/b")
    # An incomplete copy must not be taken for a volume later.
    assert not any(os.path.exists(path) for path in made.values())
    (image / "b/more").unlink()
    assert volumes_of("/a", "/b") == made
    assert sorted(os.listdir(made["/b"])) == sorted(map(str, range(25)))


def test_a_copy_leaves_the_reserve(image, volumes_of, tmp_path):
    (image / "data").mkdir()
    (image / "data/file").write_bytes(b"x" * (2 << 20))
    free = os.statvfs(tmp_path)
    most = Limits(reserve=free.f_bfree * free.f_frsize)
    with pytest.raises(NoSpaceError, match=r"volume /data: no space left"):
        volumes_of("/data", limits=most)
    assert volumes_of("/data")


def test_a_copy_leaves_some_inodes(image, volumes_of, tmp_path, monkeypatch):
    if not os.statvfs(tmp_path).f_files:
        pytest.skip("this file system does not count inodes")
    monkeypatch.setattr(volume_copy, "_INODES_EVERY", 1)
    monkeypatch.setattr(volume_copy, "_INODES_RESERVE", 1)
    (image / "data").mkdir()
    (image / "data/file").touch()
    with pytest.raises(NoSpaceError, match="inodes"):
        volumes_of("/data")


@pytest.mark.parametrize(
    ("target", "place", "why"),
    [
        ("/", "/r", "root"),
        ("a/..", "/r", "root"),
        ("/r/../..", "/r/x/..", "symbolic links"),
        ("proc", "/r", "kernel"),
        ("/proc", "/r/self/cwd", "kernel"),
        ("", "/proc/self/cwd", "kernel"),
        ("", "/proc", "kernel"),
        ("/dev", "/r/fd/3", "kernel"),
        ("", "/sys/kernel", "kernel"),
        ("r", "/r", "symbolic links"),
        ("", "/" + "a/" * 3000, "too long"),
    ],
)
def test_places_are_refused_by_where_they_lead(image, volumes_of, target, place, why):
    (image / "a").mkdir()
    (image / "proc").mkdir()
    if target:
        (image / "r").symlink_to(target)
    with pytest.raises(ImageConfigError, match=why):
        volumes_of(place)


def test_places_below_the_kernels_that_images_use(volumes_of):
    assert set(volumes_of("/sys/fs/cgroup", "/dev/shm/x", "/process")) == {"/sys/fs/cgroup", "/dev/shm/x", "/process"}


def test_the_number_of_volumes_has_a_limit(volumes_of):
    with pytest.raises(ImageConfigError, match="more than 1000"):
        volumes_of(*(f"/v{number}" for number in range(1001)))
