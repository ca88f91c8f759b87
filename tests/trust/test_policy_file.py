"""Which file is the policy, and which cannot be one."""

import os

import pytest

from arstore.errors import PolicyError
from arstore.trust import policy_file as places
from arstore.trust.policy.model import ACCEPT, REJECT

ACCEPTS, REJECTS = b'{"default":[{"type":"insecureAcceptAnything"}]}', b'{"default":[{"type":"reject"}]}'


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home/.config/containers").mkdir(parents=True)
    return tmp_path / "home"


def load(home, given=""):
    return places.load(given, {"HOME": str(home)}, str(home.parent / "policy.json"))


def test_without_any_file_there_is_no_policy(home):
    assert load(home) is None
    assert places.load("", {"HOME": "/dev/null"}, "/dev/null/x") is None


def test_the_users_file_goes_before_the_hosts(home):
    (home.parent / "policy.json").write_bytes(REJECTS)
    found = load(home)
    assert (found.default, found.what, found.explicit) == ((REJECT,), str(home.parent / "policy.json"), False)
    (home / places.USER).write_bytes(ACCEPTS)
    assert load(home).default == (ACCEPT,)


def test_a_given_file_goes_before_all(home):
    (home / places.USER).write_bytes(ACCEPTS)
    (home / "mine").write_bytes(REJECTS)
    found = load(home, str(home / "mine"))
    assert (found.default, found.explicit) == ((REJECT,), True)
    with pytest.raises(PolicyError, match="cannot be read: no such file"):
        load(home, str(home / "nothing"))


def test_the_account_has_a_home_too(home, monkeypatch):
    monkeypatch.setattr("pwd.getpwuid", lambda _: type("account", (), {"pw_dir": str(home)}))
    (home / places.USER).write_bytes(REJECTS)
    assert places.load("", {}, "/dev/null/x").default == (REJECT,)
    assert places.load("", {"HOME": "/dev/null"}, "/dev/null/x") is None

    def unknown(_):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert places.load("", {}, "/dev/null/x") is None


def test_the_environment_of_this_process(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    (home / places.USER).write_bytes(REJECTS)
    assert places.load(system="/dev/null/x").default == (REJECT,)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_there_and_no_file_is_an_error(home, make):
    (home.parent / "policy.json").write_bytes(ACCEPTS)
    make(home / places.USER)
    with pytest.raises(PolicyError):
        load(home)


def test_devices_are_not_read():
    with pytest.raises(PolicyError, match="is not a regular file"):
        places.read_policy("/dev/zero")
    with pytest.raises(PolicyError, match="is not a path"):
        places.read_policy("a\0b")


def test_a_large_file_is_not_read(home):
    with open(home / "large", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PolicyError, match="has more than 4194304 bytes"):
        places.read_policy(str(home / "large"))


def test_a_place_that_cannot_be_looked_at_is_an_error(home):
    (home / ".config").rename(home / "away")
    (home / ".config").symlink_to(".config")
    (home.parent / "policy.json").write_bytes(ACCEPTS)
    with pytest.raises(PolicyError, match="cannot be read: too many"):
        load(home)
