"""Peaks of memory and of space."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.process import Command, execute
from benchmarks.sampling import Memory, Space, allocated, meminfo

MIB = 1 << 20


def python(code: str, *arguments: str) -> Command:
    return Command((sys.executable, "-S", "-c", code, *arguments), {"PATH": os.defpath})


def test_memory_of_all_processes_is_added_up() -> None:
    code = """
import os, time
held = bytearray(os.urandom(1 << 20)) * 40
if os.fork() == 0:
    more = bytearray(os.urandom(1 << 20)) * 40
    time.sleep(0.4)
    os._exit(0)
os.wait()
"""
    memory = Memory()
    done = execute(python(code), memory)
    # A measured process begins as a copy of this process, and its high-water mark begins with this one's memory.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    # The child shares 40 MiB with its parent and has another 40 itself.
    assert 120 * MIB <= memory.rss < max(200 * MIB, own + MIB)
    assert 80 * MIB <= memory.pss < max(125 * MIB, own + MIB)
    assert memory.high_water >= memory.rss
    assert 80 * MIB <= done.max_rss < max(125 * MIB, own + MIB)


def test_the_peak_counts_not_the_end() -> None:
    code = "import os, time; x = bytearray(os.urandom(1 << 20)) * 60; time.sleep(0.2); del x; time.sleep(0.2)"
    memory = Memory()
    execute(python(code), memory)
    assert memory.rss >= 60 * MIB


def test_allocated_is_what_du_says(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(bytes(300_000))
    (tmp_path / "a" / "b" / "link").hardlink_to(tmp_path / "a" / "file")
    (tmp_path / "a" / "symlink").symlink_to("/")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 30)
    said = subprocess.run(["du", "-s", "-B1", str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert allocated(str(tmp_path)) == int(said.split()[0])
    assert allocated(str(tmp_path / "nothing")) == 0


def test_space_keeps_the_peak_of_each_directory(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    code = """
import os, sys, time
inside, outside = sys.argv[1:]
open(outside + "/temporary", "wb").write(b"x" * (5 << 20))
time.sleep(0.2)
os.unlink(outside + "/temporary")
open(inside + "/kept", "wb").write(b"x" * (1 << 20))
time.sleep(0.1)
"""
    space = Space(str(inside), str(outside))
    execute(python(code, str(inside), str(outside)), space)
    assert 1 * MIB <= space.peaks[0] < 2 * MIB
    assert 5 * MIB <= space.peaks[1] < 6 * MIB
    assert allocated(str(outside)) < MIB


def test_meminfo_is_in_bytes() -> None:
    found = meminfo()
    assert found["MemTotal"] > 64 * MIB
    assert found["MemFree"] < found["MemTotal"]
