import errno
import os

import pytest

from arstore.errors import ImageConfigError
from arstore.runtime.spec.image_files import RootDirectory


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
