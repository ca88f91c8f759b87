"""The parsed form of configuration files: used while the file is the same, and never believed when it may be wrong."""

from __future__ import annotations

import json
import os
import time

import pytest

from arstore.api.config import cache, settings
from arstore.api.config.cache import NAME, Cache
from arstore.digest import short_hash
from arstore.errors import ConfigFileError

NOBODY = 65534
VALUES = {"root": "/a", "limits.ratio": 5}


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "runtime").mkdir(0o700)
    return tmp_path / "runtime" / "arstore"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('root = "/a"\n')
    return path


@pytest.fixture
def kept(directory, file):
    """A cache with the file in it."""
    Cache(str(directory)).remember(str(file), file.stat(), VALUES)
    assert recalled(directory, file) == VALUES
    return directory / NAME


def recalled(directory, file):
    return Cache(str(directory)).recall(str(file), os.stat(file))


def test_it_is_private(kept):
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(kept.parent) == [NAME]


def test_a_changed_file_is_not_recalled(directory, file, kept):
    file.write_text('root = "/b"\n')
    assert recalled(directory, file) is None


@pytest.mark.parametrize("field", range(5))
def test_each_field_of_the_key_counts(directory, file, kept, field):
    key = cache._key(file.stat())
    assert len(key) == 5
    key[field] += 1
    Cache(str(directory))
    body = json.loads(kept.read_bytes().partition(b"\n")[2])
    body["entries"][0][1] = key
    written = json.dumps(body).encode()
    kept.write_bytes(short_hash(written, 16).encode() + b"\n" + written)
    assert recalled(directory, file) is None


def test_another_file_with_the_same_content_size_and_time_is_not_recalled(directory, file, kept):
    status = file.stat()
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(file)
    assert recalled(directory, file) is None


def test_a_change_of_mode_is_a_change(directory, file, kept):
    file.chmod(0o600)
    assert recalled(directory, file) is None


def test_another_path_is_another_entry(directory, file, kept):
    link = file.with_name("link")
    link.symlink_to(file)
    assert recalled(directory, link) is None


def test_damage_is_not_believed(directory, file, kept):
    whole = kept.read_bytes()
    for at in range(len(whole)):
        kept.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert recalled(directory, file) is None, at
    for length in range(len(whole)):
        kept.write_bytes(whole[:length])
        assert recalled(directory, file) is None, length
    kept.write_bytes(whole)
    assert recalled(directory, file) == VALUES


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"maker": 1}', b'{"maker": "0", "entries": []}', b"[" * 9999])
def test_a_right_checksum_over_something_else_is_not_believed(directory, file, kept, body):
    kept.write_bytes(short_hash(body, 16).encode() + b"\n" + body)
    assert recalled(directory, file) is None


def test_a_cache_of_another_version_is_not_believed(directory, file, kept, monkeypatch):
    monkeypatch.setattr(cache, "__version__", "0.0")
    assert recalled(directory, file) is None


def test_a_symlink_is_not_followed(directory, file, kept):
    elsewhere = file.with_name("elsewhere")
    kept.rename(elsewhere)
    kept.symlink_to(elsewhere)
    assert recalled(directory, file) is None


def test_a_symlink_in_place_of_the_directory_is_not_followed(directory, file, kept):
    moved = directory.with_name("moved")
    directory.rename(moved)
    directory.symlink_to(moved)
    assert recalled(directory, file) is None
    Cache(str(directory)).remember(str(file), file.stat(), {})
    assert recalled(moved, file) == VALUES


@pytest.mark.parametrize("which", ["file", "directory", "parent"])
def test_what_others_can_write_is_not_believed(directory, file, kept, which):
    {"file": kept, "directory": directory, "parent": directory.parent}[which].chmod(0o777)
    assert recalled(directory, file) is None


@pytest.mark.root
@pytest.mark.parametrize("which", ["file", "directory", "parent"])
def test_what_others_own_is_not_believed(directory, file, kept, which):
    os.chown({"file": kept, "directory": directory, "parent": directory.parent}[which], NOBODY, NOBODY)
    assert recalled(directory, file) is None


def test_a_fifo_is_not_waited_for(directory, file, kept):
    kept.unlink()
    os.mkfifo(kept, 0o600)
    assert recalled(directory, file) is None


def test_a_place_that_cannot_be_written_is_no_error(file):
    Cache("/proc/arstore").remember(str(file), file.stat(), VALUES)
    assert Cache("/proc/arstore").recall(str(file), file.stat()) is None


def test_a_file_that_changed_while_it_was_read_is_not_kept(directory, file):
    before = file.stat()
    file.write_text('root = "/longer"\n')
    Cache(str(directory)).remember(str(file), before, VALUES)
    assert recalled(directory, file) is None


def test_no_entry_is_made_within_a_tick_of_the_clock(directory, file, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    status = file.stat()
    for age, is_kept in ((-1, False), (1_000_000, True), (30_000_000, True)):
        monkeypatch.setattr(time, "time_ns", lambda age=age: status.st_ctime_ns + age)
        fresh = directory.with_name(f"at{age}")
        Cache(str(fresh)).remember(str(file), status, VALUES)
        assert (Cache(str(fresh)).recall(str(file), status) is not None) is is_kept
    assert [round(one, 3) for one in slept] == [0.019]


def test_only_the_last_entries_are_kept(directory, tmp_path):
    made = [tmp_path / f"{number}.toml" for number in range(20)]
    for path in made:
        path.write_text("")
        Cache(str(directory)).remember(str(path), path.stat(), VALUES)
    assert [recalled(directory, path) is not None for path in made] == [False] * 4 + [True] * 16


# --- the whole way --------------------------------------------------------------------------------------------------


@pytest.fixture
def place(directory, monkeypatch):
    """Read settings with this directory in place of the usual runroot."""
    monkeypatch.setattr(settings.places, "usual_runroot", lambda _environ, _uid, make=True: str(directory))
    return directory


def read(file, **words):
    return settings.read_settings([str(file)], {}, 0, **words)


def test_a_warm_cache_parses_nothing(place, file, monkeypatch):
    assert read(file).root == "/a"
    monkeypatch.setattr("arstore.api.config.document.parse", lambda *_: pytest.fail("it was parsed again"))
    assert read(file).root == "/a"


def test_without_keeping_nothing_is_written(place, file):
    assert read(file, keep=False).root == "/a"
    assert not place.exists()


def test_a_changed_file_is_parsed_again(place, file):
    assert read(file).root == "/a"
    file.write_text('root = "/b"\n')
    assert read(file).root == "/b"
    file.write_text("root = 1\n")
    with pytest.raises(ConfigFileError):
        read(file)


def test_a_file_that_others_may_write_by_now_is_refused_in_spite_of_the_cache(place, file):
    assert read(file).root == "/a"
    file.chmod(0o666)
    with pytest.raises(ConfigFileError):
        read(file)
