"""Messages from a launcher's child to its parent: one JSON object a line, through a pipe.

The end of the pipe means that the child has died.

Events: `started` (`pid`, in the child's pid namespace), `exited` (`status`, 0 to 255), `unwritten` (`stream`, `errno`:
the container's output to that stream could not be passed on), `lost` (`size`: bytes of output that are missing at the
end of the log) and `failed` (an error to raise in the parent).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, RuntimeFailedError, error_classes
from arstore.linux.files.writing import write_all
from arstore.linux.waiting import readable
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_CHUNK = 1 << 16


class Event(NamedTuple):
    """One message: its name and its fields."""

    name: str
    fields: Mapping[str, Any] = MappingProxyType({})


class Sender:
    """The child's end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, name: str, **fields: object) -> None:
        """Send an event; if the parent is gone, it is lost without an error. Nothing is sent after `close`."""
        if self.fd < 0:
            return
        data = json.dumps({"event": name, **fields}).encode() + b"\n"
        with suppress(BrokenPipeError):
            write_all(self.fd, data)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.fd < 0

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.fd)
        self.fd = -1

    def fail(self, error: ArstoreError | OSError) -> None:
        """Send *error* to the parent, to be raised there."""
        if isinstance(error, ArstoreError):
            self.send("failed", kind=type(error).__name__, what=error.what, why=error.why, hint=error.hint)
            return
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
        self.send("failed", errno=error.errno or 0, why=error.strerror or str(error), what=name)


class Receiver:
    """The parent's end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = b""

    def receive(self, deadline: float | None = None) -> Event | None:
        """Return the next event, None at the end.

        Raises TimeoutError if *deadline*, a value of time.monotonic(), passes first.
        """
        while b"\n" not in self._buffer:
            if deadline is not None and not readable(self.fd, deadline):
                raise TimeoutError
            data = os.read(self.fd, _CHUNK)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        fields = json.loads(line)
        return Event(fields.pop("event"), fields)


class Unwritten(NamedTuple):
    """The container's output to *stream*, `stdout` or `stderr`, could not be passed on, because of *errno*."""

    stream: str
    errno: int


def error_of(event: Event) -> ArstoreError | OSError:
    """Return the error in a `failed` event."""
    fields = event.fields
    if "errno" in fields:
        return OSError(fields["errno"], fields["why"], fields["what"])
    classes = {cls.__name__: cls for cls in error_classes()}
    return classes.get(fields["kind"], RuntimeFailedError)(fields["what"], fields["why"], fields["hint"])
