"""Names of images, and the texts with which users refer to an image.

The grammar is the distribution project's: `[DOMAIN[:PORT]/]COMPONENT[/COMPONENT...][:TAG]`. A name is kept as it was
given plus the default tag; a registry is never added in front. `candidates` returns the spellings of other tools. Not
in scope: resolving a name, which needs a store or a registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS, Digest, is_digest
from arstore.errors import InvalidReferenceError
from arstore.oci.document import shown
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REPOSITORY = 255
"""Maximum length of a repository in characters, including its domain."""
MAX_TAG = 128
MIN_PREFIX = 4
"""Minimum number of hexadecimal digits of a digest: fewer are more likely a typing error."""
DEFAULT_TAG = "latest"
_MOST_ALIKE = 3

TRANSPORTS = ("docker://", "oci:", "oci-archive:", "docker-archive:", "dir:", "store:")
"""Prefixes of references that give the place of an image; the transport's name is the part before the colon."""

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?))*"
_DOMAIN = pattern(rf"(?:{_HOST}|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = pattern(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = pattern(r"[0-9a-f]+")
_TAG_ONLY = pattern(r"latest|v?[0-9].*")
_SUFFIXES = (
    ".tar", ".tgz", ".tzst", ".txz", ".tbz2", ".tbz", ".gz", ".zst", ".zstd", ".xz", ".bz2", ".oci", ".oci-archive",
    ".docker", ".docker-archive",
)  # fmt: skip
_OTHER_TRANSPORT = pattern(
    r"(?s)[a-z][a-z0-9+.-]*://.*|(?:docker|docker-daemon|containers-storage|sif|ostree|tarball|atomic):.*"
)
_DOCKER_HUB = ("docker.io/", "index.docker.io/")


class Name(NamedTuple):
    """A repository with a tag; both follow the grammar if they come from `parse_name`."""

    repository: str
    tag: str = DEFAULT_TAG

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


class Query(NamedTuple):
    """A user's text for a stored image: a name, a digest, the start of a digest, or one that may be either.

    With `digest`, exactly that content is meant; a `name` with it only documents where the digest is from. Otherwise
    `name`, if given, is tried first, with all its `candidates`. Then `prefix` is tried: lower-case hexadecimal digits
    with which the digest of only one image may start (of `algorithm`, or of any if that is empty).
    """

    text: str
    name: Name | None = None
    digest: Digest | None = None
    algorithm: str = ""
    prefix: str = ""

    def candidates(self) -> list[str]:
        """Return the spellings of the name to look up; empty without a name."""
        return [] if self.name is None else candidates(self.name)


def parse_name(text: str, default_tag: str = DEFAULT_TAG) -> Name:
    """Read a name; *default_tag* is used if it has no tag.

    Raises InvalidReferenceError, also for a name with a digest, because a digest cannot be assigned.
    """
    if "@" in text:
        raise _invalid(text, "the name of an image cannot contain a digest")
    repository, tag = _split_tag(text)
    _check_repository(repository, text)
    tag = default_tag if tag is None else tag
    if _TAG.fullmatch(tag) is None:
        why = f"the tag has {len(tag)} characters; the limit is {MAX_TAG}" if len(tag) > MAX_TAG else "not a valid tag"
        raise _invalid(text, why, "a tag is made of letters, digits, '_', '.' and '-'")
    return Name(repository, tag)


def is_tag(text: str) -> bool:
    """Whether *text* follows the grammar of tags."""
    return _TAG.fullmatch(text) is not None


def candidates(name: Name | str) -> list[str]:
    """Return the spellings under which *name* may be stored, most exact first: as given, then those of other tools.

    podman adds `localhost/` to a short name, docker adds `docker.io/library/`. Raises InvalidReferenceError.
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
    """Return *text* with the registry that docker and containerd add: `base:1` is `docker.io/library/base:1`.

    Raises InvalidReferenceError.
    """
    name = parse_name(text)
    domain, path = _split_domain(name.repository)
    if domain in {"", "docker.io", "index.docker.io"}:
        domain, path = "docker.io", path if "/" in path else f"library/{path}"
    return f"{domain}/{path}:{name.tag}"


def alike(name: Name, known: Iterable[str]) -> list[str]:
    """Return up to three *known* names that the user may have meant by *name*, the likeliest first.

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
    """Return a name made from a file name: `images/Pipeline.tar.gz` gives `pipeline:latest`.

    None if the rest, without directories and suffixes, is not a valid repository name, or not ASCII.
    """
    stem = file_name.rstrip("/").rpartition("/")[2]
    if not stem.isascii():
        return None
    stem = stem.lower()
    while suffix := next((s for s in _SUFFIXES if stem.endswith(s)), ""):
        stem = stem.removesuffix(suffix)
    return None if ":" in stem else _name_or_none(stem)


def from_annotations(ref_name: str | None, containerd_name: str | None, file_name: str | None = None) -> Name | None:
    """Return the name of an image in an OCI layout; arguments are None or empty if missing.

    *containerd_name* (`io.containerd.image.name`) is used if it is valid. But if *ref_name* is a shorter spelling of
    the same name, as arstore writes it, that is used: names stay as they were given. *ref_name*
    (`org.opencontainers.image.ref.name`) is a name if podman wrote it, and only a tag if umoci or docker did. So
    `latest`, a word that starts like a version (`1.0`, `v2`), and a word that can only be a tag, are taken as the tag
    of the name from *file_name*, if there is one.
    """
    whole = _annotated(containerd_name or "")
    if whole is None:
        return _from_ref_name(ref_name or "", file_name or "")
    short = _annotated(ref_name or "") if ":" in (ref_name or "") else None
    return short if short is not None and full_name(str(short)) == full_name(str(whole)) else whole


def parse_transport(text: str) -> tuple[str, str]:
    """Split `TRANSPORT:REFERENCE`; text without a known transport is a path, with "" as the transport.

    `./oci:x` is a path too. Raises InvalidReferenceError for other tools' transports, and for an empty reference.
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
        raise _invalid(text, "not a known transport", f"use one of {known}; for a file with this name ./{shown(text)}")
    return "", text


def parse_query(text: str) -> Query:
    """Read a user's text for a stored image.

    Accepted are `NAME[:TAG]`, `NAME[:TAG]@DIGEST`, `ALGORITHM:HEX` and HEX alone, with all digits or at least
    MIN_PREFIX of them. Raises InvalidReferenceError.
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
    """Return the repository and the tag; a colon before the last slash belongs to a port."""
    head, colon, tail = text.rpartition(":")
    return (head, tail) if colon and "/" not in tail else (text, None)


def _split_domain(repository: str) -> tuple[str, str]:
    """Return the domain ("" if there is none) and the path."""
    first, slash, path = repository.partition("/")
    if slash and _looks_like_host(first) and _DOMAIN.fullmatch(first) is not None:
        return first, path
    return "", repository


def _looks_like_host(first: str) -> bool:
    """Docker's rule for the first of several components: a dot, a colon or a capital letter marks a host."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _check_repository(repository: str, text: str) -> None:
    if len(repository) > MAX_REPOSITORY:
        raise _invalid(text, f"the name has {len(repository)} characters; the limit is {MAX_REPOSITORY}")
    domain, path = _split_domain(repository)
    first, slash, _ = path.partition("/")
    if slash and not domain and _looks_like_host(first) and _COMPONENT.fullmatch(first) is None:
        raise _invalid(text, f"{shown(repr(first), 60)} is not a host name with an optional port")
    if path != path.lower():
        raise _invalid(text, "an image name cannot have upper-case letters")
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
    """Return the name in an annotation, which may have a digest; with a digest, it is a name only if it has a tag."""
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
        raise _invalid(text, "a digest has only lower-case hexadecimal digits")
    if not MIN_PREFIX <= len(hex_part) <= length:
        raise _invalid(text, f"give {MIN_PREFIX} to {length} digits of a digest")
    return hex_part


def _invalid(text: str, why: str, hint: str = "") -> InvalidReferenceError:
    return InvalidReferenceError(shown(text) or "''", why, hint)
