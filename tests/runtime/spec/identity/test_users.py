import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ArstoreError, IdentityError, ImageConfigError
from arstore.runtime.spec.identity.users import FILE_LIMIT, User, added_groups, resolve_user
from arstore.runtime.spec.image_files import RootDirectory

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# comment:x:9:9::/:
broken
bad:x:notanumber:5::/:
huge:x:4294967295:5::/:
alice:x:1000:1001:A:/home/alice:/bin/sh
1234:x:77:78:numbers:/n:/bin/sh
\xff\xfe:x:5:5::/:
"""
GROUP = b"root:x:0:\nstaff:x:50:alice,bob\nwheel:x:60:bob,alice\nshort\nalice:x:1001:alice\n"


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def root(request, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(PASSWD)
    (tmp_path / "etc/group").write_bytes(GROUP)
    with RootDirectory(str(tmp_path), use_openat2=request.param) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (), "root", "/root")),
        ("alice", User(1000, 1001, (50, 60), "alice", "/home/alice")),
        ("1000", User(1000, 1001, (50, 60), "alice", "/home/alice")),
        ("alice:staff", User(1000, 50, (), "alice", "/home/alice")),
        ("alice:7", User(1000, 7, (), "alice", "/home/alice")),
        (":staff", User(0, 50, (), "root", "/root")),
        ("1000:", User(1000, 1001, (), "alice", "/home/alice")),
        ("1234", User(77, 78, (), "1234", "/n")),
        ("4321", User(4321, 0)),
        ("2147483647:2147483647", User(2147483647, 2147483647)),
    ],
)
def test_resolve(root, text, user):
    assert resolve_user(text, root) == user


@pytest.mark.parametrize(
    "text",
    ["bob", "bad", "huge", "broken", "-1", "+1", "2147483648", "99999999999", "alice:none", "a:b:c", ":", "0:-5", "²"],
)
def test_refused(root, text):
    with pytest.raises(ImageConfigError):
        resolve_user(text, root)


@pytest.mark.parametrize("text", ["nosuch", "-1", "2147483648"])
def test_an_added_group_is_named_as_a_group(root, text):
    with pytest.raises(IdentityError, match=f"^group '{text}'"):
        added_groups([text], root)


def test_without_the_files_numbers_do(tmp_path):
    with RootDirectory(str(tmp_path)) as root:
        assert resolve_user("5:6", root) == User(5, 6)
        assert resolve_user("", root) == User(0, 0)
        with pytest.raises(ImageConfigError):
            resolve_user("root", root)


@pytest.mark.parametrize("use_openat2", [True, False])
@pytest.mark.parametrize("kind", ["fifo", "directory", "huge", "outside"])
def test_hostile_files(tmp_path, kind, use_openat2):
    base = tmp_path / "root"
    (base / "etc").mkdir(parents=True)
    passwd = base / "etc/passwd"
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "directory":
        passwd.mkdir()
    elif kind == "huge":
        passwd.touch()
        os.truncate(passwd, FILE_LIMIT + 1)
    else:
        (tmp_path / "secret").write_bytes(b"spy:x:1:1::/:\n")
        passwd.symlink_to("../../../secret")
    with RootDirectory(str(base), use_openat2=use_openat2) as root, pytest.raises(ImageConfigError):
        resolve_user("spy", root)


@given(passwd=st.binary(max_size=200), group=st.binary(max_size=200), text=st.text(max_size=12))
def test_any_files_and_any_text(tmp_path_factory, passwd, group, text):
    base = tmp_path_factory.mktemp("any")
    (base / "etc").mkdir()
    (base / "etc/passwd").write_bytes(passwd)
    (base / "etc/group").write_bytes(group)
    with RootDirectory(str(base)) as root:
        try:
            user = resolve_user(text, root)
        except ArstoreError:
            return
        assert 0 <= user.uid < 2**32 - 1
        assert 0 <= user.gid < 2**32 - 1


def test_a_user_in_more_groups_than_the_kernel_takes(root, monkeypatch):
    monkeypatch.setattr("arstore.runtime.spec.identity.users._MOST_GROUPS", 2)
    assert resolve_user("alice", root).groups == (50, 60)
    monkeypatch.setattr("arstore.runtime.spec.identity.users._MOST_GROUPS", 1)
    with pytest.raises(ImageConfigError, match="more than 1 groups"):
        resolve_user("alice", root)


def test_a_line_that_is_too_long_names_nobody(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(b"long:x:1:1:" + b"x" * (64 << 10) + b":/:\nshort:x:2:2::/:\n")
    with RootDirectory(str(tmp_path)) as opened:
        assert resolve_user("short", opened).uid == 2
        with pytest.raises(ImageConfigError):
            resolve_user("long", opened)
