import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import ArstoreError, RuntimeFailedError, UsageError
from arstore.runtime.spec.mounts.mount_option import parse_mount
from arstore.runtime.spec.mounts.volume import parse_volume
from arstore.runtime.spec.options import check_hostname, parse_env
from arstore.runtime.spec.resources import check_pids_limit, parse_cpus, parse_memory
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
    for parse in (parse_size, parse_cpus, parse_memory, parse_volume, parse_mount, check_hostname):
        try:
            parse(text)
        except ArstoreError as error:
            said.append(str(error))
    assert all(line.isprintable() for line in said)


def test_memory_has_a_floor():
    assert parse_memory("6m") == 6 << 20
    with pytest.raises(RuntimeFailedError):
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


def test_env():
    assert parse_env("A=b=c", {}) == "A=b=c"
    assert parse_env("A", {"A": "x"}) == "A=x"
    assert parse_env("A", {}) is None
    with pytest.raises(UsageError):
        parse_env("=x", {})
