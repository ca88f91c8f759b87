"""Partial blobs: kept from ingests, opened when they are useful, removed the oldest first."""

import os

import pytest

from arstore.digest import Digest
from arstore.disk.partial import (
    PARTIAL,
    drop_beginning,
    drop_oldest,
    fetched_name,
    keep_fetched,
    open_beginning,
)

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
DIGEST = Digest.of(DATA)
OTHER = Digest.of(b"other", "sha512")


@pytest.fixture
def ingests(tmp_path):
    (tmp_path / "one").mkdir()
    return tmp_path


def fetch(ingests, count, digest=DIGEST, size=SIZE, ingest="one"):
    (ingests / ingest).mkdir(exist_ok=True)
    (ingests / ingest / fetched_name(digest, size)).write_bytes(DATA[:count])


def kept(ingests, digest=DIGEST, size=SIZE):
    """The bytes of the partial blob; None if there is none."""
    found = open_beginning(str(ingests), digest, size)
    if found is None:
        return None
    try:
        return os.read(found.fd, found.size + 1)
    finally:
        os.close(found.fd)


@pytest.mark.parametrize("count", [1, 4096, len(DATA) - 1, len(DATA)])
def test_what_was_fetched_is_kept(ingests, count):
    fetch(ingests, count)
    (ingests / "one" / "blob-0123").write_bytes(b"not fetched")
    keep_fetched(str(ingests), str(ingests / "one"))
    assert kept(ingests) == DATA[:count]
    assert sorted(os.listdir(ingests / "one")) == ["blob-0123"]
    assert os.stat(ingests / PARTIAL).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("count", [0, len(DATA) + 1])
def test_what_cannot_be_a_beginning_is_not(ingests, count):
    (ingests / "one" / fetched_name(DIGEST, len(DATA))).write_bytes((DATA + b"x")[:count])
    keep_fetched(str(ingests), str(ingests / "one"))
    assert kept(ingests) is None
    assert not (ingests / PARTIAL).exists()


def test_the_longer_one_stays(ingests):
    for count in (100, 300, 200):
        fetch(ingests, count, ingest=f"of-{count}")
        keep_fetched(str(ingests), str(ingests / f"of-{count}"))
    assert kept(ingests) == DATA[:300]


def test_one_that_is_longer_than_the_blob_is_not_opened(ingests):
    fetch(ingests, 300)
    keep_fetched(str(ingests), str(ingests / "one"))
    assert kept(ingests, digest=OTHER) is None
    assert kept(ingests, size=300) == DATA[:300]
    assert kept(ingests, size=299) is None
    assert os.listdir(ingests / PARTIAL) == []


def test_links_and_pipes_are_not_opened(ingests):
    (ingests / PARTIAL).mkdir()
    place = ingests / PARTIAL / f"sha256-{DIGEST.hex}"
    place.symlink_to("/etc/passwd")
    assert kept(ingests) is None
    place.unlink()
    os.mkfifo(place)
    assert kept(ingests) is None


def test_dropped(ingests):
    fetch(ingests, 300)
    keep_fetched(str(ingests), str(ingests / "one"))
    drop_beginning(str(ingests), DIGEST)
    drop_beginning(str(ingests), DIGEST)
    assert kept(ingests) is None


def test_the_oldest_goes_first_and_what_is_wanted_stays(ingests):
    digests = [Digest.of(b"%d" % number) for number in range(4)]
    for number, digest in enumerate(digests):
        fetch(ingests, 8192, digest)
        keep_fetched(str(ingests), str(ingests / "one"))
        os.utime(ingests / PARTIAL / f"sha256-{digest.hex}", (number, number))
    assert drop_oldest(str(ingests), 0) == 0
    assert drop_oldest(str(ingests), 1, {digests[0]}) == 8192
    assert [kept(ingests, one) is not None for one in digests] == [True, False, True, True]
    assert drop_oldest(str(ingests), 1 << 30, {digests[0]}) == 2 * 8192
    assert [kept(ingests, one) is not None for one in digests] == [True, False, False, False]


def test_without_a_place_nothing_happens(tmp_path):
    keep_fetched(str(tmp_path), str(tmp_path / "none"))
    assert drop_oldest(str(tmp_path), 1) == 0
    assert open_beginning(str(tmp_path), DIGEST, 1) is None
