"""Blobs that were being fetched: kept when their import ends too early, taken by one that wants them."""

import os
from pathlib import Path

import pytest

from arstore.digest import Digest
from arstore.disk.partial import drop_oldest, file_name, keep_partial, take_partial

DIGEST = Digest.of(b"")
NAME = file_name(DIGEST)


@pytest.fixture
def ingests(tmp_path):
    for name in ("ingest", "ingest/one", "ingest/two"):
        (tmp_path / name).mkdir()
    return tmp_path / "ingest"


def keep(ingests, name="one", **files):
    for start, data in files.items():
        (ingests / name / f"{start}-{NAME}").write_bytes(data)
    (ingests / name / "blob-x").write_bytes(b"x")
    keep_partial(str(ingests), str(ingests / name))


def take(ingests, size=100, name="two"):
    found = take_partial(str(ingests), str(ingests / name), DIGEST, size)
    return None if found is None else (Path(found.path).read_bytes(), found.size)


def test_what_was_fetched_is_kept_once_and_taken_once(ingests):
    keep(ingests, fetched=b"abc")
    assert os.listdir(ingests / "one") == ["blob-x"]
    assert take(ingests) == (b"abc", 3)
    assert take(ingests) is None


@pytest.mark.parametrize(("fetched", "prefix"), [(b"abcd", b"abc"), (b"ab", b"abcd")])
def test_the_longer_one_is_kept(ingests, fetched, prefix):
    keep(ingests, fetched=fetched, prefix=prefix)
    assert take(ingests) == (b"abcd", 4)


def test_a_longer_one_that_is_there_stays(ingests):
    keep(ingests, fetched=b"abcd")
    keep(ingests, "two", fetched=b"ab")
    assert take(ingests) == (b"abcd", 4)


def test_nothing_is_kept_of_nothing(ingests):
    keep(ingests, fetched=b"")
    keep(ingests, "two")
    assert not (ingests / "partial").exists()
    keep_partial(str(ingests), str(ingests / "absent"))


def test_one_that_is_too_long_is_deleted(ingests):
    keep(ingests, fetched=b"abcd")
    assert take(ingests, 3) is None
    assert os.listdir(ingests / "partial") == os.listdir(ingests / "two") == []


def test_the_oldest_go_first(ingests):
    (ingests / "partial").mkdir()
    for age, name in enumerate("cab"):
        (ingests / "partial" / name).write_bytes(bytes(5000))
        os.utime(ingests / "partial" / name, (age, age))
    left = iter([True, True, False])
    assert drop_oldest(str(ingests), lambda: next(left)) >= 10_000
    assert os.listdir(ingests / "partial") == ["b"]
    assert drop_oldest(str(ingests / "absent"), lambda: True) == 0


@pytest.mark.parametrize("place", ["one", "partial"])
@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_file_is_not_taken(ingests, place, kind):
    (ingests / place).mkdir(exist_ok=True)
    path = ingests / place / (NAME if place == "partial" else f"fetched-{NAME}")
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    keep_partial(str(ingests), str(ingests / "one"))
    assert take(ingests) is None
    assert os.listdir(ingests / "two") == []
