import os
import stat

import pytest

from arstore.errors import (
    ImageConfigError,
)
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.volumes import private_volumes


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
