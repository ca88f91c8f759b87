"""The graph's file cut short, or with pages that lead LMDB astray: one line and a status, never a signal or a hang."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest
from support import images, stores
from support.cli import Arstore
from support.damaging import PAGE, Damage

from arstore.__main__ import main

pytestmark = pytest.mark.root

COMMANDS = (
    ("images",), ("check", "--quick"), ("check",), ("gc", "--dry-run"), ("gc",), ("du",), ("import", "ARCHIVE"),
    ("untag", "name-1:1"),
)  # fmt: skip
ENDS = {0, 3, 30, 31, 32}
"""A name that no page leads to any more is not found."""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A store whose graph has branches, overflow pages and free pages, and an archive that was not imported."""
    place = tmp_path_factory.mktemp("original")
    store = stores.opened(place)
    stores.bring(store, images.example(names=("example:1",)))
    stores.bring(store, stores.simple(*(f"layer {number}" for number in range(60)), names=("deep:1",)))
    for number in range(100):
        store.tag("deep:1", f"name-{number}:1")
    for number in range(0, 100, 3):
        store.untag(f"name-{number}:1")
    store.sync_trees()
    store.close()
    images.write_oci_archive(place / "other.tar", stores.simple("other", names=("other:1",)))
    return place


class Place:
    """A copy of the store, for commands in forked processes of this one."""

    def __init__(self, original, place):
        self.root = place / "root"
        self.original = original
        self._run = place / "run"
        self._said = place / "said"
        self.renew()
        self.bytes = (original / "root/graph/data.mdb").read_bytes()

    def renew(self):
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.original / "root", self.root, symlinks=True)

    @property
    def data(self):
        return self.root / "graph/data.mdb"

    def blobs(self):
        return sorted(os.listdir(self.root / "blobs/sha256"))

    def write(self, data):
        """Replace the file by one with *data*; a process that has the file open keeps the old one."""
        fresh = self.data.with_name("fresh")
        fresh.write_bytes(data)
        fresh.rename(self.data)

    def run(self, *words):
        """The status and the output of a command; a negative status is a signal."""
        words = [str(self.original / "other.tar") if word == "ARCHIVE" else word for word in words]
        pid = os.fork()
        if not pid:
            try:
                fd = os.open(self._said, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(fd, 1)
                os.dup2(fd, 2)
                sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(fd, "w", closefd=False)) for fd in (1, 2))
                signal.alarm(90)
                sys.argv = ["arstore", "--root", str(self.root), "--runroot", str(self._run), "-q", *words]
                main()
            finally:
                os._exit(99)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, self._said.read_text(errors="replace")


@pytest.fixture
def place(original, tmp_path):
    return Place(original, tmp_path)


def faults(place, rounds, seed):
    """The faults of commands on so many damaged files."""
    chance = random.Random(seed)
    damage = Damage(place.bytes, place.root / "graph/scratch")
    os.unlink(place.root / "graph/scratch")
    before = place.blobs()
    found = []
    for _ in range(rounds):
        what, data = damage.some(chance)
        for words in COMMANDS:
            place.write(data)
            status, said = place.run(*words)
            lines = said.splitlines()
            is_error = status not in {0, 32}
            fine = status in ENDS and "Traceback" not in said and "ssertion" not in said
            if not fine or (is_error and (len(lines) != 1 or not lines[0].startswith("arstore: "))):
                found.append((what, words, status, lines[-3:]))
        if not set(before) <= set(place.blobs()):
            found.append((what, "blobs are gone"))
            place.renew()
    return found


def test_some_damage(place):
    assert faults(place, 6, 5) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12])
def test_much_damage(place, seed):
    assert faults(place, 500, seed) == []


def test_a_file_that_is_cut_short(place):
    for pages in (len(place.bytes) // PAGE * part // 8 for part in range(1, 8)):
        place.write(place.bytes[: pages * PAGE])
        status, said = place.run("check")
        assert status == 32, said
        assert "damage: graph-pages: graph: " in said
        place.write(place.bytes[: pages * PAGE])
        assert place.run("check", "--quick")[0] == 32
        place.write(place.bytes[: pages * PAGE])
        assert place.run("gc")[0] == 31
    assert len(place.blobs()) == len(os.listdir(place.original / "root/blobs/sha256"))


def test_what_is_told_and_how(original, tmp_path):
    """In separate processes, started as the program is."""
    place = Place(original, tmp_path)
    arstore = Arstore(place.root, tmp_path / "run")
    place.write(place.bytes[: 3 * PAGE])
    line = arstore.fails("StoreDamaged", "images")
    assert f"{place.data}: ends after {3 * PAGE} bytes, before a page that is in use; `arstore check`" in line
    outcome = arstore.run("images", "--json")
    assert outcome.status == 31
    error = json.loads(outcome.err)["error"]
    assert (error["kind"], error["what"], error["exit_code"]) == ("StoreDamaged", str(place.data), 31)
    # Workers meet the damage too, and their parent reports it.
    assert arstore.run("du").status == 31
    assert len(arstore.run("du").err.splitlines()) == 1


def test_repair_mends_what_was_cut(original, tmp_path):
    place = Place(original, tmp_path)
    place.write(place.bytes[: 3 * PAGE])
    assert place.run("check", "--repair")[0] in {0, 32}
    status, said = place.run("images")
    assert status == 0
    assert "example:1" in said
    assert place.run("check") == (0, "")


def test_a_lock_file_that_is_cut_while_it_is_used(store, tmp_path):
    store.ok("images")
    held = tmp_path / "held"
    os.mkfifo(held)
    process = store.start("import", held)
    with open(held, "wb"):
        # The graph may be closed at this moment; the next command then sets the file up again.
        os.truncate(Path(store.root, "graph/lock.mdb"), 0)
        outcome = store.run("images")
    process.communicate()
    assert outcome.status in {0, 31}
    assert process.returncode > 0
    assert store.ok("images").status == 0
