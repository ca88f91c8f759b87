"""Limits on address space (RLIMIT_AS): a smaller map of the graph, and a one-line error if even that does not fit."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import HostError
from arstore.graph import environment
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.lmdb_pages import walk

REPOSITORY = Path(__file__).resolve().parents[2]


def limited(store, kilobytes, *words):
    """Run a command below a limit."""
    line = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh", *store.words("--quiet", *words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=store.environment(), timeout=120)


@pytest.mark.parametrize("kilobytes", [30_000_000, 2_000_000, 300_000])
def test_all_works_below_a_limit(store, archive, kilobytes):
    for words in (("import", archive), ("images",), ("tag", "example:1", "other:1"), ("du",), ("gc",), ("check",)):
        done = limited(store, kilobytes, *words)
        assert (done.returncode, done.stderr) == (0, ""), words
    # A store made below a limit is sound, and the same for processes without one.
    assert store.ok("check").out == b""
    store.ok("tag", "example:1", "third:1")
    assert store.ok("check").out == b""
    assert "other" in limited(store, kilobytes, "images").stdout


def test_no_limit_ends_in_a_traceback(filled):
    for kilobytes in (*range(12_000, 60_000, 4_000), 80_000):
        done = limited(filled, kilobytes, "images")
        if "Traceback" in done.stderr:
            # The interpreter itself had too little memory to start.
            assert "arstore/" not in done.stderr
            continue
        assert done.returncode in {0, 40}, done.stderr
        if done.returncode:
            assert done.stderr.startswith("arstore: ")
            assert done.stderr.count("\n") == 1
            assert "ulimit -v" in done.stderr


def test_a_small_map_is_made_anew_when_others_have_made_the_file_larger(tmp_path, monkeypatch):
    """In two processes: the file grows beyond the map that one of them has."""
    with stores.opened(tmp_path) as store:
        stores.bring(store, images.example())
        store.close()
        script = (
            "import sys; from arstore.graph.graph import Graph\n"
            "with Graph(sys.argv[1]).write() as change:\n"
            "    for n in range(20_000): change.put_name('x' * 90 + f'{n}:1', 'sha256:' + '0' * 64)\n"
        )
        monkeypatch.setattr(environment, "address_limit", lambda: 8 << 20)
        monkeypatch.setattr("arstore.graph.graph.address_limit", lambda: 8 << 20)
        assert len(store.images()) == 1
        subprocess.run([sys.executable, "-c", script, store.directories.graph], check=True, cwd=REPOSITORY)
        assert len(store.images()) == 1
        with store.graph.read() as snapshot:
            assert sum(1 for _ in snapshot.names()) == 20_001


def test_a_graph_that_cannot_grow_says_why(tmp_path, monkeypatch):
    with stores.opened(tmp_path) as store:
        stores.bring(store, images.example())
        store.close()
        monkeypatch.setattr(environment, "address_limit", lambda: 4 << 20)
        monkeypatch.setattr("arstore.graph.graph.address_limit", lambda: 4 << 20)
        with pytest.raises(HostError, match="address space") as caught:
            fill(store)
        assert caught.value.exit_code == 40
        assert "ulimit -v" in caught.value.hint
        assert len(store.images()) == 1


def fill(store):
    with store.graph.write() as change:
        for number in range(20_000):
            change.put_name(f"{'x' * 90}{number}:1", "sha256:" + "0" * 64)


def test_the_map_of_a_store_that_was_made_small(tmp_path):
    def small():
        # This process has run other tests; memory that it had before does not count.
        with open("/proc/self/statm", encoding="ascii") as file:
            has = int(file.read().split()[0]) * resource.getpagesize()
        most = has + (900 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with stores.opened(tmp_path) as store:
            assert store.images() == []

    stores.forked(small)
    done = walk(str(tmp_path / "root/graph/data.mdb"), MAP_SIZE, lambda _key, _value: None)
    assert done.faults == []
