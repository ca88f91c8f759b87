"""Debian's docker-registry on loopback: plain, or with TLS and passwords."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIG = """version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
{more}
"""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(path: Path, more: str = "") -> Iterator[str]:
    """A registry with its files in *path*; *more* is for its configuration. Gives host and port."""
    port = free_port()
    config = path / "registry.yml"
    config.write_text(_CONFIG.format(root=path / "registry", port=port, more=more))
    command = [str(program("docker-registry")), "serve", str(config)]
    with (
        open(path / "registry.log", "wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.05)
            else:
                raise AssertionError((path / "registry.log").read_text())
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
