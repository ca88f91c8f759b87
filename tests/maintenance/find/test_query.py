"""Queries: told apart by their form; patterns match as the shell's do, in time that does not depend on luck."""

from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from arstore.errors import UsageError
from arstore.maintenance.find.query import DigestQuery, PathQuery, PatternQuery, of_content, parents, parse
from arstore.trees.contents.row import BLAKE3, SHA256

HEX = "0123456789abcdef" * 4


def matches(pattern: str, *paths: str) -> list[str]:
    text = b"\0" + b"\0".join(path.encode() for path in paths) + b"\0"
    query = parse(pattern)
    assert isinstance(query, PatternQuery)
    found = [path.decode() for path in query.expression.findall(text)]
    for path in found:
        assert query.literal in path.encode()
    return found


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/etc/passwd", b"etc/passwd"),
        ("etc/passwd", b"etc/passwd"),
        ("/", b""),
        ("//a/./b/../c/", b"a/c"),
        ("/a", b"a"),
    ],
)
def test_paths(text, path):
    assert parse(text) == PathQuery(path)


@pytest.mark.parametrize(
    ("text", "named", "flags"),
    [
        (f"sha256:{HEX}", f"sha256:{HEX}", SHA256),
        (HEX.upper(), f"sha256:{HEX}", SHA256 | BLAKE3),
        (f"blake3:{HEX}", "", BLAKE3),
        (f"sha256:{HEX[:32]}", "", SHA256),
        (f"sha512:{HEX}{HEX}", f"sha512:{HEX}{HEX}", 0),
    ],
)
def test_digests(text, named, flags):
    assert parse(text) == DigestQuery(named, bytes.fromhex(HEX[:32]), flags)


@pytest.mark.parametrize("text", ["", "a\0b", "sha256:abcd", f"sha256:{HEX}0", "a/**/b/**/c/**"])
def test_what_is_no_query(text):
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("lib*", ["usr/lib", "usr/lib/libc.so", "lib"]),
        ("libc", []),
        ("lib", ["usr/lib", "lib"]),
        ("*.so", ["usr/lib/libc.so"]),
        ("/usr/*", ["usr/lib"]),
        ("/usr/**", ["usr/lib", "usr/lib/libc.so"]),
        ("usr/**/libc.so", ["usr/lib/libc.so"]),
        ("**/libc.??", ["usr/lib/libc.so"]),
        ("/*", ["usr", "lib"]),
        ("*/lib", ["usr/lib"]),
        ("**/lib", ["usr/lib", "lib"]),
        ("l[h-j]b", ["usr/lib", "lib"]),
        ("l[!a]b", ["usr/lib", "lib"]),
        ("l[!i]b", []),
        ("u?r", ["usr"]),
        ("*s*l*b*", []),
        ("**/*b*.*", ["usr/lib/libc.so"]),
    ],
)
def test_patterns(pattern, found):
    assert matches(pattern, "", "usr", "usr/lib", "usr/lib/libc.so", "lib") == found


@given(st.text("ab.-*?[]!", min_size=1, max_size=12), st.lists(st.text("ab.-[]!", min_size=1, max_size=8), max_size=6))
def test_a_pattern_for_names_is_that_of_fnmatch(pattern, names):
    assume(any(character in pattern for character in "*?["))
    # `**` and ranges the wrong way round are apart.
    assume("**" not in pattern and not re.search(r"\[[^\]]*-", pattern))
    assert matches(pattern, *names) == [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def test_a_class_never_matches_a_slash():
    assert matches("a[!b]c", "a/c", "axc") == ["axc"]
    assert matches("a/[!b]", "a/x") == ["a/x"]


def test_a_bracket_that_is_not_closed_is_a_bracket():
    assert matches("a[b*", "a[bc", "abc") == ["a[bc"]
    assert matches("a[!]?", "a[!]b", "abc", "ab") == ["a[!]b"]


def test_many_stars_take_no_time():
    start = time.process_time()
    assert matches("*a" * 30 + "*b", "a" * 255) == []
    assert matches("/" + "*a" * 30 + "*b/**", "a" * 255 + "/c") == []
    assert time.process_time() - start < 0.5


def test_parents():
    assert list(parents(b"a/b/c")) == [b"a/b", b"a", b""]
    assert list(parents(b"")) == []


def test_the_content_of_a_file(tmp_path):
    import hashlib

    from blake3 import blake3

    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert of_content(str(path)) == DigestQuery("", hashlib.sha256(b"x" * 100).digest()[:16], SHA256, True)
    path.write_bytes(b"x" * 100_000)
    assert of_content(str(path)) == DigestQuery("", blake3(b"x" * 100_000).digest()[:16], BLAKE3, True)


@pytest.mark.parametrize("name", ["empty", "directory"])
def test_contents_that_have_no_digest(tmp_path, name):
    (tmp_path / "empty").touch()
    (tmp_path / "directory").mkdir()
    with pytest.raises((UsageError, IsADirectoryError)):
        of_content(str(tmp_path / name))
