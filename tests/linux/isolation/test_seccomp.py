import errno
import os
import signal
import struct
import threading

import pytest

from arstore.linux.isolation import seccomp
from arstore.linux.process import set_no_new_privileges
from arstore.linux.syscall import syscall

needs_filters = pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters for this machine")


def under(denied, action):
    """Fork a child that runs *action* under a filter; return how it ended."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            set_no_new_privileges()
            seccomp.install(seccomp.program(frozenset(denied)))
            action()
            status = 0
        except OSError as error:
            status = error.errno
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_filters
def test_what_is_denied_ends_the_process(tmp_path):
    assert under({"mkdir", "mkdirat"}, lambda: os.mkdir(tmp_path / "a")) == -signal.SIGSYS
    assert under({"unlink"}, lambda: os.mkdir(tmp_path / "a")) == 0
    assert (tmp_path / "a").is_dir()


@needs_filters
def test_threads_but_no_processes():
    def threads():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

    assert under((), threads) == 0
    assert under((), os.fork) == -signal.SIGSYS


@needs_filters
def test_a_thread_is_under_it_too(tmp_path):
    def work():
        thread = threading.Thread(target=os.mkdir, args=(tmp_path / "a",))
        thread.start()
        thread.join()

    assert under({"mkdir", "mkdirat"}, work) == -signal.SIGSYS
    assert not (tmp_path / "a").exists()


@needs_filters
@pytest.mark.parametrize("number", [425, 428, 434, 444, 470, 999])
def test_calls_that_came_later_are_not_there(number):
    assert under((), lambda: syscall(number, 0, 0, 0, 0, 0)) == errno.ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_a_program_is_whole(machine):
    """Every jump lands inside, and the last instruction returns: the kernel requires both, on all machines."""
    code = seccomp.program(frozenset(seccomp.names()), machine)
    lines = list(struct.iter_unpack("=HBBI", code))
    assert len(lines) < 4096
    for at, (operation, if_true, if_false, _) in enumerate(lines):
        if operation & 0x07 == 0x05:
            assert at + 1 + max(if_true, if_false) < len(lines)
    assert lines[-1][0] == 0x06


def test_a_name_that_is_not_known():
    with pytest.raises(KeyError):
        seccomp.program(frozenset({"no_such_call"}), "x86_64")


def test_numbers_are_the_kernels():
    """If the kernel's headers are installed, the numbers must match them."""
    found = {}
    for path in ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"):
        if not os.path.exists(path):
            continue
        with open(path) as file:
            words = [line.split() for line in file if line.startswith(("#define __NR_", "#define __NR3264_"))]
        column = 0 if "x86_64" in path else 1
        numbers = {w[1].partition("_NR_")[2]: int(w[2]) for w in words if len(w) > 2 and w[2].isdigit()}
        found |= {(name, column): numbers[name] for name in seccomp._NUMBERS if name in numbers}
    if not found:
        pytest.skip("the kernel's headers are not installed")
    assert {key: seccomp._NUMBERS[key[0]][key[1]] for key in found} == found
