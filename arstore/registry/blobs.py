"""Blobs of a repository: check whether they exist, and read them through broken connections.

A read that fails continues at the same byte, with a range request to the registry itself, because the URL that it
redirects to may be valid for a short time only. If a range is ignored or not understood, the bytes before it are read
and dropped. The digest is not verified here; the caller verifies the whole blob.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import (
    MissingBlobError,
    RegistryAnswerError,
    RegistryNotFoundError,
    RegistryUnreachableError,
    SizeMismatchError,
)
from arstore.registry.failure import error_of, refusal_of
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.patience import Budget
from arstore.registry.ranges import content_range
from arstore.registry.repository import PULL

if TYPE_CHECKING:
    from arstore.digest import Digest
    from arstore.registry.http.exchange import Answer
    from arstore.registry.repository import Repository

_PROGRESS = 1 << 20
"""Bytes after which a broken connection does not count as one that never works."""


def head_blob(repository: Repository, digest: Digest, actions: str = PULL) -> int | None:
    """The size of the blob, -1 if the registry does not give it; None if the blob does not exist.

    Raises RegistryAccessError, RegistryAnswerError, RegistryUnreachableError.
    """
    what = f"{repository.what}@{digest}"
    doing = "to say whether it has the blob"
    answer = repository.client.try_send(repository.ask("HEAD", "blobs", digest, actions), what, doing)
    answer.close()
    if answer.status == 200:
        return -1 if answer.length is None else answer.length
    if answer.status == 404:
        return None
    raise error_of(answer, what, doing)


def delete_blob(repository: Repository, digest: Digest) -> None:
    """Delete the blob.

    Raises RegistryNotFoundError, RegistryAccessError, RegistryAnswerError, RegistryUnreachableError.
    """
    ask = repository.ask("DELETE", "blobs", digest, "*")
    repository.send(ask, f"@{digest}", "to delete the blob", (200, 202, 204)).discard()


class RemoteBlob:
    """The open blob *digest* of *repository*; *size* is the one in its descriptor, None if unknown.

    Reading begins at the byte *offset*.
    Raises MissingBlobError, SizeMismatchError before anything is read, RegistryAccessError, RegistryAnswerError,
    RegistryUnreachableError.
    """

    def __init__(self, repository: Repository, digest: Digest, size: int | None = None, offset: int = 0) -> None:
        self._repository = repository
        self._digest = digest
        self._what = f"{repository.what}@{digest}"
        self._size = size
        self._at = offset
        self._since = offset
        self._budget = Budget(repository.client.patience, self._what)
        self._answer: Answer | None = None
        self._done = False
        self._ranges = True
        self._open()

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end; reconnects when the connection breaks.

        Raises MissingBlobError, SizeMismatchError, RegistryError.
        """
        if size < 0:
            parts = []
            while data := self.read(CHUNK):
                parts.append(data)
            return b"".join(parts)
        wanted = min(size, CHUNK)
        parts = []
        while wanted and not self._done:
            try:
                data = self._read_some(wanted)
            except NetworkFaultError as fault:
                self._failed(fault)
                if parts:
                    break
                self._open()
                continue
            if not data:
                break
            parts.append(data)
            wanted -= len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Release the connection."""
        self._done = True
        self._drop()

    def __enter__(self) -> RemoteBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_some(self, size: int) -> bytes:
        if self._answer is None:
            self._open()
            if self._answer is None:
                return b""
        data = self._answer.read(size)
        self._at += len(data)
        if self._at - self._since >= _PROGRESS:
            self._since = self._at
            self._budget.progress()
        if not data:
            self._drop()
            if self._size is not None and self._at < self._size:
                raise NetworkFaultError(f"the answer ends {self._size - self._at} bytes too early")
            self._done = True
        elif self._size is not None and self._at > self._size:
            self.close()
            raise SizeMismatchError(self._what, f"is longer than the {self._size} bytes announced")
        return data

    def _failed(self, fault: NetworkFaultError) -> None:
        self._drop()
        if not fault.again:
            raise RegistryUnreachableError(self._what, fault.why) from fault
        self._budget.failed(fault.why)

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _open(self) -> None:
        """Make sure that there is an answer from which the next byte can be read."""
        while not self._done and self._answer is None:
            try:
                self._request()
            except NetworkFaultError as fault:
                self._failed(fault)

    def _request(self) -> None:
        at = self._at if self._ranges else 0
        ask = self._repository.ask("GET", "blobs", self._digest)
        if at:
            # crane's registry understands only a range that has an end.
            end = "" if self._size is None or self._size <= at else self._size - 1
            ask = ask._replace(headers={"Range": f"bytes={at}-{end}"})
        answer = self._repository.client.try_send(ask, self._what, "to give the blob")
        try:
            if answer.status == 200:
                self._whole(answer)
            elif answer.status == 206 and at:
                self._part(answer)
            elif answer.status == 416 and at:
                self._beyond(answer)
                return
            elif answer.status == 404:
                raise MissingBlobError(self._repository.what, f"does not hold the blob {self._digest}")
            else:
                error = error_of(answer, self._what, "to give the blob")
                if isinstance(error, RegistryNotFoundError):
                    raise MissingBlobError(self._repository.what, f"does not hold the blob {self._digest}")
                raise error
        except BaseException:
            answer.close()
            raise
        self._answer = answer

    def _whole(self, answer: Answer) -> None:
        """Use an answer from the first byte on: check the sizes that it announces, and skip what was read already."""
        if answer.header("Content-Encoding").lower() not in {"", "identity"}:
            raise RegistryAnswerError(self._what, "the registry gives the blob with a Content-Encoding")
        if answer.length is not None:
            if self._size is not None and answer.length != self._size:
                why = f"the registry has {answer.length} bytes of it, but {self._size} are announced"
                raise SizeMismatchError(self._what, why)
            self._size = answer.length
        left = self._at
        while left:
            data = answer.read(min(left, CHUNK))
            if not data:
                raise RegistryAnswerError(self._what, "the registry sends less of the blob than before")
            left -= len(data)

    def _part(self, answer: Answer) -> None:
        found = content_range(answer.header("Content-Range"))
        if found is None or found.first != self._at:
            raise RegistryAnswerError(self._what, f"the registry does not send the range from byte {self._at} on")
        if self._size is not None and found.total not in {None, self._size}:
            raise SizeMismatchError(self._what, f"the registry has {found.total} bytes of it, not {self._size}")
        if answer.length is not None and found.last is not None and answer.length != found.last - self._at + 1:
            raise RegistryAnswerError(self._what, "the registry announces a range, but another number of bytes")

    def _beyond(self, answer: Answer) -> None:
        """Handle the status 416: all was read, if the registry has no more bytes. Raises RegistryAnswerError."""
        found = content_range(answer.header("Content-Range"))
        total = None if found is None else found.total
        refusal_of(answer)
        if total is None and self._size != self._at:
            self._ranges = False  # the answer has no size of the blob, so the range was not understood
            return
        if (self._size if total is None else total) != self._at or self._size not in {None, self._at}:
            raise RegistryAnswerError(self._what, f"the registry has no bytes from {self._at} on")
        self._done = True
