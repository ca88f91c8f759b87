"""Targets that read replies of registries, and the files that configure them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from arstore.oci.docker_reference import DockerReference
from arstore.registry.auth.challenge import challenges
from arstore.registry.configuration.auth_file import find_credential
from arstore.registry.configuration.endpoints import read_from
from arstore.registry.configuration.places import Places
from arstore.registry.configuration.registries_conf import RegistriesConf, parse_registries
from arstore.registry.failure import error_body
from arstore.registry.http.patience import retry_after
from arstore.registry.http.url import Url
from arstore.registry.link import next_link
from arstore.registry.ranges import content_range, uploaded
from arstore.registry.warnings import Warnings
from fuzzing.target import Target, scratch

if TYPE_CHECKING:
    from collections.abc import Callable

_BASE = Url.parse("https://h.example:5000/v2/a/b/tags/list?n=1")


def read_challenges(data: bytes) -> None:
    """Read lines of WWW-Authenticate."""
    for one in challenges(_text(data).split("\n")):
        assert one.scheme == one.scheme.lower()
        assert all(isinstance(value, str) for value in one.parameters.values())


def read_link(data: bytes) -> None:
    """Read lines of Link, and the URL that they lead to."""
    target = next_link(_text(data).split("\n"))
    url = _BASE.resolve(target)
    assert str(url).isascii()
    assert str(url).isprintable()
    assert url.origin[0] in {"http", "https"}
    assert Url.parse(str(url)) == url


def read_ranges(data: bytes) -> None:
    """Read Content-Range, and the Range of an upload."""
    text = _text(data)
    found = content_range(text)
    if found is not None and found.first is not None:
        assert found.last is not None
        assert found.first <= found.last
        assert found.total is None or found.last < found.total
    assert (uploaded(text) or 1) > 0
    if found is None and uploaded(text) is None:
        raise ValueError(text)


def read_retry_after(data: bytes) -> None:
    """Read Retry-After."""
    seconds = retry_after(_text(data), lambda: 1e9)
    if seconds is None:
        raise ValueError(data)
    assert seconds >= 0


def read_reference(data: bytes) -> None:
    """Read a reference; written again, it must read the same."""
    found = DockerReference.parse(_text(data))
    assert DockerReference.parse(str(found)) == found
    assert str(found).isprintable()
    assert len(found.repository) <= 255


def read_auth_file(data: bytes) -> None:
    """Read a file of credentials."""
    place = scratch("auth-file")
    place.put("auth.json", data)
    places = Places({"PATH": "/nowhere"}, 1000, place.path, place.path, place.path)
    for repository in ("h.example/a/b", "docker.io/library/x"):
        found = find_credential(repository, places, f"{place.path}/auth.json")
        assert found is None or repr(found) == "Credential(…)"


def read_registries(data: bytes) -> None:
    """Read a registries.conf, and resolve a name with it."""
    found = parse_registries(data, "registries.conf", is_main=bool(len(data) % 2))
    conf = RegistriesConf(tuple(found["tables"].values()))
    for name in ("h.example/a/b:1", "docker.io/library/x", "x.h.example:5000/a"):
        for end in read_from(DockerReference.parse(name), conf):
            assert end.host
            assert end.path


def read_error(data: bytes) -> None:
    """Read the body of a refusal, and a header of warnings."""
    codes, message = error_body(data)
    assert "".join((*codes, message)).isprintable()
    assert len(message) <= 1000
    Warnings(lambda text: _assert_printable(text)).learn([_text(data)])


def _assert_printable(text: str) -> None:
    assert text.isprintable()


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _seeds(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode("latin-1") for text in texts]


def _words(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode("latin-1") for text in texts)


_AUTH = {"auths": {"h.example": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"identitytoken": "t"}}}
_CONF = """unqualified-search-registries = ["a.b"]
[[registry]]
prefix = "*.h.example"
insecure = true
[[registry]]
location = "h.example"
[[registry.mirror]]
location = "c.d/e"
pull-from-mirror = "tag-only"
[aliases]
x = "a.b/x"
"""

TARGETS = (
    Target(
        "challenge",
        read_challenges,
        _seeds('Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"', "Negotiate a==, Basic realm=x"),
        words=_words('="', '\\"', ", ", "Basic ", "Bearer ", "realm", "error=insufficient_scope"),
    ),
    Target(
        "link",
        read_link,
        _seeds('</v2/a/tags/list?n=1&last=x>; rel="next"', "<a>; rel=prev, <https://x/y>; rel=next"),
        words=_words("<", ">; rel=next", "//", "http://", "[::1]", "@", "%2f", ":99999"),
    ),
    Target(
        "range", read_ranges, _seeds("bytes 0-9/10", "bytes */10", "0-99"), documented=(ValueError,), words=_words("/*")
    ),
    Target(
        "retry-after",
        read_retry_after,
        _seeds("120", "Thu, 01 Jan 2032 00:16:50 GMT"),
        documented=(ValueError,),
        words=_words("GMT", "+9999", "Jan", "99999"),
    ),
    Target(
        "docker-reference",
        read_reference,
        _seeds("busybox", "h.example:5000/a/b:1", f"a/b:1@sha256:{'0' * 64}", "[::1]:5000/a"),
        words=_words("@sha256:", "index.docker.io/", "library/", "localhost/", "://"),
    ),
    Target(
        "auth-file",
        read_auth_file,
        _seeds(json.dumps(_AUTH), '{"credHelpers": {"h": "x"}, "credsStore": ""}'),
        words=_words('"auths"', '"auth":""', '"h.example"', '"credsStore":"x"', '"identitytoken"', "null"),
    ),
    Target(
        "registries-conf",
        read_registries,
        _seeds(_CONF, "[registries.search]\nregistries = ['a.b']\n"),
        words=_words("[[registry]]\n", "prefix=", "location=", "blocked=true\n", "'h.example'", "'*.'", "{}", "[]"),
    ),
    Target(
        "registry-error",
        read_error,
        _seeds('{"errors":[{"code":"DENIED","message":"no"}]}', '{"details":"x"}', "<html>", '299 - "old"'),
        words=_words('"message":', '"code":', "299 - ", "\x1b[", '\\"'),
    ),
)
