"""Faults end a process as its handler says, and as usual if the handler says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PROGRAM = """
import mmap, os, sys, threading
from arstore.linux import faults

def act(fault):
    os.write(1, f"{fault.number} {os.path.basename(fault.file)} {fault.offset}".encode())
    os._exit(31)

def bus():
    with open(sys.argv[2], "w+b") as file:
        file.truncate(16384)
        view = mmap.mmap(file.fileno(), 16384)
        file.truncate(4096)
        print(view[9000])

def segv():
    import ctypes
    ctypes.string_at(4097)

def thread():
    one = threading.Thread(target=bus)
    one.start()
    one.join()

def fork():
    pid = os.fork()
    if not pid:
        bus()
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def assertion():
    import ctypes
    libc = ctypes.CDLL(None)
    libc.fprintf(ctypes.c_void_p.in_dll(libc, "stderr"), b"Assertion failed: %d\\n", 7)
    libc.abort()

def again():
    faults.handle(lambda fault: bus())
    bus()

if not faults.handle(act):
    os._exit(77)
wanted = sys.argv[1]
{"kill": lambda: os.kill(os.getpid(), 7), "abort": os.abort}.get(wanted, globals().get(wanted))()
"""


def ended(tmp_path, how):
    words = [sys.executable, "-c", PROGRAM, how, str(tmp_path / "file")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=REPOSITORY)
    if done.returncode == 77:
        pytest.skip("no handler on this machine")
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("how", "told"),
    [("bus", "7 file 9000"), ("thread", "7 file 9000"), ("fork", "7 file 9000"), ("segv", "11  0"), ("abort", "6  0")],
)
def test_a_fault_is_handled(tmp_path, how, told):
    assert ended(tmp_path, how) == (31, told, "")


def test_what_an_assertion_writes_is_kept_back(tmp_path):
    assert ended(tmp_path, "assertion") == (31, "6  0", "")


def test_a_signal_that_somebody_sends_is_no_fault(tmp_path):
    assert ended(tmp_path, "kill") == (-signal.SIGBUS, "", "")


def test_a_handler_that_faults_ends_the_process_all_the_same(tmp_path):
    assert ended(tmp_path, "again") == (-signal.SIGBUS, "", "")
