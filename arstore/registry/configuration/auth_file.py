"""Files with credentials: `auth.json` of podman and others, `config.json` and `.dockercfg` of Docker.

containers-auth.json(5). A file is an object with `auths` (keys are hosts, or hosts with the beginning of a path),
`credHelpers` and `credsStore`. The first file with an entry for a repository decides.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64, b2a_base64
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, RegistryConfigError, reason
from arstore.oci.document import Bounds, parse_value, shown
from arstore.registry.auth.credential import Credential
from arstore.registry.configuration.helper import helper_erase, helper_get, helper_store
from arstore.registry.configuration.places import Places, read_file
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HUB = "docker.io"
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
_BOUNDS = Bounds(document=16 << 20)


class AuthFile(NamedTuple):
    """A file that may hold credentials; an `old` file holds only the content of `auths`."""

    path: str
    old: bool = False


def auth_files(places: Places, authfile: str | None = None) -> list[AuthFile]:
    """The files in the order of search; *authfile*, or $REGISTRY_AUTH_FILE, replaces all others."""
    chosen = authfile or places.environ.get("REGISTRY_AUTH_FILE", "")
    if chosen:
        return [AuthFile(chosen)]
    found = [AuthFile(own_auth_file(places))]
    if places.config:
        found.append(AuthFile(places.user_file("auth.json")))
    docker = places.environ.get("DOCKER_CONFIG") or (f"{places.home}/.docker" if places.home else "")
    if docker:
        found.append(AuthFile(f"{docker}/config.json"))
    if places.home:
        found.append(AuthFile(f"{places.home}/.dockercfg", old=True))
    return found


def own_auth_file(places: Places) -> str:
    """The file that `login` writes by default."""
    runtime = places.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/containers/auth.json" if runtime else f"{places.run}/containers/{places.uid}/auth.json"


def find_credential(
    repository: str, places: Places, authfile: str | None = None, helpers: tuple[str, ...] = ("containers-auth.json",)
) -> Credential | None:
    """The credential for *repository* (`HOST[:PORT]/PATH`, or a host); None if there is none.

    *helpers* are those of registries.conf; among them, `containers-auth.json` means the files. Raises
    RegistryConfigError.
    """
    host = repository.partition("/")[0]
    if authfile and read_file(authfile) is None:
        raise RegistryConfigError(authfile, "does not exist")
    for helper in helpers:
        if helper == "containers-auth.json":
            for file in auth_files(places, authfile):
                found = _in_file(file, repository, host, places)
                if found is not None:
                    return found
            continue
        for server in _servers(host):
            found = helper_get(helper, server, places.environ)
            if found is not None:
                return found
    return None


def save_credential(key: str, credential: Credential, places: Places, path: str) -> str:
    """Keep *credential* for *key* (a host, or a host with the beginning of a path) in the file *path*, or in its
    credential helper; return the place. Raises RegistryConfigError.
    """
    document = _document(AuthFile(path)) or {}
    helper = _helper_of(document, key.partition("/")[0], path)
    if helper:
        if "/" in key:
            raise RegistryConfigError(path, f"keeps {shown(key)} in docker-credential-{helper}, which takes only hosts")
        helper_store(helper, key, credential, places.environ)
        return f"docker-credential-{helper}"
    text = f"{credential.user}:{credential.password}".encode()
    entries = document.setdefault("auths", {})
    entries[key] = {"auth": b2a_base64(text, newline=False).decode("ascii")}
    _write(path, document)
    return path


def erase_credential(key: str, places: Places, path: str) -> bool:
    """Remove the credential for *key* from the file *path* or its helper; return whether there was one.

    Raises RegistryConfigError.
    """
    document = _document(AuthFile(path))
    if document is None:
        return False
    host = key.partition("/")[0]
    helper = _helper_of(document, host, path)
    if helper and helper_get(helper, host, places.environ) is not None:
        helper_erase(helper, host, places.environ)
        return True
    entries = document.get("auths", {})
    gone = [one for one in entries if one == key or ("/" not in key and _normal(one) == key and "/" not in _bare(one))]
    for one in gone:
        del entries[one]
    if gone:
        _write(path, document)
    return bool(gone)


def saved_keys(path: str) -> list[str]:
    """The keys of the file's `auths`. Raises RegistryConfigError."""
    return list((_document(AuthFile(path)) or {}).get("auths", {}))


def _in_file(file: AuthFile, repository: str, host: str, places: Places) -> Credential | None:
    document = _document(file)
    if document is None:
        return None
    if file.old:
        document = {"auths": document}
    helper = _text_in(document.get("credHelpers"), host)
    if helper:
        return _from_helper(helper, host, places)
    entries = document.get("auths", {})
    for key in _keys(repository):
        if key in entries:
            found = _credential(entries[key], key, file.path)
            if found is not None:
                return found
    for key in entries:
        if _normal(key) == host and key not in {host, repository}:
            found = _credential(entries[key], key, file.path)
            if found is not None:
                return found
    store = document.get("credsStore")
    return _from_helper(store, host, places) if isinstance(store, str) and store else None


def _from_helper(helper: str, host: str, places: Places) -> Credential | None:
    for server in _servers(host):
        found = helper_get(helper, server, places.environ)
        if found is not None:
            return found
    return None


def _servers(host: str) -> tuple[str, ...]:
    """The names under which a helper may keep *host*."""
    return (_HUB, _HUB_KEYS[0]) if host == _HUB else (host,)


def _keys(repository: str) -> Iterator[str]:
    """Yield `host/a/b`, `host/a`, `host`."""
    while repository:
        yield repository
        repository = repository.rpartition("/")[0]


def _bare(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://")


def _normal(key: str) -> str:
    """The host in a Docker key (`https://host/v1/`); "" for a key with a path but without a scheme."""
    if key in _HUB_KEYS:
        return _HUB
    bare = _bare(key)
    if bare == key and "/" in key:
        return ""
    host = bare.partition("/")[0]
    return _HUB if host in _HUB_KEYS else host


def _credential(entry: object, key: str, path: str) -> Credential | None:
    what = f"{path}: auths.{shown(key, 80)}"
    if not isinstance(entry, dict):
        raise RegistryConfigError(what, "is not an object")
    token = entry.get("identitytoken")
    encoded = entry.get("auth")
    if not isinstance(token, str | None) or not isinstance(encoded, str | None):
        raise RegistryConfigError(what, "has an auth or identitytoken that is not a string")
    user, password = "", ""
    if encoded:
        try:
            text = a2b_base64(encoded.encode("ascii"), strict_mode=True).decode("utf-8")
        except (Error, ValueError) as error:
            raise RegistryConfigError(what, "its auth is not the base64 of USER:PASSWORD") from error
        user, colon, password = text.partition(":")
        if not colon:
            raise RegistryConfigError(what, "its auth is not the base64 of USER:PASSWORD")
        password = password.rstrip("\0")
    if token:
        return Credential(user, password, token)
    return Credential(user, password) if user or password else None


def _document(file: AuthFile) -> dict[str, Any] | None:
    data = read_file(file.path)
    if data is None:
        return None
    if not data.strip():
        return {}
    try:
        value = parse_value(data, file.path, _BOUNDS)
    except ArstoreError as error:
        # The text at the error may be part of a secret, so only its position is shown.
        raise RegistryConfigError(file.path, error.why.split(": ")[0]) from None
    if not isinstance(value, dict):
        raise RegistryConfigError(file.path, "is not a JSON object")
    for key in () if file.old else ("auths", "credHelpers"):
        if value.get(key) is None:
            value.pop(key, None)
        elif not isinstance(value[key], dict):
            raise RegistryConfigError(file.path, f"{key} is not an object")
    return value


def _helper_of(document: dict[str, Any], host: str, path: str) -> str:
    helper = _text_in(document.get("credHelpers"), host) or document.get("credsStore") or ""
    if not isinstance(helper, str):
        raise RegistryConfigError(path, "credsStore is not a string")
    return helper


def _text_in(members: object, key: str) -> str:
    value = members.get(key) if isinstance(members, dict) else None
    return value if isinstance(value, str) else ""


def _write(path: str, document: dict[str, Any]) -> None:
    """Replace the file atomically; only this user can read it."""
    import json

    from arstore.linux.files.writing import write_all

    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    temporary = f"{directory}/.auth.{os.getpid()}"
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            write_all(fd, json.dumps(document, indent="\t").encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise RegistryConfigError(path, f"cannot be written: {reason(error)}") from error
