"""An interrupt at any moment, from the program's first line on: 130 without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import images

REPOSITORY = Path(__file__).resolve().parents[2]

WATCHED = """
import os, sys
def at(frame, event, _):
    # A C-level clock: the signal comes at the line of this number, whatever module it is in.
    global left
    if "/arstore/" in frame.f_code.co_filename:
        left -= 1
        if not left:
            sys.settrace(None)
            os.kill(os.getpid(), 2)
    return at
left = int(sys.argv.pop(1))
sys.argv[0] = "arstore"
sys.settrace(at)
from arstore.__main__ import main
main()
"""
"""The program, interrupted at its Nth step: line, call or return. The first dozen lead to the handler."""


def at_step(step, *words):
    line = [sys.executable, "-c", WATCHED, str(step), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=environment)


def verify(done):
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    assert done.returncode in {0, 130}
    if done.returncode:
        assert done.stderr in {"", "arstore: interrupted\n"}


@pytest.mark.parametrize("step", [21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584])
def test_at_its_first_steps(store, step):
    done = at_step(step, "--root", store.root, "--runroot", store.runroot, "images")
    verify(done)
    if step < 200:
        assert done.returncode == 130


@pytest.mark.parametrize("words", [("--help",), ("images",), ("import", "ARCHIVE")], ids=" ".join)
def test_at_any_time(filled, tmp_path, words):
    one = images.image(*(images.layer([images.file(f"f{n}")]) for n in range(8)), names=["other:1"])
    archive = images.write_oci_archive(tmp_path / "other.tar", one)
    line = [archive if word == "ARCHIVE" else word for word in words]
    for number in range(12):
        process = filled.begun(*line)
        time.sleep(number * 0.006)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        verify(subprocess.CompletedProcess(line, process.returncode, out.decode(), err.decode()))
    assert filled.ok("check").out == b""


def test_an_interrupt_that_is_ignored_stays_so(filled):
    line = ["sh", "-c", 'trap "" INT; "$@" & pid=$!; sleep 0.02; kill -INT $pid; wait $pid', "sh"]
    done = subprocess.run([*line, *filled.words("images")], capture_output=True, check=False, env=filled.environment())
    assert done.returncode == 0
    assert b"example" in done.stdout


def test_one_where_nothing_can_be_raised_counts_all_the_same():
    code = """
import arstore.cli.interrupts as interrupts, signal, time
class Gone:
    def __del__(self):
        signal.raise_signal(2)
def work():
    Gone()
    for _ in range(500):
        time.sleep(0.01)
try:
    interrupts.raised_in(work)
except KeyboardInterrupt:
    print("raised", interrupts.happened)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.stdout, done.stderr) == ("raised True\n", "")


def test_one_that_python_dropped_at_its_start_counts_all_the_same():
    """As if it came in the finalizer of a module's lock: the lock of all imports is never given back."""
    code = """
import _imp, threading
_imp.acquire_lock()
import arstore.cli.interrupts as interrupts
try:
    interrupts.raised_in(lambda: print("ran"))
except KeyboardInterrupt:
    print("raised", interrupts.happened)
other = threading.Thread(target=lambda: print(__import__("calendar").__name__), daemon=True)
other.start()
other.join(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.stdout, done.stderr) == ("raised True\ncalendar\n", "")
