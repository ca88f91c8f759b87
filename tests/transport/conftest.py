"""A spool in the test's directory, and a check that a source leaves no descriptor open."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from support.registry_client import connect, server
from support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["DirectorySpool", "connect", "server", "spool"]


class DirectorySpool:
    """A `Spool` whose files can be examined afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.created = 0

    def create(self) -> int:
        self.created += 1
        return os.open(self._path / str(self.created), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def relieve(self, _lacking: int) -> int:
        return 0


def open_descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[DirectorySpool]:
    """A spool; the test fails if it leaves a descriptor open."""
    path = tmp_path / "spool"
    path.mkdir()
    before = open_descriptors()
    yield DirectorySpool(path)
    deadline = time.monotonic() + PATIENCE
    # A test server closes its end of a connection in a thread, after the other end was closed.
    while (left := {fd: to for fd, to in open_descriptors().items() if before.get(fd) != to}) and (
        time.monotonic() < deadline and all(to.startswith("socket:") for to in left.values())
    ):
        time.sleep(0.02)
    assert not left, f"left open: {left}"
