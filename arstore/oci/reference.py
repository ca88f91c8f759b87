"""Names of images, and the texts by which users mean an image.

The grammar is the distribution project's: `[DOMAIN[:PORT]/]COMPONENT[/COMPONENT...][:TAG]`. A name is kept as it was
given plus the default tag, never with a registry put before it; `candidates` makes up for the spellings that other
tools use. Not in scope: resolving a name, which takes a store or a registry.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS, Digest, is_digest
from arstore.errors import InvalidReferenceError
from arstore.oci.document import shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REPOSITORY = 255
"""Characters of a repository, its domain included."""
MAX_TAG = 128
MIN_PREFIX = 4
"""Hexadecimal digits of a digest that a user has to give: fewer would rather be a typing error than a choice."""
DEFAULT_TAG = "latest"
_MOST_ALIKE = 3

TRANSPORTS = ("docker://", "oci:", "oci-archive:", "docker-archive:", "dir:", "store:")
"""The prefixes by which a reference says where an image is; the transport's name is the part before the colon."""

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?))*"
_DOMAIN = re.compile(rf"(?:{_HOST}|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]+")
_TAG_ONLY = re.compile(r"latest|v?[0-9].*")
_SUFFIXES = (
    ".tar", ".tgz", ".tzst", ".txz", ".tbz2", ".tbz", ".gz", ".zst", ".zstd", ".xz", ".bz2", ".oci", ".oci-archive",
    ".docker", ".docker-archive",
)  # fmt: skip
_OTHER_TRANSPORT = re.compile(
    r"[a-z][a-z0-9+.-]*://.*|(?:docker|docker-daemon|containers-storage|sif|ostree|tarball|atomic):.*", re.DOTALL
)
_DOCKER_HUB = ("docker.io/", "index.docker.io/")


class Name(NamedTuple):
    """A repository with a tag, both known to follow the grammar when they come from `parse_name`."""

    repository: str
    tag: str = DEFAULT_TAG

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


class Query(NamedTuple):
    """What a user typed to mean a stored image: a name, a digest, the start of a digest, or what could be either.

    With `digest`, exactly that content is meant; a `name` beside it only says where it was known by that digest.
    Otherwise `name` goes first, if there is one, in all of its `candidates`; and then `prefix`, lower-case hexadecimal
    digits (of an `algorithm`, or of any where that is empty), of which only one image's digest may start with.
    """

    text: str
    name: Name | None = None
    digest: Digest | None = None
    algorithm: str = ""
    prefix: str = ""

    def candidates(self) -> list[str]:
        """The spellings to look the name up under; none without a name."""
        return [] if self.name is None else candidates(self.name)


def parse_name(text: str, default_tag: str = DEFAULT_TAG) -> Name:
    """Read a name, with *default_tag* where it has no tag.

    Raises InvalidReferenceError, also for a name with a digest: content has the digest that it has.
    """
    if "@" in text:
        raise _invalid(text, "a digest cannot be part of a name that is given to an image")
    repository, tag = _split_tag(text)
    _check_repository(repository, text)
    tag = default_tag if tag is None else tag
    if _TAG.fullmatch(tag) is None:
        why = f"the tag has {len(tag)} characters, {MAX_TAG} are allowed" if len(tag) > MAX_TAG else "not a valid tag"
        raise _invalid(text, why, "a tag is made of letters, digits, '_', '.' and '-'")
    return Name(repository, tag)


def is_tag(text: str) -> bool:
    """Whether *text* follows the grammar of tags."""
    return _TAG.fullmatch(text) is not None


def candidates(name: Name | str) -> list[str]:
    """The spellings under which *name* may be stored, most exact first: as given, then as other tools write it.

    podman puts `localhost/` before a short name, docker means `docker.io/library/` by one. Raises
    InvalidReferenceError.
    """
    name = parse_name(name) if isinstance(name, str) else name
    given = name.repository
    repositories = [given]
    hub = next((given.removeprefix(prefix) for prefix in _DOCKER_HUB if given.startswith(prefix)), None)
    if hub is not None:
        short = hub.removeprefix("library/")
        repositories += [*_hub_spellings(short), short]
    elif given.startswith("localhost/"):
        repositories.append(given.removeprefix("localhost/"))
    elif not _split_domain(given)[0]:
        short = given.removeprefix("library/")
        repositories += [f"localhost/{given}", *_hub_spellings(short), short]
    return [f"{repository}:{name.tag}" for repository in dict.fromkeys(repositories)]


def full_name(text: str) -> str:
    """The name *text* with the registry that docker and containerd mean by it: `base:1` is `docker.io/library/base:1`.

    Raises InvalidReferenceError.
    """
    name = parse_name(text)
    domain, path = _split_domain(name.repository)
    if domain in {"", "docker.io", "index.docker.io"}:
        domain, path = "docker.io", path if "/" in path else f"library/{path}"
    return f"{domain}/{path}:{name.tag}"


def alike(name: Name, known: Iterable[str]) -> list[str]:
    """Those of the *known* names, at most three, that somebody may have meant by *name*, the likeliest first.

    Other spellings of it come first, then other tags of its repository, then its last component elsewhere.
    """
    spellings = candidates(name)
    repositories = {_split_tag(one)[0] for one in spellings}
    last = f"/{name.repository}".rpartition("/")[2]
    found: list[tuple[int, str]] = []
    for one in known:
        repository, tag = _split_tag(one)
        if one in spellings:
            found.append((spellings.index(one), one))
        elif repository in repositories:
            found.append((len(spellings), one))
        elif tag == name.tag and f"/{repository}".endswith(f"/{last}"):
            found.append((len(spellings) + 1, one))
    return [one for _, one in sorted(found)[:_MOST_ALIKE]]


def from_file_name(file_name: str) -> Name | None:
    """The name of an image that brings none, after its file: `images/Pipeline.tar.gz` gives `pipeline:latest`.

    None where what is left without directories and suffixes is no repository name, whatever its script.
    """
    stem = file_name.rstrip("/").rpartition("/")[2]
    if not stem.isascii():
        return None
    stem = stem.lower()
    while suffix := next((s for s in _SUFFIXES if stem.endswith(s)), ""):
        stem = stem.removesuffix(suffix)
    return None if ":" in stem else _name_or_none(stem)


def from_annotations(ref_name: str | None, containerd_name: str | None, file_name: str | None = None) -> Name | None:
    """The name of an image in an OCI layout; arguments are None or empty where there is nothing.

    *containerd_name* (`io.containerd.image.name`) wins when it is valid. But where *ref_name* is the same name in a
    shorter spelling, as arstore writes it, that one is taken: names stay as they were given. *ref_name*
    (`org.opencontainers.image.ref.name`) is a name when podman wrote it, and a tag alone when umoci or docker did:
    `latest`, or a word that starts like a version (`1.0`, `v2`), or that only a tag can be, is taken as the tag of
    what *file_name* names, if that is anything.
    """
    whole = _annotated(containerd_name or "")
    if whole is None:
        return _from_ref_name(ref_name or "", file_name or "")
    short = _annotated(ref_name or "") if ":" in (ref_name or "") else None
    return short if short is not None and full_name(str(short)) == full_name(str(whole)) else whole


def parse_transport(text: str) -> tuple[str, str]:
    """Split `TRANSPORT:REFERENCE`; a text without a known transport is a path, with "" for the transport.

    `./oci:x` is a path too. Raises InvalidReferenceError for a transport of other tools, or one with nothing after it.
    """
    if not text:
        raise InvalidReferenceError("''", "names no image", "give a path or TRANSPORT:REFERENCE")
    for prefix in TRANSPORTS:
        if text.startswith(prefix):
            rest = text.removeprefix(prefix)
            if not rest:
                raise _invalid(text, f"nothing follows {prefix}")
            return prefix.partition(":")[0], rest
    if _OTHER_TRANSPORT.fullmatch(text) is not None:
        known = " ".join(TRANSPORTS)
        raise _invalid(text, "not a known transport", f"known are {known}; a file of this name is ./{shown(text)}")
    return "", text


def parse_query(text: str) -> Query:
    """Read what a user typed to mean a stored image.

    Taken are `NAME[:TAG]`, `NAME[:TAG]@DIGEST`, `ALGORITHM:HEX`, whole or at least MIN_PREFIX digits of it, and HEX
    alone, as long. Raises InvalidReferenceError.
    """
    name_part, at, digest_part = text.partition("@")
    if at:
        name = parse_name(name_part) if name_part else None
        return Query(text, name=name, digest=Digest(digest_part))
    if is_digest(text):
        return Query(text, digest=Digest(text))
    algorithm, colon, hex_part = text.partition(":")
    if colon and algorithm in HEX_LENGTHS:
        return Query(text, algorithm=algorithm, prefix=_prefix(text, hex_part, HEX_LENGTHS[algorithm]))
    if _HEX.fullmatch(text) is None or len(text) < MIN_PREFIX:
        return Query(text, name=parse_name(text))
    for whole, length in HEX_LENGTHS.items():
        if len(text) == length:
            return Query(text, digest=Digest(f"{whole}:{text}"))
    return Query(text, name=_name_or_none(text), prefix=_prefix(text, text, max(HEX_LENGTHS.values())))


def _split_tag(text: str) -> tuple[str, str | None]:
    """The repository and the tag; a colon before the last slash belongs to a port."""
    head, colon, tail = text.rpartition(":")
    return (head, tail) if colon and "/" not in tail else (text, None)


def _split_domain(repository: str) -> tuple[str, str]:
    """The domain, "" where there is none, and the path."""
    first, slash, path = repository.partition("/")
    if slash and _looks_like_host(first) and _DOMAIN.fullmatch(first) is not None:
        return first, path
    return "", repository


def _looks_like_host(first: str) -> bool:
    """Docker's rule for the first of several components: a dot, a colon or a capital make a host of it."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _check_repository(repository: str, text: str) -> None:
    if len(repository) > MAX_REPOSITORY:
        raise _invalid(text, f"the name has {len(repository)} characters, {MAX_REPOSITORY} are allowed")
    domain, path = _split_domain(repository)
    first, slash, _ = path.partition("/")
    if slash and not domain and _looks_like_host(first) and _COMPONENT.fullmatch(first) is None:
        raise _invalid(text, f"{shown(repr(first), 60)} is no host name with an optional port")
    if path != path.lower():
        raise _invalid(text, "an image name has no upper-case letters")
    if not all(_COMPONENT.fullmatch(component) for component in path.split("/")):
        raise _invalid(text, "not a valid image name", "a name is made of a-z and 0-9, joined by '.', '_', '-' or '/'")
    if repository in HEX_LENGTHS or (len(repository) in HEX_LENGTHS.values() and _HEX.fullmatch(repository)):
        raise _invalid(text, "an image name must not look like a digest")


def _hub_spellings(short: str) -> list[str]:
    return [f"docker.io/{short}"] if "/" in short else [f"docker.io/library/{short}", f"docker.io/{short}"]


def _name_or_none(text: str, tag: str = DEFAULT_TAG) -> Name | None:
    try:
        return parse_name(text, tag)
    except InvalidReferenceError:
        return None


def _annotated(text: str) -> Name | None:
    """A name in an annotation, where a digest may follow; with a digest, only a tag makes it a name."""
    named, at, _ = text.partition("@")
    if not named or (at and _split_tag(named)[1] is None):
        return None
    return _name_or_none(named)


def _from_ref_name(ref_name: str, file_name: str) -> Name | None:
    if "/" in ref_name or ":" in ref_name or "@" in ref_name:
        return _annotated(ref_name)
    if _HEX.fullmatch(ref_name) and len(ref_name) in HEX_LENGTHS.values():
        return None
    as_repository = _name_or_none(ref_name)
    if as_repository is None or _TAG_ONLY.fullmatch(ref_name):
        after_file = from_file_name(file_name) if ref_name else None
        if after_file is not None:
            return _name_or_none(after_file.repository, ref_name)
    return as_repository


def _prefix(text: str, hex_part: str, length: int) -> str:
    if _HEX.fullmatch(hex_part) is None:
        raise _invalid(text, "a digest has lower-case hexadecimal digits only")
    if not MIN_PREFIX <= len(hex_part) <= length:
        raise _invalid(text, f"give {MIN_PREFIX} to {length} digits of a digest")
    return hex_part


def _invalid(text: str, why: str, hint: str = "") -> InvalidReferenceError:
    return InvalidReferenceError(shown(text) or "''", why, hint)
