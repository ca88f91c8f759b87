"""Subordinate ids: the lines of subuid(5), by name and by number, and the service that nsswitch.conf names."""

from __future__ import annotations

import os

import pytest

from arstore.linux.isolation.subordinate import first_free, granted


@pytest.fixture
def etc(tmp_path):
    def write(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return str(tmp_path)

    return write


def test_ranges_of_a_user_by_name_and_by_number(etc):
    place = etc(subuid="other:1:2\nann:100:10\n1000:300:5\nann:200:20\n", subgid="ann:7:1\n")
    assert granted("uid", 1000, "ann", place) == [(100, 10), (300, 5), (200, 20)]
    assert granted("gid", 1000, "ann", place) == [(7, 1)]
    assert granted("uid", 1001, "bob", place) == []


@pytest.mark.parametrize(
    "line",
    ["ann:100", "ann:100:10:1", "ann:x:10", "ann:100:-1", "ann:100:0", "ann:4294967295:1", "ann:4294967290:9", "", "#"],
)
def test_a_line_that_grants_nothing(etc, line):
    assert granted("uid", 1000, "ann", etc(subuid=f"{line}\nann:5:5\n")) == [(5, 5)]


def test_an_overlap_is_left_out(etc):
    assert granted("uid", 1000, "ann", etc(subuid="ann:100:10\nann:105:10\nann:110:1\n")) == [(100, 10), (110, 1)]


def test_without_a_file(tmp_path):
    assert granted("uid", 1000, "ann", str(tmp_path)) == []


GETSUBIDS = """#!/bin/sh
[ "$1" = -g ] && shift && echo "0: $1 50 5" && exit
echo "0: $1 40 4"
echo "1: $1 9 1"
"""


def test_a_service_is_asked(etc, tmp_path, monkeypatch):
    program = tmp_path / "getsubids"
    program.write_text(
        '#!/bin/sh\n[ "$1" = -g ] && shift && echo "0: $1 50 5" && exit\necho "0: $1 40 4"\necho "1: $1 9 1"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    place = etc(subuid="ann:1:1\n", subgid="ann:1:1\n", nsswitch_conf="passwd: files\nsubid: sss # comment\n")
    assert granted("uid", 1000, "ann", place) == [(40, 4), (9, 1)]
    assert granted("gid", 1000, "ann", place) == [(50, 5)]
    assert granted("uid", 1000, "ann", etc(nsswitch_conf="subid: files\n")) == [(1, 1)]


def test_without_the_program_the_files_count(etc, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert granted("uid", 1000, "ann", etc(subuid="ann:1:1\n", nsswitch_conf="subid: sss\n")) == [(1, 1)]


def test_the_first_free_id(etc, tmp_path):
    assert first_free(100_000, str(tmp_path)) == 100_000
    place = etc(subuid="ann:100000:65536\nbob:7:1\nbad:x:1\nshort:1\n", subgid="ann:300000:10\n")
    assert first_free(100_000, place) == 300_010
