"""registries.conf: prefixes, mirrors, blocked and insecure registries, short names; and the order of files."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError, RegistryBlockedError, RegistryConfigError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.configuration.endpoints import read_from, write_to
from arstore.registry.configuration.places import Places
from arstore.registry.configuration.registries_conf import parse_registries, read_registries
from arstore.registry.configuration.short_names import candidates_for

DIGEST = Digest.of(b"")


@pytest.fixture
def places(tmp_path):
    return Places({"HOME": str(tmp_path / "home")}, 1000, str(tmp_path / "etc"), str(tmp_path / "var"))


@pytest.fixture
def conf(places):
    def written(text, path="registries.conf", top=None):
        whole = f"{top or places.etc}/containers/{path}"
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w") as file:
            file.write(text)
        return read_registries(places)

    return written


def ends(conf, text):
    return [(one.host, one.path, one.insecure) for one in read_from(DockerReference.parse(text), conf)]


def test_without_a_file(places):
    found = read_registries(places)
    assert ends(found, "busybox") == [("docker.io", "library/busybox", False)]
    assert (found.search, found.helpers, found.mode) == ((), ("containers-auth.json",), "permissive")


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        ("example.com", "example.com/a:1", True),
        ("example.com", "example.com:5000/a", True),
        ("example.com", "example.company.com/a", False),
        ("example.com/a", "example.com/ab", False),
        ("example.com/a", "example.com/a/b", True),
        ("example.com/a", "example.com/a:1", True),
        ("example.com/a:1", "example.com/a:1", True),
        ("example.com/a:1", "example.com/a:12", False),
        ("*.example.com", "x.example.com/a", True),
        ("*.example.com", "x.y.example.com/a", True),
        ("*.example.com", "example.com/a", False),
        ("*.example.com", "x.example.com:5000/a", True),
        ("docker.io/library", "busybox", True),
    ],
)
def test_prefixes(conf, prefix, name, expected):
    found = conf(f'[[registry]]\nprefix = "{prefix}"\nlocation = "else.where/x"\nblocked = true\n')
    reference = DockerReference.parse(name)
    if expected:
        with pytest.raises(RegistryBlockedError, match="is blocked"):
            read_from(reference, found)
        with pytest.raises(RegistryBlockedError):
            write_to(reference, found)
    else:
        assert read_from(reference, found) == [(reference.domain, reference.path, False, False)]


def test_the_longest_prefix_wins_and_the_location_replaces_it(conf):
    found = conf(
        '[[registry]]\nlocation = "example.com"\ninsecure = true\n'
        '[[registry]]\nprefix = "example.com/foo"\nlocation = "other.com/bar"\n'
        '[[registry]]\nprefix = "*.wild.com"\ninsecure = true\n'
    )
    assert ends(found, "example.com/x:1") == [("example.com", "x", True)]
    assert ends(found, "example.com:5000/x") == [("example.com:5000", "x", False)]
    assert ends(found, "example.com/foo/x") == [("other.com", "bar/x", False)]
    assert ends(found, "example.com/foo") == [("other.com", "bar", False)]
    assert ends(found, "a.wild.com/y") == [("a.wild.com", "y", True)]
    # Only reading follows a location.
    assert write_to(DockerReference.parse("example.com/foo/x"), found)[:2] == ("example.com", "foo/x")


MIRRORS = """
[[registry]]
location = "example.com"
[[registry.mirror]]
location = "one.com/deep"
insecure = true
[[registry.mirror]]
location = "two.com"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "three.com"
pull-from-mirror = "tag-only"
"""


def test_mirrors(conf):
    found = conf(MIRRORS)
    own = ("example.com", "a", False)
    assert ends(found, "example.com/a:1") == [("one.com", "deep/a", True), ("three.com", "a", False), own]
    assert ends(found, f"example.com/a@{DIGEST}") == [("one.com", "deep/a", True), ("two.com", "a", False), own]
    places = read_from(DockerReference.parse("example.com/a"), found)
    assert [one.is_mirror for one in places] == [True, True, False]
    found = conf(
        '[[registry]]\nlocation = "example.com"\nmirror-by-digest-only = true\n'
        '[[registry.mirror]]\nlocation = "one.com"\n'
    )
    assert ends(found, "example.com/a:1") == [own]
    assert len(ends(found, f"example.com/a@{DIGEST}")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "registry = 5",
        "[[registry]]",
        "[[registry]]\nprefix = 'a.b'",
        "[[registry]]\nlocation = 'https://a.b'",
        "[[registry]]\nlocation = 'a b'",
        "[[registry]]\nlocation = 5",
        "[[registry]]\nlocation = 'a.b'\ninsecure = 'yes'",
        "[[registry]]\nlocation = 'a.b'\nblocked = 1",
        "[[registry]]\nlocation = 'a.b'\npull-from-mirror = 'all'",
        "[[registry]]\nlocation = 'a.b'\n[[registry.mirror]]\ninsecure = true",
        "[[registry]]\nlocation = 'a.b'\n[[registry.mirror]]\nlocation = 'c.d'\npull-from-mirror = 'often'",
        "[[registry]]\nlocation = 'a.b'\nmirror-by-digest-only = true\n"
        "[[registry.mirror]]\nlocation = 'c.d'\npull-from-mirror = 'all'",
        "[[registry]]\nlocation = 'a.b'\ninsecure = true\n[[registry]]\nprefix = 'c.d'\nlocation = 'a.b'",
        "[[registry]]\nlocation = 'a.b'\nblocked = true\n[[registry]]\nlocation = 'a.b'",
        "[[registry]]\nprefix = '*.a.b/c'\nlocation = 'x.y'",
        "[[registry]]\nprefix = '*.a.b:5000'\nlocation = 'x.y'",
        "unqualified-search-registries = 'a.b'",
        "unqualified-search-registries = ['https://a.b']",
        "unqualified-search-registries = ['a.b/c']",
        "short-name-mode = 'often'",
        "aliases = 5",
        "[aliases]\nx = 5",
        "credential-helpers = [5]",
        "not toml",
        "[registries.search]\nregistries = ['a.b']\n[[registry]]\nlocation = 'a.b'",
        "[registries.search]\nregistries = 'a.b'",
    ],
)
def test_what_is_refused(conf, text):
    with pytest.raises(RegistryConfigError, match=r"registries\.conf"):
        conf(text)


def test_the_old_form(conf):
    found = conf(
        "[registries.search]\nregistries = ['a.b', 'c.d']\n[registries.insecure]\nregistries = ['a.b']\n"
        "[registries.block]\nregistries = ['e.f']\n"
    )
    assert found.search == ("a.b", "c.d")
    assert ends(found, "a.b/x") == [("a.b", "x", True)]
    with pytest.raises(RegistryBlockedError):
        ends(found, "e.f/x")
    with pytest.raises(RegistryConfigError, match="old form"):
        conf("[registries.search]\nregistries = ['a.b']\n", "registries.conf.d/x.conf")


def test_keys_that_are_not_known_are_reported(conf):
    found = conf("new = 1\n[[registry]]\nlocation = 'a.b/'\ntrusted = true\n")
    assert [one.rpartition("registries.conf")[2] for one in found.unknown] == [": new", ": a.b: trusted"]


def test_drop_ins_come_later_and_replace_whole_tables(conf, places):
    conf("unqualified-search-registries = ['a.b']\n[[registry]]\nlocation = 'x.y'\ninsecure = true\n")
    conf("[[registry]]\nlocation = 'x.y'\n[aliases]\nq = 'x.y/q'\nr = 'x.y/r'\n", "registries.conf.d/10.conf")
    found = conf("[aliases]\nq = ''\n", "registries.conf.d/20.conf")
    assert ends(found, "x.y/a") == [("x.y", "a", False)]
    assert (found.search, found.aliases) == (("a.b",), {"r": "x.y/r"})
    conf("nonsense", "registries.conf.d/30.txt")
    found = conf("[[registry]]\nlocation='x.y'\ninsecure=true\n", "registries.conf.d/1.conf", places.config)
    assert ends(found, "x.y/a") == [("x.y", "a", True)]
    # If the user has a file, the host's files are ignored.
    found = conf("short-name-mode = 'enforcing'\n", top=places.config)
    assert (found.search, found.mode, found.aliases) == ((), "enforcing", {})
    assert ends(found, "x.y/a") == [("x.y", "a", True)]


def test_a_file_named_by_the_environment_stands_alone(conf, places, tmp_path):
    conf("unqualified-search-registries = ['a.b']")
    places.environ["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "own.conf")
    with pytest.raises(RegistryConfigError, match="does not exist"):
        read_registries(places)
    (tmp_path / "own.conf").write_text("short-name-mode = 'disabled'")
    assert read_registries(places).search == ()


# --- short names ----------------------------------------------------------------------------------------------------


def names(conf, places, text):
    return [str(one) for one in candidates_for(text, conf, places)]


def test_short_names(conf, places):
    found = conf("unqualified-search-registries = ['a.b', 'docker.io']\n[aliases]\nfedora = 'r.org/fedora'\n")
    assert names(found, places, "fedora:39") == ["r.org/fedora:39"]
    assert names(found, places, f"fedora@{DIGEST}") == [f"r.org/fedora@{DIGEST}"]
    assert names(found, places, "x/y") == ["a.b/x/y:latest", "docker.io/x/y:latest"]
    assert names(found, places, "y") == ["a.b/y:latest", "docker.io/library/y:latest"]
    assert names(found, places, "h:5/y:1") == ["h:5/y:1"]
    assert names(found, places, "localhost/y") == ["localhost/y:latest"]


def test_an_alias_that_a_tool_recorded_comes_first(conf, places):
    found = conf("[aliases]\nx = 'a.b/x'\n")
    cache = f"{places.home}/.cache/containers"
    os.makedirs(cache)
    with open(f"{cache}/short-name-aliases.conf", "w") as file:
        file.write('[aliases]\n"x" = "recorded.org/x"\n')
    assert names(found, places, "x") == ["recorded.org/x:latest"]


def test_short_names_without_a_meaning(conf, places):
    with pytest.raises(InvalidReferenceError, match="no registry is configured"):
        names(conf(""), places, "x")
    found = conf("unqualified-search-registries = ['a.b', 'c.d']\nshort-name-mode = 'enforcing'\n")
    with pytest.raises(InvalidReferenceError, match="several registries"):
        names(found, places, "x")


@given(st.text(max_size=200))
def test_any_text_can_be_read(text):
    try:
        parse_registries(text.encode("utf-8", "replace"), "file")
    except RegistryConfigError as error:
        said = str(error)
    else:
        said = ""
    assert said.isprintable()
