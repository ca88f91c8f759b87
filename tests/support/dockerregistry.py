"""Debian's docker-registry on loopback: plain, or with TLS and passwords."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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

_ENDING = 3
"""Seconds that a server may take to end."""


def free_port() -> int:
    """A port that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(path: Path, more: str = "") -> Iterator[str]:
    """A registry with its files in *path*; *more* is for its configuration. Gives host and port."""
    port = free_port()
    config = write_config(path, port, more)
    with listening([str(program("docker-registry")), "serve", str(config)], port, path / "registry.log") as host:
        yield host


def write_config(path: Path, port: int, more: str = "") -> Path:
    """Write a configuration file to *path*, which also gets the registry's files."""
    config = path / "registry.yml"
    config.write_text(_CONFIG.format(root=path / "registry", port=port, more=more))
    return config


@contextmanager
def listening(
    command: Sequence[str], port: int, log_file: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Start a server by *command*, and wait until it listens. Gives host and port."""
    with (
        open(log_file, "wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.05)
            else:
                raise AssertionError(log_file.read_text())
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                process.kill()  # unshare, which ignores SIGTERM; it takes its child along
