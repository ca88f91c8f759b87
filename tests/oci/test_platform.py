"""Platforms: normalised spellings, and the best of several candidates."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import InvalidReferenceError
from arstore.oci.platform import Platform, host, parse, select

LINUX = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/X86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/i686", "linux/386"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armv7l", "linux/arm/v7"),
        ("linux/riscv64", "linux/riscv64"),
        ("linux/loongarch64", "linux/loong64"),
        ("macos/aarch64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_spellings_are_made_equal(text, expected):
    assert str(parse(text)) == expected


@given(st.just("linux"), st.text("abv0189.-_", min_size=1, max_size=8), st.text("v0189.", max_size=5))
def test_normalising_twice_changes_nothing(system, architecture, variant):
    once = Platform(system, architecture, variant).normalised()
    assert once.normalised() == once


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v6", "windows/arm64/v9.1", "linux/s390x"])
def test_a_normalised_platform_reads_back(text):
    assert parse(str(parse(text))) == parse(text)


def test_one_word_takes_the_rest_from_the_host():
    assert parse("arm64") == Platform(host().os, "arm64")
    assert parse("aarch64") == parse("arm64")
    assert (parse("linux").os, parse("linux").architecture) == ("linux", host().architecture)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "linux/",
        "/amd64",
        "linux//v8",
        "a/b/c/d",
        "linux/amd 64",
        "linux/amd64\n",
        "linux/名",
        "vax",
        "../x/y",
        "linux/" + "a" * 65,
        "linux/\udc80",
        "all",
    ],
)
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(InvalidReferenceError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30) | st.text("linuxarmv678/.", max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse(text)
    except InvalidReferenceError:
        return
    assert found.normalised() == found
    assert found.is_known or "unknown" in text.lower()


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armv7l", "linux/arm/v7"),
        ("armv6l", "linux/arm/v6"),
        ("i686", "linux/386"),
        ("ppc64le", "linux/ppc64le"),
        ("s390x", "linux/s390x"),
        ("riscv64", "linux/riscv64"),
    ],
)
def test_host(monkeypatch, machine, expected):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6", "v", machine)))
    assert str(host()) == expected


def test_text_of_hostile_or_absent_parts_is_one_word():
    assert str(Platform("", "")) == "unknown/unknown"
    assert str(Platform("linux\n", "amd64")) == "linux\\n/amd64"


# --- selection ------------------------------------------------------------------------------------------------------


def chosen(wanted, *texts):
    """The texts of the chosen candidates, best first; `-` is a candidate of an unknown platform."""
    candidates = [None if text == "-" else Platform(*text.split("/")) for text in texts]
    return [texts[position] for position in select(candidates, Platform(*wanted.split("/")))]


@pytest.mark.parametrize(
    ("wanted", "candidates", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64", "linux/386"], ["linux/amd64"]),
        ("linux/amd64", ["windows/amd64"], []),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64/v2"], []),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64/v1"], ["linux/amd64/v1"]),
        (
            "linux/amd64/v3",
            ["linux/amd64", "linux/amd64/v4", "linux/amd64/v2", "linux/amd64/v3"],
            ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"],
        ),
        (
            "linux/arm/v7",
            ["linux/arm/v5", "linux/arm/v8", "linux/arm/v6", "linux/arm/v7"],
            ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
        ),
        ("linux/arm/v6", ["linux/arm/v5", "linux/arm/v7"], ["linux/arm/v5"]),
        ("linux/arm/v6", ["linux/arm"], []),
        ("linux/arm/v7", ["linux/arm"], ["linux/arm"]),
        ("linux/arm64", ["linux/arm64/v9", "linux/arm64/v8"], ["linux/arm64/v8"]),
        ("linux/arm64", ["linux/arm/v7", "linux/aarch64"], ["linux/aarch64"]),
        ("linux/arm64/v9", ["linux/arm64", "linux/arm64/v9.1"], ["linux/arm64"]),
        ("linux/arm64/v9", ["linux/arm64", "linux/arm64/v8.5"], ["linux/arm64/v8.5", "linux/arm64"]),
        ("linux/arm64/v9", ["linux/arm64/v8.6"], []),
        ("linux/arm64/v9.1", ["linux/arm64/v8.6", "linux/arm64/v9"], ["linux/arm64/v9", "linux/arm64/v8.6"]),
        ("linux/riscv64", ["linux/riscv64/rva23u64", "linux/riscv64"], ["linux/riscv64"]),
        (
            "linux/riscv64/rva23u64",
            ["linux/riscv64", "linux/riscv64/rva23u64"],
            ["linux/riscv64/rva23u64", "linux/riscv64"],
        ),
        ("linux/riscv64/rva23u64", ["linux/riscv64/rva20u64"], []),
        ("linux/amd64", ["unknown/unknown", "linux/unknown", "unknown/amd64"], []),
        ("unknown/unknown", ["unknown/unknown"], []),
        ("linux/amd64", ["-", "linux/arm64", "linux/amd64", "-"], ["linux/amd64", "-", "-"]),
        ("linux/amd64", [], []),
        ("linux/x86_64", ["Linux/AMD64/V1"], ["Linux/AMD64/V1"]),
    ],
)
def test_selection(wanted, candidates, expected):
    assert chosen(wanted, *candidates) == expected


def test_equals_keep_their_order():
    assert select([LINUX, Platform("linux", "x86_64"), LINUX], LINUX) == [0, 1, 2]


def test_an_empty_platform_says_as_little_as_none():
    assert select([Platform("", ""), None, LINUX], LINUX) == [2, 0, 1]
    assert select([Platform("", "amd64")], LINUX) == []


def test_the_systems_version_counts_on_windows_only():
    older, newer = (Platform("windows", "amd64", "", version) for version in ("10.0.17763.1", "10.0.20348.2"))
    assert select([older, newer], newer) == [1]
    assert select([older, newer], Platform("windows", "amd64")) == [0, 1]
    assert select([Platform("linux", "amd64", "", "5.4", ("x",))], Platform("linux", "amd64", "", "6.1", ("y",))) == [0]
    features = [Platform("windows", "amd64", "", "", (feature,)) for feature in ("win32k", "y")]
    assert select(features, Platform("windows", "amd64", "", "", ("y",))) == [1]


PLATFORMS = st.builds(
    Platform,
    st.sampled_from(["linux", "windows", "unknown", ""]),
    st.sampled_from(["amd64", "arm", "arm64", "x86_64", "riscv64", "unknown", ""]),
    st.sampled_from(["", "v1", "v2", "v5", "v7", "v8", "v8.5", "v9", "9", "x"]),
)


@given(st.lists(st.none() | PLATFORMS, max_size=6), PLATFORMS)
def test_what_is_chosen_suits(candidates, wanted):
    found = select(candidates, wanted)
    assert len(set(found)) == len(found)
    for candidate in (candidates[position] for position in found):
        if candidate is not None and candidate.is_known:
            have, target = candidate.normalised(), wanted.normalised()
            assert (have.os, have.architecture) == (target.os, target.architecture)
    known = {p: c.normalised() for p, c in enumerate(candidates) if c is not None and c.is_known}
    # Version and features of the operating system decide what matches, not the order.
    exact = [position for position in sorted(found) if known.get(position, ())[:3] == wanted.normalised()[:3]]
    assert found[: len(exact)] == exact
