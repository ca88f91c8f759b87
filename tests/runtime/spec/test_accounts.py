"""Entries for users and groups that the image does not have."""

import pytest

from arstore.errors import NotFoundError, UsageError
from arstore.runtime.spec.accounts import Accounts, account_files, host_user, parse_entry
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.users import User

PASSWD = "root:x:0:0:root:/root:/bin/sh\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text("root:x:0:\n")

    def made(user, accounts=None, home="/"):
        with RootDirectory(str(tmp_path)) as root:
            return account_files(accounts or Accounts(), user, home, root)

    return made


def test_known_users_need_no_entry(files):
    assert files(User(0, 0, (), "root", "/root")) == {}


def test_a_number_gets_an_entry(files):
    assert files(User(1234, 0)) == {"/etc/passwd": f"{PASSWD}1234:*:1234:0:container user:/:/bin/sh\n"}


def test_a_group_gets_an_entry(files):
    assert files(User(0, 77, (), "root", "/root")) == {"/etc/group": "root:x:0:\n77:x:77:root\n"}


def test_entries_of_the_user(files):
    accounts = Accounts(True, "$USERNAME:*:${UID}:$GID:me:$HOME:/bin/x", "g$GID:x:$GID:")
    found = files(User(5, 6), accounts, "/work")
    assert found["/etc/passwd"].endswith("\n5:*:5:6:me:/work:/bin/x\n")
    assert found["/etc/group"].endswith("\ng6:x:6:\n")
    assert files(User(5, 6), Accounts(False)) == {}


def test_users_of_the_host(files):
    entry = host_user("root")
    assert entry == host_user("0")
    found = files(User(0, 0, (), "root", "/root"), Accounts(host_users=("me:*:900:900::/home/me:/bin/sh", entry)))
    assert found == {"/etc/passwd": f"{PASSWD}me:*:900:900::/home/me:/bin/sh\n"}
    with pytest.raises(NotFoundError):
        host_user("nobody-has-this-name")


@pytest.mark.parametrize("text", ["", "a:b", "a:b:c:d:e:f:g:h", "a:b:0:0:c:/:/\nx:y:0:0:z:/:/", "a:\0:0:0:c:/:/"])
def test_no_entries(text):
    with pytest.raises(UsageError):
        parse_entry(text, 7)


def test_without_a_file_none_is_made(tmp_path):
    with RootDirectory(str(tmp_path)) as root:
        assert account_files(Accounts(), User(1, 1), "/", root) == {}
