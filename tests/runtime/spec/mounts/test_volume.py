"""`--volume`: paths, names, options, and what is refused with a reason."""

import pytest

from arstore.errors import NotFoundError, UsageError
from arstore.runtime.spec.mounts.volume import Volume, check_volume_name, granting, parse_volume, require_different


def test_what_begins_with_a_slash_or_a_dot_is_a_path(tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    (tmp_path / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_volume("./a:b:/x") == Volume(str(tmp_path / "a:b"), "/x")
    assert parse_volume(".hidden:/x") == Volume(str(tmp_path / ".hidden"), "/x")
    assert parse_volume(".:/x") == Volume(str(tmp_path), "/x")
    assert parse_volume(f"{tmp_path}:/x/../y//z/:ro") == Volume(str(tmp_path), "/y/z", True)
    with pytest.raises(NotFoundError):
        parse_volume("./missing:/x")


def test_a_word_is_a_volume_even_if_a_file_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_volume("data:/x") == Volume("", "/x", kind="volume", name="data")
    assert parse_volume("data:/x:ro").read_only


def test_without_a_source_it_is_anonymous():
    assert parse_volume("/x") == Volume("", "/x", kind="volume")
    assert parse_volume("/x").is_anonymous


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-D", "a" * 255])
def test_names(name):
    assert check_volume_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a/b", "a b", "ä", "a:b", "a" * 256, "a\n"])
def test_no_names(name):
    with pytest.raises(UsageError):
        check_volume_name(name)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("z", Volume("/tmp", "/x")),
        ("ro,Z", Volume("/tmp", "/x", True)),
        ("rslave", Volume("/tmp", "/x", options=("rslave",))),
        ("nosuid,nodev,noexec", Volume("/tmp", "/x", options=("nosuid", "nodev", "noexec"))),
        ("dev,suid,exec", Volume("/tmp", "/x", options=("dev", "suid", "exec"))),
        ("bind", Volume("/tmp", "/x", options=("bind",))),
        ("U", Volume("/tmp", "/x", chown=True)),
        ("O", Volume("/tmp", "/x", temporary=True)),
        ("O,U", Volume("/tmp", "/x", chown=True, temporary=True)),
        ("rw,nocopy", Volume("/tmp", "/x", copies=False)),
    ],
)
def test_options(words, expected):
    assert parse_volume(f"/tmp:/x:{words}") == expected


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("shared", "must not appear on the host"),
        ("rshared", "must not appear on the host"),
        ("idmap", "no user namespace"),
        ("idmap=uids=0-1-1", "no user namespace"),
        ("upperdir=/x", "belongs to the container"),
        ("ro,rw", "exclude each other"),
        ("exec,noexec", "exclude each other"),
        ("slave,private", "exclude each other"),
        ("suid,nosuid", "exclude each other"),
        ("O,dev", "takes no option"),
        ("", "empty word"),
        ("ro,", "empty word"),
        ("RO", "not an option"),
        ("size=1", "not an option"),
    ],
)
def test_options_are_refused_with_a_reason(words, why):
    with pytest.raises(UsageError, match=why):
        parse_volume(f"/tmp:/x:{words}")


@pytest.mark.parametrize(
    "text", ["", "x", ":/x", "/x:", "/:x", "/:/", "/:/..", "/tmp:/x:zz", "/tmp\0:/x", "a/b:/x", "-x:/y", "a:b:/x", "/"]
)
def test_no_volumes(text):
    with pytest.raises(UsageError):
        parse_volume(text)


def test_one_place_cannot_have_two_things():
    require_different(["/a", "/b"])
    with pytest.raises(UsageError, match="two things"):
        require_different(["/a", "/b", "/a"])


def test_paths_grant_rights_unless_it_is_refused(tmp_path):
    assert granting(parse_volume(f"{tmp_path}:/x")).options == ("suid", "dev")
    assert granting(parse_volume(f"{tmp_path}:/x:nosuid,noexec")).options == ("nosuid", "noexec", "dev")
    assert granting(parse_volume(f"{tmp_path}:/x:suid,dev")).options == ("suid", "dev")
    assert granting(parse_volume("named:/x")) == parse_volume("named:/x")
