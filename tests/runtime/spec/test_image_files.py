import errno
import os
import time

import pytest

from arstore.errors import ImageConfigError
from arstore.runtime.spec.image_files import MOST_NAMES, RootDirectory


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def root(request, tmp_path):
    base = tmp_path / "root"
    (base / "usr/bin").mkdir(parents=True)
    (base / "usr/bin/tool").write_bytes(b"inside")
    (base / "bin").symlink_to("usr/bin")
    (base / "abs").symlink_to("/usr/bin/tool")
    (base / "out").symlink_to("../../../../secret")
    (base / "loop").symlink_to("loop")
    (tmp_path / "secret").write_bytes(b"outside")
    with RootDirectory(str(base), use_openat2=request.param) as opened:
        yield opened


@pytest.mark.parametrize(
    "path", ["/usr/bin/tool", "usr/bin/tool", "/bin/tool", "/abs", "/../../bin/../bin/tool", "//bin//./tool"]
)
def test_inside(root, path):
    assert root.read(path, 100) == b"inside"
    assert root.canonical(path) == "/usr/bin/tool"


@pytest.mark.parametrize("path", ["/out", "/missing", "/bin/tool/x", "/loop", "/" + "x" * 300])
def test_not_there(root, path):
    assert root.stat(path) is None
    assert root.read(path, 100) is None


def test_canonical_of_what_is_missing(root):
    assert root.canonical("/bin/new/../other") == "/usr/bin/other"
    assert root.canonical("/out/x") == "/secret/x"
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        root.canonical("/loop")


def test_limit_and_kind(root):
    with pytest.raises(ImageConfigError):
        root.read("/usr/bin/tool", 5)
    with pytest.raises(ImageConfigError):
        root.read("/usr", 5)


def test_no_descriptor_is_left(root):
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/bin/tool", "/out", "/loop", "/bin/new/x"):
        root.stat(path)
    root.canonical("/bin/new/x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_are_counted_over_all_that_is_looked_up(tmp_path):
    """A thousand volumes, each through 40 links of a thousand names, took 40 million lookups."""
    base = tmp_path / "root"
    base.mkdir()
    for number in range(39):
        (base / f"l{number}").symlink_to("d/../" * 700 + f"l{number + 1}")
    (base / "l39").mkdir()
    (base / "d").mkdir()
    with RootDirectory(str(base)) as root:
        started = time.thread_time()
        with pytest.raises(ImageConfigError, match=f"more than {MOST_NAMES} names"):
            list(map(root.canonical, (f"/l0/v{number}" for number in range(1000))))
        assert time.thread_time() - started < 10
        assert len(os.listdir("/proc/self/fd")) < 100


def test_many_volumes_below_what_is_not_there_are_found_at_once(tmp_path):
    """Each name on the way was compared with every volume, which took minutes for a thousand deep volumes."""
    base, host = tmp_path / "root", tmp_path / "host"
    base.mkdir()
    host.mkdir()
    (host / "file").write_bytes(b"in the volume")
    places = [f"/{first}" + "/d" * 250 + f"/v{number}" for first in "ab" for number in range(300)]
    started = time.thread_time()
    with RootDirectory(str(base), [(place, str(host)) for place in places]) as root:
        assert root.read(f"{places[-1]}/file", 100) == b"in the volume"
        assert root.read(f"{places[0]}/../v7/file", 100) == b"in the volume"
        assert root.has_volume(f"{places[3]}/x")
        assert not root.has_volume("/a/d")
        assert root.stat("/a/e") is None
    assert time.thread_time() - started < 8


def test_volumes_within_and_over_one_another(root, tmp_path):
    """The last volume at a place is visible; paths below it are looked up in it."""
    hosts = [tmp_path / name for name in "abc"]
    for host in hosts:
        host.mkdir()
        (host / "name").write_bytes(host.name.encode())
    mounts = [("/v", str(hosts[0])), ("/v/x", str(hosts[1])), ("/v", str(hosts[2]))]
    with RootDirectory(str(tmp_path / "root"), mounts) as seen:
        assert seen.read("/v/name", 10) == b"c"
        assert seen.read("/v/x/name", 10) == b"b"
        assert seen.read("/v/x/../name", 10) == b"c"
        assert seen.read("/v/y/name", 10) is None
        assert seen.has_volume("/v")
        assert not seen.has_volume("/")
