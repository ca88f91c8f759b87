import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ArstoreError, NotFoundError, UsageError
from arstore.runtime.spec.options import (
    Volume,
    check_hostname,
    check_pids_limit,
    parse_cpus,
    parse_env,
    parse_memory,
    parse_volume,
)
from arstore.runtime.spec.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512m", 512 << 20),
        ("1.5G", 3 << 29),
        ("64MiB", 64 << 20),
        ("7kb", 7168),
        ("9 b", 9),
        ("2TB", 2 << 40),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1e3", "٣m", "1.m", "9999999p", "1 2", "0x10", "nan"])
def test_no_sizes(text):
    with pytest.raises(UsageError):
        parse_size(text)


@given(st.text(max_size=30))
def test_any_text_gives_a_value_or_an_error_of_ours(text):
    said = []
    for parse in (parse_size, parse_cpus, parse_memory, parse_volume, check_hostname):
        try:
            parse(text)
        except ArstoreError as error:
            said.append(str(error))
    assert all(line.isprintable() for line in said)


def test_memory_has_a_floor():
    assert parse_memory("6m") == 6 << 20
    with pytest.raises(UsageError):
        parse_memory("6")


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x", ""])
def test_no_cpus(text):
    with pytest.raises(UsageError):
        parse_cpus(text)


def test_limits_name_both_bounds():
    with pytest.raises(UsageError, match=r"from 0\.01 to 100000"):
        parse_cpus("99999999")
    with pytest.raises(UsageError, match="not a number of processes"):
        check_pids_limit(10**20)


def test_volumes(tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_volume("a:b:/x") == Volume(str(tmp_path / "a:b"), "/x")
    assert parse_volume(f"{tmp_path}:/x/../y//z/:ro") == Volume(str(tmp_path), "/y/z", True)
    assert parse_volume(f"{tmp_path}:/x:rw") == Volume(str(tmp_path), "/x", False)
    for words, read_only, options in (
        ("z", False, ()),
        ("Z", False, ()),
        ("ro,z", True, ()),
        ("rslave", False, ("rslave",)),
        ("nosuid,nodev,noexec", False, ("noexec",)),
        ("rw,exec,rw", False, ("exec",)),
    ):
        assert parse_volume(f"{tmp_path}/a:b:/x:{words}") == Volume(str(tmp_path / "a:b"), "/x", read_only, options)
    with pytest.raises(NotFoundError):
        parse_volume("missing:/x")


@pytest.mark.parametrize("words", ["U", "ro,rw", "rshared", "ro,", "", "RO", "exec,noexec", "slave,private", "size=1"])
def test_options_of_a_volume_are_refused_by_name(words):
    with pytest.raises(UsageError) as caught:
        parse_volume(f"/tmp:/x:{words}")
    assert "absolute" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "x", ":/x", "/x:", "/:x", "/:/", "/:/..", "/tmp:/x:zz", "/tmp\0:/x"])
def test_no_volumes(text):
    with pytest.raises(UsageError):
        parse_volume(text)


def test_env():
    assert parse_env("A=b=c", {}) == "A=b=c"
    assert parse_env("A", {"A": "x"}) == "A=x"
    assert parse_env("A", {}) is None
    with pytest.raises(UsageError):
        parse_env("=x", {})
