"""The list of additional stores: from options, the environment or a file; only the first of them counts."""

from __future__ import annotations

import os

import pytest

from arstore.api import stores_conf
from arstore.api.places import ADDITIONAL
from arstore.api.places import stores_conf as file_of
from arstore.errors import HostError, UsageError

OWN = "/var/lib/own"


def roots(found):
    return [one.root for one in found]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write the configuration file that counts."""
    path = tmp_path / "stores.conf"
    monkeypatch.setattr(stores_conf, "stores_conf", lambda _environ, _uid: str(path) if path.exists() else "")

    def write(text):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_the_closest_list_counts_alone(written):
    written('[[additional-store]]\npath = "/file"\n')
    environ = {ADDITIONAL: "/one:/two"}
    assert roots(stores_conf.wanted(["/given"], [], environ, OWN)) == ["/given"]
    assert roots(stores_conf.wanted([], [], environ, OWN)) == ["/one", "/two"]
    assert roots(stores_conf.wanted([], [], {}, OWN)) == ["/file"]
    assert stores_conf.wanted([], [], {ADDITIONAL: ""}, OWN) == []


def test_without_any_there_are_none(written):
    assert stores_conf.wanted([], [], {}, OWN) == []
    written("")
    assert stores_conf.wanted([], [], {}, OWN) == []


def test_owners_are_names_or_numbers(written):
    written('[[additional-store]]\npath = "/a"\nowner = "nobody"\n[[additional-store]]\npath = "/b"\n')
    first, second = stores_conf.wanted([], [], {}, OWN)
    assert (first.owners, second.owners) == ({65534}, frozenset())
    first, second = stores_conf.wanted([], ["1234"], {}, OWN)
    assert (first.owners, second.owners) == ({65534, 1234}, {1234})
    (only,) = stores_conf.wanted(["/x"], [], {stores_conf.OWNERS: "nobody:1234"}, OWN)
    assert only.owners == {65534, 1234}
    for name in ("no-such-user", "-1", "1.5", "", "a\0b"):
        with pytest.raises(UsageError):
            stores_conf.wanted(["/x"], [name], {}, OWN)


@pytest.mark.parametrize(
    "list_",
    [["/a", "/a"], ["/a", "/b/../a"], [OWN], ["/a", ""]],
)
def test_a_list_that_makes_no_sense_is_refused(list_):
    with pytest.raises(UsageError):
        stores_conf.wanted(list_, [], {}, OWN)
    with pytest.raises(UsageError):
        stores_conf.wanted([], [], {ADDITIONAL: ":".join([*list_, *([] if len(list_) > 1 else [""])])}, OWN)


@pytest.mark.parametrize(
    "text",
    [
        "additional-store = 1\n",
        'additional-store = ["/a"]\n',
        '[additional-store]\npath = "/a"\n',
        '[[additional-store]]\npath = "a"\n',
        "[[additional-store]]\npath = 1\n",
        "[[additional-store]]\n",
        '[[additional-store]]\npath = "/a"\nowner = 7\n',
        '[[additional-store]]\npath = "/a"\nowners = "nobody"\n',
        '[[additional-stores]]\npath = "/a"\n',
        "[[additional-store]\n",
        b"\xff\xfe",
        b"\0" * 10,
        "#" * (1 << 20) + "\n",
    ],
)
def test_a_file_that_cannot_be_used_is_named(written, text):
    path = written(text)
    with pytest.raises(HostError) as caught:
        stores_conf.wanted([], [], {}, OWN)
    assert caught.value.what == str(path)
    assert "\n" not in str(caught.value)


def test_a_directory_in_the_place_of_the_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(stores_conf, "stores_conf", lambda _environ, _uid: str(tmp_path))
    with pytest.raises(HostError, match="cannot be read"):
        stores_conf.wanted([], [], {}, OWN)


def test_a_users_file_takes_the_place_of_the_hosts(tmp_path):
    etc, home = tmp_path / "etc", tmp_path / "home"
    environ = {"XDG_CONFIG_HOME": str(home)}
    assert file_of(environ, 1000, str(etc)) == ""
    for place in (etc, home):
        os.makedirs(place / "arstore")
    (etc / "arstore/stores.conf").touch()
    assert file_of(environ, 1000, str(etc)) == f"{etc}/arstore/stores.conf"
    (home / "arstore/stores.conf").touch()
    assert file_of(environ, 1000, str(etc)) == f"{home}/arstore/stores.conf"
    assert file_of(environ, 0, str(etc)) == f"{etc}/arstore/stores.conf"
