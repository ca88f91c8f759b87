"""The YAML file of `sync`, in the format of skopeo-sync(1), "YAML file content".

    REGISTRY[/NAMESPACE]:
      images: {REPOSITORY: [TAG or DIGEST, ...], REPOSITORY: [], ...}
      images-by-tag-regex: {REPOSITORY: REGEX}
      images-by-semver: {REPOSITORY: RANGE}
      credentials: {username: NAME, password: SECRET}
      tls-verify: true
      cert-dir: DIRECTORY

An empty list of tags means all. Every scalar is read as text, so a tag 1.10 stays `1.10`. The parser is stricter than
skopeo's, whose errors can be silent: unknown and duplicate keys are refused. Merge keys are refused too, because they
can expand a small file to a huge one.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from arstore.digest import Digest, is_digest
from arstore.errors import (
    ArstoreError,
    InvalidReferenceError,
    LimitError,
    RegistryConfigError,
    from_os_error,
)
from arstore.oci.docker_reference import DockerReference
from arstore.oci.document import shown
from arstore.oci.reference import is_tag
from arstore.registry.auth.credential import Credential
from arstore.registry.configuration.strict_yaml import parse_yaml
from arstore.sync.semver import parse_range
from arstore.sync.wishes import Choice, Wish, in_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.registry.access import RegistryOptions

LARGEST = 4 << 20
"""Maximum size of a file in bytes."""
MOST = 100_000
"""Maximum number of tags and repositories in one file."""
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_KEYS = ("images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir")


def read_wishes(path: str, options: RegistryOptions) -> list[Wish]:
    """Return the wishes in the file at *path*; *options* are the defaults.

    Raises RegistryConfigError for an invalid file, LimitError, NotFoundError, PermissionDeniedError, OSError.
    """
    return wishes_of(_read(path), path, options)


def wishes_of(data: bytes, path: str, options: RegistryOptions) -> list[Wish]:
    """Return the wishes in the file's bytes. Raises RegistryConfigError, LimitError."""
    document = parse_yaml(data, path)
    wishes: list[Wish] = []
    count = 0
    for registry, settings in _mapping(document, path, "the file").items():
        for wish in _wishes(registry, _mapping(settings, path, registry), path, options):
            wishes.append(wish)
            count += 1 + len(wish.choice.tags) + len(wish.choice.digests)
            if count > MOST:
                raise LimitError(path, f"names more than {MOST} repositories and tags")
    if not wishes:
        raise RegistryConfigError(path, "names no images", "see `arstore sync --help`")
    return wishes


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise from_os_error(error, path) from error
    if len(data) > LARGEST:
        raise LimitError(path, f"has more than {LARGEST} bytes")
    return data


def _wishes(registry: str, settings: dict[str, Any], path: str, options: RegistryOptions) -> Iterator[Wish]:
    unknown = [key for key in settings if key not in _KEYS]
    if unknown:
        raise RegistryConfigError(
            path, f"{registry}: unknown key {shown(unknown[0], 60)}", f"keys are {', '.join(_KEYS)}"
        )
    options = _access(registry, settings, path, options)
    for name, tags in _mapping(settings.get("images"), path, f"{registry}: images").items():
        yield Wish(_repository(registry, name, path), _listed(tags, path, f"{registry}/{name}"), options)
    readers: tuple[tuple[str, Callable[[str], Callable[[str], bool]]], ...] = (
        ("images-by-tag-regex", _pattern),
        ("images-by-semver", lambda text: in_range(parse_range(text))),
    )
    for key, read in readers:
        for name, text in _mapping(settings.get(key), path, f"{registry}: {key}").items():
            where = f"{registry}/{name}: {key}"
            try:
                chooses = read(_text(text, path, where))
            except RegistryConfigError:
                raise
            except (ArstoreError, re.error) as error:
                raise RegistryConfigError(path, f"{where}: {error}") from error
            yield Wish(_repository(registry, name, path), Choice(chooses=chooses), options)


def _pattern(text: str) -> Callable[[str], bool]:
    """Return a function that tests whether *text* matches anywhere in a tag, as Go's regexp.MatchString does."""
    pattern = re.compile(text)
    return lambda tag: pattern.search(tag) is not None


def _access(registry: str, settings: dict[str, Any], path: str, options: RegistryOptions) -> RegistryOptions:
    credentials = settings.get("credentials")
    if credentials is not None and credentials != "":
        found = _mapping(credentials, path, f"{registry}: credentials")
        user, password = (found.get(key) for key in ("username", "password"))
        if set(found) - {"username", "password"} or not (isinstance(user, str) and isinstance(password, str) and user):
            raise RegistryConfigError(path, f"{registry}: credentials must be a username and a password")
        options = options._replace(credential=Credential(user, password), anonymous=False)
    verify = settings.get("tls-verify")
    if verify is not None:
        word = _WORDS.get(verify.lower()) if isinstance(verify, str) else None
        if word is None:
            raise RegistryConfigError(path, f"{registry}: tls-verify must be true or false")
        options = options._replace(tls_verify=word)
    if settings.get("cert-dir") is not None:
        directory = _text(settings["cert-dir"], path, f"{registry}: cert-dir")
        options = options._replace(cert_dir=os.path.expanduser(directory))
    return options


def _repository(registry: str, name: str, path: str) -> DockerReference:
    try:
        found = DockerReference.parse(f"{registry}/{name}", "")
    except InvalidReferenceError as error:
        raise RegistryConfigError(path, str(error)) from error
    if found.tag or found.digest is not None:
        raise RegistryConfigError(path, f"{shown(name, 80)} has a tag", "tags are listed below the name")
    return found


def _listed(tags: object, path: str, where: str) -> Choice:
    if tags is None or tags == "" or tags == []:
        return Choice()
    if not isinstance(tags, list):
        raise RegistryConfigError(path, f"{where}: is not a list of tags")
    if len(tags) > MOST:
        raise LimitError(path, f"names more than {MOST} repositories and tags")
    texts = [one if isinstance(one, str) else "" for one in tags]
    for text in texts:
        if not is_digest(text) and not is_tag(text):
            raise RegistryConfigError(path, f"{where}: {shown(repr(text), 60)} is neither a tag nor a digest")
    digests = [Digest(text) for text in texts if is_digest(text)]
    return Choice(tuple(dict.fromkeys(t for t in texts if not is_digest(t))), tuple(dict.fromkeys(digests)))


def _mapping(value: object, path: str, where: str) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise RegistryConfigError(path, f"{where}: is not a mapping of names")
    return value


def _text(value: object, path: str, where: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise RegistryConfigError(path, f"{where}: is not a text")
    return value
