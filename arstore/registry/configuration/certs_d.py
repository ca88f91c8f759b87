"""Certificates for a registry: from the directory `certs.d/HOST[:PORT]`, or from one that the user names.

containers-certs.d(5). `*.crt` are CA certificates; `X.cert` with `X.key` is a client certificate and its key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError, reason
from arstore.registry.http.tls import NO_CERTIFICATES, Certificates

if TYPE_CHECKING:
    from arstore.registry.configuration.places import Places


def certificates_for(host: str, places: Places, directory: str | None = None) -> Certificates:
    """The certificates for *host*, written as in references; *directory* replaces the directories that are searched.

    Raises RegistryConfigError.
    """
    if directory is not None:
        found = _listed(directory)
        if found is None:
            raise RegistryConfigError(directory, "is not a directory")
        return _certificates(directory, found)
    tops = [places.user_file("certs.d"), f"{places.etc}/containers/certs.d", f"{places.etc}/docker/certs.d"]
    for top in filter(None, tops):
        path = f"{top}/{host}"
        found = _listed(path)
        if found is not None:
            return _certificates(path, found)
    return NO_CERTIFICATES


def _listed(path: str) -> list[str] | None:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise RegistryConfigError(path, "cannot be read: permission denied") from error
    except OSError as error:
        raise RegistryConfigError(path, f"cannot be read: {reason(error)}") from error


def _certificates(path: str, names: list[str]) -> Certificates:
    authorities = [f"{path}/{name}" for name in names if name.endswith(".crt")]
    pairs = []
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        if not dot or suffix not in {"cert", "key"}:
            continue
        other = f"{stem}.{'key' if suffix == 'cert' else 'cert'}"
        if other not in names:
            raise RegistryConfigError(f"{path}/{name}", f"has no {other} next to it")
        if suffix == "cert":
            pairs.append((f"{path}/{name}", f"{path}/{other}"))
    return Certificates(tuple(authorities), tuple(pairs))
