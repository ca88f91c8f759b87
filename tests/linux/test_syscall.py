import errno
import os
import signal
import threading
import time

import pytest

from arstore.linux.syscall import AT_FDCWD, c_string, libc, syscall

OPENAT2 = 437


def test_a_failure_carries_errno_and_the_name_given():
    with pytest.raises(FileNotFoundError) as caught:
        libc("open", b"/no/such/file", 0, what="the thing")
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == "the thing"


def test_a_result_is_returned(tmp_path):
    fd = libc("open", c_string(str(tmp_path)), os.O_RDONLY)
    assert os.path.samestat(os.fstat(fd), os.stat(tmp_path))
    os.close(fd)


def test_an_unknown_number_and_an_unknown_function_are_enosys():
    with pytest.raises(OSError, match="not implemented") as caught:
        syscall(100_000, 1, 2, 3)
    assert caught.value.errno == errno.ENOSYS
    with pytest.raises(OSError, match="not implemented") as caught:
        libc("no_such_function_in_any_libc")
    assert caught.value.errno == errno.ENOSYS


def test_integers_are_not_cut_to_32_bits(tmp_path):
    with open(tmp_path / "f", "wb") as file:
        libc("ftruncate", file.fileno(), (1 << 40) + 5)
    assert (tmp_path / "f").stat().st_size == (1 << 40) + 5


def test_at_fdcwd_is_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "here").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert libc("faccessat", AT_FDCWD, b"here", os.R_OK, 0) == 0


@pytest.mark.parametrize("text", ["a\0b", b"a\0b", "\0"])
def test_nul_is_refused_and_not_taken_for_the_end(text):
    with pytest.raises(OSError, match="Invalid argument") as caught:
        c_string(text)
    assert caught.value.errno == errno.EINVAL


def test_bytes_that_are_not_utf8_survive():
    assert c_string(os.fsdecode(b"\xff\xfe/x")) == b"\xff\xfe/x"


def test_an_interrupted_call_is_made_again():
    caught = []
    before = signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
    reader, writer = os.pipe()
    main = threading.main_thread().ident

    def disturb():
        time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGUSR1)
        time.sleep(0.05)
        os.write(writer, b"x")

    helper = threading.Thread(target=disturb)
    try:
        # SA_RESTART would hide the tested behaviour.
        signal.siginterrupt(signal.SIGUSR1, True)
        helper.start()
        assert libc("poll", (reader).to_bytes(4, "little") + b"\1\0\0\0", 1, 5000) == 1
    finally:
        helper.join()
        signal.signal(signal.SIGUSR1, before)
        os.close(reader)
        os.close(writer)
    assert caught


def test_one_function_takes_different_counts_and_kinds_of_arguments(tmp_path):
    for name, flags in ((b"a", os.O_CREAT | os.O_WRONLY), (b"b", os.O_CREAT | os.O_RDWR)):
        os.close(libc("open", bytes(tmp_path) + b"/" + name, flags, 0o600))
        os.close(libc("open", bytes(tmp_path) + b"/" + name, os.O_RDONLY))
    with pytest.raises(OSError, match="Bad address"):
        libc("open", None, os.O_RDONLY)
