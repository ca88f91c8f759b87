"""The registry of `crane registry serve` (package crane of Debian sid) on loopback: it differs from Debian's own.

Locations of uploads have no host, and the progress of an upload cannot be queried; ranges need an end; a tag outlives
its manifest.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.dockerregistry import free_port, listening
from support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(path: Path) -> Iterator[str]:
    """A registry with its blobs in *path* (manifests are in memory). Gives host and port."""
    port = free_port()
    with listening([str(program("crane")), *words(path, port)], port, path / "crane.log") as host:
        yield host


def words(path: Path, port: int) -> list[str]:
    """The words after `crane`; makes a directory for blobs in *path*."""
    blobs = path / "crane"
    blobs.mkdir()
    return ["registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", str(blobs)]
