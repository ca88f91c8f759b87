"""`needs.json`: written only if there are needs, read back the same, and never believed in part."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import StoreDamagedError
from arstore.trees.attributes import Dropped
from arstore.trees.format import Needs
from arstore.trees.needs import NAME, read_needs, write_needs

PATH = st.binary(max_size=30)
NEEDS = st.builds(
    Needs,
    st.lists(PATH, max_size=4),
    st.lists(st.tuples(PATH, PATH), max_size=3),
    st.lists(PATH, max_size=4),
    st.lists(PATH, max_size=4),
    st.lists(PATH, max_size=4),
    st.one_of(
        st.just(Dropped()),
        st.builds(
            Dropped, st.integers(1), st.integers(1), st.lists(st.tuples(PATH, PATH, st.text(max_size=9)), max_size=3)
        ),
    ),
)


def write(directory, needs):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_needs(fd, needs)
    finally:
        os.close(fd)


@given(NEEDS)
def test_what_is_written_is_read(tmp_path_factory, needs):
    directory = tmp_path_factory.mktemp("tree")
    write(directory, needs)
    assert read_needs(str(directory)) == needs
    assert (directory / NAME).exists() == (needs != Needs())


def test_there_is_never_a_second_file(tmp_path):
    write(tmp_path, Needs([b"a"]))
    with pytest.raises(FileExistsError):
        write(tmp_path, Needs([b"b"]))


def test_no_symlink_is_followed(tmp_path):
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write(tmp_path, Needs([b"a"]))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"implied":[],"absent_links":[]}',
        '{"implied":[1],"absent_links":[],"masked":[]}',
        '{"implied":["\\u4e00"],"absent_links":[],"masked":[]}',
        '{"implied":[],"absent_links":[["a"]],"masked":[]}',
        '{"implied":null,"absent_links":[],"masked":[]}',
        "[" * 100_000,
        "\u4e00",
    ],
)
def test_damage_is_an_error_of_the_store(tmp_path, text):
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(StoreDamagedError, match=NAME):
        read_needs(str(tmp_path))
