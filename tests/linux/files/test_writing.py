import os
import stat
import threading

import pytest

from arstore.linux.files.writing import replace_file, write_all


def test_all_is_written_through_a_pipe_that_takes_little():
    reading, writing = os.pipe()
    data = os.urandom(1 << 20)
    found = bytearray()

    def drain():
        while chunk := os.read(reading, 1000):
            found.extend(chunk)

    thread = threading.Thread(target=drain)
    thread.start()
    write_all(writing, memoryview(data))
    os.close(writing)
    thread.join()
    os.close(reading)
    assert bytes(found) == data


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced(tmp_path, durable):
    path, temporary = tmp_path / "file", tmp_path / "file.new"
    path.write_bytes(b"old")
    temporary.write_bytes(b"what a killed process left, and longer")
    seen = []
    replace_file(str(path), b"new", str(temporary), durable=durable, written=lambda: seen.append(path.read_bytes()))
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not temporary.exists()


def test_relative_to_a_directory(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    replace_file("a", b"x", "b", dir_fd=fd)
    os.close(fd)
    assert os.listdir(tmp_path) == ["a"]


def test_a_failure_leaves_the_old_content_alone(tmp_path):
    path, temporary = tmp_path / "file", tmp_path / "file.new"
    path.write_bytes(b"old")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(str(path), b"new", str(temporary), written=interrupted)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


def test_a_symlink_in_the_temporary_files_place_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        replace_file(str(tmp_path / "file"), b"x", str(tmp_path / "link"))
    assert not (tmp_path / "victim").exists()
