"""A lookaside: signatures kept outside the registry, in a directory or on a web server (containers-signature(5)).

    BASE/REPOSITORY@sha256=HEX/signature-1, signature-2, ...        REPOSITORY does not include the host

Signatures are numbered from 1; the first missing number ends the list, and at most 128 are read. `file:` and http(s)
are read, `file:` is written. The content of a file is not interpreted here. Sizes are bounded, as for everything from
outside, and a FIFO is refused at once. The base is trusted, because the host's configuration names it.

OpenShift's extension (`X-Registry-Supports-Signatures`) is not used: see decision 0064.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from arstore.errors import (
    ArstoreError,
    LimitError,
    RegistryAnswerError,
    RegistryConfigError,
    RegistryUnreachableError,
    from_os_error,
)
from arstore.linux.files.writing import replace_file
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.exchange import Exchange, Request
from arstore.registry.http.patience import AGAIN, Budget, Patience, retry_after
from arstore.registry.http.redirects import follow
from arstore.registry.http.tls import NO_CERTIFICATES, Certificates, Tls
from arstore.registry.http.url import Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arstore.digest import Digest
    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.http.exchange import Answer

MOST = 128
"""Signatures of an image that are read: the limit of other tools."""
LARGEST = 8 << 20
"""Bytes of one signature: 4 MiB in base64."""
MOST_BYTES = 32 << 20
"""Bytes of all signatures of an image."""
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})


def read_lookaside(
    base: str,
    reference: DockerReference,
    manifest: Digest,
    patience: Patience,
    environ: Mapping[str, str] = os.environ,
    certificates: Certificates = NO_CERTIFICATES,
) -> tuple[bytes, ...]:
    """The signatures of the image *manifest* under the URL *base*, in their order.

    Raises LimitError for more than `MOST`, or for too many bytes; RegistryConfigError for a *base* that is not usable;
    RegistryUnreachableError, RegistryAnswerError, HostError.
    """
    place = _place(base, reference, manifest)
    if isinstance(place, Url):
        exchange = Exchange(Tls(place.host, place.port, True, certificates), patience, environ)
        try:
            return tuple(_numbered(place.shown, _fetching(exchange, place, patience)))
        finally:
            exchange.close()
    return tuple(_numbered(place, lambda number: _read(f"{place}/signature-{number}")))


def write_lookaside(base: str, reference: DockerReference, manifest: Digest, signature: bytes) -> str:
    """Add *signature* as the image's last one, unless it is there already; return the path of its file.

    Raises RegistryConfigError for a *base* that is not `file:`, LimitError past `MOST`, HostError.
    """
    place = _place(base, reference, manifest)
    if isinstance(place, Url):
        raise RegistryConfigError(place.shown, "signatures cannot be written over http", "set a lookaside-staging")
    found = tuple(_numbered(place, lambda number: _read(f"{place}/signature-{number}")))
    if signature in found:
        return f"{place}/signature-{found.index(signature) + 1}"
    if len(found) >= MOST:
        raise LimitError(place, f"has {len(found)} signatures; readers stop after {MOST}")
    path = f"{place}/signature-{len(found) + 1}"
    try:
        os.makedirs(place, mode=0o755, exist_ok=True)
        replace_file(path, signature, f"{path}.part", durable=True)
        os.chmod(path, 0o644)
    except OSError as error:
        raise from_os_error(error, path) from error
    return path


def _place(base: str, reference: DockerReference, manifest: Digest) -> Url | str:
    """The directory of an image's signatures: a URL, or a path for `file:`."""
    tail = f"{reference.path}@{manifest.algorithm}={manifest.hex}"
    try:
        parts = urlsplit(base)
    except ValueError as error:
        raise RegistryConfigError(base, "is not a URL") from error
    if parts.scheme == "file":
        path = unquote(parts.path)
        if parts.netloc not in {"", "localhost"} or not path.startswith("/") or "\0" in path:
            raise RegistryConfigError(base, "is not the URL of a directory; write file:///PATH")
        return f"{path.rstrip('/')}/{tail}"
    if parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise RegistryConfigError(base, "is not a file, http or https URL")
    try:
        return Url.parse(f"{base.rstrip('/')}/{quote(tail, safe='/@=')}")
    except ArstoreError as error:
        raise RegistryConfigError(base, error.why) from error


def _numbered(what: str, get: Callable[[int], bytes | None]) -> Iterator[bytes]:
    left = MOST_BYTES
    for number in range(1, MOST + 2):
        data = get(number)
        if data is None:
            return
        if number > MOST:
            raise LimitError(what, f"has more than {MOST} signatures")
        if len(data) > LARGEST:
            raise LimitError(what, f"signature-{number} has more than {LARGEST} bytes")
        left -= len(data)
        if left < 0:
            raise LimitError(what, f"has signatures of more than {MOST_BYTES} bytes")
        yield data


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise from_os_error(error, path) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise RegistryAnswerError(path, "is not a regular file")
        with open(fd, "rb", closefd=False) as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise from_os_error(error, path) from error
    finally:
        os.close(fd)


def _fetching(exchange: Exchange, place: Url, patience: Patience) -> Callable[[int], bytes | None]:
    def get(number: int) -> bytes | None:
        url = place._replace(target=f"{place.target}/signature-{number}")
        budget = Budget(patience, url.shown)
        while True:
            after = None
            try:
                answer = follow(exchange, Request("GET", url), "", url)
                if answer.status not in AGAIN:
                    return _body(answer, url)
                why, after = f"status {answer.status}", retry_after(answer.header("Retry-After"))
                answer.discard()
            except NetworkFaultError as fault:
                if not fault.again:
                    raise RegistryUnreachableError(url.shown, fault.why) from fault
                why = fault.why
            budget.failed(why, after)

    return get


def _body(answer: Answer, url: Url) -> bytes | None:
    """The body; None for 404. Raises NetworkFaultError, RegistryAnswerError."""
    if answer.status == 404:
        answer.discard()
        return None
    try:
        if answer.status != 200:
            raise RegistryAnswerError(url.shown, f"the lookaside answers with status {answer.status}")
        return answer.read_all(LARGEST)
    finally:
        answer.close()
