from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tarblocks import record

from arstore.errors import LimitError, TarError
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.tar.pax import Extension, extension, global_records, nanoseconds, records


def said(*pairs: tuple[bytes, bytes], limits: Limits = DEFAULT_LIMITS) -> Extension:
    return extension(pairs, limits, "t")


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20).filter(lambda k: not set(k) & set(b"=\0")), st.binary())))
def test_records_round_trip(pairs: list[tuple[bytes, bytes]]) -> None:
    assert records(b"".join(record(*pair) for pair in pairs), "t") == pairs


@pytest.mark.parametrize(
    "data",
    [
        b"5",
        b"x a=b\n",
        b"6 a=b",
        b"7 a=b\n",
        b"5 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b" 6 a=b\n",
        b"6 ab\n\n",
        b"6 =ab\n",
        b"7 a\0=b\n",
        b"99999999999999999999999999 a=b\n",
        b"1" * 5000 + b" a=b\n",
        b"6 a=b\n\0",
    ],
)
def test_malformed_records(data: bytes) -> None:
    with pytest.raises(TarError):
        records(data, "t")


@given(st.binary(max_size=60))
def test_records_of_anything(data: bytes) -> None:
    try:
        found = records(data, "t")
    except TarError:
        return
    assert sum(len(record(*pair)) for pair in found) <= len(data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"1350244992.023960108", 1350244992023960108),
        (b"1.5", 1500000000),
        (b"1.", 1000000000),
        (b"-1.5", -1500000000),
        (b"-0.000000001", -1),
        (b"1.0000000019999999999999999999999999999999", 1000000001),
        (b"-1.0000000019", -1000000001),
        (b"9223372036854775807.999999999", 9223372036854775807999999999),
        (b"0001.5", 1500000000),
        (b"0" * 5000 + b"1.5", 1500000000),
        (b"-" + b"0" * 5000 + b"1.5", -1500000000),
        (b"+1.5", 1500000000),
        (b"-0", 0),
        (b"1." + b"0" * 5000 + b"1", 1000000000),
    ],
)
def test_times(text: bytes, value: int) -> None:
    assert nanoseconds(text, "t") == value


NO_TIMES = [
    b".5", b"-", b"--1", b"1e5", b"1.x", b"1.-5", b" 1", b"+.5", b"+-1", b"-+1", b"+",
    b".", b"", b"1.+5", b"1.5.6", b"1,5", b"nan", b"1_0", b"9" * 21, b"9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time(text: bytes) -> None:
    with pytest.raises(TarError):
        nanoseconds(text, "t")


def test_values_and_what_takes_them_back() -> None:
    got = said((b"path", b"p"), (b"linkpath", b"l"), (b"size", b"9"), (b"uid", b"4294967294"), (b"mtime", b"1"))
    assert (got.path, got.link, got.size, got.uid, got.gid, got.mtime) == (b"p", b"l", 9, 4294967294, None, 1000000000)
    got = said((b"path", b"p"), (b"uid", b"5"), (b"path", b""), (b"uid", b""), (b"hdrcharset", b"BINARY"))
    assert got == Extension()


@pytest.mark.parametrize("keyword", [b"uid", b"gid", b"size"])
@pytest.mark.parametrize("value", [b"-", b"--2", b"x", b"1" * 21, b"-" + b"1" * 21, b"0x1", b" 1", b"- 1"])
def test_numbers_that_are_none(keyword: bytes, value: bytes) -> None:
    with pytest.raises(TarError):
        said((keyword, value))


def test_owners_may_have_a_sign_and_sizes_may_not() -> None:
    got = said((b"uid", b"-2"), (b"gid", b"-000"), (b"size", b"-0"))
    assert (got.uid, got.gid, got.size) == (-2, 0, 0)
    with pytest.raises(TarError):
        said((b"size", b"-2"))


def test_xattrs_of_both_spellings() -> None:
    value = bytes(range(256))
    got = said(
        (b"SCHILY.xattr.user.a", value),
        (b"SCHILY.xattr.user.empty", b""),
        (b"LIBARCHIVE.xattr.user.b%3D%25", base64.b64encode(value).rstrip(b"=")),
        (b"LIBARCHIVE.xattr.user.c", base64.b64encode(b"four")),
    )
    assert got.xattrs == {b"user.a": value, b"user.empty": b"", b"user.b=%": value, b"user.c": b"four"}


@pytest.mark.parametrize(
    "name", [b"", b"user." + b"n" * 300, b"com.apple.provenance", b"trusted.overlay.opaque", b"system.nfs4_acl"]
)
def test_names_that_no_file_can_have_are_left_to_whoever_makes_the_file(name: bytes) -> None:
    assert said((b"SCHILY.xattr." + name, b"x")).xattrs == {name: b"x"}
    assert said((b"LIBARCHIVE.xattr." + name + b"%00", b"eA")).xattrs == {name + b"\0": b"x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"eA", b"x"), (b"eA==", b"x"), (b"e\nA=\n", b"x"), (b"eHh4", b"xxx"), (b"", b""), (b"+/+/", b"\xfb\xff\xbf")],
)
def test_base64_with_and_without_padding(text: bytes, value: bytes) -> None:
    assert said((b"LIBARCHIVE.xattr.user%2ea", text)).xattrs == {b"user.a": value}


@pytest.mark.parametrize("text", [b"*", b"e", b"eA=eHh4", b"eA_eHh4", b"eHh4e", b"\xffeA", b"a-b_"])
def test_what_is_not_base64_is_left_to_be_counted(text: bytes) -> None:
    assert said((b"LIBARCHIVE.xattr.user.a", text)).xattrs == {b"LIBARCHIVE.xattr.user.a": text}


ACL = b"user::rw-,group::r--,other::r--,user:1234:r--,mask::r--"


def test_access_control_lists_as_text_are_left_to_be_counted() -> None:
    for keyword in (b"SCHILY.acl.access", b"SCHILY.acl.default", b"SCHILY.acl.ace"):
        assert said((keyword, ACL)).xattrs == {keyword: ACL}
        assert said((keyword, ACL), (keyword, b"")) == Extension()


def test_a_list_that_is_said_otherwise_is_not_counted() -> None:
    for text in (b"user::rw-,group::r--,other::r--", b"user::rwx\ngroup::---\nother::r-x\n", b"u::rw-,g::r--,o::r--"):
        assert said((b"SCHILY.acl.access", text)) == Extension()
    binary = (b"SCHILY.xattr.system.posix_acl_access", b"\2\0\0\0")
    assert list(said((b"SCHILY.acl.access", ACL), binary).xattrs) == [b"system.posix_acl_access"]


def test_numbers_with_zeros_and_a_plus() -> None:
    got = said((b"uid", b"007"), (b"gid", b"0" * 5000 + b"8"), (b"size", b"+00012"))
    assert (got.uid, got.gid, got.size) == (7, 8, 12)


@pytest.mark.parametrize("zeros", [1, 20, 5000])
def test_the_length_of_a_record_may_begin_with_zeros(zeros: int) -> None:
    rest = b" path=abc\n"
    digits = b"%0*d" % (zeros + 4, zeros + 4 + len(rest))
    assert records(digits + rest + record(b"uid", b"7"), "t") == [(b"path", b"abc"), (b"uid", b"7")]
    assert records(b"+13 path=abc\n", "t") == [(b"path", b"abc")]


def test_global_records_change_what_several_members_can_share() -> None:
    everything = [(b"path", b"p"), (b"linkpath", b"l"), (b"size", b"9"), (b"GNU.sparse.size", b"9"), (b"comment", b"c")]
    shared = [(b"uid", b"1"), (b"mtime", b"0"), (b"SCHILY.xattr.user.a", b"v"), (b"gid", b"")]
    malformed = [(b"uid", b"-1"), (b"mtime", b"yesterday")]
    assert global_records([*everything, *malformed, *shared], DEFAULT_LIMITS, "t") == shared


def test_limits_on_xattrs() -> None:
    assert len(said((b"SCHILY.xattr.user.a", b"v" * 65536)).xattrs[b"user.a"]) == 65536
    with pytest.raises(LimitError):
        said((b"SCHILY.xattr.user.a", b"v" * (1 << 20) + b"v"))
    with pytest.raises(LimitError):
        said(*((b"SCHILY.xattr.user.%d" % i, b"v" * 65536) for i in range(17)))


def test_sparse_records_of_format_0_0_alternate() -> None:
    pairs = [(b"GNU.sparse.offset", b"0"), (b"GNU.sparse.numbytes", b"5"), (b"GNU.sparse.offset", b"9")]
    got = said((b"GNU.sparse.size", b"20"), *pairs).sparse
    assert got is not None
    assert (got.numbers, got.size, got.map_in_data) == ([0, 5, 9], 20, False)
    with pytest.raises(TarError):
        said(pairs[0], pairs[0])
    with pytest.raises(TarError):
        said(pairs[1])


def test_limit_on_sparse_runs() -> None:
    with pytest.raises(LimitError):
        said((b"GNU.sparse.map", b"1,1,3,1"), limits=Limits(sparse_runs=1))
