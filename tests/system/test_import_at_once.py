"""Four processes import one image at a time: its work is done once, for every source and every tree format.

The kernel measures the work: it counts the bytes that a process and its children write.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the kernel does not count what processes write"),
]

COUNT = 4
SIZE = 3 << 20
"""Bytes of a layer, enough that the processes overlap."""


def _layer(number):
    noise = random.Random(number).randbytes(SIZE // 3)
    files = [images.file(f"{number}/{n}", noise[n:] + noise[:n]) for n in range(3)]
    return images.layer([images.directory("./"), images.directory(str(number)), *files], "zstd")


@pytest.fixture(scope="module")
def image():
    return images.image(*map(_layer, range(3)), names=["image:1"])


@pytest.fixture(scope="module")
def sources(image, tmp_path_factory):
    """Sources of the image, by kind; for a pipe, the path of the data."""
    place = tmp_path_factory.mktemp("sources")
    return {
        "oci archive": images.write_oci_archive(place / "oci.tar", image),
        "docker-archive": images.write_docker_archive(place / "docker.tar", image),
        "layout": images.write_layout(place / "layout", image),
        "stdin": images.write_oci_archive(place / "piped.tar", image),
    }


def at_once(store, kind, path, form, count):
    """Run *count* imports at a time; return their reports, and the bytes that they and their children wrote."""
    with ExitStack() as stack:
        children = []
        for _ in range(count):
            stdin = subprocess.DEVNULL
            if kind == "stdin":
                stdin = stack.enter_context(subprocess.Popen(["cat", path], stdout=subprocess.PIPE)).stdout
            words = store.words("import", "--json", "--tree", form, "-" if kind == "stdin" else path)
            child = subprocess.Popen(
                words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=store.environment()
            )
            children.append(stack.enter_context(child))
            if kind == "stdin":
                stdin.close()
        reports = []
        written = 0
        for child in children:
            out, err = child.stdout.read(), child.stderr.read()
            # Its counters can be read only until it is waited for.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            written += account(child.pid)
            assert child.wait() == 0, err
            reports.append(json.loads(out))
    return reports, written


def account(pid):
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("oci archive", "auto"),
        ("stdin", "directory"),
        pytest.param("oci archive", "directory", marks=LONG),
        pytest.param("stdin", "auto", marks=LONG),
        *(
            pytest.param(kind, form, marks=LONG)
            for kind in ("docker-archive", "layout")
            for form in ("auto", "directory")
        ),
    ],
)
def test_the_work_is_done_once(tmp_path, image, sources, kind, form):
    path = sources[kind]
    alone, store = (Arstore(tmp_path / name, tmp_path / f"{name}-run") for name in ("alone", "store"))
    ((report,), once), (_, again) = (at_once(alone, kind, path, form, 1) for _ in range(2))
    reports, written = at_once(store, kind, path, form, COUNT)
    # A stream has to be kept until its content is known, even if it brings nothing new.
    assert written <= once + (COUNT - 1) * again + SIZE // 2
    made = [layer["diff_id"] for one in reports for layer in one["images"][0]["layers"] if not layer["reused"]]
    assert sorted(made) == sorted(image.diff_ids)
    assert {one["images"][0]["digest"] for one in reports} == {report["images"][0]["digest"]}
    # In the end there is one of each, and nothing else.
    for name in ("blobs/sha256", "trees"):
        assert sorted(os.listdir(store.root / name)) == sorted(os.listdir(alone.root / name))
    assert len(os.listdir(store.root / "trees")) == len(image.layers)
    assert os.listdir(store.root / "ingest") == []
    assert store.json("check")["findings"] == []
