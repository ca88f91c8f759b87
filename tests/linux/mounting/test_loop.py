import errno
import os
import subprocess
import time
from pathlib import Path

import pytest

from arstore.linux.mounting import loop


def why_no_loop():
    if os.geteuid():
        return "needs root"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices here"
    return ""


pytestmark = pytest.mark.skipif(bool(why_no_loop()), reason=why_no_loop() or "loop devices")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 8)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def backing(number):
    """The file behind a device, as the kernel reports it; None if it is free."""
    try:
        return Path(f"/sys/block/loop{number}/loop/backing_file").read_text().strip()
    except FileNotFoundError:
        return None


def number_of(path):
    return int(path.removeprefix("/dev/loop"))


def test_a_device_shows_the_file(file):
    device = loop.attach(file, "a name")
    try:
        path = loop.path_of(device)
        assert os.read(device, 4096) == bytes(range(256)) * 8
        assert Path(path).read_bytes() == bytes(range(256)) * 8
        assert Path(f"/sys/block/{path.removeprefix('/dev/')}/ro").read_text().strip() == "1"
        assert backing(number_of(path)).endswith("/file")
    finally:
        os.close(device)


def test_nothing_can_be_written(file):
    device = loop.attach(file)
    try:
        with pytest.raises(OSError, match=r"(?i)permi|read-only"), open(loop.path_of(device), "r+b", 0) as writer:
            writer.write(b"x" * 512)
    finally:
        os.close(device)


def test_it_goes_away_with_its_last_descriptor(file):
    device = loop.attach(file)
    number = number_of(loop.path_of(device))
    other = os.dup(device)
    os.close(device)
    assert backing(number) is not None
    os.close(other)
    for _ in range(100):
        # The kernel detaches it in the background.
        if backing(number) is None or not backing(number).endswith("/file"):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the device stayed")


def test_several_at_a_time(file):
    devices = [loop.attach(file) for _ in range(5)]
    try:
        assert len({loop.path_of(device) for device in devices}) == 5
    finally:
        for device in devices:
            os.close(device)


def test_what_is_no_file(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with open("/dev/null", "rb") as nothing:
        with pytest.raises(OSError, match=r".") as caught:
            loop.attach(nothing.fileno())
        assert caught.value.errno in {errno.EINVAL, errno.EBADF, errno.ENXIO}
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_not_whole_blocks_ends_at_the_last_that_is(tmp_path):
    (tmp_path / "odd").write_bytes(b"x" * 1000)
    with open(tmp_path / "odd", "rb") as file:
        device = loop.attach(file.fileno())
    try:
        assert len(os.read(device, 4096)) == 512
    finally:
        os.close(device)


@pytest.mark.tools("losetup")
def test_losetup_sees_it(file):
    device = loop.attach(file, "where it came from")
    try:
        command = ["losetup", "--list", "--noheadings", "--output", "RO,AUTOCLEAR,BACK-FILE", loop.path_of(device)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert said[:2] == ["1", "1"]
    finally:
        os.close(device)
