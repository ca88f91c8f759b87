"""The registry in `crane registry serve` (package crane of Debian sid) on loopback: another dialect than Debian's own.

Paths in Location are relative to the host, uploads know no state, deleting is always allowed, referrers have an API.
"""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.dockerregistry import free_port
from support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(path: Path) -> Iterator[str]:
    """A registry with its blobs in *path* (manifests are in memory). Gives host and port."""
    port = free_port()
    blobs = path / "crane"
    blobs.mkdir()
    command = [str(program("crane")), "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", str(blobs)]
    with (
        open(path / "crane.log", "wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.05)
            else:
                raise AssertionError((path / "crane.log").read_text())
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
