"""Parse what a user writes for a destination: a path, `-`, or `TRANSPORT:PATH` followed by a name.

A path that ends in a slash or is a directory means a layout, or a `dir:` if it is one already. Any other path means an
OCI archive.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import InvalidReferenceError, UsageError
from arstore.oci.reference import parse_name, parse_transport
from arstore.tar.entry import shown
from arstore.transport.location import REGISTRY, split_path
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest
    from arstore.registry.access import RegistryOptions
    from arstore.transport.sink import ImageSink
    from arstore.transport.sinks.registry import RegistrySink

OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DIR, BOTH = "oci", "oci-archive", "docker-archive", "dir", "docker-oci-archive"
KINDS = (OCI_ARCHIVE, DOCKER_ARCHIVE, BOTH, OCI, DIR)
"""The kinds of files and directories that images are written to."""


def _nowhere(_digest: Digest, /) -> str:
    return ""


class Destination(NamedTuple):
    """A destination. `ref_name` is a layout's reference as the user wrote it, `name` the image's name, if given."""

    kind: str
    path: str
    name: str = ""
    ref_name: str = ""

    @property
    def what(self) -> str:
        """The destination, made safe to print."""

        from arstore.transport.sinks.archive import STREAM

        if self.kind == REGISTRY:
            return f"docker://{self.path}"
        return "standard output" if self.path == STREAM else shown(os.fsencode(self.path))

    def open(
        self, registries: RegistryOptions | None = None, mount_from: Callable[[Digest], str] = _nowhere
    ) -> ImageSink:
        """Open the sink; *registries* says how to reach registries, *mount_from* is as for `RegistrySink`.

        Raises UsageError, ConflictError, InUseError, OSError, and the errors of `RegistrySink`.
        """
        if self.kind == REGISTRY:
            return self.open_registry(registries, mount_from)
        if self.kind == OCI:
            from arstore.transport.sinks.layout import LayoutSink

            return LayoutSink(self.path, self.ref_name)
        if self.kind == DIR:
            from arstore.transport.sinks.dir import DirSink

            return DirSink(self.path)
        if self.kind == DOCKER_ARCHIVE:
            from arstore.transport.sinks.docker_archive import DockerArchiveSink

            return DockerArchiveSink(self.path)
        from arstore.transport.sinks.oci_archive import OciArchiveSink

        return OciArchiveSink(self.path, self.ref_name, docker=self.kind == BOTH)

    def open_registry(
        self, registries: RegistryOptions | None = None, mount_from: Callable[[Digest], str] = _nowhere
    ) -> RegistrySink:
        """Open the sink of a registry, like `open`. Raises the errors of `RegistrySink`."""
        # Imported here: importing HTTP and TLS takes longer than a small copy.
        from arstore.oci.docker_reference import DockerReference
        from arstore.registry.access import NO_OPTIONS, Access
        from arstore.transport.sinks.registry import RegistrySink

        return RegistrySink(DockerReference.parse(self.path), Access(registries or NO_OPTIONS), mount_from)


def parse_destination(text: str) -> Destination:
    """Parse *text*.

    Raises UsageError if it is empty or its transport cannot be written to, InvalidReferenceError for an unknown
    transport and for an invalid name.
    """
    if not text:
        raise UsageError("", "the destination is empty")
    transport, rest = parse_transport(text)
    if not transport:
        return Destination(_kind_of_path(text), _stream_or(text))
    if transport == REGISTRY:
        return _in_registry(rest)
    if transport == DIR:
        return destination_of(rest, DIR)
    if transport not in {OCI, OCI_ARCHIVE, DOCKER_ARCHIVE}:
        raise UsageError(text, f"the transport {transport} is not supported as a destination")
    path, behind = split_path(rest) if rest else ("", "")
    path = destination_of(path, transport).path
    if not behind:
        return Destination(transport, path)
    ref_name = behind.removeprefix(":")
    if behind.startswith("@") or ref_name.startswith("@"):
        raise UsageError(text, "a destination cannot have a digest", "leave it out")
    if transport == DOCKER_ARCHIVE:
        return Destination(transport, path, name=str(parse_name(ref_name)))
    if not ref_name:
        raise InvalidReferenceError(text, "has no name after the colon", "leave the colon out")
    return Destination(transport, path, _whole_name(ref_name), ref_name)


def destination_of(path: str, kind: str) -> Destination:
    """The destination of this kind at *path*, which is not parsed. Raises UsageError."""

    from arstore.transport.sinks.archive import STREAM

    if not path:
        raise UsageError("", "the destination is empty")
    if path == STREAM and kind in {OCI, DIR}:
        raise UsageError(kind, "is a directory, which cannot be written to standard output", "use an archive")
    return Destination(kind, path if kind in {OCI, DIR} else _stream_or(path))


def _stream_or(path: str) -> str:
    """STREAM for a path that means standard output, so that nothing else is printed there; else *path*."""

    from arstore.transport.sinks.archive import STREAM, descriptor_of

    return STREAM if descriptor_of(path) == 1 else path


def _in_registry(text: str) -> Destination:
    from arstore.oci.docker_reference import DockerReference

    reference = DockerReference.parse(text)
    name = f"{reference.repository}:{reference.tag}" if reference.tag else ""
    return Destination(REGISTRY, text, name)


def _kind_of_path(path: str) -> str:
    if os.path.isfile(f"{path}/version") and not os.path.isfile(f"{path}/index.json"):
        return DIR
    return OCI if path.endswith("/") or os.path.isdir(path) else OCI_ARCHIVE


def _whole_name(ref_name: str) -> str:
    """The image's name if *ref_name* is more than a tag, else ""."""
    if "/" in ref_name or ":" in ref_name:
        try:
            return str(parse_name(ref_name))
        except InvalidReferenceError:
            return ""
    return ""
