"""Upload blobs to a repository: mounted from another one, in one piece, or in chunks; resumed after an error.

Distribution-spec, "Pushing blobs". Every answer may name a new URL for the next request; the URL's own parameters are
kept unchanged. Registries differ in how they count the bytes that they have (`Range`). So a status of 202 is believed,
and a registry is asked for its position only after an error; the closing request names the digest, which decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.errors import ArstoreError, RegistryAnswerError, RegistryUnreachableError
from arstore.registry.blobs import head_blob
from arstore.registry.failure import error_of
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.exchange import Content
from arstore.registry.http.patience import AGAIN, Budget, retry_after
from arstore.registry.ranges import uploaded
from arstore.registry.repository import PULL, PUSH

if TYPE_CHECKING:
    from arstore.digest import Digest
    from arstore.registry.client import Ask
    from arstore.registry.http.exchange import Answer
    from arstore.registry.http.url import Url
    from arstore.registry.repository import Repository

_CLOSING = 600.0
"""Seconds that a registry may take to verify a blob and to move it to its storage."""
_SMALLEST = 64 << 10
"""Bytes below which a chunk that the registry calls too large is not halved."""
_REFUSED_MOUNT = frozenset({400, 401, 403, 404, 405, 501})

CHUNKED_FROM = 16 << 20
"""Bytes from which a blob is resumed in chunks after its connection has broken."""
CHUNK_SIZE = 16 << 20


class Blob(Protocol):
    """A blob to upload; it can be read more than once."""

    def at(self, offset: int) -> ReadableBlob:
        """A stream of its bytes from *offset* on."""


class ReadableBlob(Protocol):
    """A stream of a blob's bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes."""

    def close(self) -> None:
        """Close the stream."""


def mount(repository: Repository, digest: Digest, source: str) -> bool:
    """Ask the registry to take the blob from its repository *source*; return whether it did.

    Raises RegistryUnreachableError, RegistryAnswerError.
    """

    from urllib.parse import quote

    path = f"{repository.at('blobs/uploads/')}?mount={quote(digest, safe=':')}&from={quote(source, safe='/')}"
    scopes = (*repository.scope(PUSH), f"repository:{source}:{PULL}")
    ask = repository.ask("POST", "blobs/uploads/", actions=PUSH)._replace(path=path, scopes=scopes, body=b"")
    what = f"{repository.what}@{digest}"
    try:
        answer = repository.client.try_send(ask, what, "to mount the blob")
    except ArstoreError as error:
        if isinstance(error, RegistryUnreachableError):
            raise
        return False
    if answer.status == 201:
        answer.discard()
        return True
    if answer.status == 202:
        _cancel(repository, _location(answer, what))
        answer.discard()
        return False
    if answer.status in _REFUSED_MOUNT:
        answer.discard()
        return False
    raise error_of(answer, what, "to mount the blob")


def upload(repository: Repository, digest: Digest, size: int, blob: Blob, chunk: int = 0) -> None:
    """Upload the *size* bytes of *blob*.

    *chunk* 0 sends it in one piece, which takes the fewest requests. If a connection breaks under a large one, the
    upload continues in chunks, so that the next break costs one chunk at most. A failed upload is cancelled. Raises
    RegistryAccessError, RegistryAnswerError, RegistryUnreachableError, and the errors of reading *blob*.
    """
    _Upload(repository, digest, size, blob, chunk).run()


class _Upload:
    def __init__(self, repository: Repository, digest: Digest, size: int, blob: Blob, chunk: int) -> None:
        self._repository = repository
        self._client = repository.client
        self._digest = digest
        self._size = size
        self._blob = blob
        self._chunk = chunk
        self._what = f"{repository.what}@{digest}"
        self._budget = Budget(self._client.patience, self._what)
        self._location: Url | None = None
        self._sent = 0
        self._least = 0
        self._again = False

    def run(self) -> None:
        """See `upload`."""
        try:
            while not self._attempt():
                pass
        except BaseException:
            if self._location is not None:
                _cancel(self._repository, self._location)
            raise

    def _attempt(self) -> bool:
        """Continue until the blob is complete; False to begin again after a failure."""
        try:
            if self._location is None and self._begin():
                return True
            if self._chunk:
                self._send_chunks()
            return self._close()
        except NetworkFaultError as fault:
            if not fault.again:
                raise RegistryUnreachableError(self._what, fault.why) from fault
            self._budget.failed(f"{self._client.host}: {fault.why}")
            self._resume()
            return False

    def _begin(self) -> bool:
        """Begin a session; True if the registry has the blob already."""
        if self._again and head_blob(self._repository, self._digest, PUSH) is not None:
            return True  # an earlier answer that said so was lost
        self._again = True
        ask = self._repository.ask("POST", "blobs/uploads/", actions=PUSH)._replace(body=b"")
        answer = self._client.send(ask, self._what, "to begin an upload", (201, 202))
        answer.discard()
        if answer.status == 201:
            return True
        self._sent = 0
        self._location = _location(answer, self._what)
        least = answer.header("OCI-Chunk-Min-Length")
        self._least = int(least) if least.isdecimal() and len(least) < 12 else 0
        if self._chunk:
            self._chunk = max(self._chunk, min(self._least, 1 << 30))
        return False

    def _send_chunks(self) -> None:
        while self._sent < self._size:
            length = min(self._chunk, self._size - self._sent)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{self._sent}-{self._sent + length - 1}",
            }
            answer = self._once("PATCH", self._here(), headers, self._content(self._sent, length))
            if answer.status in {413, 416} and length > max(_SMALLEST, self._least):
                # 416 is also the answer to a chunk out of order, so ask for the position.
                answer.discard()
                self._chunk = max(length // 2, _SMALLEST)
                self._ask_how_far()
                continue
            if answer.status not in {201, 202, 204}:
                raise error_of(answer, self._what, "to take a chunk")
            answer.discard()
            self._sent += length
            self._budget.progress()
            if answer.header("Location"):
                self._location = _location(answer, self._what)

    def _close(self) -> bool:
        rest = self._size - self._sent
        headers = {"Content-Type": "application/octet-stream"}
        body = self._content(self._sent, rest) if rest else b""
        url = self._here().with_query("digest", self._digest)
        answer = self._once("PUT", url, headers, body)
        if answer.status in {201, 202, 204}:
            answer.discard()
            self._location = None
            return True
        if answer.status == 404:
            # The session is gone; a new one may work.
            error = error_of(answer, self._what, "to complete the upload")
            self._budget.failed(error.why)
            self._location = None
            return False
        raise error_of(answer, self._what, "to complete the upload")

    def _once(self, method: str, url: Url, headers: dict[str, str], body: bytes | Content) -> Answer:
        """Send a part of the upload, once. Raises NetworkFaultError, also for a status that allows another try."""
        ask = self._ask(method, url)._replace(headers=headers, body=body, head=_CLOSING)
        if self._client.authorizer.remaining(ask.scopes) < _CLOSING / 10:
            # If a token expires while the body is being sent, the whole body has to be sent again.
            self._client.authorizer.forget(ask.scopes)
        answer = self._client.once(ask, self._what)
        if answer.status in AGAIN:
            after = retry_after(answer.header("Retry-After"))
            error = error_of(answer, self._what, "to take the blob")
            if after:
                self._client.patience.sleep(min(after, self._client.patience.longest))
            raise NetworkFaultError(error.why)
        return answer

    def _resume(self) -> None:
        """After an error, ask the registry how far the upload is, or begin again."""
        if self._location is None:
            return
        if not self._chunk:
            # Not every registry counts the bytes of an incomplete single piece; so the session is given up.
            _cancel(self._repository, self._location)
            self._location = None
            self._chunk = CHUNK_SIZE if self._size >= CHUNKED_FROM else 0
            return
        try:
            self._ask_how_far()
        except (ArstoreError, NetworkFaultError):
            self._location = None

    def _ask_how_far(self) -> None:
        answer = self._client.try_send(self._ask("GET", self._here()), self._what, "to say how far the upload is")
        answer.discard()
        there = uploaded(answer.header("Range"))
        if answer.status not in {200, 202, 204} or there is None or there > self._size:
            self._location = None
            raise NetworkFaultError("the upload cannot be resumed")
        # Registries give the same Range for an upload of no bytes as for one of one byte.
        self._sent = 0 if there == 1 and self._sent == 0 else there
        if answer.header("Location"):
            self._location = _location(answer, self._what)

    def _here(self) -> Url:
        assert self._location is not None, "a session has begun"
        return self._location

    def _ask(self, method: str, url: Url) -> Ask:
        return self._repository.ask(method, "blobs", actions=PUSH)._replace(url=url, repeat=method == "GET")

    def _content(self, offset: int, length: int) -> Content:
        return Content(length, lambda: self._blob.at(offset))


def _location(answer: Answer, what: str) -> Url:
    """The URL at which an upload continues. Raises RegistryAnswerError."""
    text = answer.header("Location")
    if not text:
        raise RegistryAnswerError(what, "the registry does not say where the upload continues (no Location)")
    target = answer.url.resolve(text)
    if answer.url.scheme == "https" and target.scheme != "https":
        raise RegistryAnswerError(what, f"the registry redirects the upload to {target.shown}, which has no TLS")
    return target


def _cancel(repository: Repository, location: Url) -> None:
    """Cancel an upload; it does not matter whether the registry receives the request."""
    ask = repository.ask("DELETE", "blobs", actions=PUSH)._replace(url=location, repeat=False)
    try:
        repository.client.once(ask, repository.what).discard()
    except (ArstoreError, NetworkFaultError):
        return


class BytesBlob:
    """Bytes in memory as a `Blob`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at(self, offset: int) -> ReadableBlob:
        """See Blob."""
        from io import BytesIO

        stream = BytesIO(self._data)
        stream.seek(offset)
        return stream
