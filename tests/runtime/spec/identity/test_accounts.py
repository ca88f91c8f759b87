"""Entries for users and groups that the image does not have."""

import pytest

from arstore.errors import NotFoundError, UsageError
from arstore.runtime.spec.identity.accounts import Accounts, account_files, append_in, as_added, host_user, parse_entry
from arstore.runtime.spec.identity.users import User
from arstore.runtime.spec.image_files import RootDirectory

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


def test_a_user_is_as_the_added_entry_says(files):
    accounts = Accounts(True, "mine:x:$UID:4322::/work:/bin/sh")
    user = as_added(User(4321, 0), accounts, has_group=False)
    assert user == User(4321, 4322, home="/work")
    assert files(user, accounts) == {"/etc/passwd": f"{PASSWD}mine:x:4321:4322::/work:/bin/sh\n"}
    assert as_added(User(4321, 7), accounts, has_group=True) == User(4321, 7, home="/work")
    other = Accounts(True, "mine:x:5:4322::/work:/bin/sh")
    assert as_added(User(4321, 0), other, has_group=False) == User(4321, 0)
    assert as_added(User(4321, 0), Accounts(False, "mine:x:4321:1::/:"), has_group=False) == User(4321, 0)
    for gid in ("many", "99999999999"):
        odd = Accounts(True, f"mine:x:4321:{gid}::/work:/bin/sh")
        assert as_added(User(4321, 0), odd, has_group=False) == User(4321, 0, home="/work")


def test_entries_are_written_to_regular_files_only(tmp_path):
    (tmp_path / "etc").mkdir()
    passwd = tmp_path / "etc/passwd"
    passwd.write_text(PASSWD)
    passwd.chmod(0o640)
    (tmp_path / "etc/group").symlink_to("/etc/passwd")
    (tmp_path / "etc/shadow").mkdir()
    with RootDirectory(str(tmp_path)) as root:
        assert append_in(root, "/etc/passwd", f"{PASSWD}more\n")
        assert append_in(root, "/etc/group", f"{PASSWD}more\nstill\n")
        assert not append_in(root, "/etc/shadow", "x")
        assert not append_in(root, "/etc/nothing", "x")
    assert passwd.read_text() == f"{PASSWD}more\nstill\n"
    assert passwd.stat().st_mode & 0o777 == 0o640


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
